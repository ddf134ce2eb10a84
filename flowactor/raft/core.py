"""The one door of the Raft core."""

from collections.abc import Iterable
from random import Random
from typing import assert_never

from flowactor.identity import NodeId
from flowactor.raft import changes, election, follower, handover, quiescence, replication
from flowactor.raft.config import RaftConfig, Restored
from flowactor.raft.durability import Durability
from flowactor.raft.effects import Effects, PeerStatus, Role, Status
from flowactor.raft.events import (
    ChangeConfiguration,
    EntriesLoaded,
    Event,
    Propose,
    ReadIndex,
    Receive,
    ShareCommit,
    SnapshotStaged,
    Tick,
    TransferLeadership,
    Wake,
    WritePersisted,
)
from flowactor.raft.log import Log
from flowactor.raft.membership import Membership
from flowactor.raft.messages import (
    Append,
    AppendReply,
    InstallSnapshot,
    TimeoutNow,
    Vote,
    VoteReply,
)
from flowactor.raft.progress import Progress
from flowactor.raft.roles import Candidate, Follower, Leader, PreCandidate
from flowactor.raft.state import NOBODY, State

__all__ = ["Raft"]


class Raft:
    """One member of one consensus group, without a clock, a disk or a network.

    Args:
        config: settings.
        restored: what this node's disk holds, the founding configuration at least; without one, or
            in one that does not name it, a node waits for a leader to make it a member.
        seed: of this node's election time-outs. Members need different ones.
    """

    def __init__(self, config: RaftConfig, restored: Restored, seed: int) -> None:
        hard = restored.hard_state
        log = Log(restored.previous_index, restored.previous_term, restored.entries)
        last = log.last_index
        founding = (restored.configuration_index, restored.configuration)
        membership = Membership(config.node, [founding])
        membership.append(restored.entries)
        self._state = State(
            config=config,
            membership=membership,
            random=Random(seed),
            log=log,
            durable=Durability(last, hard.term, hard.vote, handed=hard, handed_index=last),
            term=hard.term,
            vote=hard.vote,
            commit=max(hard.commit, restored.applied),
            emitted=restored.applied,
            deleted=restored.deleted,
        )
        membership.committed(self._state.commit)
        self._state.restart_election_clock()

    def step(self, events: Iterable[Event]) -> Effects:
        """Take everything that happened since the last step, in order; return what to do about it.

        One step makes at most one write, one answer to the leader, and one append per follower
        and window: hand in whole batches.
        """
        state = self._state
        state.effects = effects = Effects()
        before = self._landmarks()
        slept = state.quiet
        for event in events:
            if not quiescence.sleeps_through(state, event):
                slept = False
                self._handle(event)
        if slept:
            return effects
        self._finish()
        effects.status_changed = effects.status_changed or before != self._landmarks()
        return effects

    def _landmarks(self) -> tuple[object, ...]:
        state = self._state
        newest = state.membership.history[-1]
        return type(state.role), state.term, state.leader, state.quiet, newest

    def _handle(self, event: Event) -> None:
        state = self._state
        match event:
            case Receive():
                self._receive(event)
            case Propose():
                replication.propose(state, event)
            case WritePersisted():
                state.durable.persisted(event.number)
                if isinstance(state.role, Follower):
                    state.role.synced = True
            case Tick():
                state.ticks += 1
                if isinstance(state.role, Leader):
                    replication.tick(state, state.role)
                else:
                    election.tick(state)
            case ReadIndex():
                replication.ask_read(state, event)
            case ShareCommit():
                replication.on_share_commit(state, event)
            case EntriesLoaded():
                replication.on_entries_loaded(state, event)
            case SnapshotStaged():
                replication.on_snapshot_staged(state, event)
            case ChangeConfiguration():
                changes.change(state, event)
            case TransferLeadership():
                handover.transfer(state, event)
            case Wake():
                quiescence.heed(state, event)  # it is awake by now
            case _:
                assert_never(event)

    def _receive(self, event: Receive) -> None:
        """Hand a message to its handler. Who this node does not know may be a member of a later
        configuration than its own, and is heard (thesis 4.1).
        """
        state, sender, message = self._state, event.sender, event.message
        if isinstance(state.role, Leader):
            if sender in state.role.peers:
                state.role.peers[sender].ticks_silent = 0
        elif sender == (state.leader or state.previous_leader):
            state.leader_ticks_silent = 0
        match message:
            case Append():
                follower.on_append(state, sender, message)
            case AppendReply():
                replication.on_append_reply(state, sender, message)
            case Vote():
                election.on_vote(state, sender, message)
            case VoteReply():
                election.on_vote_reply(state, sender, message)
            case InstallSnapshot():
                follower.on_install(state, sender, message)
            case TimeoutNow():
                election.on_timeout_now(state, sender, message)
            case _:
                assert_never(message)

    def _finish(self) -> None:
        """Everything that is worth doing once for all events of a step."""
        state = self._state
        if isinstance(state.role, Candidate):
            election.count_own_vote(state, state.role)
        if isinstance(state.role, Leader):
            replication.settle(state, state.role)
            changes.settle(state, state.role)
            handover.settle(state, state.role)
            quiescence.settle(state, state.role)
        log, durable = state.log, state.durable
        state.effects.write = durable.flush(state.term, state.vote, state.commit, log, state.ticks)
        if state.held:
            self._release_held()
        match state.role:
            case Leader() as role:
                replication.send_appends(state, role)
                handover.leave_if_removed(state, role)
            case Follower() as role:
                follower.answer(state, role)
            case PreCandidate() | Candidate():
                pass
            case _:
                assert_never(state.role)
        self._emit_committed()
        if log.bytes > state.config.cache_bytes_max:
            log.shrink(state.config.cache_bytes_max * 3 // 4, state.emitted)

    def _release_held(self) -> None:
        """Send what waited for term and vote; what belongs to a past term says nothing more."""
        state = self._state
        current = [(peer, message) for peer, message in state.held if message.term == state.term]
        if state.term_is_durable:
            state.effects.messages.extend(current)
            state.held.clear()
        else:
            state.held = current

    def _emit_committed(self) -> None:
        """Hand out what is committed and durable here (rule *restart_emits_nothing_twice*)."""
        state = self._state
        last = min(state.commit, state.durable.index)
        if state.restoring is not None:
            if last < state.restoring.index:
                return
            state.effects.restored, state.restoring = state.restoring, None
            state.emitted = state.effects.restored.index
        if last > state.emitted:
            state.effects.committed.extend(state.log.between(state.emitted + 1, last))
            state.emitted = last
        assert state.emitted <= state.commit <= state.log.last_index

    @property
    def commit_index(self) -> int:
        """As in ``status()``, for whoever looks after each step."""
        return self._state.commit

    def status(self) -> Status:
        """Where this node stands after the last step."""
        state = self._state
        peers: tuple[tuple[NodeId, PeerStatus], ...] = ()
        transferring, leads_from = NOBODY, 0
        match state.role:
            case Leader() as leader:
                role, leads_from = Role.LEADER, leader.first_index
                peers = tuple(
                    (peer, self._peer_status(leader, peer, progress))
                    for peer, progress in leader.peers.items()
                )
                if leader.transfer is not None:
                    transferring = leader.transfer.target
            case Follower():
                role = Role.FOLLOWER if state.membership.is_voter else Role.LEARNER
            case PreCandidate() | Candidate():
                role = Role.CANDIDATE
            case _:
                assert_never(state.role)
        return Status(
            role=role,
            term=state.term,
            leader=state.leader,
            previous_leader=state.previous_leader,
            leader_ticks_silent=state.leader_ticks_silent,
            last_index=state.log.last_index,
            commit_index=state.commit,
            configuration=state.membership.current,
            configuration_index=state.membership.index,
            configuration_term=state.log.term_at(
                max(state.membership.index, state.log.previous_index)
            ),
            transferring=transferring,
            leads_from=leads_from,
            peers=peers,
            quiet=state.quiet,
        )

    def _peer_status(self, leader: Leader, peer: NodeId, progress: Progress) -> PeerStatus:
        return PeerStatus(
            progress.match_index,
            progress.next_index,
            progress.ticks_silent,
            changes.has_caught_up(self._state, leader, peer),
            progress.round_acked > 0,
        )
