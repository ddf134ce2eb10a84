"""Two leaders that do not know of each other, and each takes a vote away: the days on which the bug
of 2015 does harm ("bug in single-server membership changes", raft-dev, July 2015).

Who leads is cut off and drops one voter; whom the others elect instead drops another. One of them
dies between its vote and the first entry of the leader that it voted for. Then the first leader is
among a majority of those whom it takes for voters, and of those who may lack what is committed.
"""

from random import Random
from typing import Final

from attrs import frozen

from flowactor.simulation.changes import Reshape
from flowactor.simulation.faults import ClockDrift, Crash, DiskSlow, Fault, Partition
from flowactor.simulation.scenario import Act, Write

__all__ = ["NODES", "Quarrel", "draw_quarrel"]

NODES: Final = 4
"""Of four voters two decide nothing, and of three that are left two do."""
FIRST: Final = 1.5
"""Seconds after which somebody leads for certain."""
LAST: Final = 2.0
"""Seconds in which the first leader may be elected again."""
CLIENTS: Final = (1, 2, 3, 4)
EVERY: Final = 0.05
"""Seconds between two writes: so that there is something to lose."""


@frozen
class Quarrel:
    """What happens: among ``NODES`` nodes, in so many ``seconds``."""

    acts: tuple[Act, ...]
    faults: tuple[Fault, ...]
    shapes: tuple[Reshape, ...]
    seconds: float


def draw_quarrel(chance: Random) -> Quarrel:
    """One quarrel: who it is about, and when what happens, is left to chance.

    Clocks that run fast make it likely who leads first and who next.
    """
    first, second, third, fourth = chance.sample(range(1, NODES + 1), NODES)
    weak = chance.choice((third, fourth))
    dies = _round(FIRST + chance.uniform(0.3, 1.2))
    turns = _round(dies + chance.uniform(0.1, 0.6))
    ends = _round(turns + LAST)
    friend = chance.choice((second, third, fourth))
    faults = (
        ClockDrift(first, 2.0, 0.0),
        ClockDrift(second, 1.4, 0.0),
        DiskSlow(weak, 0.4, 0.0),
        Partition(_apart(first), FIRST, turns),
        Crash(weak, dies, _round(turns + chance.uniform(-0.05, 0.3))),
        Partition(_apart(first, friend), turns, ends),
    )
    begins = _round(FIRST + chance.uniform(0.005, 0.1))
    shapes = (
        Reshape(_without(chance.choice(_without(first))), begins, FIRST + 0.2),
        Reshape(_without(chance.choice(_without(second))), FIRST + 0.25, turns),
    )
    writes = tuple(
        Write(_round(number * EVERY), "x", number, chance.choice(CLIENTS))
        for number in range(round(0.5 / EVERY), int(ends / EVERY))
    )
    return Quarrel(writes, faults, shapes, ends)


def _without(*nodes: int) -> tuple[int, ...]:
    return tuple(node for node in range(1, NODES + 1) if node not in nodes)


def _apart(*nodes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(sorted(nodes)), _without(*nodes)


def _round(seconds: float) -> float:
    return round(seconds, 3)
