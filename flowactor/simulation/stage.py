"""What both depths have in common: a stage with its judge, its faults, and the frame of a run."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Final, Protocol

import trio

from flowactor.identity import RunId
from flowactor.limits import NANOSECONDS
from flowactor.simulation.agenda import Agenda
from flowactor.simulation.checks.judge import Judge
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
from flowactor.simulation.outcome import Failure, Outcome
from flowactor.simulation.runtime import Runtime, collected_at_its_end, simulate
from flowactor.simulation.scenario import Scenario
from flowactor.simulation.strike import Strike
from flowactor.simulation.trace import Kind, Trace
from flowactor.simulation.world import Effect, Ledger, World

__all__ = ["Cast", "Play", "Stage", "perform"]


class Cast(Protocol):
    """The nodes, as far as faults strike them."""

    def begin(self, fault: Fault) -> None:
        """Something goes wrong."""

    def end(self, fault: Fault) -> None:
        """It is over; what it left behind stays."""

    def heal(self, nodes: Collection[int]) -> None:
        """These have to work from now on; what becomes of the others is the cast's to say."""

    def is_up(self, node: int) -> bool:
        """Whether the node has a process."""


class Stage:
    """One run of a scenario, as far as both depths agree on it.

    Args:
        scenario: what is played.
        agenda: of the run.
        trace: takes what happens.
        strike: one blow more, at one point.

    Attributes:
        judge, marks, world: of this run.
        points: moments so far at which an exhaustive search could strike.
    """

    def __init__(
        self, scenario: Scenario, agenda: Agenda, trace: Trace, strike: Strike | None
    ) -> None:
        self.scenario: Final = scenario
        self.marks: Final = Marks()
        self.world: Final = World(self._effect)
        self.judge: Final = Judge(
            scenario.app, scenario.nodes, agenda, trace, self.marks, self._point
        )
        self.points = 0
        self._agenda: Final = agenda
        self._strike: Final = strike
        self._active: Final[dict[int, Fault]] = {}
        self._faults = 0
        self._cast: Cast

    def enter(self, cast: Cast) -> None:
        """The nodes are there: put all faults on the agenda."""
        self._cast = cast
        self.judge.write(0, Kind.PHASE, "faults")
        for fault in self.scenario.faults:
            self._agenda.at(_ns(fault.at), partial(self._begin, fault))

    def heal(self) -> None:
        """All faults end, or all that concern those who are healed."""
        self.judge.write(0, Kind.PHASE, "healing")
        healed = self.scenario.core or tuple(range(1, self.scenario.nodes + 1))
        for number, fault in list(self._active.items()):
            if any(node in healed for node in nodes_of(fault)):
                self._end(number)
        self._cast.heal(healed)

    def leave(self) -> None:
        """The run has come to its good end: the user's own checks are what is left.

        Raises:
            AssertionError: one of them found something.
        """
        for invariant in self.scenario.invariants:
            invariant(self.world)
        self.judge.write(0, Kind.PHASE, "done")

    def _begin(self, fault: Fault) -> None:
        self._faults += 1
        number, end = self._faults, end_of(fault, self.scenario.seconds)
        self.judge.write(0, Kind.FAULT, kind_of(fault), source_of(fault), 1)
        if end > fault.at:
            self._active[number] = fault
            self._agenda.at(_ns(end), partial(self._end, number))
        self._cast.begin(fault)

    def _end(self, number: int) -> None:
        fault = self._active.pop(number, None)
        if fault is not None:
            self.judge.write(0, Kind.FAULT, kind_of(fault), source_of(fault), 0)
            self._cast.end(fault)

    def _point(self, run_id: RunId, node: int) -> None:
        """A moment at which an exhaustive search could strike."""
        self.points += 1
        strike = self._strike
        if strike is None or strike.point != self.points:
            return
        struck = strike.node or self.judge.runs.runs[run_id].owner or node
        at = self._agenda.now_ns / NANOSECONDS
        if strike.kind == "partition":
            others = tuple(n for n in range(1, self.scenario.nodes + 1) if n != struck)
            self._begin(Partition(((struck,), others), at, at + strike.seconds))
        elif self._cast.is_up(struck):
            self._begin(Crash(struck, at, at + strike.seconds))

    def _effect(self, ledger: Ledger, effect: Effect, number: int) -> None:
        self.judge.write(effect.node, Kind.EFFECT, ledger.name, effect.key, number)


class Play(Protocol):
    """A scenario at one depth."""

    @property
    def stage(self) -> Stage:
        """What it has in common with the other."""

    @property
    def events(self) -> int:
        """How much has happened."""

    async def play(self) -> None:
        """From the beginning to the end. What it raises is why the run failed."""


def perform(
    scenario: Scenario,
    make: Callable[[Runtime, trio.Nursery, Trace], Play],
    *,
    keep: bool,
) -> Outcome:
    """Play ``scenario`` in a run of its own, and say what came of it.

    Args:
        scenario: what to play.
        make: sets it up.
        keep: hold the lines of the record, for a timeline.

    Raises:
        Exception: the run could not even begin.
    """
    with collected_at_its_end():
        return _perform(scenario, make, Trace(keep=keep))


def _perform(
    scenario: Scenario, make: Callable[[Runtime, trio.Nursery, Trace], Play], trace: Trace
) -> Outcome:
    begun: list[tuple[Play, Runtime]] = []

    async def main(runtime: Runtime) -> None:
        async with trio.open_nursery() as nursery:
            play = make(runtime, nursery, trace)
            begun.append((play, runtime))
            try:
                await play.play()
            except Exception as error:
                runtime.fail(error)  # which lets those end, too, that stand still
                raise
            nursery.cancel_scope.cancel()

    found: Exception | None = None
    try:
        simulate(main, seed=scenario.seed, deviations=scenario.deviations)
    except Exception as error:
        if not begun:
            raise
        found = error
    [(play, runtime)] = begun
    failure = None
    if found is not None:
        failure = Failure.of(found, runtime.failed_ns / NANOSECONDS)
        play.stage.judge.write(0, Kind.FAILED, failure.checker, failure.message)
    return Outcome(
        seed=scenario.seed,
        digest=trace.finish(),
        failure=failure,
        events=play.events,
        virtual_seconds=runtime.time.now_ns / NANOSECONDS,
        marks=play.stage.marks.as_dict(),
        points=play.stage.points,
        lines=tuple(trace.lines),
    )


def _ns(seconds: float) -> int:
    return round(seconds * NANOSECONDS)
