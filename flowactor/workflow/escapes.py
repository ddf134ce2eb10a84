"""Noticing calls that make a run depend on this process: the clock, chance, files, the network.

For tests and simulations (a ``strict`` interpreter). Python's profile hook sees every call of a C
function, also of ``datetime.now``, which cannot be patched; production pays nothing for it.
"""

import random
import sys
from types import FrameType
from typing import Any, Final

from flowactor.errors import DeterminismViolation

__all__ = ["watch"]

_CURES: Final = {
    "time.time": "fa.now()",
    "time.time_ns": "fa.time_ns()",
    "time.monotonic": "fa.now()",
    "time.monotonic_ns": "fa.time_ns()",
    "time.perf_counter": "fa.now()",
    "time.sleep": "await fa.sleep(seconds)",
    "time.localtime": "fa.now()",
    "time.gmtime": "fa.now()",
    "datetime.now": "fa.now()",
    "datetime.utcnow": "fa.now()",
    "datetime.today": "fa.now()",
    "date.today": "fa.now()",
    "posix.urandom": "fa.random() or fa.uuid4()",
    "nt.urandom": "fa.random() or fa.uuid4()",
    "random": "fa.random()",
    "_io.open": "a step",
    "io.open": "a step",
    "_socket.getaddrinfo": "a step",
    "_socket.gethostname": "a step",
    "posix.getpid": "a step",
}
_GENERATOR: Final = getattr(random.random, "__self__", None)
"""What the functions of the module ``random`` share."""


def watch(frame: FrameType, event: str, called: Any) -> None:
    """A profile function (``sys.setprofile``).

    Raises:
        DeterminismViolation: into the code that calls something that differs between nodes; names
            file, line, and what to write instead.
    """
    if event != "c_call":
        return
    name = _name(called)
    cure = _CURES.get(name)
    if cure is None:
        return
    caller = _caller(frame)
    if caller is None:
        return
    raise DeterminismViolation(
        f"{caller.f_code.co_filename}:{caller.f_lineno} calls {name}, which differs from node to "
        f"node and on replay. Write instead: {cure}."
    )


def _caller(frame: FrameType | None) -> FrameType | None:
    """The user's frame on whose behalf the standard library acts; None if there is none."""
    while frame is not None:
        top = frame.f_globals.get("__name__", "").partition(".")[0]
        if top == "logging":
            return None  # the time on a log line decides nothing
        if top not in sys.stdlib_module_names or top == "__main__":
            is_user = top != "flowactor" and "site-packages" not in frame.f_code.co_filename
            return frame if is_user else None
        frame = frame.f_back
    return None


def _name(called: Any) -> str:
    bound = getattr(called, "__self__", None)
    if bound is not None and bound is _GENERATOR:
        return "random"
    name = getattr(called, "__name__", "")
    if isinstance(bound, type):
        return f"{bound.__name__}.{name}"
    return f"{getattr(called, '__module__', None) or ''}.{name}"
