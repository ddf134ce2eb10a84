"""A campaign: many seeds, one verdict.

Each seed is a run of its own, which depends on no other; so runs may be made anywhere, as long as
their outcomes come here in the order of the seeds, and the result is always the same.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from attrs import frozen

from flowactor.simulation.marks import Marks
from flowactor.simulation.outcome import ENDLESS, Failure, Outcome
from flowactor.simulation.scenario import Scenario
from flowactor.simulation.shrink import BUDGET, Progress, Runner, Shrunk, shrink

__all__ = ["Campaign", "Draw", "Found", "play", "run_campaign"]

Draw = Callable[[int], Scenario]
"""The scenario of a seed."""


@frozen
class Found:
    """A seed that failed.

    Attributes:
        seed: repeats it.
        failure: of the run of the seed itself.
        shrunk: the smallest scenario that fails in the same way, if it was looked for.
        schedule: the scenario, shrunk if it was, as a script.
    """

    seed: int
    failure: Failure
    shrunk: Shrunk | None
    schedule: str

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "seed": self.seed,
            "checker": self.failure.checker,
            "message": self.failure.message,
            "at_seconds": self.failure.at_seconds,
            "schedule": self.schedule,
            "shrunk": None
            if self.shrunk is None
            else {
                "faults": len(self.shrunk.scenario.faults),
                "acts": len(self.shrunk.scenario.acts),
                "nodes": self.shrunk.scenario.nodes,
                "executions": self.shrunk.executions,
                "minimal": self.shrunk.minimal,
            },
        }


@frozen(kw_only=True)
class Campaign:
    """What came of it.

    Attributes:
        failures: seeds that failed, in their order.
        digests: seed -> digest of its run; of all that were run.
        events: that happened in all runs.
        virtual_seconds: that they took in there.
        real_seconds: that they took out here, without shrinking.
        points: moments in the histories of workflow runs, in all of them; with none, no workflow
            was ever started, and nothing about workflows was tested.
        runs: of workflows, in all of them.
        waiting: where those wait that never ended, and how many at each place.
        failed: the errors with which those ended that failed, and how many with each.
        marks: places reached, and how often.
    """

    failures: tuple[Found, ...]
    digests: Mapping[int, str]
    events: int
    virtual_seconds: float
    real_seconds: float
    points: int
    runs: int
    waiting: Mapping[str, int]
    failed: Mapping[str, int]
    marks: Marks

    @property
    def seeds(self) -> int:
        """How many were run."""
        return len(self.digests)

    def per_second(self, amount: float) -> float:
        """``amount`` by the real time that all runs took; 0 if no time passed."""
        return amount / self.real_seconds if self.real_seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "seeds": self.seeds,
            "failures": [found.as_dict() for found in self.failures],
            "events": self.events,
            "events_per_second": round(self.per_second(self.events), 1),
            "virtual_seconds": round(self.virtual_seconds, 3),
            "virtual_seconds_per_second": round(self.per_second(self.virtual_seconds), 1),
            "points": self.points,
            "workflow_runs": self.runs,
            "never_ended": sum(self.waiting.values()),
            "waiting_at": dict(self.waiting),
            "ended_in_failure": sum(self.failed.values()),
            "failed_with": dict(self.failed),
            "marks": self.marks.as_dict(),
            "marks_missing": self.marks.missing(),
            "digests": {str(seed): digest for seed, digest in self.digests.items()},
        }


def play(seeds: Iterable[int], draw: Draw, runner: Runner) -> Iterator[Outcome]:
    """The outcomes of these seeds, one after the other, each as it is asked for.

    Raises:
        Exception: whatever a run raised that is no verdict on it; a note names the seed.
    """
    for seed in seeds:
        try:
            yield runner(draw(seed))
        except Exception as error:
            error.add_note(f"in the run of seed {seed}")
            raise


def run_campaign(
    outcomes: Iterable[Outcome],
    draw: Draw,
    runner: Runner,
    *,
    script: Callable[[Scenario, Failure], str],
    now: Callable[[], float],
    keep_going: bool = False,
    budget: int = BUDGET,
    progress: Callable[[Outcome], None] = lambda _: None,
    shrinking: Callable[[Progress], None] = lambda _: None,
) -> Campaign:
    """Judge ``outcomes``, and shrink the first failure.

    Args:
        outcomes: of the runs, in the order of their seeds; taken one by one, so that they may be
            made as they are needed (``play``).
        draw: the scenario of a seed that failed.
        runner: runs it again, smaller and smaller.
        script: makes a script of a scenario and how it fails.
        now: a clock of the real world, in seconds.
        keep_going: on to the last seed; otherwise the first failure ends it.
        budget: runs that shrinking may take.
        progress: is told of each outcome.
        shrinking: is told how shrinking gets on.
    """
    digests: dict[int, str] = {}
    failures: list[Found] = []
    marks, events, points, virtual_seconds, real_seconds = Marks(), 0, 0, 0.0, 0.0
    runs, waiting, failed = 0, Counter[str](), Counter[str]()
    begun = now()
    for outcome in outcomes:
        real_seconds += now() - begun
        digests[outcome.seed] = outcome.digest
        marks.update(outcome.marks)
        events += outcome.events
        points += outcome.points
        runs += outcome.runs
        waiting.update(outcome.waiting)
        failed.update(outcome.failed)
        virtual_seconds += outcome.virtual_seconds
        progress(outcome)
        if outcome.failure is not None:
            smaller = 0 if failures else budget
            failures.append(
                _found(draw(outcome.seed), outcome.failure, runner, script, smaller, shrinking)
            )
            if not keep_going:
                break
        begun = now()
    return Campaign(
        failures=tuple(failures),
        digests=digests,
        events=events,
        virtual_seconds=virtual_seconds,
        real_seconds=real_seconds,
        points=points,
        runs=runs,
        waiting=waiting,
        failed=failed,
        marks=marks,
    )


def _found(
    scenario: Scenario,
    failure: Failure,
    runner: Runner,
    script: Callable[[Scenario, Failure], str],
    budget: int,
    shrinking: Callable[[Progress], None],
) -> Found:
    """The failure, with its scenario shrunk unless that may take no run, or takes too long."""
    if not budget or failure.checker == ENDLESS:
        return Found(scenario.seed, failure, None, script(scenario, failure))
    shrunk = shrink(scenario, failure, runner, budget=budget, progress=shrinking)
    return Found(scenario.seed, failure, shrunk, script(shrunk.scenario, shrunk.failure))
