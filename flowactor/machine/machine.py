"""The execution state machine of one group: the committed log in, replies and notices out."""

from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import assert_never

from flowactor.codec import records
from flowactor.errors import StorageRefused
from flowactor.identity import NodeId, RunId, SessionId
from flowactor.limits import SCHEMA_VERSION
from flowactor.machine.advance import apply_advance
from flowactor.machine.history import Journal
from flowactor.machine.ledger import Ledger
from flowactor.machine.lifecycle import Lifecycle
from flowactor.machine.notices import Applied, Notice, VariableChanged
from flowactor.machine.operations import (
    Advance,
    AnnounceNode,
    Batch,
    CancelRun,
    ClientBody,
    ClientOperation,
    CompareAndSet,
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
from flowactor.machine.replies import Reply
from flowactor.machine.sessions import Session, Sessions
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
        voters: the nodes that may own runs.
        rows: the rows that earlier ``take_writes`` handed out; empty for a new group.

    Raises:
        StorageRefused: the rows are of a schema that this version does not know.
    """

    def __init__(self, voters: tuple[NodeId, ...], rows: RowReader) -> None:
        schema, clock_ns, chain = rows.get("meta", META_KEY) or (SCHEMA_VERSION, 0, b"")
        if schema != SCHEMA_VERSION:
            raise StorageRefused(
                f"the state is of schema {schema}, this version knows {SCHEMA_VERSION}"
            )
        self._clock_ns: int = clock_ns
        self._journal = Journal(chain)
        self._ledger = Ledger(rows, self._journal, clock_ns)
        self._ownership = Ownership(self._ledger, voters)
        self._lifecycle = Lifecycle(self._ledger, self._ownership)
        self._sessions = Sessions(rows)
        self._variables = Variables(rows)
        self._replies: list[tuple[SessionId, int, Reply]] = []
        self._changed = False
        self.runs: Mapping[RunId, RunState] = MappingProxyType(self._ledger.open)
        """Open runs, for reading."""
        self.nodes: Mapping[NodeId, NodeState] = MappingProxyType(self._ledger.nodes)
        """What each node announced, for reading."""

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
            case _:
                assert_never(operation)

    def _perform_once(self, operation: ClientOperation) -> None:
        admitted = self._sessions.admit(operation, self._clock_ns)
        if isinstance(admitted, Session):
            reply = self._request(operation.body)
            admitted.remember(operation.sequence, reply)
        else:
            reply = admitted
        self._replies.append((operation.session, operation.sequence, reply))

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
        empty ``workflow_id`` the run of that id.
        """
        found = self._ledger.find(workflow_id, run_id)
        return found.summary() if isinstance(found, RunState) else found

    def run_variables(self, run_id: RunId) -> Mapping[str, bytes]:
        """The replicated variables of a run, open or closed; empty for a run that is not there."""
        return MappingProxyType(self._ledger.run_variables(run_id))

    def variable(self, name: str) -> Variable:
        """A stand-alone variable."""
        return self._variables.read(name)

    # -- rows and digest --------------------------------------------------------------------------

    def take_writes(self) -> list[RowWrite]:
        """Every row that changed since the last call, once each. The reader given at construction
        must answer with these rows from here on; what is closed leaves memory.
        """
        if not self._changed:
            return []
        self._changed = False
        meta = (SCHEMA_VERSION, self._clock_ns, self._journal.chain)
        return [
            RowWrite("meta", META_KEY, meta),
            *self._ledger.take_writes(),
            *self._sessions.take_writes(),
            *self._variables.take_writes(),
            *self._journal.take_rows(),
        ]

    def digest(self) -> bytes:
        """32 bytes that are equal exactly if the live states are: open runs, nodes, sessions,
        variables, clock, and by a chain of digests every history so far. Reads all variables.
        """
        state = (
            SCHEMA_VERSION,
            self._clock_ns,
            self._journal.chain,
            self._ledger.digestible(),
            self._sessions.digestible(),
            self._variables.digestible(),
        )
        return blake2b(records.encode_plain(state), digest_size=32).digest()
