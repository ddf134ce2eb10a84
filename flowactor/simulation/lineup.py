"""Who comes and goes in the run of a seed, and what becomes of groups and slots: changes of the
cluster among all that goes wrong.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Final

from attrs import evolve, frozen

from flowactor.errors import ConfigurationError
from flowactor.limits import OWNER_LEASE_SECONDS
from flowactor.simulation.changes import (
    Change,
    Join,
    Remove,
    Replace,
    Reshape,
    Restart,
    check_changes,
)
from flowactor.simulation.faults import Crash, Fault
from flowactor.simulation.orders import (
    Abort,
    Dismiss,
    Drain,
    Enlist,
    Found,
    Order,
    Shift,
    Split,
    Tune,
)

__all__ = [
    "Lineup",
    "draw_absences",
    "draw_blows",
    "draw_changes",
    "draw_lineup",
    "draw_orders",
    "draw_shapes",
]

SIZES: Final = ((1, 2), (1, 4), (1, 2), (3, 0), (3, 0), (3, 1), (3, 2), (3, 3), (5, 0), (5, 1))
"""How many found a cluster, and how many may join it."""
ORDERS: Final = ("split", "split", "shift", "shift", "shift", "drain", "found", "abort", "members")
"""What is asked of groups, as often as it is named."""
TEMPERS: Final = (
    (("slots_per_move", 16),),
    (("slots_per_move", 100), ("balanced", 0)),
    (("slots_per_move", 1000),),
    (("replace_after_seconds", 2),),
    (("automatic", 0), ("slots_per_move", 200)),
    (("group_size_target", 2), ("group_size_min", 1), ("group_size_max", 4), ("split_size", 2)),
    (("group_size_min", 1), ("group_size_max", 4), ("split_size", 1), ("shared", 0)),
    (("management_voters_max", 1),),
)
"""Settings that make one cluster unlike another."""
SOON: Final = 40.0
"""A second: how often something comes that is to interrupt what has begun. A move of slots is over
after some 50 ms.
"""
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


def draw_blows(
    chance: Random,
    lineup: Lineup,
    changes: Sequence[Change],
    faults: Iterable[Fault],
    seconds: float,
) -> tuple[Crash, ...]:
    """Crashes of those who come and go, in the midst of it: half of them are killed soon after they
    begin, if nothing else has them down then.

    Args:
        chance: decides.
        lineup: of the cluster.
        changes: of it.
        faults: strike the same machines.
        seconds: in which all of it begins.
    """
    blows: list[Crash] = []
    for change in changes:
        if not isinstance(change, Join | Remove) or chance.random() < 0.5:
            continue
        at = round(change.at + chance.choice((0.02, 0.1, 0.5)) * (0.2 + chance.random()), 3)
        until = round(at + chance.choice((0.1, 1.0, 3.0)) * (0.2 + chance.random()), 3)
        if until < seconds:
            blows.append(Crash(change.node, at, until))
    return _playable(blows, lineup, changes, faults)


def draw_absences(
    chance: Random,
    lineup: Lineup,
    changes: Sequence[Change],
    faults: Iterable[Fault],
    seconds: float,
) -> tuple[Crash, ...]:
    """Crashes of those who are taken out, a while before it: most of them are silent for long
    enough to be given up at once, if nothing else has them down then, and come back after it.

    Args:
        chance: decides.
        lineup: of the cluster.
        changes: of it.
        faults: strike the same machines.
        seconds: in which all of it begins.
    """
    absences: list[Crash] = []
    for change in changes:
        if not isinstance(change, Remove) or chance.random() < 0.2:
            continue
        at = round(change.at - OWNER_LEASE_SECONDS - chance.uniform(0.3, 1.5), 3)
        until = round(change.at + chance.uniform(0.5, 2.0), 3)
        if at > 0:
            absences.append(Crash(change.node, at, until if until < seconds else None))
    return _playable(absences, lineup, changes, faults)


def _playable(
    crashes: Iterable[Crash], lineup: Lineup, changes: Sequence[Change], faults: Iterable[Fault]
) -> tuple[Crash, ...]:
    """Those of the crashes that nothing else makes impossible, nor one of them that came before."""
    known = tuple(faults)
    fitting: list[Crash] = []
    for crash in crashes:
        try:
            check_changes(changes, (*known, *fitting, crash), lineup.nodes)
        except ConfigurationError:
            continue
        fitting.append(crash)
    return tuple(fitting)


def draw_orders(chance: Random, lineup: Lineup, seconds: float) -> tuple[Order, ...]:
    """What is asked of groups and slots, in the order in which it is asked.

    The first thing is a second group, mostly, for without one no slot can go anywhere. Half of all
    orders come in pairs: what begins is interrupted soon after.

    Args:
        chance: decides.
        lineup: of the cluster.
        seconds: in which all of it is asked.
    """
    orders: list[Order] = []
    if chance.random() < 0.6:
        orders.append(Tune(chance.choice(TEMPERS), _milliseconds(chance.uniform(0, seconds / 2))))
    at = chance.uniform(0.5, seconds / 2)
    kind = "split" if chance.random() < 0.8 else chance.choice(ORDERS)
    for _ in range(chance.randint(1, 6)):
        if kind == "abort":  # of what has just begun
            orders.append(_order(chance, "shift", lineup, min(_milliseconds(at), seconds)))
            at += chance.uniform(0.005, 0.05)
        orders.append(_order(chance, kind, lineup, min(_milliseconds(at), seconds)))
        at += chance.expovariate(SOON if chance.random() < 0.5 else 1.0)
        kind = chance.choice(ORDERS)
    return tuple(sorted(orders, key=lambda order: order.at))


def _order(chance: Random, kind: str, lineup: Lineup, at: float) -> Order:
    everyone, group = range(1, lineup.machines + 1), chance.randrange(3)
    match kind:
        case "split":
            return Split(group, at)
        case "drain":
            return Drain(group, at)
        case "abort":
            return Abort(at)
        case "found":
            count = chance.randint(1, min(3, lineup.machines))
            return Found(tuple(sorted(chance.sample(everyone, count))), at)
        case "members":
            what = chance.choice((Enlist, Dismiss))
            return what(chance.choice(everyone), group, at)
        case _:
            every = chance.choice((1, 2, 3, 16))
            return Shift(group, at, every, chance.randrange(every))


def _milliseconds(at: float) -> float:
    return math.floor(at * 1000) / 1000


def draw_shapes(chance: Random, nodes: int, seconds: float) -> tuple[Reshape, ...]:
    """Who is to vote at core depth, one set of voters after the other: each for so short a time
    that the next is often wished for by another leader, before all is done.

    Args:
        chance: decides.
        nodes: how many there are.
        seconds: in which all of it happens.
    """
    shapes: list[Reshape] = []
    everyone, slowness = range(1, nodes + 1), chance.choice((0.2, 0.5, 2.0))
    at = chance.uniform(0.3, 1.5)
    while at < seconds - 0.1:
        until = min(round(at + chance.uniform(0.05, slowness), 3), seconds)
        least = chance.choice((1, nodes // 2 + 1, nodes // 2 + 1))
        voters = tuple(sorted(chance.sample(everyone, chance.randint(least, nodes))))
        at_once = chance.random() < 0.4
        shapes.append(Reshape(voters, _milliseconds(at), until, at_once=at_once))
        at = until + chance.uniform(0, slowness)
    if chance.random() < 1 / 3:
        shapes = [evolve(shape, alone=chance.random() < 0.5) for shape in shapes]
    return tuple(shapes)


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
        return min(_milliseconds(at), self._seconds)

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
