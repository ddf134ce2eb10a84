"""A group without Raft: a log of batches, a machine that applies it, and a twin that keeps dying.

Before every apply the twin is thrown away and restored from its rows; it must agree with the
machine in every reply, notice and digest. At the end of a test the whole log is replayed from
nothing, and must lead to the same digest. So whatever a test proves, it proves across restarts.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from flowactor.codec import records
from flowactor.machine import Applied, Machine, RunState
from flowactor.machine.commands import Command, RetryRule, ScheduleStep
from flowactor.machine.events import Failure, StepCompleted
from flowactor.machine.history import HistoryRecord
from flowactor.machine.operations import (
    Advance,
    AnnounceNode,
    Batch,
    ClientBody,
    ClientOperation,
    Consumed,
    FailAttempt,
    InboxRef,
    OpenSession,
    Operation,
    StartRun,
    decode_batch,
    encode_batch,
)
from flowactor.machine.replies import Reply
from flowactor.machine.slots import ALL_SLOTS
from flowactor.ports import RowWrite

SECOND = 1_000_000_000


class Rows:
    """A row reader of dictionaries; every write is at once what it answers with."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[tuple[Any, ...], tuple[Any, ...]]] = {}

    def get(self, table: str, key: Sequence[Any]) -> tuple[Any, ...] | None:
        return self.tables.get(table, {}).get(tuple(key))

    def scan(self, table: str, prefix: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        rows = sorted(self.tables.get(table, {}).items(), key=lambda row: row[0])
        return [key + values for key, values in rows if key[: len(prefix)] == tuple(prefix)]

    def write(self, writes: list[RowWrite]) -> None:
        assert len({(write.table, write.key) for write in writes}) == len(writes)
        for write in writes:
            table = self.tables.setdefault(write.table, {})
            if write.values is None:
                table.pop(write.key, None)
            else:
                table[write.key] = write.values


class Group:
    """Times are in seconds. ``ask`` speaks in the session ``s``, which is open from the start."""

    def __init__(
        self, voters: tuple[int, ...] = (1, 2, 3), slots: Sequence[int] = ALL_SLOTS
    ) -> None:
        self.voters = voters
        self.slots = slots
        self.rows = Rows()
        self.machine = Machine(voters, self.rows, slots)
        self.twin_rows = Rows()
        self.twin = Machine(voters, self.twin_rows, slots)
        self.log: list[tuple[int, Batch | tuple[int, ...]]] = []
        self.sequence = 0
        self.apply(OpenSession("s"))

    def apply(self, *operations: Operation, at: float | None = None, term: int = 1) -> Applied:
        stamp_ns = self.machine.clock_ns if at is None else round(at * SECOND)
        data = encode_batch(stamp_ns, [records.encode(operation) for operation in operations])
        batch = decode_batch(data)
        return self._append(term, batch)

    def configure(self, *voters: int) -> Applied:
        """A configuration of these voters takes its place in the log."""
        return self._append(1, voters)

    def _append(self, term: int, entry: Batch | tuple[int, ...]) -> Applied:
        self.log.append((term, entry))
        self.twin_rows.write(self.twin.take_writes())
        self.twin = Machine(self.voters, self.twin_rows, self.slots)
        applied = apply_to(self.machine, len(self.log), term, entry)
        assert apply_to(self.twin, len(self.log), term, entry) == applied
        assert self.twin.next_due_ns == self.machine.next_due_ns
        assert self.twin.digest() == self.machine.digest()
        return applied

    def check(self) -> None:
        """Replaying the log from nothing gives this state, and the same rows."""
        replayed, rows = Machine(self.voters, Rows(), self.slots), Rows()
        for index, (term, entry) in enumerate(self.log, 1):
            apply_to(replayed, index, term, entry)
        assert replayed.digest() == self.machine.digest()
        rows.write(replayed.take_writes())
        self.flush()
        self.twin_rows.write(self.twin.take_writes())
        for name in sorted(self.rows.tables.keys() | rows.tables.keys()):
            assert rows.scan(name) == self.rows.scan(name) == self.twin_rows.scan(name)

    def flush(self) -> list[RowWrite]:
        writes = self.machine.take_writes()
        self.rows.write(writes)
        return writes

    def ask(self, body: ClientBody, at: float | None = None) -> Reply:
        self.sequence += 1
        applied = self.apply(ClientOperation("s", self.sequence, 1, body), at=at)
        assert [answer[:2] for answer in applied.replies] == [("s", self.sequence)]
        return applied.replies[0][2]

    def announce(
        self, node: int, *workflows: tuple[str, int], incarnation: str = "first"
    ) -> Applied:
        return self.apply(AnnounceNode(node, incarnation, tuple(sorted(workflows))))

    def start(
        self, name: str = "w", origin: int = 1, timeout: float = 0, at: float | None = None
    ) -> RunState:
        """Start the run ``name`` of workflow id ``name``, of type ("T", 1), at ``origin``."""
        body = StartRun(name, name, "T", 1, b"input", origin, round(timeout * SECOND))
        self.ask(body, at=at)
        return self.run(name)

    def run(self, name: str = "w") -> RunState:
        return self.machine.runs[name]

    def advance(
        self,
        *commands: Command,
        name: str = "w",
        consumed: tuple[Consumed, ...] | None = None,
        at: float | None = None,
        **wrong: Any,
    ) -> Applied:
        """The owner's next activation; it consumes the whole inbox unless told otherwise."""
        run = self.machine.runs.get(name)
        fields = {"run_id": name, "epoch": 1, "position": 0, "now_ns": 0}
        if run is not None:
            fields |= {"epoch": run.epoch, "position": run.position, "now_ns": run.now_ns}
            if consumed is None:
                consumed = tuple(InboxRef(number) for number in run.inbox)
        operation = Advance(**(fields | {"consumed": consumed or (), "commands": commands} | wrong))
        return self.apply(operation, at=at)

    def fail(
        self, key: Any, at: float | None = None, failure: Failure | None = None, **wrong: Any
    ) -> Applied:
        """The running attempt of a step of run ``w`` fails."""
        run = self.run()
        fields = {"run_id": "w", "epoch": run.epoch, "step": key, "attempt": run.steps[key].attempt}
        failure = failure or Failure("builtins.OSError", "try again")
        return self.apply(FailAttempt(**(fields | {"failure": failure} | wrong)), at=at)

    def complete(self, key: Any, *commands: Command, at: float | None = None) -> Applied:
        """The running attempt of a step of run ``w`` returns, and the code goes on."""
        attempt = self.run().steps[key].attempt
        return self.advance(*commands, consumed=(StepCompleted(key, attempt, b"result"),), at=at)

    def history(self, name: str = "w") -> list[HistoryRecord]:
        self.flush()
        return [records.decode(row[-1]) for row in self.rows.scan("history", (name,))]


def apply_to(machine: Machine, index: int, term: int, entry: Batch | tuple[int, ...]) -> Applied:
    if isinstance(entry, Batch):
        return machine.apply(index, term, entry)
    return machine.configured(index, entry)


def step(
    name: str = "s",
    *,
    initial: float = 1,
    coefficient: float = 2,
    maximum: float = 0,
    attempts: int = 0,
    non_retryable: tuple[str, ...] = (),
    schedule_to_close: float = 0,
) -> ScheduleStep:
    rule = RetryRule(
        round(initial * SECOND),
        round(coefficient * 1000),
        round(maximum * SECOND),
        attempts,
        non_retryable,
    )
    return ScheduleStep(
        ((), name, 0), name, b"", rule, schedule_to_close_ns=round(schedule_to_close * SECOND)
    )


@pytest.fixture
def group():
    """Three voters, all of which have registered ("T", 1)."""
    group = Group()
    for node in group.voters:
        group.announce(node, ("T", 1))
    yield group
    group.check()


@pytest.fixture
def empty_group():
    """Three voters of which nothing is known yet."""
    group = Group()
    yield group
    group.check()


@pytest.fixture(scope="session")
def make_group() -> Callable[..., Group]:
    return Group


@pytest.fixture(scope="session")
def make_rows() -> Callable[[], Rows]:
    return Rows


@pytest.fixture(scope="session")
def make_step() -> Callable[..., ScheduleStep]:
    return step


@pytest.fixture
def groups(group, make_group):
    """Group 1 with every slot, and group 2 with none, of other nodes."""
    other = make_group(voters=(3, 4, 5), slots=())
    other.sequence = 10_000  # the session is the same client's in both
    for node in other.voters:
        other.announce(node, ("T", 1))
    yield group, other
    other.check()
