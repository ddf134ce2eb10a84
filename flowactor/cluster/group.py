"""The group actor: one Raft group on this node, and the machine its log drives.

Everything that concerns the group passes through its mailbox and is handled in one place,
``process``: the batch becomes Raft events, one step of the core, and the consequences of that
step. What can be seen from outside (the machine, the applied index) changes only there, between two
checkpoints, so anybody on the event loop sees a consistent whole.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final, assert_never

import trio
from attrs import Factory, define, frozen

from flowactor.actors import Mailbox, Overflow, Promise
from flowactor.cluster.durable import Log, State
from flowactor.cluster.envelopes import Forward, GroupEnvelope, RaftEnvelope, ReadAnswer, ReadAsk
from flowactor.cluster.log_clock import LogClock
from flowactor.cluster.proposals import Proposals, Waiting
from flowactor.cluster.reads import Reads, RemoteRead
from flowactor.cluster.ready import Ready
from flowactor.cluster.witness import Witness
from flowactor.codec.records import encode
from flowactor.errors import Overloaded, StorageError, StoragePoisoned, Unavailable
from flowactor.identity import GroupId, NodeId, SessionId
from flowactor.limits import (
    BATCH_BYTES_MAX,
    BATCH_OPERATIONS_MAX,
    MAILBOX_MESSAGES_MAX,
    NANOSECONDS,
    RESEND_SECONDS,
    STATE_FLUSH_SECONDS,
    TICK_EARLY_SECONDS,
    TICK_SECONDS,
)
from flowactor.machine import InboxGrew, Machine, Notice, OwnerChanged, StepsDue
from flowactor.machine.operations import ClientOperation, OpenSession, decode_batch, encode_batch
from flowactor.machine.replies import Reply
from flowactor.observability.events import LeaderChanged, Observer
from flowactor.ports import Clock
from flowactor.raft import (
    Effects,
    Entry,
    EntryKind,
    Event,
    Propose,
    Raft,
    ReadIndex,
    Receive,
    RefusalReason,
    Role,
    ShareCommit,
    Status,
    Tick,
)

__all__ = ["GroupActor"]

_TICK_NS: Final = int(TICK_SECONDS * NANOSECONDS)
_TICK_EARLY_NS: Final = int(TICK_EARLY_SECONDS * NANOSECONDS)
_STATE_FLUSH_NS: Final = int(STATE_FLUSH_SECONDS * NANOSECONDS)

_PROPOSAL_TOKEN: Final = 0
"""Every step proposes at most once; reads count their tokens from 1."""


@frozen
class _FromPeer:
    sender: NodeId
    envelope: GroupEnvelope


@frozen
class _Barrier:
    promise: Promise[None]


@frozen
class _Completion:
    """Something the driver's work brought, or the passing of a tick."""

    event: Event


@frozen
class _Alarm:
    """It is time to look at the time."""


@frozen
class _LeaderKnown:
    """There is a leader whom nobody has asked yet for what waits here."""


_Message = bytes | _FromPeer | _Barrier | _Completion | _Alarm | _LeaderKnown
"""Bytes are an encoded operation of this node, to be proposed: what comes in masses is bare."""


@define
class _Gathered:
    """What one drained batch asks for, sorted by what it becomes."""

    events: list[Event] = Factory(list)
    operations: list[bytes] = Factory(list)
    forwarded: list[bytes] = Factory(list)
    senders: dict[NodeId, None] = Factory(dict)


