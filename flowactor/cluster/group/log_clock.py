"""Log time: the clock that timers, time-outs and expiries of the replicated state go by.

It is what the stamps of committed batches say, and goes on between them at the pace of this node's
monotonic clock. The leader's stamps bring it up to wall time and never back: a wall clock that was
ahead for a moment, or is set back, leaves log time ahead by as much, but never stops it: a timer
of a minute takes a minute.
"""

from typing import Final

from flowactor.ports import Clock

__all__ = ["LogClock"]


class LogClock:
    """Log time as this node knows it, in nanoseconds since the epoch.

    Args:
        clock: of this node.
        stamp_ns: the latest stamp that its machine has applied.
    """

    def __init__(self, clock: Clock, stamp_ns: int) -> None:
        self._clock: Final = clock
        self._stamp_ns = stamp_ns
        self._stamped_at_ns = clock.monotonic_ns()

    def now_ns(self) -> int:
        """Log time at this moment, on any node."""
        return self._stamp_ns + self._clock.monotonic_ns() - self._stamped_at_ns

    def stamp(self) -> int:
        """The stamp of a batch that this node, the leader, makes now."""
        self.follow(max(self.now_ns(), self._clock.now_ns()))
        return self._stamp_ns

    def follow(self, stamp_ns: int) -> None:
        """Another node's stamp was applied: its word is log time."""
        self._stamp_ns = stamp_ns
        self._stamped_at_ns = self._clock.monotonic_ns()
