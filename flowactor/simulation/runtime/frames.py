"""Whose code runs: the user's frames among those of flowactor, Trio and the standard library."""

from collections.abc import Iterator
from sys import stdlib_module_names
from types import FrameType
from typing import Final

import trio

__all__ = ["is_harmless", "is_user", "place_of", "top_package", "user_behind", "user_frames"]

HARMLESS: Final = frozenset(
    {
        # What these read or stamp shows in no trace, and people want to see it.
        "_frozen_importlib",
        "_frozen_importlib_external",
        "bdb",
        "importlib",
        "linecache",
        "logging",
        "pdb",
        "tokenize",
        "traceback",
        "warnings",
        "zoneinfo",
    }
)
_LOOP: Final = "trio._core._run"


def top_package(frame: FrameType) -> str:
    """The first word of the name of the frame's module."""
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0]


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    """From this frame outwards, up to Trio's loop."""
    while frame is not None and frame.f_globals.get("__name__") != _LOOP:
        yield frame
        frame = frame.f_back


def is_harmless(asker: FrameType | None) -> bool:
    """Whether somebody asks on whose behalf it does not matter."""
    return any(top_package(frame) in HARMLESS for frame in _stack(asker))


def is_user(frame: FrameType) -> bool:
    """Whether the code is neither the standard library's, nor flowactor's, nor of a package that
    was installed.
    """
    top = top_package(frame)
    return (
        (top not in stdlib_module_names or top == "__main__")
        and top != "flowactor"
        and "site-packages" not in frame.f_code.co_filename
    )


def user_frames(frame: FrameType | None) -> list[tuple[FrameType, int]]:
    """The user's frames and their lines, from this one outwards; if a library started a task of
    its own, of the tasks that wait for it.
    """
    found = [(one, one.f_lineno) for one in _stack(frame) if is_user(one)]
    task = None if found else _present_task()
    while task is not None and not found:
        nursery = task.parent_nursery
        task = None if nursery is None else nursery.parent_task
        if task is not None:
            waits = [(one, line) for one, line in task.iter_await_frames() if is_user(one)]
            found = waits[::-1]
    return found


def _present_task() -> trio.lowlevel.Task | None:
    try:
        return trio.lowlevel.current_task()
    except RuntimeError:
        return None  # between two tasks, or in a workflow, which the loop is hidden from


def place_of(frame: FrameType | None) -> str:
    """File and line of the user on whose behalf this frame runs, or of the frame itself."""
    found = user_frames(frame)
    if found:
        return f"{found[0][0].f_code.co_filename}:{found[0][1]}"
    return "somebody" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def user_behind(frame: FrameType) -> FrameType | None:
    """The user's frame on whose behalf the standard library acts; None if it acts for a library, or
    does what shows nowhere.
    """
    for asker in _stack(frame):
        top = top_package(asker)
        if top in HARMLESS:
            return None
        if top not in stdlib_module_names or top == "__main__":
            return asker if is_user(asker) else None
    return None