class GroupActor:
    """One group on one node.

    Args:
        group: its id.
        core: restored from the log; ``machine`` and ``state``: restored from the state file.
        log: the durable log of all groups.
        send: queues an envelope for a peer; never blocks.
        clock: of this node; stamps batches while it leads.
        on_notices: told what applying changed, in order; must not wait.
        on_tick: called on every tick, after it was handled; must not wait.
        on_leader: called when another leader, or none, is known; must not wait.
        on_failure: told that the log cannot be read back.
        observer: told of changes of leadership.
        witness: sees each step of the core, and each entry that is applied.
    """

    def __init__(
        self,
        group: GroupId,
        *,
        core: Raft,
        machine: Machine,
        state: State,
        log: Log,
        send: Callable[[NodeId, GroupEnvelope], None],
        clock: Clock,
        on_notices: Callable[[Sequence[Notice]], None],
        on_tick: Callable[[], None],
        on_leader: Callable[[], None],
        on_failure: Callable[[StorageError], None],
        observer: Observer,
        witness: Witness | None = None,
    ) -> None:
        self.group: Final = group
        self.name: Final = f"group {group}"
        self.mailbox: Final[Mailbox[_Message]] = Mailbox(
            self.name, MAILBOX_MESSAGES_MAX, Overflow.REFUSE
        )
        self.machine: Final = machine
        self.state: Final = state
        self.applied = state.applied_index
        self.status: Status = core.status()
        self.clock: Final = LogClock(clock, machine.clock_ns)
        self._ready: Final = Ready(group, core, log, send, self._later, on_failure, witness)
        self._send: Final = send
        self._clock: Final = clock
        self._on_notices: Final = on_notices
        self._on_tick: Final = on_tick
        self._on_leader: Final = on_leader
        self._observer: Final = observer
        self._witness: Final = witness
        self._proposals: Final = Proposals()
        self._reads: Final = Reads()
        self._waiting_peers: Final[dict[int, tuple[NodeId, ...]]] = {}  # by index of their entry
        self._stamp_ns = 0
        self._flush: Promise[None] = Promise()
        self._alarm: trio.CancelScope | None = None
        self.wake_ns = self._next_tick_ns = self._next_flush_ns = clock.monotonic_ns()
        """When, on the monotonic clock, the group has to look at the time if nothing wakes it."""

    # -- doors ------------------------------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        return self.status.role is Role.LEADER

    @property
    def leader(self) -> NodeId:
        """The present leader, 0 if unknown."""
        return self.status.leader

    @property
    def _leading_term(self) -> int:
        """The term in which this node leads, 0 if it does not."""
        return self.status.term if self.is_leader else 0

    def progress(self) -> Status:
        """Where the core stands this moment: indexes, and what a leader knows of the others."""
        return self._ready.core.status()

    async def submit(
        self, operation: ClientOperation | OpenSession, timeout_seconds: float
    ) -> Reply:
        """Propose a client's operation and wait until this node has applied it.

        Asking again with the same session and sequence joins the same outcome.

        Raises:
            DeadlineExceeded: no outcome in time; it may still happen.
            Overloaded: refused by a limit; nothing happened.
        """
        waiting = self.ask(operation, timeout_seconds)
        try:
            return await waiting.promise.wait()
        finally:
            self.leave(operation, waiting)

    def ask(self, operation: ClientOperation | OpenSession, timeout_seconds: float) -> Waiting:
        """``submit`` without waiting: the promise of what is returned is settled with the reply.
        Whoever waits no longer, for whatever reason, says so with ``leave``.

        Raises:
            Overloaded: as ``submit``.
        """
        key = _key_of(operation)
        now = self._clock.monotonic_ns()
        # Deadlines are looked at once per tick: a cancel scope for each request costs more than it.
        deadline = now + int(timeout_seconds * NANOSECONDS)
        waiting = self._proposals.join(key, deadline)
        if waiting is None:
            encoded = encode(operation)
            self.mailbox.put_nowait(encoded)
            waiting = self._proposals.add(key, encoded, now, deadline, self._leading_term)
        return waiting

    def leave(self, operation: ClientOperation | OpenSession, waiting: Waiting) -> None:
        """The end of an ``ask``."""
        self._proposals.leave(_key_of(operation), waiting)

    def propose(self, operation: bytes) -> None:
        """Propose an operation of the engine's own. Whoever asks looks at the machine for the
        outcome, and proposes again if there is none: for that, a full mailbox loses it as well as
        a lost message does.
        """
        with suppress(Overloaded):
            self.mailbox.put_nowait(operation)

    async def barrier(self, timeout_seconds: float) -> None:
        """Return once this node's state is at least as new as everything acknowledged anywhere
        before this call: what is read then is linearizable.

        Raises:
            Unavailable: no leader with a quorum confirmed it in time; nothing happened.
        """
        promise = self.ask_barrier()
        try:
            with trio.move_on_after(timeout_seconds):
                return await promise.wait()
        finally:
            promise.set(None)  # settled, it is not asked for again
        raise Unavailable(f"{self.name}: no quorum confirmed a read within {timeout_seconds:g} s")

    def ask_barrier(self) -> Promise[None]:
        """``barrier`` without waiting. To give up, settle the promise."""
        promise: Promise[None] = Promise()
        self.mailbox.put_nowait(_Barrier(promise))
        return promise

    def receive(self, sender: NodeId, envelope: GroupEnvelope) -> None:
        """A peer's envelope arrived. A full mailbox drops it, which Raft repairs."""
        try:
            self.mailbox.put_nowait(_FromPeer(sender, envelope))
        except Overloaded:
            return

    # -- tasks ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Handle the mailbox until the log fails; first what was committed before a restart."""
        # The log itself has told the node that it failed, and here nothing may follow from it.
        with suppress(StoragePoisoned):
            self.begin()
            while True:
                self.process(await self.mailbox.drain())

    async def pulse(self) -> None:
        """Wake the group for its next tick, and in between for a timer of the machine."""
        while True:
            self.wake()
            # The group sets the alarm anew each time it has handled its mailbox.
            with trio.CancelScope() as self._alarm:
                await trio.sleep_forever()

    def wake(self) -> None:
        """Let the group look at the time."""
        self.mailbox.put_always(_Alarm())

    def flush(self) -> None:
        """Bring the state file up to what is applied, in the background."""
        if self.state.applied_index < self.applied:
            self.hand_over_rows()
            self.state.flush(self._flushed)

    def _flush_if_due(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns >= self._next_flush_ns:
            self._next_flush_ns = now_ns + _STATE_FLUSH_NS
            self.flush()

    async def next_flush(self) -> None:
        """Return when the state file has been written the next time, which is soon if there is
        something to write, for whoever waits need not wait for the interval.
        """
        written = self._flush
        self.flush()
        await written.wait()

    def _flushed(self) -> None:
        flush, self._flush = self._flush, Promise()
        flush.set(None)

    def hand_over_rows(self) -> None:
        """Make the rows of the state store as new as the machine; they need not reach the disk."""
        self.state.write(self.machine.take_writes(), self.applied)

    # -- one batch --------------------------------------------------------------------------------

    def _later(self, event: Event) -> None:
        self.mailbox.put_always(_Completion(event))

    def begin(self) -> None:
        """Act on what was committed before a restart. Comes first, and once."""
        self._act(self._ready.step(()), _Gathered())

    def process(self, messages: Sequence[_Message]) -> None:
        """Handle everything that the mailbox held.

        Raises:
            StoragePoisoned: the log has failed before; nothing may follow from this batch.
        """
        gathered = _Gathered()
        for message in messages:
            match message:
                case bytes():
                    gathered.operations.append(message)
                case _FromPeer(sender=sender, envelope=envelope):
                    self._gather(gathered, sender, envelope)
                case _Completion(event=event):
                    gathered.events.append(event)
                case _Barrier(promise=promise):
                    self._reads.add_local(promise)
                case _Alarm():
                    pass
                case _LeaderKnown():
                    self._repair(gathered, 0)
                case _:
                    assert_never(message)
        ticked = self._is_time_to_tick()
        if ticked:
            gathered.events.append(Tick())  # last: the news of this batch may end a silence
            self._repair(gathered, RESEND_SECONDS)
        self._ask_for_reads(gathered)
        self._direct(gathered)
        self._act(self._ready.step(gathered.events), gathered)
        if ticked:
            self._on_tick()
            self._flush_if_due()
        self._set_alarm()

    def _is_time_to_tick(self) -> bool:
        """Whether this batch ticks. One that is handled shortly before its time does, for waking is
        most of what an idle node costs: a follower's ticks come to ride on the heartbeats.
        """
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._next_tick_ns - _TICK_EARLY_NS:
            return False
        # A stalled process owes no past ticks: all at once they would start elections.
        self._next_tick_ns = max(self._next_tick_ns, now_ns - _TICK_NS) + _TICK_NS
        return True

    def _gather(self, gathered: _Gathered, sender: NodeId, envelope: GroupEnvelope) -> None:
        match envelope:
            case RaftEnvelope(message=message):
                gathered.events.append(Receive(sender, message))
            case Forward(operations=operations):
                gathered.forwarded.extend(operations)
                gathered.senders[sender] = None
            case ReadAsk(token=token):
                self._reads.add_remote(sender, token)
            case ReadAnswer(token=token, index=index):
                if index < 0:
                    self._reads.refuse(token)
                else:
                    self._answer_reads(self._reads.answer(token, index, self.applied), index)
            case _:
                assert_never(envelope)

    def _repair(self, gathered: _Gathered, older_than_seconds: float) -> None:
        """Ask again for what has had no answer for long: a message was lost, or a leader."""
        now, age = self._clock.monotonic_ns(), int(older_than_seconds * NANOSECONDS)
        self._proposals.expire(now)
        gathered.operations.extend(self._proposals.stale(now, age, self._leading_term))
        self._answer_reads(self._reads.refuse_older(now - age), -1)

    def _ask_for_reads(self, gathered: _Gathered) -> None:
        if not self.is_leader:
            self._answer_reads(self._reads.take_remote(), -1)
        if self._reads.has_new and self.leader:
            token = self._reads.take(self._clock.monotonic_ns())
            if self.is_leader:
                gathered.events.append(ReadIndex(token))
            else:
                self._send(self.leader, ReadAsk(self.group, token))

    def _direct(self, gathered: _Gathered) -> None:
        """Turn operations into a proposal if this node leads, else send its own to who does.

        Without a known leader they are dropped here: whoever asked proposes them again when one is
        known. What others forwarded to a node that does not lead is theirs to send elsewhere.
        """
        if self.is_leader:
            operations = gathered.operations + gathered.forwarded
            if operations or self._is_timer_due():
                payloads = tuple(map(self._batch, _chunks(operations))) or (self._batch(()),)
                gathered.events.append(Propose(_PROPOSAL_TOKEN, payloads))
        elif self.leader:
            for chunk in _chunks(gathered.operations):
                self._send(self.leader, Forward(self.group, tuple(chunk)))

    def _batch(self, operations: Sequence[bytes]) -> bytes:
        self._stamp_ns = max(self._stamp_ns, self.clock.stamp(), self.machine.clock_ns)
        return encode_batch(self._stamp_ns, operations)

    # -- consequences -----------------------------------------------------------------------------

    def _act(self, effects: Effects, gathered: _Gathered) -> None:
        for _, _, _, last in effects.accepted:
            if gathered.senders:
                self._waiting_peers[last] = tuple(gathered.senders)
        for token, reason in effects.refused:
            self._refused(token, reason, gathered)
        for token, index in effects.reads:
            self._answer_reads(self._reads.answer(token, index, self.applied), index)
        if effects.committed:
            self._apply(effects.committed)
        if effects.status_changed:
            self._status_changed()

    def _refused(self, token: int, reason: RefusalReason, gathered: _Gathered) -> None:
        if token != _PROPOSAL_TOKEN:
            self._answer_reads(self._reads.refuse(token), -1)
        elif reason is RefusalReason.OVERLOADED:
            self._proposals.overloaded(frozenset(gathered.operations))
            self._stamp_ns = 0  # the stamp never made it into the log: timers must ask again

    def _answer_reads(self, remote: list[RemoteRead], index: int) -> None:
        for peer, token in remote:
            self._send(peer, ReadAnswer(self.group, token, index))

    def _apply(self, entries: list[Entry]) -> None:
        share: dict[NodeId, None] = {}
        for entry in entries:
            assert entry.index == self.applied + 1, "entries are applied in order, each once"
            if entry.kind is EntryKind.PAYLOAD:
                outcome = self.machine.apply(entry.index, entry.term, decode_batch(entry.data))
                if self._witness is not None:
                    self._witness.applied(entry, outcome)
                self._proposals.settle(outcome.replies)
                self.applied = entry.index
                if outcome.notices:
                    self._on_notices(outcome.notices)
                    share.update(dict.fromkeys(self._awaited_at(outcome.notices)))
            self.applied = entry.index
            if self._waiting_peers:
                share.update(dict.fromkeys(self._waiting_peers.pop(entry.index, ())))
        self._reads.applied(self.applied)
        if share and self.is_leader:
            self._act(self._ready.step((ShareCommit(tuple(share)),)), _Gathered())
        if not self.is_leader:
            self.clock.follow(self.machine.clock_ns)

    def _awaited_at(self, notices: Sequence[Notice]) -> Iterator[NodeId]:
        """The other nodes that have work to do after this, and need not wait for a heartbeat to
        learn of it.
        """
        for notice in notices:
            if isinstance(notice, InboxGrew | StepsDue | OwnerChanged):
                run = self.machine.runs.get(notice.run_id)
                if run is not None and run.owner not in (0, self.leader):
                    yield run.owner

    def _status_changed(self) -> None:
        before, self.status = self.status, self._ready.core.status()
        if (before.term, before.leader) == (self.status.term, self.status.leader):
            return
        self._observer(LeaderChanged(self.group, self.status.term, self.status.leader))
        self._stamp_ns = 0
        self._waiting_peers.clear()
        if self.status.leader:
            self.mailbox.put_always(_LeaderKnown())
        self._on_leader()

    def _set_alarm(self) -> None:
        """Wake the group for its next tick, or for the next timer if that is before.

        A timer that no batch was stamped for since this node leads, or since the last was refused,
        is asked for with the next batch, or tick.
        """
        now_ns = self._clock.monotonic_ns()
        wake_ns = self._next_tick_ns
        due_ns = self.machine.next_due_ns
        if due_ns is not None and self.is_leader and 0 < self._stamp_ns < due_ns:
            wake_ns = min(wake_ns, now_ns + max(0, due_ns - self.clock.now_ns()))
        self.wake_ns = wake_ns
        if self._alarm is not None:
            self._alarm.deadline = trio.current_time() + (wake_ns - now_ns) / NANOSECONDS

    def _is_timer_due(self) -> bool:
        """A timer is due, and no batch with a stamp that late is under way yet."""
        due_ns = self.machine.next_due_ns
        return due_ns is not None and self._stamp_ns < due_ns <= self.clock.now_ns()


def _key_of(operation: ClientOperation | OpenSession) -> tuple[SessionId, int]:
    sequence = operation.sequence if isinstance(operation, ClientOperation) else 0
    return operation.session, sequence


def _chunks(operations: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Split into runs that respect the limits of a batch; a single larger operation stays whole."""
    chunk: list[bytes] = []
    size = 0
    for operation in operations:
        if chunk and (
            size + len(operation) > BATCH_BYTES_MAX or len(chunk) >= BATCH_OPERATIONS_MAX
        ):
            yield chunk
            chunk, size = [], 0
        chunk.append(operation)
        size += len(operation)
    if chunk:
        yield chunk
