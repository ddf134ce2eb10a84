"""Calling workflow code where Trio is out of reach.

An activation runs inside a task of the node. Code in it that enters a cancel scope of Trio's, and
then waits for something durable, would leave that scope open in the node's task. So Trio is told
that this thread runs no task: whatever needs one refuses by itself, before anything is changed, and
the interpreter explains it (``docs/decisions``, 0012).
"""

from collections.abc import Callable
from typing import Final, NoReturn, TypeVar, TypeVarTuple

import trio

# Trio has no public way to step out of a task. If a release moves this, flowactor must not start.
from trio._core._run import GLOBAL_RUN_CONTEXT

__all__ = ["outside_trio"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _NoRunner:
    """Stands where Trio looks for its loop."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError("Trio cannot be reached from workflow code")


_NO_RUNNER: Final = _NoRunner()


# Trio looks at its task for whether Ctrl-C may interrupt here; it may, as in any task.
@trio.lowlevel.disable_ki_protection
def outside_trio(function: Callable[[*Ts], T], /, *args: *Ts) -> T:
    """``function(*args)``, during which no task, nursery or clock of Trio can be reached.

    ``trio.run`` is refused too: a thread that is blocked by another event loop stops the node.
    """
    here = vars(GLOBAL_RUN_CONTEXT)
    before = here.copy()
    here.clear()
    here["runner"] = _NO_RUNNER
    try:
        return function(*args)
    finally:
        here.clear()
        here.update(before)
