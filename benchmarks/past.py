"""A long past, in the data directory of a node: what years of work would have left there.

Entries go through the real log, machine and state store, with the compaction that a node keeps to,
but without a node: many share one transaction, and nobody waits for a sync.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from flowactor.cluster.group.compaction import Compaction
from flowactor.codec.payloads import encode_payload
from flowactor.codec.records import encode
from flowactor.errors import StorageError
from flowactor.identity import GroupId, NodeId, RunId, SessionId
from flowactor.machine import TABLES, Machine
from flowactor.machine.events import RunStarted
from flowactor.machine.operations import (
    Advance,
    ClientBody,
    ClientOperation,
    InboxRef,
    OpenSession,
    Operation,
    StartRun,
    WriteVariable,
    decode_batch,
    encode_batch,
)
from flowactor.machine.replies import Moved, Rejected
from flowactor.raft import Entry, EntryKind, Write
from flowactor.storage import DirectoryDisk, InlineWorker, LogStore, StateFiles
from flowactor.workflow import Interpreter, RunInfo, WorkflowDefinition

GROUP, NODE, SESSION = GroupId(1), NodeId(1), SessionId("past")
CHUNK_ENTRIES = 1000
ENTRY_NS = 1000


class Past:
    """Adds to the past of execution group 1 on node 1, which led a cluster of one and has stopped.

    Every entry is one operation, a microsecond after the last.
    """

    def __init__(self, disk: DirectoryDisk, compaction: Compaction) -> None:
        self._compaction = compaction
        self._store = LogStore.open(disk)
        self._states = StateFiles(
            disk,
            GROUP,
            TABLES,
            InlineWorker(),
            on_failure=_fail,
            generation=self._store.generation(GROUP),
        )
        restored = self._store.recover(GROUP, self._states.current.applied_index, 0)
        self._term = restored.hard_state.term
        self._index = restored.previous_index + len(restored.entries)
        self._machine = Machine((), self._states.current, ())
        self._apply(restored.entries)
        self._waiting: list[Entry] = []
        self._sequence = 0
        self._add(OpenSession(SESSION))

    def write_variables(self, prefix: str, count: int, size_bytes: int, names: int = 0) -> None:
        """So many writes of values of a size, of so many variables; 0: of another one each."""
        for number in range(count):
            name = f"{prefix} {number % names if names else number}"
            self._request(WriteVariable(name, encode_payload("x" * size_bytes, str, name)))

    def start_runs(self, count: int, definition: WorkflowDefinition) -> None:
        """So many runs, started without arguments, which have come to their first wait."""
        arguments = definition.run.encode((), {})
        for number in range(count):
            run_id, workflow_id = RunId(f"{number:032x}"), f"run {number}"
            name, version = definition.name, definition.version
            self._request(StartRun(workflow_id, run_id, name, version, arguments, NODE))
            now_ns = self._now_ns
            interpreter = Interpreter(
                definition, RunInfo(workflow_id, run_id, name, version, now_ns)
            )
            commands = interpreter.activate(now_ns, [RunStarted(arguments)]).commands
            self._add(Advance(run_id, 1, 0, now_ns, (InboxRef(1),), commands))
            interpreter.close()

    def close(self) -> None:
        """Store all of it."""
        self._bring()
        self._states.current.close()
        self._store.close()

    @property
    def _now_ns(self) -> int:
        return self._machine.clock_ns + len(self._waiting) * ENTRY_NS

    def _request(self, body: ClientBody) -> None:
        self._sequence += 1
        self._add(ClientOperation(SESSION, self._sequence, self._sequence, body))

    def _add(self, operation: Operation) -> None:
        self._index += 1
        data = encode_batch(self._now_ns, [encode(operation)])
        self._waiting.append(Entry(self._term, self._index, EntryKind.PAYLOAD, data))
        if len(self._waiting) == CHUNK_ENTRIES:
            self._bring()

    def _bring(self) -> None:
        """Write what waits, apply it, and cut the log as a node does."""
        if not self._waiting:
            return
        self._store.persist([(GROUP, Write(1, None, 0, tuple(self._waiting)))])
        self._apply(self._waiting)
        self._waiting.clear()
        state = self._states.current
        state.write(self._machine.take_writes(), self._index)
        state.flush()
        if self._store.checkpoint_due():
            self._store.checkpoint()
        target = self._compaction.target(self._store.size(GROUP), self._index, (), None)
        if target is not None:
            state.checkpoint()
            while self._store.compact(GROUP, min(target, state.durable_index)):
                pass

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            assert entry.kind is not EntryKind.CONFIGURATION, "the node has stopped before that"
            if entry.kind is EntryKind.PAYLOAD:
                outcome = self._machine.apply(entry.index, entry.term, decode_batch(entry.data))
                for _, _, reply in outcome.replies:
                    assert not isinstance(reply, Rejected | Moved), reply


@contextmanager
def past(directory: Path, compaction: Compaction) -> Iterator[Past]:
    """The past of the node that was founded in this directory."""
    with closing(DirectoryDisk(directory)) as disk, closing(Past(disk, compaction)) as made:
        yield made


def _fail(error: StorageError) -> None:
    raise error
