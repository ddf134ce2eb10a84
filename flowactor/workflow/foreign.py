"""Refusing an ``await``, or a cancel scope, that is not flowactor's, with file, line and a cure.

An await of Trio, asyncio or a network library would tie the run to this process: it cannot be
replayed, and no other node could go on with it. A scope or nursery of theirs would do more harm: it
belongs to whatever task of the node happens to run the code, and stays open in it when the code
waits. What is awaited comes up to the scheduler and is refused there; the rest is refused by the
libraries themselves, as the driver hides its event loop (``Outside``), and explained here.
"""

import inspect
import sys
from types import CoroutineType, FrameType
from typing import Any, Final

from flowactor.errors import ForeignAwait

__all__ = ["refusal", "translated", "waits_at"]

_LIBRARIES: Final = frozenset({"trio", "asyncio", "anyio", "sniffio", "curio", "twisted"})
_CURES: Final = {
    "sleep": "await fa.sleep(seconds)",
    "sleep_until": "await fa.sleep_until(when)",
    "sleep_forever": "await fa.sleep_forever()",
    "checkpoint": "await fa.checkpoint()",
    "gather": "await fa.gather(...)",
    "wait_for": "with fa.fail_after(seconds): ...",
    "timeout": "with fa.fail_after(seconds): ...",
    "CancelScope": "with fa.move_on_after(seconds): ..., or with fa.CancelScope() as scope: ...",
    "move_on_after": "with fa.move_on_after(seconds): ...",
    "move_on_at": "with fa.move_on_at(when): ...",
    "fail_after": "with fa.fail_after(seconds): ...",
    "fail_at": "with fa.fail_at(when): ...",
    "open_nursery": "async with fa.open_nursery() as nursery: ...",
    "TaskGroup": "async with fa.open_nursery() as nursery: ...",
    "create_task_group": "async with fa.open_nursery() as nursery: ...",
    "create_task": "async with fa.open_nursery() as nursery: nursery.start_soon(...)",
    "current_time": "fa.now()",
    "wait": "await fa.wait_condition(lambda: ...)",
}
_ENGINE: Final = ("flowactor.workflow.", "flowactor.cluster.")
"""Not all of flowactor: its demo is user code."""
_STEP: Final = "put the call into an async function marked @fa.step and await that"


def refusal(body: Any, awaited: object) -> ForeignAwait:
    """The error for ``awaited``, which came up from the innermost await in the coroutine
    ``body``.
    """
    chain = _chain(body)
    at = _innermost(chain)
    what = chain[at + 1] if at + 1 < len(chain) else awaited
    name = (
        _name(what)
        if at + 1 < len(chain)
        else f"{type(awaited).__module__}.{type(awaited).__qualname__}"
    )
    return ForeignAwait(_message(*_place(chain[at]), name))


def waits_at(body: Any) -> str:
    """File and line of the innermost await of the user's code in the coroutine ``body``."""
    chain = _chain(body)
    return "{}:{}".format(*_place(chain[_innermost(chain)]))


def translated(error: BaseException) -> BaseException:
    """``error``, or a ``ForeignAwait`` that explains it, if a library complained by itself that it
    is not running its own event loop.
    """
    if not isinstance(error, RuntimeError):
        return error
    user: tuple[str, int] | None = None
    called = ""
    complained = False
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if _is_user_frame(frame):
            user, called, complained = (frame.f_code.co_filename, traceback.tb_lineno), "", False
        else:
            complained = complained or _top(frame) in _LIBRARIES
            called = called or _called(frame)
        traceback = traceback.tb_next
    if user is None or not (called and complained):
        return error
    explained = ForeignAwait(_message(*user, called))
    explained.__cause__ = error
    return explained


def _message(file: str, line: int, name: str) -> str:
    library, _, last = name.rpartition(".")
    cure = _CURES.get(last) if library.partition(".")[0] in _LIBRARIES else None
    return (
        f"{file}:{line} uses {name}, which flowactor cannot make durable. "
        f"Write instead: {cure or _STEP}."
    )


def _called(frame: FrameType) -> str:
    """What user code called to get into ``frame``, as it would name it; empty for what stands
    between: the standard library, flowactor, and wrappers that decorators make.
    """
    top, name = _top(frame), frame.f_code.co_qualname
    is_standard = top in sys.stdlib_module_names and top not in _LIBRARIES
    if top == "flowactor" or is_standard or "<locals>" in name:
        return ""
    for entering in (".__enter__", ".__aenter__", ".__init__"):
        name = name.removesuffix(entering)
    return f"{_public(frame)}.{name}"


def _chain(body: Any) -> list[Any]:
    """What awaits what, from the task's own coroutine to the innermost."""
    chain: list[Any] = []
    link = body
    while link is not None and len(chain) < 1000:
        chain.append(link)
        link = next(
            (
                getattr(link, name)
                for name in ("cr_await", "gi_yieldfrom", "ag_await")
                if getattr(link, name, None) is not None
            ),
            None,
        )
    return chain


def _innermost(chain: list[Any]) -> int:
    """The place in the chain of the last link that is the user's."""
    return max((i for i, link in enumerate(chain) if _is_user_code(link)), default=0)


def _place(link: Any) -> tuple[str, int]:
    frame = _frame(link)
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ("?", 0)


def _frame(link: Any) -> FrameType | None:
    for name in ("cr_frame", "gi_frame", "ag_frame"):
        frame = getattr(link, name, None)
        if isinstance(frame, FrameType):
            return frame
    return None


def _is_user_code(link: Any) -> bool:
    """Only ``async def`` code contains awaits; a generator is what such an await drives."""
    frame = _frame(link)
    return isinstance(link, CoroutineType) and frame is not None and _is_user_frame(frame)


def _is_user_frame(frame: FrameType) -> bool:
    top = _top(frame)
    return (
        top not in _LIBRARIES
        and top not in sys.stdlib_module_names
        and not frame.f_globals.get("__name__", "").startswith(_ENGINE)
        and "site-packages" not in frame.f_code.co_filename
    )


def _top(frame: FrameType) -> str:
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0]


def _name(what: Any) -> str:
    frame = _frame(what)
    if frame is None:
        cls = type(what)
        return f"{cls.__module__}.{cls.__qualname__}"
    name = getattr(what, "__qualname__", frame.f_code.co_name)
    if inspect.isgenerator(what) and name.endswith(".__await__"):
        name = name.removesuffix(".__await__")
    return f"{_public(frame)}.{name}"


def _public(frame: FrameType) -> str:
    """The module that people know: trio._timeouts.sleep is trio.sleep to all."""
    module: str = frame.f_globals.get("__name__", "?")
    return _top(frame) if "._" in module or _top(frame) == "asyncio" else module
