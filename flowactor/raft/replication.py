"""The leader: taking the lead, sending entries, counting answers (paper 5.3, 5.4; thesis 10.2)."""

from collections.abc import Iterable

from flowactor.identity import NodeId
from flowactor.raft import handover, quiescence
from flowactor.raft.effects import LoadEntries, RefusalReason
from flowactor.raft.events import EntriesLoaded, Propose, ReadIndex, ShareCommit, SnapshotStaged
from flowactor.raft.log import ENTRY_OVERHEAD_BYTES
from flowactor.raft.messages import Append, AppendReply, Entry, EntryKind, InstallSnapshot
from flowactor.raft.progress import Flow, Progress
from flowactor.raft.quorum import Verdict, reached, verdict
from flowactor.raft.roles import Leader
from flowactor.raft.state import NOBODY, State

__all__ = [
    "append",
    "ask_read",
    "begin_anew",
    "lead",
    "on_append_reply",
    "on_entries_loaded",
    "on_share_commit",
    "on_snapshot_staged",
    "propose",
    "send_appends",
    "settle",
    "tell_stranger",
    "tick",
]

Batch = tuple[Append, int]
"""An append and the size of its entries; followers that need the same entries share it."""


def lead(state: State) -> None:
    """Take the lead with a blank entry, whose commit brings all before it along (thesis 6.4).

    The uncommitted tail of earlier terms counts against the limit of this one. The silence of the
    deposed leader counts from its beginning, that of the others from now.
    """
    node, log = state.config.node, state.log
    silent = {state.previous_leader: state.leader_ticks_silent}
    peers = {
        peer: Progress(log.last_index + 1, ticks_silent=silent.get(peer, 0))
        for peer in state.membership.peers
    }
    tail = log.bytes_between(state.commit + 1, log.last_index)
    first = log.last_index + 1
    role = Leader(peers, first, tail, pace=(first, first))
    state.role = role
    state.set_leader(node)
    append(state, role, [Entry(state.term, first, EntryKind.BLANK, b"")])


def append(state: State, role: Leader, entries: list[Entry]) -> None:
    """Add entries of this leadership to the log."""
    before = state.log.bytes
    state.append(entries)
    role.uncommitted_bytes += state.log.bytes - before


def propose(state: State, event: Propose) -> None:
    """Append all payloads, or refuse all of them."""
    role = state.role
    if not isinstance(role, Leader):
        state.effects.refused.append((event.token, RefusalReason.NOT_LEADER))
        return
    if role.transfer is not None:
        state.effects.refused.append((event.token, RefusalReason.TRANSFERRING))
        return
    size = sum(map(len, event.payloads)) + ENTRY_OVERHEAD_BYTES * len(event.payloads)
    if role.uncommitted_bytes and (
        role.uncommitted_bytes + size > state.config.uncommitted_bytes_max
    ):
        state.effects.refused.append((event.token, RefusalReason.OVERLOADED))
        return
    term, first = state.term, state.log.last_index + 1
    entries = [
        Entry(term, index, EntryKind.PAYLOAD, payload)
        for index, payload in enumerate(event.payloads, first)
    ]
    append(state, role, entries)
    state.effects.accepted.append((event.token, term, first, state.log.last_index))


def tick(state: State, role: Leader) -> None:
    """Time passes for a leader: give up without a quorum or a disk, or send heartbeats when due.

    Rules *check_quorum_steps_down* and *stalled_disk_loses_leadership*. Nobody is held to have
    been silent for longer than this leadership lasts.
    """
    role.ticks += 1
    for progress in role.peers.values():
        progress.ticks_silent += 1
    patience = state.config.election_ticks_max
    heard = {
        peer: min(progress.ticks_silent, role.ticks) < patience
        for peer, progress in role.peers.items()
    }
    heard[state.config.node] = True
    if state.disk_stalled or verdict(state.membership.current, heard) is not Verdict.WON:
        state.follow(NOBODY)
        return
    if role.ticks % state.config.election_ticks_min == 0:
        role.pace = (role.pace[1], state.log.last_index)
    handover.tick(state, role)
    quiescence.tick(state, role)
    role.heartbeat_elapsed += 1
    if role.heartbeat_elapsed >= state.config.heartbeat_ticks:
        role.heartbeat_elapsed = 0
        role.round += 1


