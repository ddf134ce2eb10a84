"""What bodies of steps call, watched: the clock and chance, by whatever name they were imported.

Functions of modules are replaced for the time of a run (``escapes``). That misses what cannot be
replaced (``datetime.now``), and names that were bound before (``from time import time``). So while
the task of a body, or one that it started, takes a step, Python's profile hook sees what it calls.
"""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any, Final

import trio

from flowactor.simulation.failure import SimulationEscape
from flowactor.simulation.runtime.escapes import (
    CHANCE,
    FILE,
    TIME,
    WAIT,
    explain,
)
from flowactor.simulation.runtime.frames import user_behind
from flowactor.workflow import StepCall

__all__ = ["bodies_watched"]

_SHARED: Final = getattr(random.random, "__self__", None)
_CURES: Final = {
    **dict.fromkeys(
        (
            "time.time",
            "time.time_ns",
            "time.monotonic",
            "time.monotonic_ns",
            "time.perf_counter",
            "time.perf_counter_ns",
            "time.localtime",
            "time.gmtime",
            "datetime.now",
            "datetime.utcnow",
            "datetime.today",
            "date.today",
        ),
        TIME,
    ),
    "time.sleep": WAIT,
    "posix.urandom": CHANCE,
    "nt.urandom": CHANCE,
    "random": CHANCE,
    "_io.open": FILE,
    "io.open": FILE,
}
_IS_BODY: Final[ContextVar[bool]] = ContextVar("flowactor simulated body", default=False)


@contextmanager
def bodies_watched(on_escape: Callable[[SimulationEscape], None]) -> Iterator[None]:
    """Enter inside the Trio run, and leave where you like: the instrument ends with the run.

    Args:
        on_escape: told of each escape, for whoever tried may swallow the exception.
    """
    watch = _Watch(on_escape)
    original, name = StepCall.invoke, "invoke"

    async def invoke(call: StepCall) -> bytes:
        mark = _IS_BODY.set(True)
        watch.begin()
        try:
            return await original(call)
        finally:
            watch.end()
            _IS_BODY.reset(mark)

    setattr(StepCall, name, invoke)
    try:
        yield
    finally:
        setattr(StepCall, name, original)


class _Watch(trio.abc.Instrument):
    """Looks at every step of a task while there are bodies: that costs too much at other times."""

    def __init__(self, on_escape: Callable[[SimulationEscape], None]) -> None:
        self._usual: Final = sys.getprofile()
        self._on_escape: Final = on_escape
        self._bodies = 0

    def begin(self) -> None:
        """A body begins, in the present task."""
        self._bodies += 1
        if self._bodies == 1:
            trio.lowlevel.add_instrument(self)
        sys.setprofile(self.look)

    def end(self) -> None:
        """It has ended."""
        sys.setprofile(self._usual)
        self._bodies -= 1
        if not self._bodies:
            trio.lowlevel.remove_instrument(self)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """See ``Instrument``."""
        if task.context.get(_IS_BODY, False):
            sys.setprofile(self.look)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """See ``Instrument``."""
        if task.context.get(_IS_BODY, False):
            sys.setprofile(self._usual)

    def look(self, frame: FrameType, event: str, called: Any) -> None:
        """A profile function.

        Raises:
            SimulationEscape: into the code that calls what leads out of the simulation.
        """
        if event != "c_call":
            return
        name = _name(called)
        cure = _CURES.get(name)
        if cure is None:
            return
        user = user_behind(frame)
        if user is not None:
            error = SimulationEscape(explain(name, user, cure))
            self._on_escape(error)
            raise error


def _name(called: Any) -> str:
    bound = getattr(called, "__self__", None)
    if bound is not None and bound is _SHARED:
        return "random"
    name = getattr(called, "__name__", "")
    if isinstance(bound, type):
        return f"{bound.__name__}.{name}"
    return f"{getattr(called, '__module__', None) or ''}.{name}"
