"""The judge of a run: gives each life of each node a witness, and writes down what that sees."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from flowactor.cluster.group import ExecutionGroup
from flowactor.cluster.witness import Witness
from flowactor.identity import RunId
from flowactor.machine import Applied, Machine
from flowactor.observability.events import (
    ObservedEvent,
    SnapshotReceived,
    StepFinished,
    StepStarted,
)
from flowactor.raft import Effects, Entry, Event, Raft, Restored, Snapshot, Tick
from flowactor.simulation.agenda import Agenda
from flowactor.simulation.checks.consensus import ConsensusChecker
from flowactor.simulation.checks.idle import IdleChecker
from flowactor.simulation.checks.leadership import LeadershipChecker
from flowactor.simulation.checks.runs import RunsChecker
from flowactor.simulation.checks.windows import USUAL, WindowChecker, Windows
from flowactor.simulation.marks import Marks
from flowactor.simulation.trace import Kind, Trace
from flowactor.workflow import App

__all__ = ["Judge"]


class Judge:
    """All checkers of one run, and its trace.

    Args:
        app: the code under test.
        nodes: the voters are 1 to this.
        agenda: tells the time for the trace.
        trace: of the run.
        marks: counts what was reached.
        point: called with the run concerned, and the node, at every moment at which an exhaustive
            search could strike.
        windows: the limits of all cores.
    """

    def __init__(
        self,
        app: App,
        nodes: int,
        agenda: Agenda,
        trace: Trace,
        marks: Marks,
        point: Callable[[RunId, int], None],
        windows: Windows = USUAL,
    ) -> None:
        self.consensus: Final = ConsensusChecker(range(1, nodes + 1), marks)
        self.leadership: Final = LeadershipChecker(range(1, nodes + 1))
        self.windows: Final = WindowChecker(windows)
        self.idle: Final = IdleChecker()
        self.runs: Final = RunsChecker(app, marks, self._told, self.leadership.check_given_away)
        self.point: Final = point
        self.trace: Final = trace
        self.marks: Final = marks
        self._agenda: Final = agenda
        self._bodies: Final[dict[int, int]] = {}
        self._groups: Callable[[], Mapping[int, ExecutionGroup]] = dict

    def watch(self, groups: Callable[[], Mapping[int, ExecutionGroup]]) -> None:
        """From now on look at the nodes, too, and not just at what their cores do.

        Args:
            groups: of all nodes that serve now, by their number.
        """
        self._groups = groups

    def ticked(self, node: int) -> None:
        """A leader counted one more tick."""
        group = self._groups().get(node)
        if group is not None:
            self.idle.ticked(node, group)

    def witness(self, node: int) -> Witness:
        """Of the node's next life."""
        self._bodies[node] = 0
        return _NodeWitness(node, self)

    def observed(self, node: int, event: ObservedEvent) -> None:
        """The node's ``on_event``."""
        match event:
            case StepStarted(run_id=run_id, step=step, attempt=attempt):
                self.runs.step_started(run_id, step, attempt)
                self._bodies[node] += 1
                self.marks["step repeated"] += attempt > 1
                self.write(node, Kind.STEP, run_id, step, attempt, "started")
                self.point(run_id, node)
            case StepFinished(run_id=run_id, step=step, attempt=attempt, outcome=outcome):
                self.runs.step_finished(run_id, step, attempt, outcome)
                self._bodies[node] -= 1
                self.write(node, Kind.STEP, run_id, step, attempt, outcome)
                if outcome != "cancelled":
                    self.point(run_id, node)
            case SnapshotReceived(offset=offset, size_bytes=size_bytes):
                self.marks["snapshot resumed half-way"] += 0 < offset < size_bytes
            case _:
                pass

    def died(self, node: int) -> None:
        """The process of the node was killed."""
        self.marks["owner killed in a step"] += self._bodies.get(node, 0) > 0
        self._bodies[node] = 0

    def write(self, node: int, kind: str, *details: int | str | bytes | None) -> None:
        """A line for the trace, now."""
        self.trace.add(self._agenda.now_ns, node, kind, *details)

    def _told(self, node: int, kind: str, details: tuple[int | str, ...]) -> None:
        self.write(node, kind, *details)


class _NodeWitness(Witness):
    """One life of one node."""

    def __init__(self, node: int, judge: Judge) -> None:
        self._node: Final = node
        self._judge: Final = judge
        self._machine: Machine

    def recovered(self, core: Raft, restored: Restored, machine: Machine) -> None:
        """See ``Witness``."""
        self._machine = machine
        self._judge.consensus.recovered(self._node, core, restored)
        self._judge.leadership.recovered(self._node, restored)
        self._judge.windows.recovered(self._node)
        last = restored.previous_index + len(restored.entries)
        self._judge.write(self._node, Kind.STARTED, restored.applied, last)

    def stepped(self, core: Raft, events: Sequence[Event], effects: Effects) -> None:
        """See ``Witness``."""
        judge, node = self._judge, self._node
        judge.consensus.stepped(node, core, events, effects)
        judge.leadership.stepped(node, core, events, effects)
        judge.windows.stepped(node, events, effects)
        if judge.leadership.is_leading(node) and Tick() in events:
            judge.ticked(node)
        if effects.status_changed:
            status = core.status()
            judge.write(node, Kind.ROLE, status.role.value, status.term, status.leader)
        write = effects.write
        if write is not None and write.entries:
            first, last = write.entries[0], write.entries[-1]
            judge.write(node, Kind.APPENDED, first.index, last.index, last.term)

    def copying(self, index: int) -> None:
        """See ``Witness``: so that there is something to compare the copy with (I31)."""
        self._judge.runs.compare_state(self._node, index, self._machine)

    def restored(self, snapshot: Snapshot, machine: Machine) -> None:
        """See ``Witness``."""
        self._machine = machine
        self._judge.write(self._node, Kind.INSTALLED, snapshot.index, snapshot.term)
        self._judge.runs.compare_state(self._node, snapshot.index, machine)

    def applied(self, entry: Entry, outcome: Applied) -> None:
        """See ``Witness``."""
        judge, node = self._judge, self._node
        digest = blake2b(entry.data, digest_size=8).digest()
        judge.write(node, Kind.COMMITTED, entry.index, entry.term, digest)
        judge.runs.applied(node, entry, outcome, self._machine)
        for notice in outcome.notices:
            run_id = getattr(notice, "run_id", "")
            if run_id and judge.runs.runs[RunId(run_id)].owner == node:
                judge.point(RunId(run_id), node)