def on_append_reply(state: State, sender: NodeId, reply: AppendReply) -> None:
    """Count what a follower has, or find out where the logs meet."""
    if reply.term > state.term:
        state.adopt(reply.term)
        return
    role = state.role
    if reply.term < state.term or not isinstance(role, Leader):
        return
    progress = role.peers.get(sender)
    if progress is None or reply.round < progress.first_round:
        return
    progress.round_acked = max(progress.round_acked, reply.round)
    progress.quiet_round = reply.round if reply.quiet else 0
    if reply.success:
        assert reply.index <= state.log.last_index, f"{sender} acknowledges what was never sent"
        progress.accepted(reply.index, reply.round)
    elif progress.has_forgotten(reply.rejected_index, reply.round):
        begin_anew(state, role, [sender])
    else:
        hint = reply.index
        if state.log.previous_index < hint:
            hint, _ = state.log.last_not_above(hint, reply.hint_term)
        progress.rejected(reply.rejected_index, hint)


def begin_anew(state: State, role: Leader, peers: Iterable[NodeId]) -> None:
    """Take these for new members. Each may have been one before, and come back with nothing: what
    it said then is past.
    """
    role.round += 1
    for peer in peers:
        role.peers[peer] = Progress(state.log.last_index, first_round=role.round)


def ask_read(state: State, event: ReadIndex) -> None:
    """Queue a read; ``settle`` gives it a round and an index."""
    if isinstance(state.role, Leader):
        state.role.reads.asked.append(event.token)
    else:
        state.effects.refused.append((event.token, RefusalReason.NOT_LEADER))


def on_share_commit(state: State, event: ShareCommit) -> None:
    """Mark followers that should hear of the commit index in this step."""
    role = state.role
    if not isinstance(role, Leader):
        return
    for peer in event.peers:
        if peer in role.peers:
            role.peers[peer].nudged = True


def tell_stranger(state: State, role: Leader, node: NodeId) -> None:
    """Who asks for votes and is no member was removed, and has not heard of it: it is sent what
    members are sent until it has (``changes.settle``). Nobody tells one in a later term, whose
    answer would end this leadership.
    """
    if node not in role.peers:
        role.peers[node] = Progress(state.log.last_index + 1, round_sent=role.round - 1)


def on_entries_loaded(state: State, event: EntriesLoaded) -> None:
    """Send what came from disk, if the follower still needs exactly that."""
    role = state.role
    progress = role.peers.get(event.peer) if isinstance(role, Leader) else None
    if progress is None or not progress.loading:
        return
    assert isinstance(role, Leader)
    progress.loading = False
    if not event.entries:
        if progress.next_index < state.log.first_index and progress.flow is not Flow.SNAPSHOT:
            _begin_snapshot(state, role, event.peer)
        return
    previous = event.entries[0].index - 1
    if previous + 1 != progress.next_index or not progress.room_bytes(state.config):
        return
    size = sum(len(entry.data) + ENTRY_OVERHEAD_BYTES for entry in event.entries)
    append = Append(
        state.term, previous, event.previous_term, state.commit, role.round, event.entries
    )
    _send(state, role, event.peer, (append, size))


def _begin_snapshot(state: State, role: Leader, peer: NodeId) -> None:
    """Have the driver bring a member the state; to who was removed it is not worth that."""
    if peer in state.membership.peers:
        role.peers[peer].lacks_entries()
        state.effects.snapshots.append(peer)
    else:
        del role.peers[peer]


