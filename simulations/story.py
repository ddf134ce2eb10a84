"""A story: one bad day with a name, and what must be seen in it, beyond what checkers look for.

The text of a story is the docstring of its module in ``simulations/scenarios``; its name is the
module's, with hyphens.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from attrs import evolve, frozen

from flowactor.errors import ConfigurationError
from flowactor.simulation.changes import Reshape
from flowactor.simulation.exhaustive import every_strike
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.marks import Marks
from flowactor.simulation.outcome import Failure, Outcome
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario, Start
from flowactor.simulation.strike import Strike
from simulations import scenarios
from simulations.record import Record

__all__ = ["Look", "Played", "Run", "Story", "check_known", "find_stories", "play", "play_once"]

Look = Callable[[Record], None]
"""A check of a story's own, on all that happened; raises ``CheckFailed``."""

STRUCK_SECONDS: Final = 3.0
"""Twice the lease of an owner: another node gets the run, and then the old one comes back."""


@frozen(kw_only=True)
class Story:
    """One bad day.

    Attributes:
        scenario: what happens; its seed is the first of those it is played with.
        marks: places that must be reached, in one of the seeds at least, at the depth that the
            story is told for: at core depth, unless nodes come and go. Whole nodes take their time
            otherwise, and may miss what a story of core depth is about.
        looks: what must be so in each of them.
        open_ended: workflow ids of runs that need not come to their end.
        strike: the kind of blow that is dealt at every point of the run, one run for each.
    """

    scenario: Scenario
    marks: tuple[str, ...] = ()
    looks: tuple[Look, ...] = ()
    open_ended: tuple[str, ...] = ()
    strike: str = ""

    @property
    def depth(self) -> Depth:
        """Of which it is told."""
        comes_and_goes = any(not isinstance(one, Reshape) for one in self.scenario.changes)
        return Depth.NODE if comes_and_goes else Depth.CORE

    def at(self, depth: Depth) -> Depth:
        """At which it is played if that one is asked for: changes are of one depth only."""
        return self.depth if self.scenario.changes else depth


@frozen
class Run:
    """One run of a story, with its seed, and what came of it."""

    scenario: Scenario
    strike: Strike | None
    outcome: Outcome


@frozen(kw_only=True)
class Played:
    """What came of a story.

    Attributes:
        runs: how many there were.
        failures: those that failed.
        missing: marks that were never reached, although they belong to the story.
        marks: places reached, and how often.
        events, virtual_seconds: of all runs.
    """

    runs: int
    failures: tuple[Run, ...]
    missing: tuple[str, ...]
    marks: Marks
    events: int
    virtual_seconds: float

    @property
    def passed(self) -> bool:
        """Whether all was as it must be."""
        return not self.failures and not self.missing


def find_stories() -> Mapping[str, tuple[str, Story]]:
    """Every story, sorted: name -> (its text, the story)."""
    found = {}
    for module_name in sorted(info.name for info in iter_modules(scenarios.__path__)):
        module = import_module(f"{scenarios.__name__}.{module_name}")
        found[module_name.replace("_", "-")] = ((module.__doc__ or "").strip(), module.STORY)
    return found


def play_once(
    story: Story, seed: int, depth: Depth = Depth.CORE, strike: Strike | None = None
) -> Outcome:
    """One run of a story. What its looks find counts as a failure of the run. A story in which the
    cluster changes is played at its own depth, whatever is asked for.
    """
    outcome = simulate(evolve(story.scenario, seed=seed), story.at(depth), keep=True, strike=strike)
    if outcome.failure is not None:
        return outcome
    record = Record(outcome.lines)
    try:
        _check_ends(story, record)
        for look in story.looks:
            look(record)
    except CheckFailed as found:
        message = str(found).removeprefix(f"{found.checker}: ")
        failure = Failure(found.checker, message, outcome.virtual_seconds)
        return evolve(outcome, failure=failure)
    return outcome


def play(
    story: Story,
    *,
    seeds: int = 1,
    depth: Depth = Depth.CORE,
    every: int = 1,
    told: Callable[[Run], None] = lambda _: None,
) -> Played:
    """A story with so many seeds from that of its scenario on.

    Args:
        story: what to play.
        seeds: how many.
        depth: how much of flowactor takes part.
        every: of a story that strikes, strike only at every so many points.
        told: of each run.
    """
    first = story.scenario.seed
    failures: list[Run] = []
    marks, runs, events, virtual_seconds = Marks(), 0, 0, 0.0
    for seed in range(first, first + seeds):
        scenario = evolve(story.scenario, seed=seed)
        for strike in _strikes(story, seed, depth)[::every]:
            outcome = play_once(story, seed, depth, strike)
            run = Run(scenario, strike, outcome)
            runs += 1
            events += outcome.events
            virtual_seconds += outcome.virtual_seconds
            marks.update(outcome.marks)
            told(run)
            if outcome.failure is not None:
                failures.append(run)
    return Played(
        runs=runs,
        failures=tuple(failures),
        missing=tuple(marks.missing(story.marks if story.at(depth) is story.depth else ())),
        marks=marks,
        events=events,
        virtual_seconds=virtual_seconds,
    )


def _strikes(story: Story, seed: int, depth: Depth) -> Sequence[Strike | None]:
    """What each run of this seed is struck with."""
    if not story.strike:
        return [None]
    points = play_once(story, seed, depth).points
    return every_strike(story.strike, points, story.scenario.nodes, STRUCK_SECONDS)


def _check_ends(story: Story, record: Record) -> None:
    """What was started has come to its end: a rejected start is no story."""
    for act in story.scenario.acts:
        if isinstance(act, Start) and act.id not in {*story.open_ended, *record.closed}:
            raise CheckFailed("ends", f"{act.id} has not come to its end")


def check_known(names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names that are no story's.

    Raises:
        ConfigurationError: lists those there are.
    """
    there = sorted(known)
    for name in names:
        if name not in there:
            raise ConfigurationError(f"there is no story {name!r}: choose from {', '.join(there)}")
