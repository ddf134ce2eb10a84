"""The judge of a run: gives each life of each node a witness, and writes down what that sees."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

from attrs import frozen

from flowactor.cluster.group.actor import ExecutionGroup
from flowactor.cluster.group.driven import Outcome
from flowactor.cluster.group.witness import AnyMachine, Witness
from flowactor.identity import GroupId, NodeId, RunId
from flowactor.machine import Machine
from flowactor.management import MANAGEMENT_GROUP
from flowactor.observability.events import (
    ObservedEvent,
    SnapshotReceived,
    StepFinished,
    StepStarted,
)
from flowactor.ports import Clock
from flowactor.raft import (
    Configuration,
    Effects,
    Entry,
    EntryKind,
    Event,
    Raft,
    Restored,
    Role,
    Snapshot,
    Tick,
)
from flowactor.simulation.agenda import Agenda
from flowactor.simulation.checks.consensus import ConsensusChecker
from flowactor.simulation.checks.idle import IdleChecker
from flowactor.simulation.checks.leadership import LeadershipChecker
from flowactor.simulation.checks.quiet import QuietChecker, check_falls_asleep
from flowactor.simulation.checks.runs import RunsChecker
from flowactor.simulation.checks.slots import SlotsChecker
from flowactor.simulation.checks.steps import check_is_due
from flowactor.simulation.checks.topology import TopologyChecker
from flowactor.simulation.checks.windows import USUAL, WindowChecker, Windows
from flowactor.simulation.marks import Marks
from flowactor.simulation.trace import Kind, Trace
from flowactor.workflow import App

__all__ = ["FIRST_GROUP", "GroupChecks", "Judge", "in_group"]

FIRST_GROUP: Final = GroupId(1)
"""The group of runs that is there from the beginning; at core depth the only one."""


def in_group(kind: str, group: GroupId) -> str:
    """The kind of line that tells this of a group: plain names are about the first, and who reads a
    trace knows no others.
    """
    return kind if group == FIRST_GROUP else f"{kind} in group {group}"


@frozen
class GroupChecks:
    """All checkers of one group."""

    consensus: ConsensusChecker
    leadership: LeadershipChecker
    windows: WindowChecker
    machine: RunsChecker | TopologyChecker


class Judge:
    """All checkers of one run, and its trace.

    Nodes go by their ids in what checkers are told, and by the numbers of their machines in the
    trace: a machine that lost its disk comes back as another node.

    Args:
        app: the code under test.
        nodes: the founders are 1 to this.
        agenda: tells the time for the trace.
        trace: of the run.
        marks: counts what was reached.
        point: called with the run concerned, and the machine, at every moment at which an
            exhaustive search could strike.
        windows: the limits of all cores.
        looks: has the times at which sleepers are looked at, if ``agenda`` leaves time out that is
            none to them.

    Attributes:
        groups: the checkers of each group that was ever opened.
        topology: of the management group.
        slots: of all groups of runs together.
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
        looks: Agenda | None = None,
    ) -> None:
        self._app: Final = app
        self._windows: Final = windows
        self._machines: Final = {node: node for node in range(1, nodes + 1)}
        self.groups: Final[dict[GroupId, GroupChecks]] = {}
        self.topology: Final = TopologyChecker(marks, self._members_of)
        self.slots: Final = SlotsChecker()
        self.idle: Final = IdleChecker()
        self.point: Final = point
        self.trace: Final = trace
        self.marks: Final = marks
        self._agenda: Final = agenda
        self._bodies: Final[Counter[int]] = Counter()
        self._up: Final[set[int]] = set()
        self._replicas: Final[dict[int, dict[GroupId, _GroupWitness]]] = {}  # by machine
        self._groups: Callable[[], Mapping[int, ExecutionGroup]] = dict
        founders = range(1, nodes + 1)
        self.quiet: Final = QuietChecker(
            looks or agenda,
            lambda: self._groups(),  # noqa: PLW0108  # they are told later
            self.machine_of,
        )
        leadership = LeadershipChecker(marks)
        self.runs: Final = RunsChecker(app, marks, self._told, leadership.check_given_away)
        """Of the first group, as are the next three."""
        self.consensus: Final = ConsensusChecker(founders, marks)
        self.groups[FIRST_GROUP] = GroupChecks(
            self.consensus, leadership, WindowChecker(windows), self.runs
        )

    def of(self, group: GroupId) -> GroupChecks:
        """The checkers of a group."""
        checks = self.groups.get(group)
        if checks is None:
            leadership = LeadershipChecker(self.marks)
            checks = self.groups[group] = GroupChecks(
                ConsensusChecker((), self.marks),
                leadership,
                WindowChecker(self._windows),
                self.topology
                if group == MANAGEMENT_GROUP
                else RunsChecker(
                    self._app,
                    self.marks,
                    self._told,
                    leadership.check_given_away,
                    self.runs.books,
                ),
            )
        return checks

    def _members_of(self, group: GroupId) -> Configuration | None:
        checks = self.groups.get(group)
        return None if checks is None else checks.consensus.members

    # -- machines ---------------------------------------------------------------------------------

    def machine_of(self, node: int) -> int:
        """The machine of a node, which may have another by now; 0 if it never began."""
        return self._machines.get(node, 0)

    def node_of(self, machine: int) -> int:
        """The node that a machine was last; 0 if it was none yet."""
        return max((node for node, its in self._machines.items() if its == machine), default=0)

    def lost(self, machine: int) -> None:
        """The machine's disk is gone, and with it all that its node promised."""
        node = self.node_of(machine)
        for checks in self.groups.values():
            checks.consensus.lost(node)

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

    def witness(
        self, machine: int, clock: Clock, node: NodeId, group: GroupId = FIRST_GROUP
    ) -> Witness:
        """Of one group in the next life of the node, which is on this machine with this clock."""
        self._machines[node] = machine
        return _GroupWitness(machine, clock, node, group, self)

    def observed(self, node: int, event: ObservedEvent) -> None:
        """The node's ``on_event``."""
        match event:
            case StepStarted(run_id=run_id, step=step, attempt=attempt):
                self._check_is_due(node, run_id, step, attempt)
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

    def replicas_on(self, machine: int) -> "dict[GroupId, _GroupWitness]":
        """The witnesses of what runs there now, by group."""
        return self._replicas.setdefault(machine, {})

    def _check_is_due(self, machine: int, run_id: RunId, step: str, attempt: int) -> None:
        states = [each.state for each in self.replicas_on(machine).values()]
        known = [state.runs.get(run_id) for state in states if isinstance(state, Machine)]
        check_is_due(NodeId(self.node_of(machine)), known, run_id, step, attempt)

    def recovered(self, machine: int, group: GroupId, applied: int, last: int) -> None:
        """A replica begins on this machine; with the first of them the process does."""
        kind = f"{Kind.STARTED} in group {group}" if machine in self._up else Kind.STARTED
        self._up.add(machine)
        self.quiet.began(machine)
        self.write(machine, kind, applied, last)

    def died(self, node: int) -> None:
        """The process on this machine is gone."""
        self._up.discard(node)
        self._replicas.pop(node, None)
        self.quiet.ended(node)
        self.marks["owner killed in a step"] += self._bodies.pop(node, 0) > 0

    def write(self, node: int, kind: str, *details: int | str | bytes | None) -> None:
        """A line for the trace, now."""
        self.trace.add(self._agenda.now_ns, node, kind, *details)

    def _told(self, node: int, kind: str, details: tuple[int | str, ...]) -> None:
        place = _NODE_AMONG.get(kind)
        if place is not None:
            owner = details[place]
            assert isinstance(owner, int)
            details = (*details[:place], self.machine_of(owner), *details[place + 1 :])
        self.write(self.machine_of(node), kind, *details)

    def owner_of(self, run_id: RunId) -> int:
        """The machine of the node that performs the run; 0: it is nobody's."""
        return self.machine_of(self.runs.runs[run_id].owner)