def on_snapshot_staged(state: State, event: SnapshotStaged) -> None:
    """Have the follower install what it holds, if that is still what it waits for.

    A snapshot without voters is from before any entry that names them, made by a newcomer, which
    was never told who the founders are: try again once more is applied.
    """
    role = state.role
    progress = role.peers.get(event.peer) if isinstance(role, Leader) else None
    if progress is None or progress.flow is not Flow.SNAPSHOT:
        return
    assert isinstance(role, Leader)
    snapshot = event.snapshot
    if snapshot is None or not snapshot.configuration.voters:
        progress.staged(None)
        progress.load_round = role.round + 1
    else:
        progress.staged(snapshot)
        state.send(event.peer, InstallSnapshot(state.term, role.round, snapshot))


def settle(state: State, role: Leader) -> None:
    """Commit what a quorum has durable, and serve the reads that a quorum has confirmed."""
    node, configuration = state.config.node, state.membership.current
    if state.commit < state.log.last_index:
        _count(state, role)
    reads = role.reads
    if reads.asked and state.commit >= role.first_index:
        role.round += 1
        reads.begin(state.commit, role.round)
    if reads.waiting:
        rounds = {peer: progress.round_acked for peer, progress in role.peers.items()}
        rounds[node] = role.round
        state.effects.reads.extend(reads.confirm(reached(configuration, rounds)))


def _count(state: State, role: Leader) -> None:
    node, configuration = state.config.node, state.membership.current
    match = {peer: progress.match_index for peer, progress in role.peers.items()}
    match[node] = state.durable.index
    index = reached(configuration, match)
    if index > state.commit and index >= role.first_index:  # rule commit_only_own_term
        assert state.log.term_at(index) == state.term, "the own term's entries come last"
        state.commit_to(index)


def send_appends(state: State, role: Leader) -> None:
    """Send every follower what its window takes, or an empty append to who must hear something."""
    built: dict[tuple[int, int], Batch] = {}
    last = state.log.last_index
    for peer, progress in role.peers.items():
        sent = False
        while progress.next_index <= last and (room := progress.room_bytes(state.config)) > 0:
            if progress.next_index < state.log.first_index:
                _load(state, role, peer, progress)
                break
            key = (progress.next_index, room)
            batch = built.get(key)
            if batch is None:
                batch = built[key] = _build(state, role, *key)
            if batch[1] > room and progress.inflight:
                break
            _send(state, role, peer, batch)
            sent = True
        told = progress.round_sent >= role.round
        if not sent and (not told or (progress.nudged and progress.commit_sent < state.commit)):
            _send(state, role, peer, (_empty(state, role, progress), 0))
        progress.nudged = False


def _build(state: State, role: Leader, first: int, room_bytes: int) -> Batch:
    entries, size = state.log.batch(first, room_bytes)
    previous_term = state.log.term_at(first - 1)
    return Append(state.term, first - 1, previous_term, state.commit, role.round, entries), size


def _empty(state: State, role: Leader, progress: Progress) -> Append:
    """A heartbeat asks whether everything sent has arrived. Where the term at that place is no
    longer known, it asks about index 0, on which all logs agree.
    """
    index, log = progress.next_index - 1, state.log
    if index >= log.previous_index:
        term = log.term_at(index)
    elif index == progress.known[0]:
        term = progress.known[1]
    else:
        index, term = 0, 0
    quiet = role.quiet_round > 0
    return Append(state.term, index, term, state.commit, role.round, (), quiet)


def _send(state: State, role: Leader, peer: NodeId, batch: Batch) -> None:
    append, size = batch
    progress = role.peers[peer]
    if append.entries:
        progress.sent(append, size)
    progress.round_sent = role.round
    progress.commit_sent = state.commit
    state.send(peer, append)


def _load(state: State, role: Leader, peer: NodeId, progress: Progress) -> None:
    """Ask for entries below the window, one load under way per follower."""
    if progress.loading or role.round < progress.load_round:
        return
    progress.loading = True
    state.effects.loads.append(
        LoadEntries(
            peer, progress.next_index, state.log.previous_index, state.config.append_bytes_max
        )
    )
