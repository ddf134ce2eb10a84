"""From a scenario that fails to the smallest one that fails in the same way.

Delta debugging (Zeller and Hildebrandt 2002), in rounds of passes. A pass takes a scenario, tries
simpler ones, and keeps what still fails with the same checker::

    cut       what comes after the failure, at one stroke
    faults    as few as will do
    changes   as few as will do
    acts      as few as will do
    batches   as few deviations from first come, first served as will do
    nodes     fewer of them
    details   of each fault and each act: rounder and earlier times, shorter spells, fewer targets
    frame     fewer seconds of faults, no core, no more of the user's checks than are needed

Before the rounds there is one guess: what breaks a promise of the user's own seldom needs more than
one node that dies just after something was done to the world. It is tried for each such moment, for
on a bad day whatever is left out shifts all that comes after it, and much has to stay.

Rounds go on until one changes nothing: then no single fault, act or detail can be taken away, and
the result is *minimal* in that sense. Each candidate costs one run, unless it was tried before, and
runs are limited; what was found by then is the result.

Every step makes the scenario simpler in an order that has no infinite descent: so it ends, and what
was once given up does not come back. Nothing here is left to chance.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from typing import Any, Final, TypeVar

from attrs import evolve, frozen

from flowactor.errors import ConfigurationError
from flowactor.simulation.faults import Crash, PowerCut
from flowactor.simulation.outcome import Failure, Outcome
from flowactor.simulation.scenario import CompareAndSet, Invariant, Read, Scenario, Write
from flowactor.simulation.simpler import (
    rounder,
    simpler_acts,
    simpler_faults,
    without_later,
    without_nodes,
)

__all__ = ["BUDGET", "Progress", "Runner", "Shrunk", "fewest", "shrink"]

T = TypeVar("T")

Runner = Callable[[Scenario], Outcome]
"""Runs one scenario, always with the same outcome."""

BUDGET: Final = 500
"""Runs: at core depth about a minute."""
INVARIANT: Final = re.compile(r"I\d+")
OF_VARIABLES: Final = (Write, CompareAndSet, Read)
JUST_AFTER_SECONDS: Final = 0.001
"""Before the outcome of a step can be durable."""
BATCHES_MAX: Final = 4096
"""The latest batch to which deviations are narrowed down, if all were shuffled."""


@frozen
class Progress:
    """Told after each run of a candidate.

    Attributes:
        executions: how many there were so far.
        budget: how many there may be.
        faults, acts: how many the smallest scenario so far has.
    """

    executions: int
    budget: int
    faults: int
    acts: int


@frozen
class Shrunk:
    """What came of it.

    Attributes:
        scenario: the smallest that was found to fail so.
        failure: how it fails.
        executions: of candidates.
        minimal: no pass finds anything simpler; False if the budget was spent before that was
            known.
    """

    scenario: Scenario
    failure: Failure
    executions: int
    minimal: bool


def shrink(
    scenario: Scenario,
    failure: Failure,
    runner: Runner,
    *,
    budget: int = BUDGET,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Shrunk:
    """The smallest scenario that can be found to fail with the same checker.

    Args:
        scenario: fails.
        failure: how.
        runner: runs candidates.
        budget: how many runs there may be.
        progress: is told after each.
    """
    search = _Search(scenario, failure, runner, budget, progress)
    try:
        _alone(search)
        while _round(search):
            pass
    except _Spent:
        return Shrunk(search.best, search.failure, search.executions, minimal=False)
    return Shrunk(search.best, search.failure, search.executions, minimal=True)


def fewest(items: tuple[T, ...], fails: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """A part of ``items`` that fails, in their order, such that leaving out any one of it does not.

    Leaves out ever smaller chunks: all at once, halves, quarters, and in the end single items until
    none can go. ``items`` itself is taken to fail.
    """
    size = len(items)
    while size:
        before = len(items)
        start = 0
        while start < len(items):
            fewer = items[:start] + items[start + size :]
            if fails(fewer):
                items = fewer
            else:
                start += size
        if size > 1:
            size //= 2
        elif len(items) == before:
            break
    return items


class _Spent(Exception):
    """No run is left."""


class _Search:
    """The smallest scenario so far, and all that was tried."""

    def __init__(
        self,
        scenario: Scenario,
        failure: Failure,
        runner: Runner,
        budget: int,
        progress: Callable[[Progress], None],
    ) -> None:
        self.best = scenario
        self.failure = failure
        self.executions = 0
        self._checker: Final = failure.checker
        self._runner: Final = runner
        self._budget: Final = budget
        self._progress: Final = progress
        self._tried: Final = {_key(scenario)}

    @property
    def is_invariant(self) -> bool:
        """Whether it is a promise of flowactor that was broken, not one of the user's."""
        return INVARIANT.fullmatch(self._checker) is not None

    def effects(self, **changes: Any) -> tuple[float, ...]:
        """When something is done to the world outside in the best scenario with these changes, in
        seconds; never, if there is no such scenario.

        Raises:
            _Spent: it would have to be run, and may not.
        """
        try:
            candidate = evolve(self.best, **changes)
        except ConfigurationError:
            return ()
        if self.executions >= self._budget:
            raise _Spent
        self.executions += 1
        return self._runner(candidate).effects

    def keeps(self, **changes: Any) -> bool:
        """Whether the best scenario still fails with these changes; then it has them from now on.

        A scenario that was tried before was not kept then, and is not now; one that cannot be made
        is no candidate.

        Raises:
            _Spent: it would have to be run, and may not.
        """
        try:
            candidate = evolve(self.best, **changes)
        except ConfigurationError:
            return False
        key = _key(candidate)
        if key in self._tried:
            return False
        if self.executions >= self._budget:
            raise _Spent
        self._tried.add(key)
        self.executions += 1
        failure = self._runner(candidate).failure
        same = failure is not None and failure.checker == self._checker
        if failure is not None and same:
            self.best, self.failure = candidate, failure
        self._progress(
            Progress(self.executions, self._budget, len(self.best.faults), len(self.best.acts))
        )
        return same


