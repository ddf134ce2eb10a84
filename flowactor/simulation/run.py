"""Plays a scenario, at either depth: the one door of the simulator."""

from collections.abc import Callable
from typing import assert_never

import trio

from flowactor.limits import NANOSECONDS
from flowactor.simulation.core.run import CoreRun
from flowactor.simulation.failure import CheckFailed, Deadlocked, SimulationEscape
from flowactor.simulation.nodes.run import simulate_nodes
from flowactor.simulation.outcome import Failure, Outcome
from flowactor.simulation.runtime import Runtime
from flowactor.simulation.runtime import simulate as play
from flowactor.simulation.scenario import Depth, Scenario
from flowactor.simulation.strike import Strike
from flowactor.simulation.trace import Kind, Trace

__all__ = ["simulate"]


def simulate(
    scenario: Scenario,
    depth: Depth = Depth.CORE,
    *,
    keep: bool = False,
    strike: Strike | None = None,
) -> Outcome:
    """Play ``scenario`` once. The same arguments give the same outcome in every process.

    Args:
        scenario: what to play.
        depth: how much of flowactor takes part.
        keep: hold the whole record in ``Outcome.lines``, for a timeline.
        strike: one blow more, at one exact point (``strike``).
    """
    match depth:
        case Depth.CORE:
            return _Core(scenario, Trace(keep=keep), strike).play()
        case Depth.NODE:
            return simulate_nodes(scenario, keep=keep, strike=strike)
        case _:
            assert_never(depth)


class _Core:
    """The frame around a run at core depth."""

    def __init__(self, scenario: Scenario, trace: Trace, strike: Strike | None) -> None:
        self._scenario = scenario
        self._trace = trace
        self._strike = strike
        self._run: CoreRun
        self._now_ns: Callable[[], int] = lambda: 0

    def play(self) -> Outcome:
        failure: Failure | None = None
        try:
            play(self._main, seed=self._scenario.seed)
        except Exception as error:  # noqa: BLE001  # whatever ends a run is its outcome
            failure = failure_of(error, self._now_ns())
            self._trace.add(self._now_ns(), 0, Kind.FAILED, failure.checker, failure.message)
        run = self._run
        return Outcome(
            seed=self._scenario.seed,
            digest=self._trace.finish(),
            failure=failure,
            events=run.events,
            virtual_seconds=self._now_ns() / NANOSECONDS,
            marks=run.marks.as_dict(),
            points=run.points,
            lines=tuple(self._trace.lines),
        )

    async def _main(self, runtime: Runtime) -> None:
        self._now_ns = lambda: runtime.time.now_ns
        async with trio.open_nursery() as nursery:
            self._run = CoreRun(self._scenario, runtime, nursery, self._trace, self._strike)
            self._run.begin()
            await self._run.done.wait()
            nursery.cancel_scope.cancel()


def failure_of(error: BaseException, at_ns: int) -> Failure:
    """What ended a run, in the words of a report."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    seconds = at_ns / NANOSECONDS
    match error:
        case CheckFailed():
            return Failure(error.checker, str(error).removeprefix(f"{error.checker}: "), seconds)
        case Deadlocked():
            return Failure("deadlock", str(error), seconds)
        case SimulationEscape():
            return Failure("escape", str(error), seconds)
        case AssertionError():
            return Failure("assertion", str(error), seconds)
        case _:
            return Failure("crash", f"{type(error).__name__}: {error}", seconds)
