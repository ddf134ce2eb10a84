"""The live state of runs and nodes, and the one place that changes it: a change marks its row here.

Rows are written behind: what appears and disappears between two ``take_writes`` is never a row. So
each table has a record of the keys touched since, and whether a row was there before the first
touch; what becomes of the row is read from the state when rows are taken.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from flowactor.identity import NodeId, RunId, Slot, StepKey, TimerKey, slot_of
from flowactor.machine import tables
from flowactor.machine.events import Event, Failure, TimerFired
from flowactor.machine.history import Arrived, Closed, HistoryRecord, Journal, Opened
from flowactor.machine.notices import (
    InboxGrew,
    Notice,
    OperationRefused,
    RunArrived,
    RunClosed,
    RunLeft,
    RunOpened,
    StepsDue,
)
from flowactor.machine.replies import RunStatus
from flowactor.machine.slots import Slots, SlotState
from flowactor.machine.state import NodeState, PendingStep, RunState, RunSummary, StepState
from flowactor.machine.timers import DueKind, DueQueue
from flowactor.ports import RowReader, RowWrite

__all__ = ["INTEGER_MAX", "Ledger"]

INTEGER_MAX = 2**63 - 1
"""What an integer column holds; a moment beyond it (the year 2262) is that moment."""


class Ledger:
    """Open runs, runs closed since rows were last taken, nodes, and what an apply has to report."""

    def __init__(self, rows: RowReader, slots: Slots, journal: Journal, clock_ns: int) -> None:
        self._rows = rows
        self._slots = slots
        self.journal = journal
        self.clock_ns = clock_ns
        self.open: dict[RunId, RunState] = {}
        self.aside: dict[RunId, RunState] = {}
        """Open runs of slots that are leaving or arriving: nothing happens to them here."""
        self.nodes: dict[NodeId, NodeState] = {}
        self.due = DueQueue()
        self.notices: list[Notice] = []
        self._grew: dict[RunId, None] = {}
        self._steps_due: dict[RunId, list[StepKey]] = {}
        self._begun: set[tuple[RunId, StepKey]] = set()
        self._closed: dict[RunId, RunState] = {}
        self._by_workflow: dict[str, RunId] = {}
        self._opened: set[RunId] = set()
        self._touched_runs: dict[RunId, None] = {}
        self._touched_nodes: dict[NodeId, None] = {}
        self._touched_inbox: dict[tuple[RunId, int], bool] = {}
        self._touched_steps: dict[tuple[RunId, StepKey], bool] = {}
        self._touched_timers: dict[tuple[RunId, TimerKey], bool] = {}
        self._touched_variables: dict[tuple[RunId, str], None] = {}
        self._load()

    # -- loading ----------------------------------------------------------------------------------

    def _load(self) -> None:
        rows = self._rows
        for row in rows.scan("nodes"):
            node = tables.node_from_row(row)
            self.nodes[node.node] = node
        for slot, run_id, workflow_id in rows.scan("open_runs"):
            state = self._slots[slot].state
            if state is SlotState.AWAY:
                continue
            values = rows.get("runs", (run_id,))
            assert values is not None, f"open run {run_id} has no row"
            run = tables.run_from_values(run_id, values)
            if state is SlotState.SERVED:
                self.open[run_id] = run
                self._by_workflow[workflow_id] = run_id
            else:
                self.aside[run_id] = run
        # Rows of these three tables exist for open runs only.
        for table in ("inbox", "steps", "timers"):
            for row in rows.scan(table):
                self._attach(table, row)
        for run in (*self.open.values(), *self.aside.values()):
            for row in rows.scan("run_variables", (run.run_id,)):
                tables.attach(run, "run_variables", row)
        for run in self.open.values():
            if run.owner:
                self.nodes[run.owner].owned += 1
            self._expect(run)

    def _attach(self, table: str, row: tuple[Any, ...]) -> None:
        run = self.open.get(row[0]) or self.aside.get(row[0])
        if run is not None:  # else its slot is away
            tables.attach(run, table, row)

    def _expect(self, run: RunState) -> None:
        """Put everything the run waits for into the queue of what falls due."""
        if run.deadline_ns:
            self.due.add((run.deadline_ns, run.run_id, DueKind.RUN_TIMEOUT, ()))
        for key, due_ns in run.timers.items():
            self.due.add((due_ns, run.run_id, DueKind.TIMER, key))
        if run.status is RunStatus.RUNNING:
            self.expect_retries(run)

    def _expect_no_more(self, run: RunState) -> None:
        if run.deadline_ns:
            self.due.discard((run.deadline_ns, run.run_id, DueKind.RUN_TIMEOUT, ()))
        for key, due_ns in run.timers.items():
            self.due.discard((due_ns, run.run_id, DueKind.TIMER, key))
        self.suspend_retries(run)

    # -- finding ----------------------------------------------------------------------------------

    def find(self, workflow_id: str, run_id: str) -> RunState | RunSummary | None:
        """An open run as its state, a closed one as a summary. Empty ``run_id``: the current run of
        the workflow id; empty ``workflow_id``: the run of that id, whatever it is called.
        """
        current = self._current(workflow_id) if not run_id else RunId(run_id)
        if current is None:
            return None
        found: RunState | RunSummary | None = self.open.get(current)
        if found is None:
            found = self._find_other(current)
        if found is None or (workflow_id and found.workflow_id != workflow_id):
            return None
        return found

    def _current(self, workflow_id: str) -> RunId | None:
        run_id = self._by_workflow.get(workflow_id)
        if run_id is None:
            key = (slot_of(workflow_id), workflow_id)
            if row := self._rows.get("workflows", key):
                run_id = RunId(row[0])
        return run_id

    def _find_other(self, run_id: RunId) -> RunSummary | None:
        """A run that is not open here."""
        run = self._closed.get(run_id) or self.aside.get(run_id)
        if run is not None:
            return run.summary()
        values = self._rows.get("runs", (run_id,))
        return None if values is None else tables.summary_from_values(run_id, values)

    def run_variables(self, run_id: RunId) -> Mapping[str, bytes]:
        """The replicated variables of a run, open or closed."""
        run = self.open.get(run_id) or self._closed.get(run_id) or self.aside.get(run_id)
        if run is not None:
            return run.variables
        return {name: value for _, name, value in self._rows.scan("run_variables", (run_id,))}

    # -- runs -------------------------------------------------------------------------------------

    def open_run(self, run: RunState) -> None:
        self.open[run.run_id] = run
        self._by_workflow[run.workflow_id] = run.run_id
        self._opened.add(run.run_id)
        if run.owner:
            self.nodes[run.owner].owned += 1
        self._expect(run)
        fact = Opened(run.workflow_id, run.workflow_type, run.version, run.owner, run.deadline_ns)
        self.record(run, fact)
        self.notices.append(RunOpened(run.run_id))

    def close_run(
        self,
        run: RunState,
        status: RunStatus,
        *,
        reason: str = "",
        result: bytes | None = None,
        failure: Failure | None = None,
        closed_ns: int | None = None,
    ) -> None:
        """End a run for good (rule *terminal_is_absorbing*): it is no open run from here on, and
        everything pending in it is gone. Its variables stay readable.
        """
        run.status = status
        run.reason = reason
        run.result = result
        run.failure = failure
        run.closed_ns = max(self.clock_ns, run.floor_ns) if closed_ns is None else closed_ns
        self.record(run, Closed(status, reason))
        if run.owner:
            self.nodes[run.owner].owned -= 1
        if run.deadline_ns:
            self.due.discard((run.deadline_ns, run.run_id, DueKind.RUN_TIMEOUT, ()))
        for number in list(run.inbox):
            self.take_from_inbox(run, number)
        for step in list(run.steps):
            self.drop_step(run, step)
        for timer in list(run.timers):
            self.disarm(run, timer)
        del self.open[run.run_id]
        self._closed[run.run_id] = run
        self.notices.append(RunClosed(run.run_id, status))

    # -- runs on the move -------------------------------------------------------------------------

    def set_aside(self, run: RunState) -> None:
        """Nothing happens to this open run any more: what its owner still sends is refused, and
        nothing of it falls due.
        """
        self.set_owner(run, NodeId(0))
        run.epoch += 1
        run.floor_ns = max(run.floor_ns, self.clock_ns)
        self._expect_no_more(run)
        del self.open[run.run_id]
        del self._by_workflow[run.workflow_id]
        self.aside[run.run_id] = run
        self._touched_runs[run.run_id] = None
        self.notices.append(RunLeft(run.run_id, run.epoch))

    def bring_back(self, run: RunState) -> None:
        """A run that was aside is performed here from now on. Whoever calls this finds an owner."""
        del self.aside[run.run_id]
        self.open[run.run_id] = run
        self._by_workflow[run.workflow_id] = run.run_id
        self._expect(run)
        self.notices.append(RunArrived(run.run_id, run.epoch))

    def take_in(self, table: str, key: tuple[Any, ...], values: tuple[Any, ...]) -> None:
        """A row has come that is of interest if it belongs to an open run: first the run's own, as
        a row of ``runs``; then its name in ``open_runs``, which makes it one; then all else of it.
        """
        if table == "open_runs":
            _, run_id = key
            run = self._rows.get("runs", (run_id,))
            assert run is not None, f"open run {run_id} has no row"
            self.aside[run_id] = tables.run_from_values(run_id, run)
        elif table in ("inbox", "steps", "timers", "run_variables"):
            self._attach(table, (*key, *values))

    def drop(self, slots: Collection[Slot]) -> None:
        """Runs aside in these slots leave memory. Their rows have been taken."""
        for run in [run for run in self.aside.values() if run.slot in slots]:
            del self.aside[run.run_id]

    def record(
        self, run: RunState, fact: HistoryRecord, ordinals: int = 1, kept: bytes | None = None
    ) -> None:
        """Add to the run's history, which also marks the run as changed."""
        self.journal.append(run, fact, ordinals, kept)
        self._touched_runs[run.run_id] = None

    def set_owner(self, run: RunState, owner: NodeId) -> None:
        """Hand the run over; 0 is nobody. Whoever calls this also records why."""
        if run.owner:
            self.nodes[run.owner].owned -= 1
        if owner:
            self.nodes[owner].owned += 1
        run.owner = owner

    def set_node(self, node: NodeState) -> None:
        self.nodes[node.node] = node
        self._touched_nodes[node.node] = None

    # -- inbox, steps, timers, variables ----------------------------------------------------------

    def arrive(self, run: RunState, event: Event) -> None:
        """Append to the inbox."""
        run.inbox_last += 1
        self._touched_inbox[run.run_id, run.inbox_last] = False
        run.inbox[run.inbox_last] = event
        self.record(run, Arrived(run.inbox_last, event))
        self._grew[run.run_id] = None

    def take_from_inbox(self, run: RunState, number: int) -> Event:
        self._touched_inbox.setdefault((run.run_id, number), True)
        return run.inbox.pop(number)

    def put_step(self, run: RunState, step: PendingStep) -> None:
        """Add a step, or mark one as changed."""
        key = step.command.step
        self._touched_steps.setdefault((run.run_id, key), key in run.steps)
        run.steps[key] = step

    def begin_attempt(self, run: RunState, step: PendingStep) -> None:
        """The attempt that the step stands at is to run from this entry on."""
        self._begun.add((run.run_id, step.command.step))
        self.put_step(run, step)

    def begins_here(self, run: RunState, key: StepKey) -> bool:
        """Whether the step's attempt begins with the entry that is being applied. Nobody has run it
        then: owners look at what is to run when they have applied the whole entry.
        """
        return (run.run_id, key) in self._begun

    def drop_step(self, run: RunState, key: StepKey) -> None:
        """Forget a step, if it is there."""
        if step := run.steps.pop(key, None):
            self._touched_steps.setdefault((run.run_id, key), True)
            if step.due_ns:
                self.due.discard((step.due_ns, run.run_id, DueKind.RETRY, key))

    def expect_retries(self, run: RunState) -> None:
        """Retries fall due while the run is running; a parked one has nobody to perform them."""
        for key, step in run.steps.items():
            if step.state is StepState.BACKING_OFF:
                self.due.add((step.due_ns, run.run_id, DueKind.RETRY, key))

    def suspend_retries(self, run: RunState) -> None:
        for key, step in run.steps.items():
            if step.state is StepState.BACKING_OFF:
                self.due.discard((step.due_ns, run.run_id, DueKind.RETRY, key))

    def step_is_due(self, run: RunState, key: StepKey) -> None:
        self._steps_due.setdefault(run.run_id, []).append(key)

    def arm(self, run: RunState, key: TimerKey, due_ns: int) -> None:
        due_ns = min(due_ns, INTEGER_MAX)
        self._touched_timers.setdefault((run.run_id, key), False)
        run.timers[key] = due_ns
        self.due.add((due_ns, run.run_id, DueKind.TIMER, key))

    def disarm(self, run: RunState, key: TimerKey) -> None:
        """Take a timer back, if it is still armed."""
        due_ns = run.timers.pop(key, None)
        if due_ns is not None:
            self._touched_timers.setdefault((run.run_id, key), True)
            self.due.discard((due_ns, run.run_id, DueKind.TIMER, key))

    def fire_timer(self, run: RunState, key: TimerKey, due_ns: int) -> None:
        self.disarm(run, key)
        self.arrive(run, TimerFired(key, due_ns))

    def set_variable(self, run: RunState, name: str, value: bytes) -> None:
        run.variables[name] = value
        self._touched_variables[run.run_id, name] = None

    # -- reporting --------------------------------------------------------------------------------

    def refuse(self, run_id: str, operation: str, reason: str, *, stale: bool = True) -> None:
        self.notices.append(OperationRefused(run_id, operation, reason, stale))

    def take_notices(self) -> list[Notice]:
        """Everything to report of this log entry; hints about one run come once, at the end."""
        notices, self.notices = self.notices, []
        notices.extend(InboxGrew(run_id) for run_id in self._grew if run_id in self.open)
        notices.extend(
            StepsDue(run_id, tuple(steps))
            for run_id, steps in self._steps_due.items()
            if run_id in self.open
        )
        self._grew.clear()
        self._steps_due.clear()
        self._begun.clear()
        return notices

    # -- rows and digest --------------------------------------------------------------------------

    def take_writes(self) -> Iterator[RowWrite]:
        for node_id in self._touched_nodes:
            yield RowWrite("nodes", (node_id,), tables.node_values(self.nodes[node_id]))
        for run_id in self._touched_runs:
            yield from self._run_writes(run_id)
        for (run_id, number), existed in self._touched_inbox.items():
            event = self._any(run_id).inbox.get(number)
            values = None if event is None else tables.event_values(event)
            yield from _write("inbox", (run_id, number), values, existed)
        for (run_id, step_key), existed in self._touched_steps.items():
            step = self._any(run_id).steps.get(step_key)
            values = None if step is None else tables.step_values(step)
            yield from _write("steps", (run_id, tables.pack_key(step_key)), values, existed)
        for (run_id, timer_key), existed in self._touched_timers.items():
            due_ns = self._any(run_id).timers.get(timer_key)
            values = None if due_ns is None else (due_ns,)
            yield from _write("timers", (run_id, tables.pack_key(timer_key)), values, existed)
        for run_id, name in self._touched_variables:
            value = self._any(run_id).variables[name]
            yield RowWrite("run_variables", (run_id, name), (value,))
        self._forget()

    def _any(self, run_id: RunId) -> RunState:
        return self.open.get(run_id) or self._closed.get(run_id) or self.aside[run_id]

    def _run_writes(self, run_id: RunId) -> Iterator[RowWrite]:
        run = self._any(run_id)
        opened = run_id in self._opened
        yield RowWrite("runs", (run_id,), tables.run_values(run))
        if opened:
            yield RowWrite("workflows", (run.slot, run.workflow_id), (run_id,))
        if opened and run_id not in self._closed:
            yield RowWrite("open_runs", (run.slot, run_id), (run.workflow_id,))
        elif not opened and run_id in self._closed:
            yield RowWrite("open_runs", (run.slot, run_id), None)

    def _forget(self) -> None:
        """Rows have been taken: closed runs leave memory."""
        for run in self._closed.values():
            del self._by_workflow[run.workflow_id]
        self._closed.clear()
        self._opened.clear()
        self._touched_nodes.clear()
        self._touched_runs.clear()
        self._touched_inbox.clear()
        self._touched_steps.clear()
        self._touched_timers.clear()
        self._touched_variables.clear()

    def digestible(self) -> list[Any]:
        """Plain values that are equal exactly if the open runs and the nodes are."""
        return [
            [(node_id, tables.node_values(node)) for node_id, node in sorted(self.nodes.items())],
            [self._digestible_run(run) for _, run in sorted(self.open.items())],
            [self._digestible_run(run) for _, run in sorted(self.aside.items())],
        ]

    def _digestible_run(self, run: RunState) -> list[Any]:
        return [
            run.run_id,
            tables.run_values(run),
            [(number, tables.event_values(event)) for number, event in sorted(run.inbox.items())],
            [(key, tables.step_values(step)) for key, step in sorted(run.steps.items())],
            sorted(run.timers.items()),
            sorted(run.variables.items()),
        ]


def _write(
    table: str, key: tuple[Any, ...], values: tuple[Any, ...] | None, existed: bool
) -> Iterator[RowWrite]:
    """Write the row, or delete it if there is one to delete."""
    if values is not None or existed:
        yield RowWrite(table, key, values)
