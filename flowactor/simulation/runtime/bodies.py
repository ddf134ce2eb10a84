"""What bodies of steps and workflows call, watched: the clock, chance, files, by whatever name.

Functions of modules are replaced for the time of a run (``escapes``). That misses what cannot be
replaced (``datetime.now``), and names that were bound before (``from time import time``). So while
workflow code runs, or the task of a body, or one that it started, takes a step, Python's profile
hook sees what it calls, and what Python reports to auditors is heard (``audit``).
"""

import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Any, Final

import trio

from flowactor.machine.events import Event
from flowactor.simulation.failure import SimulationEscape
from flowactor.simulation.runtime.audit import EARS
from flowactor.simulation.runtime.escapes import (
    CHANCE,
    FILE,
    IN_BODY,
    MACHINE,
    PROCESS,
    TIME,
    WAIT,
    Cure,
    explain,
)
from flowactor.simulation.runtime.frames import user_behind
from flowactor.workflow import Interpreter, StepCall

__all__ = ["bodies_watched"]

_SHARED: Final = getattr(random.random, "__self__", None)
_NAMES: Final = {
    **dict.fromkeys(
        (
            "time.time",
            "time.time_ns",
            "time.monotonic",
            "time.monotonic_ns",
            "time.perf_counter",
            "time.perf_counter_ns",
            "time.process_time",
            "time.process_time_ns",
            "time.thread_time",
            "time.thread_time_ns",
            "time.clock_gettime",
            "time.clock_gettime_ns",
            "time.localtime",
            "time.gmtime",
            "datetime.datetime.now",
            "datetime.datetime.utcnow",
            "datetime.datetime.today",
            "datetime.date.today",
        ),
        TIME,
    ),
    "time.sleep": WAIT,
    **dict.fromkeys(("os.urandom", "random.random", "random.getrandbits"), CHANCE),
    "io.open": FILE,
    **dict.fromkeys(
        (f"os.{name}" for name in ("stat", "lstat", "access", "getcwd", "getcwdb", "readlink")),
        FILE,
    ),
    **dict.fromkeys(("os.getpid", "os.getppid"), PROCESS),
    **dict.fromkeys(
        (f"os.{name}" for name in ("cpu_count", "getloadavg", "getlogin", "uname")), MACHINE
    ),
}


def _functions() -> Iterator[tuple[Any, Cure]]:
    """Those of them that this platform has, each as the function written in C that it is."""
    for path, cure in _NAMES.items():
        module, *names = path.split(".")
        found: Any = import_module(os.name if module == "os" else module)
        for name in names:
            found = getattr(found, name, None)
        if found is not None:
            yield found, cure


_CURES: Final = dict(_functions())
"""By the functions themselves: the hook sees every call, and looks at no name to know one."""


@contextmanager
def bodies_watched(on_escape: Callable[[SimulationEscape], None]) -> Iterator[None]:
    """Enter inside the Trio run, and leave where you like: the instrument ends with the run.

    Args:
        on_escape: told of each escape, for whoever tried may swallow the exception.
    """
    watch = _Watch(on_escape)
    invoke, consume = StepCall.invoke, Interpreter.consume

    async def watched_invoke(call: StepCall) -> bytes:
        mark = IN_BODY.set(True)
        watch.begin()
        try:
            return await invoke(call)
        finally:
            watch.end()
            IN_BODY.reset(mark)

    def watched_consume(interpreter: Interpreter, pending: Iterator[Event]) -> bool:
        watch.watch()
        try:
            return consume(interpreter, pending)
        finally:
            watch.rest()

    changes = ((StepCall, "invoke", watched_invoke), (Interpreter, "consume", watched_consume))
    for owner, name, function in changes:
        setattr(owner, name, function)
    try:
        yield
    finally:
        StepCall.invoke, Interpreter.consume = invoke, consume  # type: ignore[method-assign]
        watch.rest()


class _Watch(trio.abc.Instrument):
    """Looks at every step of a task while there are bodies: that costs too much at other times."""

    def __init__(self, on_escape: Callable[[SimulationEscape], None]) -> None:
        self._usual: Final = sys.getprofile()
        self._on_escape: Final = on_escape
        self._bodies = 0
        EARS.open()

    def begin(self) -> None:
        """A body begins, in the present task."""
        self._bodies += 1
        if self._bodies == 1:
            trio.lowlevel.add_instrument(self)
        self.watch()

    def end(self) -> None:
        """It has ended."""
        self.rest()
        self._bodies -= 1
        if not self._bodies:
            trio.lowlevel.remove_instrument(self)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """See ``Instrument``."""
        if task.context.get(IN_BODY, False):
            self.watch()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """See ``Instrument``."""
        if task.context.get(IN_BODY, False):
            self.rest()

    def watch(self) -> None:
        """The user's code is at work from now on."""
        EARS.told = self._refuse
        sys.setprofile(self.look)

    def rest(self) -> None:
        """It is not."""
        sys.setprofile(self._usual)
        EARS.told = None

    def look(self, frame: FrameType, event: str, called: Any) -> None:
        """A profile function.

        Raises:
            SimulationEscape: into the code that calls what leads out of the simulation.
        """
        if event == "c_call" and called in _CURES:
            self._refuse(frame, _name(called), _CURES[called])

    def _refuse(self, frame: FrameType, name: str, cure: Cure) -> None:
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
