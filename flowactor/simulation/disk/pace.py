"""How fast a simulated disk is, and whether it moves at all."""

from collections.abc import Callable
from random import Random
from typing import Final

from flowactor.limits import NANOSECONDS

__all__ = ["Pace"]

LATENCY_NS_MIN: Final = 50_000
LATENCY_NS_MAX: Final = 2_000_000
"""Of a group commit: a good solid-state disk, and one that has other work."""
ACKNOWLEDGEMENT_NS_MAX: Final = 50_000
"""How long a process takes to hear that what it wrote is durable: it may die meanwhile."""


class Pace:
    """Belongs to the machine: a slow or stalled disk stays so while processes come and go.

    Args:
        random: draws every latency.
    """

    def __init__(self, random: Random) -> None:
        self._random: Final = random
        self._slower_ns = 0
        self._stalls = 0
        self._waiting: list[Callable[[], None]] = []

    def slow(self, seconds: float) -> None:
        """From now on every job takes up to ``seconds`` longer; 0 ends it."""
        self._slower_ns = round(seconds * NANOSECONDS)

    def stall(self) -> None:
        """Nothing begins or completes until ``unstall`` was called as often."""
        self._stalls += 1

    def unstall(self) -> None:
        """The end of one ``stall``; after the last, what waited goes on, in order."""
        assert self._stalls, "nothing stalls this disk"
        self._stalls -= 1
        if not self._stalls:
            waiting, self._waiting = self._waiting, []
            for action in waiting:
                self.when_moving(action)

    def when_moving(self, action: Callable[[], None]) -> None:
        """Call ``action``: now, or as soon as no stall is left."""
        if self._stalls:
            self._waiting.append(action)
        else:
            action()

    def job_ns(self) -> int:
        """How long the next job takes."""
        latency = self._random.randrange(LATENCY_NS_MIN, LATENCY_NS_MAX)
        return latency + self._random.randrange(self._slower_ns + 1)

    def acknowledgement_ns(self) -> int:
        """How long after a job its process hears of it."""
        return self._random.randrange(ACKNOWLEDGEMENT_NS_MAX)