def _key(scenario: Scenario) -> tuple[str, tuple[Invariant, ...]]:
    """All that a shrink changes; facts as text, since arguments of a start need not be hashable."""
    facts = (
        scenario.nodes,
        scenario.acts,
        scenario.faults,
        scenario.changes,
        scenario.seconds,
        scenario.core,
        None if scenario.deviations is None else sorted(scenario.deviations),
    )
    return repr(facts), scenario.invariants


# -- the guess ----------------------------------------------------------------------------------


def _alone(search: _Search) -> None:
    """One node with the runs and nothing else, which dies just after an effect."""
    dies = any(isinstance(fault, Crash | PowerCut) for fault in search.best.faults)
    if not dies or search.is_invariant:
        return
    runs = tuple(act for act in search.best.acts if not isinstance(act, OF_VARIABLES))
    alone = {"nodes": 1, "acts": runs, "changes": (), "core": (), "deviations": frozenset[int]()}
    for at in search.effects(**alone, faults=()):
        crash = Crash(node=1, at=round(at + JUST_AFTER_SECONDS, 3))
        if search.keeps(**alone, faults=(crash,)):
            return


# -- passes -------------------------------------------------------------------------------------


def _round(search: _Search) -> bool:
    """Every pass once. Whether the scenario is another one now."""
    before = search.best
    for one_pass in (_cut, _faults, _changes, _acts, _batches, _nodes, _details, _frame):
        one_pass(search)
    return search.best is not before


def _cut(search: _Search) -> None:
    """Drop what is later than the failure: it cannot have to do with it."""
    search.keeps(**without_later(search.best, search.failure.at_seconds))


def _faults(search: _Search) -> None:
    fewest(search.best.faults, lambda fewer: search.keeps(faults=fewer))


def _changes(search: _Search) -> None:
    fewest(search.best.changes, lambda fewer: search.keeps(changes=fewer))


def _acts(search: _Search) -> None:
    fewest(search.best.acts, lambda fewer: search.keeps(acts=fewer))


def _batches(search: _Search) -> None:
    """From all batches shuffled to none, or to the first few, or to single ones."""
    if search.best.deviations is None and not search.keeps(deviations=frozenset()):
        latest = 16
        while latest <= BATCHES_MAX and not search.keeps(deviations=frozenset(range(latest))):
            latest *= 4
    fewest(
        tuple(sorted(search.best.deviations or ())),
        lambda fewer: search.keeps(deviations=frozenset(fewer)),
    )


def _nodes(search: _Search) -> None:
    """Without any one of them, or any two: an even number may be stronger than the odd below."""
    fewer = not search.best.changes  # those name machines that join after the founders
    while fewer:
        everyone = range(search.best.nodes, 0, -1)
        gone = [*combinations(everyone, 1), *combinations(everyone, 2)]
        fewer = any(search.keeps(**without_nodes(search.best, some)) for some in gone)


def _details(search: _Search) -> None:
    """Each fault, then each act, as simple as it can be while the others are as they are."""
    for place in range(len(search.best.faults)):
        _simplest(search.best.faults, place, simpler_faults, lambda f: search.keeps(faults=f))
    for place in range(len(search.best.acts)):
        _simplest(search.best.acts, place, simpler_acts, lambda acts: search.keeps(acts=acts))


def _simplest(
    items: tuple[T, ...],
    place: int,
    simpler: Callable[[T], Iterable[T]],
    keeps: Callable[[tuple[T, ...]], bool],
) -> None:
    """Replace one item by simpler ones as long as that is kept."""
    searching = True
    while searching:
        searching = False
        for candidate in simpler(items[place]):
            changed = (*items[:place], candidate, *items[place + 1 :])
            if keeps(changed):
                items, searching = changed, True
                break


def _frame(search: _Search) -> None:
    """What stands around faults and acts."""
    search.keeps(core=())
    fewest(search.best.invariants, lambda fewer: search.keeps(invariants=fewer))
    while any(search.keeps(seconds=seconds) for seconds in _shorter(search.best)):
        pass


def _shorter(scenario: Scenario) -> Iterator[float]:
    """Fewer seconds of faults, at least one, and enough for all that is told to happen in them.

    Those of healing stay: they are the bound that liveness is measured by, and with fewer any run
    fails.
    """
    happens = (*scenario.faults, *scenario.changes, *scenario.acts)
    least = max([1.0, *(getattr(one, "until", None) or one.at for one in happens)])
    yield from (seconds for seconds in rounder(scenario.seconds) if least <= seconds)
