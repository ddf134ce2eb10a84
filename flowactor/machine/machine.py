"""The execution state machine of one group: the committed log in, replies and notices out."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from types import MappingProxyType
from typing import assert_never

from flowactor.codec import records
from flowactor.errors import StorageRefused
from flowactor.identity import NodeId, RunId, SessionId, Slot
from flowactor.limits import SCHEMA_VERSION
from flowactor.machine.advance import apply_advance
from flowactor.machine.ahead import Ahead
from flowactor.machine.handoff import (
    ActivateSlots,
    ExpectSlots,
    ForgetSlots,
    FreezeSlots,
    ImportRows,
    Progress,
    ReleaseMove,
)
from flowactor.machine.history import Journal
from flowactor.machine.ledger import Ledger
from flowactor.machine.lifecycle import Lifecycle
from flowactor.machine.moving import Move, Moving
from flowactor.machine.notices import Applied, Notice, VariableChanged
from flowactor.machine.operations import (
    Advance,
    AnnounceNode,
    Batch,
    CancelRun,
    ClientBody,
    ClientOperation,
    CompareAndSet,
    DrainNode,
    FailAttempt,
    OpenSession,
    OtherOperation,
    ParkRun,
    ReassignRuns,
    ResumeRun,
    SignalRun,
    StartRun,
    TerminateRun,
    WriteVariable,
)
from flowactor.machine.ownership import Ownership
from flowactor.machine.replies import Moved, Reply
from flowactor.machine.sessions import Session, Sessions
from flowactor.machine.slots import ALL_SLOTS, NOBODY, Placement, Slots
from flowactor.machine.state import NodeState, RunState, RunSummary, Variable
from flowactor.machine.steps import fail_attempt, retry
from flowactor.machine.tables import META_KEY
from flowactor.machine.timers import Due, DueKind
from flowactor.machine.variables import Variables
from flowactor.ports import RowReader, RowWrite

__all__ = ["Machine"]


class Machine:
    """Runs, variables, sessions and nodes of one group, as the log applied so far leaves them.

    Two machines that applied the same entries are equal, whatever happened between: restored from
    rows or not, rows taken often or never. Nothing here reads a clock or rolls dice.

    Args:
        voters: the nodes that may own runs in a new group; not looked at where rows know better.
        rows: the rows that earlier ``take_writes`` handed out; empty for a new group.
        slots: those that a new group serves: all, or none if others serve them yet.

    Raises:
        StorageRefused: the rows are of a schema that this version does not know.
    """

    def __init__(
        self, voters: tuple[NodeId, ...], rows: RowReader, slots: Sequence[Slot] = ALL_SLOTS
    ) -> None:
        schema, clock_ns, chain = rows.get("meta", META_KEY) or (SCHEMA_VERSION, 0, b"")
        if schema != SCHEMA_VERSION:
            raise StorageRefused(
                f"the state is of schema {schema}, this version knows {SCHEMA_VERSION}"
            )
        self._clock_ns: int = clock_ns
        ahead = self._ahead = Ahead(rows)
        self._journal = Journal(chain)
        self._slots = Slots(ahead, slots)
        self._ledger = Ledger(ahead, self._slots, self._journal, clock_ns)
        self._ownership = Ownership(self._ledger, ahead, voters)
        self._lifecycle = Lifecycle(self._ledger, self._ownership)
        self._sessions = Sessions(ahead)
        self._variables = Variables(ahead)
        self._moving = Moving(
            ahead,
            slots=self._slots,
            ledger=self._ledger,
            ownership=self._ownership,
            sessions=self._sessions,
            variables=self._variables,
            prepare=self._look_ahead,
        )
        self._replies: list[tuple[SessionId, int, Reply]] = []
        self._changed = False
        self.runs: Mapping[RunId, RunState] = MappingProxyType(self._ledger.open)
        """Open runs, for reading."""
        self.nodes: Mapping[NodeId, NodeState] = MappingProxyType(self._ledger.nodes)
        """What each node announced, for reading."""
        self.moves: Mapping[int, Move] = self._moving.moves
        """Moves of slots that are not finished in this group, for reading."""

    # -- applying ---------------------------------------------------------------------------------

    def apply(self, index: int, term: int, batch: Batch) -> Applied:
        """Apply the committed log entry at ``index``, proposed in ``term``: first what has fallen
        due by its stamp, then its operations in order, then what these made due at once.
        """
        self._clock_ns = max(self._clock_ns, batch.stamp_ns)
        self._ledger.clock_ns = self._clock_ns
        self._journal.begin(index, self._clock_ns)
        self._changed = True
        self._sessions.expire(self._clock_ns)
        self._fire_due()
        for operation, kept in zip(batch.operations, batch.kept, strict=True):
            if isinstance(operation, Advance):
                apply_advance(self._ledger, operation, kept)
            else:
                self._perform(operation, term)
        # An activation that took long to be recorded may have set timers that are due already. The
        # leader counts on it that a batch fires all that its stamp reaches.
        self._fire_due()
        self._journal.end()
        return Applied(tuple(self._take_replies()), tuple(self._take_notices()))

    def configured(self, index: int, voters: tuple[NodeId, ...]) -> Applied:
        """Apply the configuration at ``index``, in order with the batches: only these nodes may own
        runs from here on, so the runs of others are given away, or parked if nobody has their code.
        """
        self._journal.begin(index, self._clock_ns)
        self._changed = True
        self._ownership.configure(voters)
        self._journal.end()
        return Applied((), tuple(self._take_notices()))

    def _fire_due(self) -> None:
        while due := self._ledger.due.pop(self._clock_ns):
            self._fire(due)

    def _fire(self, due: Due) -> None:
        due_ns, run_id, kind, key = due
        run = self._ledger.open[run_id]
        if not key:
            self._lifecycle.time_out(run)
        elif kind is DueKind.TIMER:
            self._ledger.fire_timer(run, key, due_ns)
        else:
            retry(self._ledger, run, key)

    def _perform(self, operation: OtherOperation, term: int) -> None:
        match operation:
            case ClientOperation():
                self._perform_once(operation)
            case FailAttempt():
                fail_attempt(self._ledger, operation)
            case OpenSession(session):
                reply = self._sessions.open(operation, self._clock_ns)
                self._replies.append((session, 0, reply))
            case ParkRun():
                self._ownership.park(operation)
            case AnnounceNode():
                self._ownership.announce(operation)
            case ReassignRuns():
                self._ownership.reassign(operation, term)
            case DrainNode():
                self._ownership.drain(operation)
            case (
                FreezeSlots()
                | ExpectSlots()
                | ImportRows()
                | ActivateSlots()
                | ReleaseMove()
                | ForgetSlots()
            ):
                self._moving.perform(operation)
            case _:
                assert_never(operation)

    def _perform_once(self, operation: ClientOperation) -> None:
        admitted = self._sessions.admit(operation, self._clock_ns)
        reply: Reply
        if not isinstance(admitted, Session):
            reply = admitted
        elif not self._slots.whole and (moved := self._elsewhere(operation.body)):
            reply = moved
        else:
            reply = self._request(operation.body)
            admitted.remember(operation.sequence, reply)
        self._replies.append((operation.session, operation.sequence, reply))

    def _elsewhere(self, body: ClientBody) -> Moved | None:
        """Who is to be asked instead, if this group does not serve what it is about."""
        if isinstance(body, WriteVariable | CompareAndSet):
            return self._slots.elsewhere(body.name)
        if body.workflow_id or isinstance(body, StartRun):
            return self._slots.elsewhere(body.workflow_id)
        run = self._ledger.find("", body.run_id)
        return Moved(NOBODY, 0) if run is None else self._slots.elsewhere(run.workflow_id)

    def _request(self, body: ClientBody) -> Reply:
        match body:
            case WriteVariable():
                return self._variables.write(body)
            case StartRun():
                return self._lifecycle.start(body)
            case SignalRun():
                return self._lifecycle.signal(body)
            case CompareAndSet():
                return self._variables.compare_and_set(body)
            case CancelRun():
                return self._lifecycle.cancel(body)
            case TerminateRun():
                return self._lifecycle.terminate(body)
            case ResumeRun():
                return self._lifecycle.resume(body)
            case _:
                assert_never(body)

    def _take_replies(self) -> list[tuple[SessionId, int, Reply]]:
        replies, self._replies = self._replies, []
        return replies

    def _take_notices(self) -> list[Notice]:
        notices = self._ledger.take_notices()
        changed = self._variables.changed
        if changed:
            notices.extend(VariableChanged(name, version) for name, version in changed.items())
            changed.clear()
        return notices

    # -- reading ----------------------------------------------------------------------------------

    @property
    def clock_ns(self) -> int:
        """Log time: the highest stamp applied so far."""
        return self._clock_ns

    @property
    def next_due_ns(self) -> int | None:
        """When the next timer, retry or run time-out falls due; past until a batch is applied."""
        return self._ledger.due.next_ns

    def find(self, workflow_id: str, run_id: str) -> RunSummary | None:
        """A run, open or closed. An empty ``run_id`` means the current run of the workflow id; an
        empty ``workflow_id`` the run of that id. None if it is not here (yet, or any more): who
        may answer for it now, ``elsewhere`` says.
        """
        found = self._ledger.find(workflow_id, run_id)
        if found is None or not self._slots.shows(found.workflow_id):
            return None
        return found.summary() if isinstance(found, RunState) else found

    def run_variables(self, run_id: RunId) -> Mapping[str, bytes]:
        """The replicated variables of a run, open or closed; empty for a run that is not there."""
        return MappingProxyType(self._ledger.run_variables(run_id))

    def variable(self, name: str) -> Variable:
        """A stand-alone variable; for one that is not here, see ``find``."""
        return self._variables.read(name) if self._slots.shows(name) else Variable(None, 0)

    # -- slots ------------------------------------------------------------------------------------

    def elsewhere(self, name: str) -> Moved | None:
        """Where to ask for a workflow id or a stand-alone variable; None if it is here."""
        return self._slots.elsewhere(name)

    def placement(self, slot: Slot) -> Placement:
        """What this group knows of a slot."""
        return self._slots[slot]

    @property
    def voters(self) -> tuple[NodeId, ...]:
        """The nodes that may own runs, sorted."""
        return self._ownership.voters

    def page(self, move: int, after: Progress) -> ImportRows | None:
        """The page that the target of a move is to apply after ``after``, which is its own
        ``moves[move].progress``. Equal on every node at the same index, and of rows at any index
        since the freeze. None if there is nothing to copy (any more).
        """
        return self._moving.page(move, after)

    # -- rows and digest --------------------------------------------------------------------------

    def take_writes(self) -> list[RowWrite]:
        """Every row that changed since the last call, once each. The reader given at construction
        must answer with these rows from here on; what is closed leaves memory.
        """
        if not self._changed:
            return []
        if self._ahead:
            self._look_ahead()
            writes = self._ahead.take()
        else:
            writes = list(self._writes())
        self._changed = False
        return writes

    def _look_ahead(self) -> None:
        """Make everything applied so far readable through the rows."""
        if self._changed:
            self._ahead.add(self._writes())

    def _writes(self) -> Iterator[RowWrite]:
        meta = (SCHEMA_VERSION, self._clock_ns, self._journal.chain)
        yield RowWrite("meta", META_KEY, meta)
        yield from self._slots.take_writes()
        yield from self._moving.take_writes()
        yield from self._ownership.take_writes()
        yield from self._ledger.take_writes()
        yield from self._sessions.take_writes()
        yield from self._variables.take_writes()
        yield from self._journal.take_rows()

    def digest(self) -> bytes:
        """32 bytes that are equal exactly if the live states are: open runs, nodes, sessions,
        variables, slots, clock, and by a chain of digests every history so far. Reads all
        variables.
        """
        state = (
            SCHEMA_VERSION,
            self._clock_ns,
            self._journal.chain,
            self._slots.digestible(),
            self._moving.digestible(),
            self._ownership.digestible(),
            self._ledger.digestible(),
            self._sessions.digestible(),
            self._variables.digestible(),
        )
        return blake2b(records.encode_plain(state), digest_size=32).digest()
