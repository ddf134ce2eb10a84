"""Ends code that never awaits, and lets Ctrl-C end a simulation: both by signals.

Virtual time, and every count of steps, stands still while user code turns in circles, so this is
the one place of the simulator that measures real time: of the processor, and generously. It never
decides anything but that a run has no end. Signals reach the main thread alone; a simulation in
another thread does without, and so does one in a process that uses the timer itself.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import Final

from flowactor.simulation.failure import Endless
from flowactor.simulation.runtime.frames import place_of, user_frames

__all__ = ["Turns"]

LOOKS: Final = 5
"""So many times in the length of a turn that is too long."""


class _Ended(BaseException):
    """Raised in code that does not come to an end. Nothing between here and there may catch it."""


class Turns:
    """Looks now and then whether the run gets on.

    Args:
        seconds: of processor time that user code may take between two steps of tasks.
        steps: how many there were so far.
        fail: told what is wrong, before it is raised in the code that does not end.

    Attributes:
        interrupted: somebody has pressed Ctrl-C.
    """

    def __init__(
        self, seconds: float, steps: Callable[[], int], fail: Callable[[Exception], None]
    ) -> None:
        self.interrupted = False
        self._seconds: Final = seconds
        self._steps: Final = steps
        self._fail: Final = fail
        self._seen = -1
        self._looks = 0

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """In the block no turn lasts for ever; what signals did before they do again afterwards."""
        if current_thread() is not main_thread():
            yield
            return
        interrupt = signal.getsignal(signal.SIGINT)
        if interrupt is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._interrupt)
        try:
            with self._timed():
                yield
        finally:
            signal.signal(signal.SIGINT, interrupt)

    def unheard(self) -> None:
        """Call this inside Trio's run: it would wake a task of its own for every signal, and so the
        timer would change the order of tasks. Trio puts back what was before it.
        """
        if current_thread() is main_thread():
            signal.set_wakeup_fd(-1)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        usual = signal.getsignal(signal.SIGPROF) if hasattr(signal, "SIGPROF") else None
        if usual is not signal.SIG_DFL:
            yield  # there is no such timer, or a profiler uses it
            return
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, *[self._seconds / LOOKS] * 2)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            # A signal that is on its way already must not end the process.
            signal.signal(signal.SIGPROF, signal.SIG_IGN)
            signal.signal(signal.SIGPROF, usual)

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        self.interrupted = True
        raise KeyboardInterrupt

    def _look(self, _signal: int, frame: FrameType | None) -> None:
        steps = self._steps()
        if steps != self._seen:
            self._seen, self._looks = steps, 0
            return
        self._looks += 1
        if self._looks <= LOOKS:
            return
        users = user_frames(frame)
        if users:
            self._fail(Endless(self._explain(frame, users[-1][0])))
            raise _Ended

    def _explain(self, frame: FrameType | None, outermost: FrameType) -> str:
        return (
            f"{place_of(frame)} in {outermost.f_code.co_qualname} has worked for"
            f" {self._seconds:g} s of processor time and awaited nothing: it seems to have no end"
        )
