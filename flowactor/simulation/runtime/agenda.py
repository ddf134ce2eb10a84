"""Virtual time: Trio's clock and the agenda of the simulated world are one object.

Trio asks its clock how long it may sleep when no task can go on. That is the moment to leap: to the
next deadline of Trio's or the next event of the agenda, whichever is first. Events are called right
there, between two batches, so one costs a heap operation and no switch of tasks.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from typing import Final

import trio

from flowactor.limits import NANOSECONDS
from flowactor.simulation.agenda import Agenda
from flowactor.simulation.runtime.scheduling import (
    all_deadlines,
    run_queue,
    somebody_waits_for_idleness,
)

__all__ = ["Timeline"]

SHORT_REAL_SECONDS: Final = 0.001
"""How long Trio may sleep where time must not leap; what it waits for is there at once."""


class Timeline(trio.abc.Clock, Agenda):
    """Virtual time since the run began; it passes in leaps, while nothing can happen.

    Args:
        on_stuck: called when nothing can ever happen any more; must change that, or raise.
        on_trouble: told what an action of the agenda raised.
        on_leap: called when time has passed.
        on_event: told of each action, with the number 1.

    Attributes:
        now_ns: see ``Agenda``; for others to read, and no property since they do so all the time.
    """

    now_ns = 0

    def __init__(
        self,
        on_stuck: Callable[[], None],
        on_trouble: Callable[[Exception], None],
        on_leap: Callable[[], None],
        on_event: Callable[[int], None],
    ) -> None:
        self._on_stuck: Final = on_stuck
        self._on_trouble: Final = on_trouble
        self._on_leap: Final = on_leap
        self._on_event: Final = on_event
        self._heap: Final[list[tuple[int, int, Callable[[], None]]]] = []
        self._number = 0
        self._seconds = 0.0
        self._stuck = 0
        self._ended = False

    # -- the agenda -------------------------------------------------------------------------------

    def at(self, due_ns: int, action: Callable[[], None]) -> None:
        """See ``Agenda``. Called when all tasks wait; it has no task of its own."""
        if self._ended:
            return
        self._number += 1
        heappush(self._heap, (max(due_ns, self.now_ns), self._number, action))

    def skip(self, nanoseconds: int) -> None:
        """Let so much time pass in which nothing happens: all processes and links stand still, as
        a suspended machine does. What was on the agenda comes that much later, deadlines of Trio's
        that have passed meanwhile are noticed now.
        """
        self._heap[:] = [(due + nanoseconds, number, act) for due, number, act in self._heap]
        self._leap(self.now_ns + nanoseconds, (self.now_ns + nanoseconds) / NANOSECONDS)

    def end(self) -> None:
        """Nothing on the agenda happens any more: the loop is to come to its end."""
        self._heap.clear()
        self._ended = True

    # -- Trio's clock -----------------------------------------------------------------------------

    def start_clock(self) -> None:
        """Virtual time begins when the clock is made."""

    def current_time(self) -> float:
        """Virtual seconds since the run began."""
        return self._seconds

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Leap to what comes next; there is never anything to sleep for."""
        if somebody_waits_for_idleness():
            return SHORT_REAL_SECONDS
        heap, runnable, deadlines = self._heap, run_queue(), all_deadlines()
        while heap and heap[0][0] <= deadline * NANOSECONDS:
            due_ns = heap[0][0]
            self._leap(due_ns, due_ns / NANOSECONDS)
            self._call_due()
            if runnable:
                return 0.0
            deadline = deadlines.next_deadline()
        if deadline < inf:
            # Exactly Trio's own number, or it would not see that its deadline has come.
            self._leap(round(deadline * NANOSECONDS), deadline)
            return 0.0
        # Once more: what a finalizer has handed to Trio shows only after it has looked.
        self._stuck += 1
        if self._stuck > 1:
            self._stuck = 0
            self._on_stuck()
        return 0.0

    def _leap(self, now_ns: int, seconds: float) -> None:
        self._stuck = 0
        self.now_ns = max(self.now_ns, now_ns)
        self._seconds = max(self._seconds, seconds)
        self._on_leap()

    def _call_due(self) -> None:
        """All of this moment, also what they add to it."""
        heap = self._heap
        while heap and heap[0][0] <= self.now_ns:
            action = heappop(heap)[2]
            self._on_event(1)
            try:
                action()
            except Exception as error:  # noqa: BLE001  # in here it would be an error of Trio's loop
                self._on_trouble(error)
