"""Plays one mutant, in a process that imports it: seeds until one fails, then shrinks that.

Prints one JSON object a line: each seed with the digest of its run, the failure, what it shrank to.
"""

import json
import signal
import sys
from functools import partial
from types import FrameType
from typing import Any, Final

from attrs import evolve

from flowactor.simulation.outcome import Failure, Outcome
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario
from flowactor.simulation.shrink import shrink
from simulations.mutants.mutant import CHANGING, DISKS, QUARRELING, RESHAPING, WHOLE
from simulations.mutants.workload import (
    draw,
    draw_changing,
    draw_on_disks,
    draw_quarreling,
    draw_reshaping,
)
from simulations.story import find_stories

CPU_SECONDS_MAX: Final = 60.0
"""Of processor time for one run: many times what any takes."""


DRAWN: Final = {
    "": draw,
    CHANGING: draw_changing,
    RESHAPING: draw_reshaping,
    QUARRELING: draw_quarreling,
    DISKS: draw_on_disks,
}


class Hung(BaseException):
    """A run goes on for ever; nothing between here and there may catch it."""


def play(depth: Depth, scenario: Scenario) -> Outcome:
    """``simulate``; a run that does not come to an end fails as ``hang``."""
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS_MAX)
    try:
        return simulate(scenario, depth)
    except (Hung, BaseExceptionGroup) as error:
        if isinstance(error, BaseExceptionGroup) and not error.subgroup(Hung):
            raise
        failure = Failure("hang", f"no end after {CPU_SECONDS_MAX:g} s of processor time", 0.0)
        return Outcome(
            seed=scenario.seed, digest="", failure=failure, events=0, virtual_seconds=0.0
        )
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def scenario_of(seed: int, source: str) -> Scenario:
    """What this seed plays: drawn, or a story by its name."""
    drawn = DRAWN.get(source)
    return drawn(seed) if drawn else evolve(find_stories()[source][1].scenario, seed=seed)


def depth_of(source: str) -> Depth:
    """At which it is played; that of a story is its own."""
    if source in DRAWN:
        return Depth.NODE if source in WHOLE else Depth.CORE
    return find_stories()[source][1].depth


def main(first: int, seeds: int, shrink_runs: int, source: str) -> None:
    """Play ``seeds`` seeds from ``first`` on, or until one fails."""
    signal.signal(signal.SIGVTALRM, _hung)
    depth = depth_of(source)
    for seed in range(first, first + seeds):
        scenario = scenario_of(seed, source)
        outcome = play(depth, scenario)
        failure = outcome.failure
        if failure is None:
            reached = [name for name, times in sorted(outcome.marks.items()) if times]
            _tell(seed=seed, digest=outcome.digest, marks=reached)
            continue
        _tell(seed=seed, digest=outcome.digest, checker=failure.checker, message=failure.message)
        if shrink_runs and failure.checker != "hang":
            shrunk = shrink(scenario, failure, partial(play, depth), budget=shrink_runs)
            small = shrunk.scenario
            _tell(
                faults=len(small.faults),
                acts=len(small.acts),
                nodes=small.nodes,
                runs=shrunk.executions,
                minimal=shrunk.minimal,
            )
        return


def _hung(_signal: int, _frame: FrameType | None) -> None:
    raise Hung


def _tell(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), source=sys.argv[4])
