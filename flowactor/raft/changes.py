"""A leader changes who belongs to the group (thesis 4.1, 4.2.1, 4.3)."""

from attrs import evolve

from flowactor.identity import NodeId
from flowactor.raft.configuration import Configuration
from flowactor.raft.effects import RefusalReason
from flowactor.raft.events import ChangeConfiguration
from flowactor.raft.membership import configuration_entry, next_configuration
from flowactor.raft.progress import Flow
from flowactor.raft.replication import append, begin_anew
from flowactor.raft.roles import Leader
from flowactor.raft.state import State

__all__ = ["change", "has_caught_up", "settle"]


def change(state: State, event: ChangeConfiguration) -> None:
    """Append the first configuration of a change, or say why not."""
    role, wanted = state.role, event.wanted
    reason = _objection(state, wanted)
    if reason is not None:
        state.effects.refused.append((event.token, reason))
        return
    assert isinstance(role, Leader)
    _configure(state, role, next_configuration(state.membership.current, wanted))
    index = state.membership.index
    state.effects.accepted.append((event.token, state.term, index, index))


def _objection(state: State, wanted: Configuration) -> RefusalReason | None:
    """Why this change may not begin now.

    Two changes under way at once may have no majority in common; nor may one of this term and one
    of an earlier leader's, of which this one knows nothing until an entry of its own term is
    committed (rule *config_needs_own_term_commit*, the bug of 2015).
    """
    role, membership = state.role, state.membership
    if not isinstance(role, Leader):
        return RefusalReason.NOT_LEADER
    if role.transfer is not None:
        return RefusalReason.TRANSFERRING
    under_way = membership.index > state.commit or membership.current.is_joint
    if under_way or state.commit < role.first_index:
        return RefusalReason.CHANGE_PENDING
    promoted = [voter for voter in wanted.voters if not membership.current.votes(voter)]
    if not all(has_caught_up(state, role, voter) for voter in promoted):
        return RefusalReason.NOT_CAUGHT_UP
    return None


def has_caught_up(state: State, role: Leader, node: NodeId) -> bool:
    """Whether a member has what the leader had an election time-out ago: as a voter it would not
    hold up commits for longer than an election does (thesis 4.2.1).
    """
    if node == state.config.node:
        return True
    progress = role.peers.get(node)
    return (
        progress is not None
        and progress.flow is Flow.REPLICATE
        and progress.match_index >= role.pace[0]
        and progress.ticks_silent < state.config.election_ticks_min
    )


def _configure(state: State, role: Leader, configuration: Configuration) -> None:
    entry = configuration_entry(state.term, state.log.last_index + 1, configuration)
    before = state.membership.peers
    append(state, role, [entry])
    state.effects.status_changed = True
    if newcomers := [peer for peer in state.membership.peers if peer not in before]:
        begin_anew(state, role, newcomers)


def settle(state: State, role: Leader) -> None:
    """Leave a joint configuration that is committed (rule *joint_left_only_when_committed*), and
    forget who was removed and knows it.
    """
    membership = state.membership
    if membership.index > state.commit or state.commit < role.first_index:
        return
    if membership.current.is_joint:
        _configure(state, role, evolve(membership.current, outgoing=()))
    elif len(role.peers) > len(membership.peers):
        for peer in [peer for peer in role.peers if peer not in membership.peers]:
            progress = role.peers[peer]
            knows = min(progress.match_index, progress.commit_sent) >= membership.index
            if knows or progress.ticks_silent >= state.config.election_ticks_max:
                del role.peers[peer]
