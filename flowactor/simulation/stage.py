"""The stage of a run, the same at both depths: its judge, its world, its faults."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Final, Protocol

from flowactor.cluster.group.actor import ExecutionGroup
from flowactor.identity import RunId
from flowactor.limits import NANOSECONDS
from flowactor.simulation.agenda import Agenda
from flowactor.simulation.changes import (
    Change,
    Replace,
    Reshape,
    Restart,
    change_ends,
    kind_of_change,
)
from flowactor.simulation.checks.judge import Judge
from flowactor.simulation.checks.windows import USUAL, Windows
from flowactor.simulation.faults import (
    Crash,
    Fault,
    Partition,
    end_of,
    kind_of,
    nodes_of,
    source_of,
)
from flowactor.simulation.marks import Marks
from flowactor.simulation.scenario import Scenario, judge_world
from flowactor.simulation.strike import Strike
from flowactor.simulation.trace import Kind, Trace
from flowactor.simulation.world import Effect, Ledger, World

__all__ = ["Cast", "Stage"]


class Cast(Protocol):
    """The nodes, as far as faults and changes strike them."""

    def begin(self, one: Fault | Change) -> None:
        """Something goes wrong, or changes."""

    def end(self, one: Fault | Change) -> None:
        """It is over; what it left behind stays."""

    def heal(self, nodes: Collection[int]) -> None:
        """These have to work from now on; what becomes of the others is the cast's to say."""

    def is_up(self, node: int) -> bool:
        """Whether the node has a process."""

    def groups(self) -> Mapping[int, ExecutionGroup]:
        """Of all nodes that serve now, by their number."""


class Stage:
    """One run of a scenario, as far as both depths agree on it.

    Args:
        scenario: what is played.
        agenda: of the run.
        trace: takes what happens.
        strike: one blow more, at one point.
        windows: the limits of all cores.

    Attributes:
        judge, marks, world: of this run.
        points: moments so far at which an exhaustive search could strike.
    """

    def __init__(
        self,
        scenario: Scenario,
        agenda: Agenda,
        trace: Trace,
        strike: Strike | None,
        windows: Windows = USUAL,
    ) -> None:
        self.scenario: Final = scenario
        self.marks: Final = Marks()
        self.world: Final = World(self._effect)
        self.judge: Final = Judge(
            scenario.app, scenario.nodes, agenda, trace, self.marks, self._point, windows
        )
        self.points = 0
        self._agenda: Final = agenda
        self._strike: Final = strike
        self._active: Final[dict[int, Fault | Change]] = {}
        self._begun = 0
        self._cast: Cast

    def enter(self, cast: Cast) -> None:
        """The nodes are there: put all faults on the agenda."""
        self._cast = cast
        self.judge.watch(cast.groups)
        self.judge.write(0, Kind.PHASE, "faults")
        for one in (*self.scenario.changes, *self.scenario.faults):
            self._agenda.at(_ns(one.at), partial(self._begin, one))

    def heal(self) -> tuple[int, ...]:
        """All faults end, or all that concern those who are healed; returns who that is."""
        self.judge.write(0, Kind.PHASE, "healing")
        self.marks["only a core healed"] += bool(self.scenario.core)
        healed = self.scenario.core or tuple(range(1, self.scenario.machines + 1))
        for number, one in list(self._active.items()):
            if any(node in healed for node in _concerned(one)):
                self._end(number)
        self._active.clear()  # what strikes others stays as it is
        self._cast.heal(healed)
        return healed

    def leave(self) -> None:
        """The run has come to its good end: the user's own checks are what is left.

        Raises:
            AssertionError: one of them found something.
        """
        judge_world(self.scenario.invariants, self.world)
        self.judge.write(0, Kind.PHASE, "done")

    def _begin(self, one: Fault | Change) -> None:
        self._begun += 1
        number, last = self._begun, self.scenario.seconds
        self._tell(one, 1)
        if hasattr(one, "until"):
            self._active[number] = one
            end = end_of(one, last) if isinstance(one, Fault) else change_ends(one, last)
            self._agenda.at(_ns(end), partial(self._end, number))
        self._cast.begin(one)

    def _end(self, number: int) -> None:
        one = self._active.pop(number, None)
        if one is not None:
            self._tell(one, 0)
            self._cast.end(one)

    def _tell(self, one: Fault | Change, begins: int) -> None:
        """In the trace a change is told as a fault is: it comes from outside, and has its spell."""
        if isinstance(one, Fault):
            self.judge.write(0, Kind.FAULT, kind_of(one), source_of(one), begins)
        else:
            self.judge.write(0, Kind.FAULT, kind_of_change(one), str(one), begins)

    def _point(self, run_id: RunId, node: int) -> None:
        """A moment at which an exhaustive search could strike."""
        self.points += 1
        strike = self._strike
        if strike is None or strike.point != self.points:
            return
        struck = strike.node or self.judge.owner_of(run_id) or node
        at = self._agenda.now_ns / NANOSECONDS
        if strike.kind == "partition":
            others = tuple(n for n in range(1, self.scenario.machines + 1) if n != struck)
            self._begin(Partition(((struck,), others), at, at + strike.seconds))
        elif self._cast.is_up(struck):
            self._begin(Crash(struck, at, at + strike.seconds))

    def _effect(self, ledger: Ledger, effect: Effect, number: int) -> None:
        self.judge.write(effect.node, Kind.EFFECT, ledger.name, effect.key, number)


def _concerned(one: Fault | Change) -> tuple[int, ...]:
    if isinstance(one, Restart | Replace):
        return (one.node,)
    if isinstance(one, Reshape):
        return one.voters
    return tuple(nodes_of(one)) if isinstance(one, Fault) else ()


def _ns(seconds: float) -> int:
    return round(seconds * NANOSECONDS)
