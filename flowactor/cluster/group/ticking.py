"""When a group looks at the time: for its next tick, for its next timer, or not at all while it
rests.
"""

import math
from collections.abc import Callable
from typing import Final

import trio

from flowactor.limits import NANOSECONDS, REST_SECONDS_MAX, TICK_EARLY_SECONDS, TICK_SECONDS
from flowactor.ports import Clock

__all__ = ["Ticking"]

_TICK_NS: Final = int(TICK_SECONDS * NANOSECONDS)
_TICK_EARLY_NS: Final = int(TICK_EARLY_SECONDS * NANOSECONDS)
_REST_NS: Final = int(REST_SECONDS_MAX * NANOSECONDS)


class Ticking:
    """Of one group.

    Args:
        clock: of this node.

    Attributes:
        rests: nothing in the group needs time to pass.
        wake_ns: when, on the monotonic clock, the group has to look at the time if nothing wakes
            it; None: it need not.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self._scope: trio.CancelScope | None = None
        self.rests = False
        self._next_ns = clock.monotonic_ns()
        self.wake_ns: int | None = self._next_ns

    async def pulse(self, ring: Callable[[], None]) -> None:
        """Call ``ring`` whenever it is time; never returns."""
        while True:
            ring()
            # The group sets the alarm anew each time it has handled its mailbox.
            with trio.CancelScope() as self._scope:
                await trio.sleep_forever()

    def is_due(self) -> bool:
        """Whether the batch that is handled now ticks. One that is handled shortly before its time
        does, for waking is most of what an idle node costs: a follower's ticks come to ride on the
        heartbeats.
        """
        now_ns = self._clock.monotonic_ns()
        if self.rests:  # what passed meanwhile is no silence: nobody counted
            self._next_ns = now_ns + _TICK_NS
            return False
        if now_ns < self._next_ns - _TICK_EARLY_NS:
            return False
        # A stalled process owes no past ticks: all at once they would start elections.
        self._next_ns = max(self._next_ns, now_ns - _TICK_NS) + _TICK_NS
        return True

    def set_alarm(self, *, rests: bool, left_ns: int | None) -> None:
        """The group has handled its mailbox.

        Args:
            rests: nothing in it needs time to pass, until a message comes.
            left_ns: until its next timer, if it is the one to look after that.
        """
        now_ns = self._clock.monotonic_ns()
        self.rests = rests
        wake_ns = None if rests else self._next_ns
        if left_ns is not None:
            latest_ns = now_ns + _REST_NS if wake_ns is None else wake_ns
            wake_ns = min(latest_ns, now_ns + max(0, left_ns))
        self.wake_ns = wake_ns
        if self._scope is not None:
            left = math.inf if wake_ns is None else (wake_ns - now_ns) / NANOSECONDS
            self._scope.deadline = trio.current_time() + left
