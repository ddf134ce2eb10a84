"""One run for every position of a run's history at which a fault can strike.

A swarm hits most of what matters soon, and the one window of a few microseconds perhaps never. The
history of a run is short: so the same run is repeated for each of its points, and struck there.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import frozen

from flowactor.errors import ConfigurationError
from flowactor.simulation.marks import Marks
from flowactor.simulation.outcome import Failure, Outcome
from flowactor.simulation.scenario import Scenario
from flowactor.simulation.strike import Strike

__all__ = ["Blow", "Exhaustive", "Striker", "every_strike", "strike_everywhere"]

Striker = Callable[[Scenario, Strike], Outcome]
"""Runs a scenario and strikes it, always with the same outcome."""


@frozen
class Blow:
    """One run of the search.

    Attributes:
        strike: what struck it, and at which point.
        failure: how it failed, if it did.
        digest: of the run.
        schedule: if it failed, as a script.
    """

    strike: Strike
    failure: Failure | None
    digest: str
    schedule: str = ""


@frozen(kw_only=True)
class Exhaustive:
    """What came of it.

    Attributes:
        kind: of strike.
        baseline: the run that nothing struck; if it failed, it was the only one.
        blows: one for each other run, in the order of their points.
        runs: of workflows, in all runs, that nothing strikes too.
        waiting: where those wait that never ended, and how many at each place.
        failed_with: the errors with which those ended that failed, and how many with each.
        marks: places reached, and how often, in all runs.
    """

    kind: str
    baseline: Outcome
    blows: tuple[Blow, ...]
    runs: int
    waiting: Mapping[str, int]
    failed_with: Mapping[str, int]
    marks: Marks

    @property
    def passed(self) -> bool:
        """Whether no run failed."""
        return self.baseline.failure is None and not self.failed

    @property
    def failed(self) -> tuple[Blow, ...]:
        """Those that ended in a failure."""
        return tuple(blow for blow in self.blows if blow.failure is not None)

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "exhaustive": self.kind,
            "points": self.baseline.points,
            "runs": len(self.blows),
            "passed": len(self.blows) - len(self.failed),
            "unstruck": _failure(self.baseline.failure),
            "failures": [
                {"point": blow.strike.point, "node": blow.strike.node}
                | _failure(blow.failure)
                | {"schedule": blow.schedule}
                for blow in self.failed
            ],
            "workflow_runs": self.runs,
            "never_ended": sum(self.waiting.values()),
            "waiting_at": dict(self.waiting),
            "ended_in_failure": sum(self.failed_with.values()),
            "failed_with": dict(self.failed_with),
            "marks": self.marks.as_dict(),
            "digests": [blow.digest for blow in self.blows],
        }


def _failure(failure: Failure | None) -> dict[str, Any]:
    if failure is None:
        return {}
    return {
        "checker": failure.checker,
        "message": failure.message,
        "at_seconds": failure.at_seconds,
    }


def every_strike(kind: str, points: int, nodes: int, seconds: float) -> tuple[Strike, ...]:
    """All strikes of this kind that a run with so many points can be struck with.

    Args:
        kind: one of ``strike.STRIKES``.
        points: of the run that is not struck.
        nodes: how many there are; each has its turn where a strike names one.
        seconds: until what was struck is mended.

    Raises:
        ConfigurationError: there is no such kind.
    """
    targets = range(1, nodes + 1) if kind == "crash" else (0,)
    return tuple(
        Strike(kind, point, seconds, node) for point in range(1, points + 1) for node in targets
    )


def strike_everywhere(
    scenario: Scenario,
    kind: str,
    baseline: Outcome,
    struck: Callable[[tuple[Strike, ...]], Iterable[Outcome]],
    *,
    seconds: float,
    script: Callable[[Failure, Strike], str],
    keep_going: bool = True,
    progress: Callable[[Blow], None] = lambda _: None,
) -> Exhaustive:
    """Strike a run at each of its points.

    Args:
        scenario: the run: usually without faults, and of one workflow.
        kind: one of ``strike.STRIKES``.
        baseline: what comes of it if nothing strikes it.
        struck: the outcomes of the scenario for these strikes, in their order.
        seconds: of virtual time until what was struck is mended.
        script: makes a script of how it failed and what struck it.
        keep_going: on to the last point; otherwise the first failure ends it.
        progress: is told of each run.

    Raises:
        ConfigurationError: the run has no point to be struck at.
    """
    marks = Marks(baseline.marks)
    blows: list[Blow] = []
    runs, waiting = baseline.runs, Counter(baseline.waiting)
    failed_with = Counter(baseline.failed)
    strikes = every_strike(kind, baseline.points, scenario.nodes, seconds)
    if baseline.failure is None:
        if not strikes:
            raise ConfigurationError("the run came to nothing: there is no point to strike at")
        for strike, outcome in zip(strikes, struck(strikes), strict=False):
            failure = outcome.failure
            schedule = "" if failure is None else script(failure, strike)
            blows.append(Blow(strike, failure, outcome.digest, schedule))
            marks.update(outcome.marks)
            runs += outcome.runs
            waiting.update(outcome.waiting)
            failed_with.update(outcome.failed)
            progress(blows[-1])
            if failure is not None and not keep_going:
                break
    return Exhaustive(
        kind=kind,
        baseline=baseline,
        blows=tuple(blows),
        runs=runs,
        waiting=waiting,
        failed_with=failed_with,
        marks=marks,
    )
