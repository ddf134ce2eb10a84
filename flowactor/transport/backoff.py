"""How long to wait before trying again. Pure: chance comes from the generator that is handed in."""

from random import Random

from flowactor.limits import RECONNECT_SECONDS_MAX, RECONNECT_SECONDS_MIN

__all__ = ["Backoff"]

DOUBLINGS_MAX = 32
"""Enough to reach any maximum, and a float does not overflow."""


class Backoff:
    """Delays that double from ``seconds_min`` up to ``seconds_max``, each shortened by chance to
    between half of itself and itself, so that those who lost one peer together do not all come back
    at one moment.
    """

    def __init__(
        self,
        random: Random,
        *,
        seconds_min: float = RECONNECT_SECONDS_MIN,
        seconds_max: float = RECONNECT_SECONDS_MAX,
    ) -> None:
        assert 0 < seconds_min <= seconds_max
        self._random = random
        self._seconds_min = seconds_min
        self._seconds_max = seconds_max
        self._failures = 0

    def next_seconds(self) -> float:
        """The delay after one more failure, in seconds."""
        doublings = min(self._failures, DOUBLINGS_MAX)
        self._failures += 1
        longest = min(self._seconds_min * 2.0**doublings, self._seconds_max)
        return longest * (0.5 + 0.5 * self._random.random())

    def reset(self) -> None:
        """It worked: begin again with the shortest delay."""
        self._failures = 0
