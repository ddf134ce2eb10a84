"""The real world's clock."""

import time

import trio

from flowactor.ports import Clock

__all__ = ["SystemClock"]


class SystemClock(Clock):
    """Clocks of the operating system."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)
