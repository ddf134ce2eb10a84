"""The real world's clock."""

import time

from flowactor.ports import Clock

__all__ = ["SystemClock"]


class SystemClock(Clock):
    """Clocks of the operating system."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()
