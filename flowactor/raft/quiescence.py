"""An idle group goes quiet, and wakes (rule *quiet_group_wakes*).

A leader whose group has been idle for ``RaftConfig.quiet_ticks`` calls for quiet with its
heartbeats until every member has answered that it is quiet, and only then is so itself: nobody is
left to wonder why it hears nothing. Members that have been silent for longer than an election takes
are not waited for; they are dead, or a driver that finds their node again steps ``Wake``.

A quiet node lets time pass. Everything else wakes it, but for what says only that all is as it was;
whoever wakes starts its clocks afresh, and a leader tells the others at once. So a member that is
awake among quiet ones, and hears no leader, wakes them by asking for votes. Quiet or not, a leader
serves a read and commits an entry only with a quorum's answers: one that was cut off in its sleep
finds out as soon as it is asked for anything.
"""

from flowactor.identity import NodeId
from flowactor.raft.events import (
    EntriesLoaded,
    Event,
    Receive,
    SnapshotStaged,
    Tick,
    Wake,
    WritePersisted,
)
from flowactor.raft.messages import Append, AppendReply, Message, Vote
from flowactor.raft.progress import Progress
from flowactor.raft.roles import Leader
from flowactor.raft.state import State

__all__ = ["follow_into_quiet", "heed", "settle", "sleeps_through", "tick"]


def sleeps_through(state: State, event: Event) -> bool:
    """Whether a quiet node takes no notice of this event. Any other may wake it first, and shows a
    leader that its group is not idle.
    """
    if isinstance(event, Tick):
        return state.quiet
    if (state.quiet or isinstance(state.role, Leader)) and _rouses(state, event):
        _rouse(state)
    return False


def _rouses(state: State, event: Event) -> bool:
    """What the disk and the driver answer concerns a member that is far behind: if it is alive, the
    group is not idle; if not, it is not worth waking for.
    """
    match event:
        case Receive(sender=sender, message=message):
            return _is_news(state, sender, message)
        case WritePersisted() | EntriesLoaded() | SnapshotStaged():
            return False
        case _:
            return True


def _is_news(state: State, sender: NodeId, message: Message) -> bool:
    """Who was removed and does not know it may ask as often as it likes. It is heard if its log is
    ahead of this one: then this node is the one that does not know who the members are.
    """
    match message:
        case Append():
            current = message.term == state.term and sender == state.leader
            return not (message.quiet and current)
        case AppendReply():
            quiet = message.quiet and message.term == state.term
            return state.quiet and not quiet and sender in state.membership.peers
        case Vote():
            ahead = (message.last_term, message.last_index) > state.log.end
            return ahead or sender in state.membership.peers
        case _:
            return True


def _rouse(state: State) -> None:
    role = state.role
    if isinstance(role, Leader):
        role.idle_ticks = role.quiet_round = 0
    if not state.quiet:
        return
    state.quiet = False
    if not isinstance(role, Leader):
        state.restart_election_clock()
        return
    role.round += 1
    for progress in role.peers.values():
        if not _is_lost(state, progress):
            progress.ticks_silent = 0


def heed(state: State, wake: Wake) -> None:
    """A silence that began while nobody counted here counts from its beginning."""
    role = state.role
    if isinstance(role, Leader):
        progress = role.peers.get(wake.node)
        if progress is not None:
            progress.ticks_silent = max(progress.ticks_silent, wake.silent_ticks)
    elif wake.node == (state.leader or state.previous_leader):
        state.leader_ticks_silent = max(state.leader_ticks_silent, wake.silent_ticks)


def _is_lost(state: State, progress: Progress) -> bool:
    """Whether a member is not waited for."""
    return progress.ticks_silent >= state.config.election_ticks_max


def _is_settled(state: State) -> bool:
    """Whether all that is in the log is committed and durable here, and nothing is under way."""
    durable, last = state.durable, state.log.last_index
    done = state.commit == durable.index == last and not durable.pending
    return done and state.term_is_durable and state.restoring is None


def _is_idle(state: State, role: Leader) -> bool:
    reads = role.reads
    if role.transfer is not None or reads.asked or reads.waiting or not _is_settled(state):
        return False
    members = [role.peers[peer] for peer in state.membership.peers]
    last = state.log.last_index
    return all(member.match_index == last or _is_lost(state, member) for member in members)


def tick(state: State, role: Leader) -> None:
    """Time passes for a leader that is awake: after enough of it without work, call for quiet."""
    if not state.config.quiet_ticks:
        return
    if not _is_idle(state, role):
        role.idle_ticks = role.quiet_round = 0
        return
    role.idle_ticks += 1
    if role.idle_ticks >= state.config.quiet_ticks and not role.quiet_round:
        role.round += 1
        role.quiet_round = role.round


def settle(state: State, role: Leader) -> None:
    """Be quiet, once everybody else is who is not lost."""
    if role.quiet_round and not state.quiet and _is_idle(state, role):
        members = [role.peers[peer] for peer in state.membership.peers]
        state.quiet = all(
            member.quiet_round >= role.quiet_round or _is_lost(state, member) for member in members
        )


def follow_into_quiet(state: State, append: Append) -> None:
    """Be quiet if the leader calls for it, and this node has all that the leader has, and knows
    that all of it is committed; if not, stay awake, which the answer says.
    """
    place = (append.previous_index, append.commit)
    same = place == (state.log.last_index, state.log.last_index) and not append.entries
    state.quiet = append.quiet and same and _is_settled(state)