_NODE_AMONG: Final = {Kind.OPENED: 3, Kind.OWNER: 1}
"""Where a line about runs names a node."""


class _GroupWitness(Witness):
    """One group in one life of one node."""

    def __init__(
        self, machine: int, clock: Clock, node: NodeId, group: GroupId, judge: Judge
    ) -> None:
        self._place: Final = machine
        self._clock: Final = clock
        self._node: Final = node
        self._group: Final = group
        self._is_first: Final = group == FIRST_GROUP
        self._judge: Final = judge
        self._checks: Final = judge.of(group)
        self.state: AnyMachine  # as far as this replica has applied the log

    def recovered(self, core: Raft, restored: Restored, machine: AnyMachine) -> None:
        """See ``Witness``."""
        node, checks = self._node, self._checks
        self.state = machine
        self._judge.replicas_on(self._place)[self._group] = self
        checks.consensus.recovered(node, core, restored)
        checks.leadership.recovered(node, restored, self._clock)
        checks.windows.recovered(node)
        last = restored.previous_index + len(restored.entries)
        self._in_a_move("node started")
        self._judge.recovered(self._place, self._group, restored.applied, last)

    def stepped(self, core: Raft, events: Sequence[Event], effects: Effects) -> None:
        """See ``Witness``."""
        checks, judge, node = self._checks, self._judge, self._node
        leaders = len(checks.consensus.leaders)
        checks.consensus.stepped(node, core, events, effects)
        if effects.status_changed and len(checks.consensus.leaders) > leaders:
            self._in_a_move("leader changed")
        checks.leadership.stepped(node, core, events, effects)
        checks.windows.stepped(node, events, effects)
        if self._is_first:
            for event in events:
                if isinstance(event, Tick) and checks.leadership.is_leading(node):
                    judge.ticked(self._place)
        if effects.status_changed:
            status = core.status()
            judge.quiet.changed(self._place, self._group, status)
            if status.quiet:
                check_falls_asleep(node, status, checks.consensus)
                judge.marks["group went quiet"] += status.role is Role.LEADER
            self._write(Kind.ROLE, status.role.value, status.term, judge.machine_of(status.leader))
        write = effects.write
        if write is not None and write.entries:
            first, last = write.entries[0], write.entries[-1]
            self._write(Kind.APPENDED, first.index, last.index, last.term)

    def copying(self, index: int) -> None:
        """See ``Witness``: so that there is something to compare the copy with (I31)."""
        self._compare_state(index)

    def restored(self, snapshot: Snapshot, machine: AnyMachine) -> None:
        """See ``Witness``."""
        self.state = machine
        self._in_a_move("snapshot installed")
        self._write(Kind.INSTALLED, snapshot.index, snapshot.term)
        self._compare_state(snapshot.index)

    def applied(self, entry: Entry, outcome: Outcome) -> None:
        """See ``Witness``."""
        judge, node = self._judge, self._node
        digest = blake2b(entry.data, digest_size=8).digest()
        self._write(Kind.COMMITTED, entry.index, entry.term, digest)
        checker: Any = self._checks.machine
        checker.applied(node, entry, outcome, self.state)
        if not isinstance(checker, RunsChecker):
            return
        assert isinstance(self.state, Machine), "this is a group of runs"
        judge.slots.applied(self._group, entry.index, self.state)
        if entry.kind is EntryKind.CONFIGURATION:
            self._in_a_move("members changed")
        for notice in outcome.notices:
            run_id = getattr(notice, "run_id", "")
            if run_id and checker.runs[RunId(run_id)].owner == node:
                judge.point(RunId(run_id), self._place)

    def closed(self) -> None:
        """See ``Witness``."""
        self._judge.replicas_on(self._place).pop(self._group, None)
        self._checks.consensus.closed(self._node)
        self._judge.quiet.closed(self._place, self._group)
        self._write(Kind.DELETED)

    def _in_a_move(self, what: str) -> None:
        """Mark what happens while slots are on their way to this group or from it."""
        if isinstance(self.state, Machine) and self.state.moves:
            self._judge.marks[f"{what} during a move"] += 1

    def _compare_state(self, index: int) -> None:
        checker: Any = self._checks.machine
        checker.compare_state(self._node, index, self.state)

    def _write(self, kind: str, *details: int | str | bytes | None) -> None:
        told = kind if self._is_first else in_group(kind, self._group)
        self._judge.write(self._place, told, *details)
