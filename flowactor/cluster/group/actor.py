"""The group actor: one Raft group on this node, and the machine its log drives.

Everything that concerns the group passes through its mailbox and is handled in one place,
``process``: the batch becomes Raft events, one step of the core, and the consequences of that
step. What can be seen from outside (the machine, the applied index) changes only there, between two
checkpoints, so anybody on the event loop sees a consistent whole.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, assert_never, cast

import trio

from flowactor.actors import Mailbox, Overflow, Promise
from flowactor.cluster.group.compaction import Compaction
from flowactor.cluster.group.driven import Asked, M, Outcome, concerned, key_of
from flowactor.cluster.group.durable import Log, State, States
from flowactor.cluster.group.log_clock import LogClock
from flowactor.cluster.group.mail import (
    Alarm,
    AskAgain,
    Barrier,
    Completion,
    Deferred,
    FromPeer,
    Gathered,
    Mail,
    chunks,
)
from flowactor.cluster.group.proposals import Proposals, Waiting
from flowactor.cluster.group.reads import Reads, RemoteRead
from flowactor.cluster.group.ready import Ready
from flowactor.cluster.group.sending import Pace
from flowactor.cluster.group.snapshots import Snapshots
from flowactor.cluster.group.ticking import Ticking
from flowactor.cluster.group.witness import AnyMachine, Witness
from flowactor.cluster.protocol.envelopes import (
    Forward,
    GroupEnvelope,
    RaftEnvelope,
    ReadAnswer,
    ReadAsk,
    SnapshotEnvelope,
)
from flowactor.codec.records import decode, encode
from flowactor.errors import Overloaded, StorageError, StoragePoisoned, Unavailable
from flowactor.identity import GroupId, NodeId
from flowactor.limits import (
    ELECTION_TICKS_MAX,
    MAILBOX_MESSAGES_MAX,
    NANOSECONDS,
    RESEND_SECONDS,
    STATE_FLUSH_SECONDS,
)
from flowactor.machine import Machine
from flowactor.machine.operations import decode_batch, encode_batch
from flowactor.management import Management
from flowactor.observability.events import LeaderChanged, Observer, SnapshotInstalled
from flowactor.ports import Clock, RowReader
from flowactor.raft import (
    ChangeConfiguration,
    Configuration,
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
    Snapshot,
    Status,
    Tick,
    TransferLeadership,
    Wake,
)

__all__ = ["ExecutionGroup", "GroupActor", "ManagementGroup"]

_STATE_FLUSH_NS: Final = int(STATE_FLUSH_SECONDS * NANOSECONDS)

_PROPOSAL_TOKEN: Final = 0
"""Every step proposes at most once; reads count their tokens from 1."""
_ASIDE_TOKEN: Final = -1
"""Of what nobody waits for."""


class GroupActor(Generic[M]):
    """One group on one node.

    Args:
        group: its id.
        core: restored from the log.
        machine: restored from the rows of ``states.current``.
        states: the stored state, and what may come in its place.
        restore: the machine of such rows.
        log: the durable log of all groups.
        send: queues an envelope for a peer; never blocks.
        clock: of this node; stamps batches while it leads.
        on_notices: told what applying changed, in order; must not wait.
        on_tick: called on every tick, after it was handled; must not wait.
        on_leader: called when another leader, or none, is known; must not wait.
        on_restored: told which machine another has replaced: it skipped entries of which there are
            no notices; must not wait.
        on_failure: told what is wrong with the disk.
        observer: told of changes of leadership, and of what becomes of log and state.
        is_alive: whether a node was heard of late, whatever it said.
        is_busy: whether who lives on the group has more to do, and needs its ticks for that.
        compaction: when the log is cut; ``pace``: says how fast the state is sent now.
        witness: sees each step of the core, and each entry that is applied.

    Attributes:
        machine, state: what is applied, and its rows. Both are replaced when the leader sends its
            own: do not keep them.
        status: of the core, when it last changed; ``is_leader``: of it, as is asked all the time.
        ticking: says when the group looks at the time.
    """

    def __init__(
        self,
        group: GroupId,
        *,
        core: Raft,
        machine: M,
        states: States,
        restore: Callable[[RowReader], M],
        log: Log,
        send: Callable[[NodeId, GroupEnvelope], None],
        clock: Clock,
        on_notices: Callable[[Sequence[Any]], None],
        on_tick: Callable[[], None],
        on_leader: Callable[[], None],
        on_restored: Callable[[M], None],
        on_failure: Callable[[StorageError], None],
        observer: Observer,
        is_alive: Callable[[NodeId], bool] = lambda _: False,
        is_busy: Callable[[], bool] = lambda: False,
        compaction: Compaction = Compaction(),  # noqa: B008  # frozen
        pace: Callable[[], Pace] = Pace,
        witness: Witness | None = None,
    ) -> None:
        self.group: Final = group
        self.name: Final = f"group {group}"
        self.mailbox: Final[Mailbox[Mail]] = Mailbox(
            self.name, MAILBOX_MESSAGES_MAX, Overflow.REFUSE
        )
        self.machine: M = machine
        self.state: State = states.current
        self.applied = self.state.applied_index
        self.status: Status = core.status()
        self.is_leader = self.status.role is Role.LEADER
        self.clock: Final = LogClock(clock, machine.clock_ns)
        self._ready: Final = Ready(group, core, log, send, self._later, on_failure, witness)
        self._snapshots: Final = Snapshots(
            group,
            log=log,
            states=states,
            flush=self._flush_for_copy,
            send=send,
            later=self.afterwards,
            tell=self._later,
            clock=clock,
            failed=on_failure,
            observer=observer,
            compaction=compaction,
            pace=pace,
        )
        self._restore: Final = restore
        self._send: Final = send
        self._clock: Final = clock
        self._on_notices: Final = on_notices
        self._on_tick: Final = on_tick
        self._on_leader: Final = on_leader
        self._on_restored: Final = on_restored
        self._is_alive: Final = is_alive
        self._is_busy: Final = is_busy
        self._observer: Final = observer
        self._witness: Final = witness
        self._proposals: Final = Proposals()
        self._reads: Final = Reads()
        self._waiting_peers: Final[dict[int, tuple[NodeId, ...]]] = {}  # by index of their entry
        self._stamp_ns = 0
        self._flush: Promise[None] = Promise()
        self.ticking: Final = Ticking(clock)
        self._next_flush_ns = clock.monotonic_ns()

    # -- doors ------------------------------------------------------------------------------------

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

    async def submit(self, operation: Asked, timeout_seconds: float) -> Any:
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

    def ask(self, operation: Asked, timeout_seconds: float) -> Waiting:
        """``submit`` without waiting: the promise of what is returned is settled with the reply.
        Whoever waits no longer, for whatever reason, says so with ``leave``.

        Raises:
            Overloaded: as ``submit``.
        """
        key = key_of(operation)
        now = self._clock.monotonic_ns()
        # Deadlines are looked at once per tick: a cancel scope for each request costs more than it.
        deadline = now + int(timeout_seconds * NANOSECONDS)
        waiting = self._proposals.join(key, deadline)
        if waiting is None:
            encoded = encode(operation)
            self.mailbox.put_nowait(encoded)
            waiting = self._proposals.add(key, encoded, now, deadline, self._leading_term)
        return waiting

    def leave(self, operation: Asked, waiting: Waiting) -> None:
        """The end of an ``ask``."""
        self._proposals.leave(key_of(operation), waiting)

    def propose(self, operation: bytes) -> None:
        """Propose an operation of the engine's own. Whoever asks looks at the machine for the
        outcome, and proposes again if there is none: for that, a full mailbox loses it as well as
        a lost message does.
        """
        with suppress(Overloaded):
            self.mailbox.put_nowait(operation)

    def change(self, members: Configuration) -> None:
        """Bring the group to these members, if this node leads and no other change is under way;
        whoever asks looks at ``progress`` for the outcome.
        """
        self._later(ChangeConfiguration(_ASIDE_TOKEN, members))

    def transfer(self, to: NodeId) -> None:
        """As ``change``: hand the lead to a voter, 0 being the best."""
        self._later(TransferLeadership(_ASIDE_TOKEN, to))

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
        self.mailbox.put_nowait(Barrier(promise))
        return promise

    def receive(self, sender: NodeId, envelope: GroupEnvelope) -> None:
        """A peer's envelope arrived. A full mailbox drops it, which Raft repairs."""
        try:
            self.mailbox.put_nowait(FromPeer(sender, envelope))
        except Overloaded:
            return

    def stir(self, node: NodeId, silent_ticks: int) -> None:
        """A node is gone, or is back; for so many ticks nothing came from it. If that concerns the
        group once it has handled what came before, it wakes and sees for itself.
        """
        self.afterwards(partial(self._stirred, Wake(node, silent_ticks)))

    def afterwards(self, action: Callable[[], None]) -> None:
        """Do something after what is under way here."""
        self.mailbox.put_always(Deferred(action))

    def _stirred(self, wake: Wake) -> None:
        status = self.status
        if wake.silent_ticks and self._is_alive(wake.node):
            return  # this waited here for longer than the silence lasted
        if wake.node == status.leader or (
            self.is_leader and wake.node in status.configuration.members
        ):
            self._later(wake)

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
        await self.ticking.pulse(self.wake)

    def wake(self) -> None:
        """Let the group look at the time."""
        self.mailbox.put_always(Alarm())

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
        """Return when the state file has been written the next time: soon, if there is anything."""
        written = self._flush
        self.flush()
        await written.wait()

    def _flushed(self) -> None:
        flush, self._flush = self._flush, Promise()
        flush.set(None)

    def _flush_for_copy(self, done: Callable[[], None]) -> None:
        self.hand_over_rows()
        if self._witness is not None:
            self._witness.copying(self.applied)
        self.state.flush(done)

    def hand_over_rows(self) -> None:
        """Make the rows of the state store as new as the machine; they need not reach the disk."""
        self.state.write(self.machine.take_writes(), self.applied)

    # -- one batch --------------------------------------------------------------------------------

    def _later(self, event: Event) -> None:
        self.mailbox.put_always(Completion(event))

    def begin(self) -> None:
        """Act on what was committed before a restart. Comes first, and once."""
        self._act(self._ready.step(()), Gathered())

    def process(self, messages: Sequence[Mail]) -> None:
        """Handle everything that the mailbox held.

        Raises:
            StoragePoisoned: the log has failed before; nothing may follow from this batch.
        """
        gathered = Gathered()
        for message in messages:
            match message:
                case bytes():
                    gathered.operations.append(message)
                case FromPeer(sender=sender, envelope=envelope):
                    self._gather(gathered, sender, envelope)
                case Completion(event=event):
                    gathered.events.append(event)
                case Barrier(promise=promise):
                    self._reads.add_local(promise)
                case Deferred(action=action):
                    gathered.afterwards.append(action)
                case Alarm():
                    pass
                case AskAgain():
                    self._repair(gathered, 0)
                case _:
                    assert_never(message)
        ticked = self.ticking.is_due()
        if ticked:
            if not self.status.quiet:
                gathered.events.append(Tick())  # last: the news of this batch may end a silence
            self._repair(gathered, RESEND_SECONDS)
        if self._reads.has_new:
            self._ask_for_reads(gathered)
        self._direct(gathered)
        self._act(self._ready.step(gathered.events), gathered)
        for action in gathered.afterwards:
            action()
        if ticked:
            self._snapshots.tick(self._ready.core.status(), self.applied)
            self._on_tick()
            self._flush_if_due()
        self._set_alarm()

    def _gather(self, gathered: Gathered, sender: NodeId, envelope: GroupEnvelope) -> None:
        match envelope:
            case RaftEnvelope(message=message):
                if self._snapshots.admits(message, self._ready.core.commit_index):
                    gathered.events.append(Receive(sender, message))
            case Forward(operations=operations):
                gathered.forwarded.extend(operations)
                gathered.senders[sender] = None
            case ReadAsk(token=token):
                self._reads.add_remote(sender, token)
            case ReadAnswer(token=token, index=index):
                # Who does not lead may know better in a while; ``_repair`` asks again.
                if index >= 0:
                    self._answer_reads(self._reads.answer(token, index, self.applied), index)
            case _:
                gathered.afterwards.append(partial(self._take, sender, envelope))

    def _take(self, sender: NodeId, envelope: SnapshotEnvelope) -> None:
        self._snapshots.take(sender, envelope, self._ready.core.status())

    def _repair(self, gathered: Gathered, older_than_seconds: float) -> None:
        """Ask again for what has had no answer for long: a message was lost, or a leader."""
        now, age = self._clock.monotonic_ns(), int(older_than_seconds * NANOSECONDS)
        self._proposals.expire(now)
        gathered.operations.extend(self._proposals.stale(now, age, self._leading_term))
        self._answer_reads(self._reads.refuse_older(now - age), -1)

    def _ask_for_reads(self, gathered: Gathered) -> None:
        if not self.is_leader:
            self._answer_reads(self._reads.take_remote(), -1)
        if self._reads.has_new and self.leader:
            token = self._reads.take(self._clock.monotonic_ns())
            if self.is_leader:
                gathered.events.append(ReadIndex(token))
            else:
                self._send(self.leader, ReadAsk(self.group, token))

    def _direct(self, gathered: Gathered) -> None:
        """Turn operations into a proposal if this node leads, else send its own to who does.

        Without a known leader they are dropped here: whoever asked proposes them again when one is
        known. What others forwarded to a node that does not lead is theirs to send elsewhere.
        """
        if self.is_leader:
            operations = gathered.operations + gathered.forwarded
            if operations or self._is_timer_due():
                payloads = tuple(map(self._batch, chunks(operations))) or (self._batch(()),)
                gathered.events.append(Propose(_PROPOSAL_TOKEN, payloads))
        elif gathered.operations and self.leader:
            for chunk in chunks(gathered.operations):
                self._send(self.leader, Forward(self.group, tuple(chunk)))

    def _batch(self, operations: Sequence[bytes]) -> bytes:
        self._stamp_ns = max(self._stamp_ns, self.clock.stamp(), self.machine.clock_ns)
        return encode_batch(self._stamp_ns, operations)

    # -- consequences -----------------------------------------------------------------------------

    def _act(self, effects: Effects, gathered: Gathered) -> None:
        for token, _, _, last in effects.accepted:
            if gathered.senders and token == _PROPOSAL_TOKEN:
                self._waiting_peers[last] = tuple(gathered.senders)
        for token, reason in effects.refused:
            self._refused(token, reason, gathered)
        for token, index in effects.reads:
            self._answer_reads(self._reads.answer(token, index, self.applied), index)
        self._snapshots.stepped(effects)
        if effects.restored is not None:
            self._replace(effects.restored)
        if effects.committed:
            self._apply(effects.committed)
        if effects.status_changed:
            self._status_changed()

    def _refused(self, token: int, reason: RefusalReason, gathered: Gathered) -> None:
        if token > _PROPOSAL_TOKEN:
            self._answer_reads(self._reads.refuse(token), -1)
        elif token == _PROPOSAL_TOKEN:
            self._stamp_ns = 0  # the stamp never made it into the log: timers must ask again
            self._proposals.refused(reason, frozenset(gathered.operations))

    def _answer_reads(self, remote: list[RemoteRead], index: int) -> None:
        for peer, token in remote:
            self._send(peer, ReadAnswer(self.group, token, index))

    def _replace(self, snapshot: Snapshot) -> None:
        """The leader's state, as of this snapshot, is ours now, durably."""
        before, self.state = self.machine, self._snapshots.replace()
        self.machine = self._restore(self.state)
        self.applied = self.state.applied_index
        assert self.applied == snapshot.index, "the state is the one that was installed"
        self.clock.follow(self.machine.clock_ns)
        if self._witness is not None:
            self._witness.restored(snapshot, cast("AnyMachine", self.machine))
        self._observer(SnapshotInstalled(self.group, snapshot.index))
        self._reads.applied(self.applied)
        self._flushed()  # whoever waits for the old state to be stored looks at this one
        self.mailbox.put_always(AskAgain())
        self._on_restored(before)

    def _apply(self, entries: list[Entry]) -> None:
        share: dict[NodeId, None] = {}
        for entry in entries:
            assert entry.index == self.applied + 1, "entries are applied in order, each once"
            outcome = self._outcome_of(entry)
            if outcome is not None:
                if self._witness is not None:
                    self._witness.applied(entry, outcome)
                self._proposals.settle(outcome.replies)
                self.applied = entry.index
                if outcome.notices:
                    self._on_notices(outcome.notices)
                    busy = concerned(self.machine, outcome.notices, self.leader)
                    share.update(dict.fromkeys(busy))
            self.applied = entry.index
            if self._waiting_peers:
                share.update(dict.fromkeys(self._waiting_peers.pop(entry.index, ())))
        self._reads.applied(self.applied)
        if share and self.is_leader:
            self._act(self._ready.step((ShareCommit(tuple(share)),)), Gathered())
        if not self.is_leader:
            self.clock.follow(self.machine.clock_ns)

    def _outcome_of(self, entry: Entry) -> Outcome | None:
        match entry.kind:
            case EntryKind.PAYLOAD:
                return self.machine.apply(entry.index, entry.term, decode_batch(entry.data))
            case EntryKind.CONFIGURATION:
                members: Configuration = decode(entry.data)
                # While both count, nobody loses what it has.
                voters = tuple(sorted({*members.voters, *members.outgoing}))
                return self.machine.configured(entry.index, voters)
            case EntryKind.BLANK:
                return None
            case _:
                assert_never(entry.kind)

    def _status_changed(self) -> None:
        before, self.status = self.status, self._ready.core.status()
        self.is_leader = self.status.role is Role.LEADER
        if not self.is_leader:
            self._snapshots.follow()
        if self.status.quiet and self._is_incomplete():
            self._later(Wake())
        if (before.term, before.leader) == (self.status.term, self.status.leader):
            return
        self._observer(LeaderChanged(self.group, self.status.term, self.status.leader))
        self._stamp_ns = 0
        self._waiting_peers.clear()
        if self.status.leader:
            self.mailbox.put_always(AskAgain())
        self._on_leader()

    def _is_incomplete(self) -> bool:
        """Whether a member was given up whose node is alive: nobody says when its replica comes."""
        peers = self._ready.core.status().peers
        lost = [peer for peer, known in peers if known.ticks_silent >= ELECTION_TICKS_MAX]
        return any(map(self._is_alive, lost))

    def _may_rest(self) -> bool:
        """Whether nothing here needs time to pass. What falls due has an alarm of its own."""
        if not self.status.quiet or len(self._proposals) or self._reads.is_waiting:
            return False
        return self.state.applied_index == self.applied and not self._is_busy()

    def _set_alarm(self) -> None:
        """Wake the group for its next tick, unless it rests, or for the next timer if that is
        before.

        A timer that no batch was stamped for since this node leads, or since the last was refused,
        is asked for with the next batch, or tick.
        """
        rests, left_ns = self._may_rest(), None
        if self.is_leader:
            due_ns = self.machine.next_due_ns
            if due_ns is not None and (rests or 0 < self._stamp_ns < due_ns):
                left_ns = due_ns - self.clock.now_ns()
        self.ticking.set_alarm(rests=rests, left_ns=left_ns)

    def _is_timer_due(self) -> bool:
        """A timer is due, and no batch with a stamp that late is under way yet."""
        due_ns = self.machine.next_due_ns
        return due_ns is not None and self._stamp_ns < due_ns <= self.clock.now_ns()


ExecutionGroup = GroupActor[Machine]
"""A group of runs and variables."""
ManagementGroup = GroupActor[Management]
"""Group 0."""
