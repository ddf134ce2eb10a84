"""Jobs in a worker that somebody on the event loop waits for, short ones and long ones."""

from collections.abc import Callable, Generator
from typing import Any, Final, Generic, TypeVar

from attrs import frozen

from flowactor.errors import WorldError
from flowactor.ports import Worker

__all__ = ["Slices", "Work", "ask"]

T = TypeVar("T")
Work = Generator[None, None, T]
"""Yields where others may have their turn; cleans up behind itself when it is closed."""


def ask(worker: Worker, job: Callable[[], T], done: Callable[[T | Any], None]) -> None:
    """Run ``job`` in ``worker``, then call ``done`` on the event loop with what it returned, or
    with the ``WorldError`` that it raised. Any other error is a bug, and raised there.
    """

    def finished(outcome: T | BaseException) -> None:
        if isinstance(outcome, BaseException) and not isinstance(outcome, WorldError):
            raise outcome
        done(outcome)

    worker.submit(job, finished)


@frozen
class _Result(Generic[T]):
    value: T


class Slices(Generic[T]):
    """``ask`` for work that takes long: one slice at a time, so that what others submit meanwhile
    comes in between. Nothing happens before ``begin``.
    """

    def __init__(self, worker: Worker, work: Work[T], done: Callable[[T | Any], None]) -> None:
        self._worker: Final = worker
        self._work: Final = work
        self._done: Final = done
        self._cancelled = False

    def begin(self) -> None:
        """Submit the next slice; where there is no thread, all of them are done on return."""
        ask(self._worker, self._slice, self._after)

    def cancel(self) -> None:
        """End it before its next slice; ``done`` is not called. On the event loop."""
        self._cancelled = True

    def end(self) -> None:
        """End it at once. In the worker, or when that is closed."""
        self._cancelled = True
        self._work.close()

    def _slice(self) -> _Result[T] | None:
        if self._cancelled:
            self._work.close()
        try:
            next(self._work)
        except StopIteration as end:
            return _Result(end.value)
        return None

    def _after(self, outcome: _Result[T] | WorldError | None) -> None:
        if outcome is None:
            self.begin()
        elif not self._cancelled:
            self._done(outcome.value if isinstance(outcome, _Result) else outcome)
