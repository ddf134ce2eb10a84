"""Long work in a worker, a slice at a time, so that nobody else's job waits for long."""

from collections.abc import Callable, Generator
from typing import Final, Generic, TypeVar

from attrs import frozen

from flowactor.errors import WorldError
from flowactor.ports import Worker

__all__ = ["Slices", "Work"]

T = TypeVar("T")
Work = Generator[None, None, T]
"""Yields where others may have their turn; cleans up behind itself when it is closed."""


@frozen
class _Result(Generic[T]):
    value: T


class Slices(Generic[T]):
    """Runs ``work`` to its end in ``worker``, then calls ``done`` on the event loop with what it
    returned, or with the ``WorldError`` that it raised. Begins at once.
    """

    def __init__(
        self, worker: Worker, work: Work[T], done: Callable[[T | WorldError], None]
    ) -> None:
        self._worker: Final = worker
        self._work: Final = work
        self._done: Final = done
        self._cancelled = False
        self._submit()

    def cancel(self) -> None:
        """End it before its next slice; ``done`` is not called. On the event loop."""
        self._cancelled = True

    def end(self) -> None:
        """End it at once. In the worker, or when that is closed."""
        self._cancelled = True
        self._work.close()

    def _submit(self) -> None:
        self._worker.submit(self._slice, self._after)

    def _slice(self) -> _Result[T] | None:
        if self._cancelled:
            self._work.close()
        try:
            next(self._work)
        except StopIteration as end:
            return _Result(end.value)
        return None

    def _after(self, outcome: _Result[T] | BaseException | None) -> None:
        match outcome:
            case None:
                self._submit()
            case _ if self._cancelled:
                pass
            case _Result(value):
                self._done(value)
            case WorldError():
                self._done(outcome)
            case _:
                raise outcome
