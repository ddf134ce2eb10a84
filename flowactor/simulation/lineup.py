"""Who comes and goes in the run of a seed: changes of the cluster among all that goes wrong."""

import math
from collections.abc import Callable, Iterable
from random import Random
from typing import Final

from attrs import frozen

from flowactor.errors import ConfigurationError
from flowactor.simulation.changes import Change, Join, Remove, Replace, Restart, check_changes
from flowactor.simulation.faults import Fault

__all__ = ["Lineup", "draw_changes", "draw_lineup"]

SIZES: Final = ((1, 2), (1, 4), (1, 2), (3, 0), (3, 0), (3, 1), (3, 2), (3, 3), (5, 0), (5, 1))
"""How many found a cluster, and how many may join it."""
ATTEMPTS: Final = 4
"""To find a time at which a node that is to go down is not down already."""


@frozen
class Lineup:
    """Attributes:
    nodes: how many found the cluster.
    joining: how many more there are to join it.
    """

    nodes: int
    joining: int

    @property
    def machines(self) -> int:
        """All of them."""
        return self.nodes + self.joining


def draw_lineup(chance: Random) -> Lineup:
    """How large the cluster is, and how large it may become."""
    return Lineup(*chance.choice(SIZES))


def draw_changes(
    chance: Random, lineup: Lineup, faults: Iterable[Fault], seconds: float
) -> tuple[Change, ...]:
    """Changes that can be played with these faults, in the order in which they happen.

    In some runs all of it happens at once, in others one thing follows the other or anything any
    time. Every machine that is to join does.

    Args:
        chance: decides.
        lineup: of the cluster.
        faults: strike the same machines.
        seconds: in which all of it begins.
    """
    return _Draw(chance, lineup, tuple(faults), seconds).all()


class _Draw:
    """The changes of one run, as they are found to fit."""

    def __init__(
        self, chance: Random, lineup: Lineup, faults: tuple[Fault, ...], seconds: float
    ) -> None:
        self._chance: Final = chance
        self._lineup: Final = lineup
        self._faults: Final = faults
        self._seconds: Final = seconds
        self._changes: Final[list[Change]] = []
        self._rhythm: Final = chance.choice(("anywhere", "at once", "in turn"))
        self._moment = chance.uniform(0, seconds / 2)

    def all(self) -> tuple[Change, ...]:
        lineup, chance = self._lineup, self._chance
        for machine in range(lineup.nodes + 1, lineup.machines + 1):
            self._changes.append(Join(machine, self._at(), self._seeds(machine)))
        makers: list[Callable[[], Change]] = [self._remove, self._restart, self._restart]
        if lineup.machines > 2:
            makers.append(self._replace)
        for _ in range(chance.randint(0 if lineup.joining else 1, 4)):
            self._try(chance.choice(makers))
        return tuple(sorted(self._changes, key=lambda change: change.at))

    def _try(self, make: Callable[[], Change]) -> None:
        for _ in range(ATTEMPTS):
            changes = [*self._changes, make()]
            try:
                check_changes(changes, self._faults, self._lineup.nodes)
            except ConfigurationError:
                continue
            self._changes[:] = changes
            return

    # -- when, who and what

    def _at(self) -> float:
        match self._rhythm:
            case "at once":
                at = self._moment
            case "in turn":
                at = self._moment
                self._moment += self._chance.expovariate(1.0)
            case _:
                at = self._chance.uniform(0, self._seconds)
        return math.floor(min(at, self._seconds) * 1000) / 1000

    def _until(self, at: float) -> float | None:
        until = round(at + self._chance.expovariate(1.0) + 0.05, 3)
        return until if until < self._seconds else None

    def _machine(self) -> int:
        return self._chance.randint(1, self._lineup.machines)

    def _seeds(self, machine: int) -> tuple[int, ...]:
        """One or two others, of which the first is there from the beginning."""
        founders = [node for node in range(1, self._lineup.nodes + 1) if node != machine]
        others = [node for node in range(1, self._lineup.machines + 1) if node != machine]
        first = self._chance.choice(founders or others)
        return tuple(dict.fromkeys((first, self._chance.choice((first, *others)))))

    def _remove(self) -> Change:
        return Remove(self._machine(), self._at())

    def _restart(self) -> Change:
        at = self._at()
        return Restart(self._machine(), at, self._until(at))

    def _replace(self) -> Change:
        at, machine = self._at(), self._machine()
        return Replace(machine, at, self._until(at), self._seeds(machine))
