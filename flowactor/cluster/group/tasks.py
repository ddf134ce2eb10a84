"""Where the tasks of actors live: a nursery, as far as they use it."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

__all__ = ["Tasks"]


class Tasks(Protocol):
    """A ``trio.Nursery``, or whoever stands for one."""

    def start_soon(
        self, async_fn: Callable[..., Awaitable[Any]], /, *args: Any, name: object = None
    ) -> None:
        """Run ``async_fn(*args)`` as a task."""
