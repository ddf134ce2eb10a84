"""Which line of the user's code asked: ``module:function:line``, for people."""

import sys
from types import CodeType, FrameType, TracebackType
from typing import Final

__all__ = ["here", "of_function", "of_traceback"]

_PACKAGE: Final = "flowactor.workflow."
_CALLERS: Final = frozenset({"_resume", "consume"})
"""Of the scheduler and the interpreter: the functions that call user code; above them is none."""
_IS_USER: Final[dict[CodeType, bool]] = {}
_CACHE: Final[dict[tuple[CodeType, int], str]] = {}
"""Bounded by the lines of the program."""


def _is_user(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__", "")
    return not (module.startswith(_PACKAGE) or module == "contextlib")


def _text(frame: FrameType, line: int) -> str:
    code = frame.f_code
    key = (code, line)
    text = _CACHE.get(key)
    if text is None:
        text = f"{frame.f_globals.get('__name__', '?')}:{code.co_qualname}:{line}"
        _CACHE[key] = text
    return text


def here(fallback: str) -> str:
    """The innermost user frame of the running task; ``fallback`` if there is none, as when a
    nursery runs a step function itself.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # inspect.currentframe is the same, slower
    while frame is not None:
        code = frame.f_code
        if code not in _IS_USER:
            _IS_USER[code] = _is_user(frame)
        if _IS_USER[code]:
            return _text(frame, frame.f_lineno)
        if code.co_name in _CALLERS:
            break
        frame = frame.f_back
    return fallback


def of_traceback(traceback: TracebackType | None) -> str:
    """The innermost user frame an exception passed through."""
    found = ""
    while traceback is not None:
        if _is_user(traceback.tb_frame):
            found = _text(traceback.tb_frame, traceback.tb_lineno)
        traceback = traceback.tb_next
    return found


def of_function(function: object) -> str:
    """Where a function is defined."""
    code: CodeType | None = getattr(function, "__code__", None)
    if code is None:
        return ""
    return f"{getattr(function, '__module__', '?')}:{code.co_qualname}:{code.co_firstlineno}"
