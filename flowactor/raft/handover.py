"""A leader hands over: to another voter (thesis 3.10), or because it was removed (thesis 4.2.2)."""

from flowactor.identity import NodeId
from flowactor.raft.effects import RefusalReason
from flowactor.raft.events import TransferLeadership
from flowactor.raft.messages import TimeoutNow
from flowactor.raft.roles import Leader, Transfer
from flowactor.raft.state import NOBODY, State

__all__ = ["leave_if_removed", "settle", "tick", "transfer"]


def transfer(state: State, event: TransferLeadership) -> None:
    """Begin to hand over, or say why not. Another target takes the place of an earlier one; to ask
    for the same again changes nothing, least of all the deadline.
    """
    role = state.role
    if not isinstance(role, Leader):
        state.effects.refused.append((event.token, RefusalReason.NOT_LEADER))
        return
    target = event.target or _furthest(state, role)
    if target not in role.peers or not state.membership.current.votes(target):
        state.effects.refused.append((event.token, RefusalReason.NO_VOTER))
        return
    if role.transfer is None or role.transfer.target != target:
        role.transfer = Transfer(target)
        state.effects.status_changed = True


def _furthest(state: State, role: Leader) -> NodeId:
    """The other voter whose log is furthest, of those that were heard of late if there are any, the
    lowest id of several; ``NOBODY`` without one.
    """
    ranks = [
        (progress.ticks_silent >= state.config.election_ticks_min, -progress.match_index, peer)
        for peer, progress in role.peers.items()
        if state.membership.current.votes(peer)
    ]
    return min(ranks)[2] if ranks else NOBODY


def tick(state: State, role: Leader) -> None:
    """A transfer that takes longer than an election would is given up (rule *transfer_times_out*):
    a target that was told may still campaign, which harms nobody.
    """
    if role.transfer is None:
        return
    role.transfer.ticks += 1
    if role.transfer.ticks >= state.config.election_ticks_max:
        _give_up(state, role)


def _give_up(state: State, role: Leader) -> None:
    role.transfer = None
    state.effects.status_changed = True


def settle(state: State, role: Leader) -> None:
    """Once the target has everything, it is to campaign; nothing was proposed meanwhile. One that
    the end of a joint change deprived of its vote is given up. A leader whose removal is committed
    has its followers told so in this step, its last.
    """
    if _is_removed(state):
        role.round += 1
    transfer = role.transfer
    if transfer is None:
        return
    if not state.membership.current.votes(transfer.target):
        _give_up(state, role)
    elif not transfer.told and role.peers[transfer.target].match_index == state.log.last_index:
        state.send(transfer.target, TimeoutNow(state.term))
        transfer.told = True


def leave_if_removed(state: State, role: Leader) -> None:
    """A leader whose removal is committed leads no more, and says so to who can follow at once
    (rule *self_removed_leader*).
    """
    if not _is_removed(state):
        return
    successor = _furthest(state, role)
    if successor and role.peers[successor].match_index == state.log.last_index:
        state.send(successor, TimeoutNow(state.term))
    state.follow(NOBODY)


def _is_removed(state: State) -> bool:
    membership = state.membership
    return not membership.is_voter and membership.index <= state.commit
