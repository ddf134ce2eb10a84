"""Nurseries: the only way to run branches at once, and none outlives its block."""

from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, TypeVarTuple, overload

from flowactor.errors import WorkflowMisuse
from flowactor.workflow import sites
from flowactor.workflow.cancellation import Cancelled
from flowactor.workflow.context import current
from flowactor.workflow.scheduler import Task, Wait, suspend
from flowactor.workflow.scopes import CancelScope

__all__ = ["Nursery", "gather", "open_nursery", "race"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Nursery:
    """Branches of a run. The first exception in one cancels the others; when all are done, what was
    raised leaves the block as one exception group (catch with ``except*``).

    Attributes:
        cancel_scope: cancels all branches.
    """

    def __init__(self) -> None:
        self.cancel_scope = CancelScope()
        self._children = 0
        self._errors: list[BaseException] = []
        self._closed = True
        self._parent: Task | None = None

    def start_soon(self, function: Callable[[*Ts], Awaitable[Any]], *args: *Ts) -> None:
        """Start ``function(*args)`` as a branch, after the running task next waits.

        Raises:
            WorkflowMisuse: the nursery is closed, or ``function`` is not an async function.
        """
        scheduler = current("start_soon")
        spawner = scheduler.acting_task("start_soon")
        status = self.cancel_scope._status  # noqa: SLF001  # a nursery is its scope's other half
        if self._closed or status is None:
            raise WorkflowMisuse(
                "this nursery is closed: start_soon works inside its async with block"
            )
        coroutine: object = function
        if isinstance(coroutine, Coroutine):
            coroutine.close()
            raise WorkflowMisuse(
                "start_soon takes a function and its arguments: start_soon(f, x), not f(x)"
            )
        body = function(*args)
        if not isinstance(body, Coroutine):
            name = getattr(function, "__qualname__", function)
            raise WorkflowMisuse(
                f"start_soon needs an async function; {name} returned {body!r:.80}"
            )
        path = (*spawner.path, spawner.spawned)
        spawner.spawned += 1
        self._children += 1
        scheduler.spawn(body, path, self, status, sites.here(spawner.site))

    def child_finished(self, _task: Task, _value: Any, error: BaseException | None) -> None:
        self._children -= 1
        if error is not None:
            self.fail(error)
        parent = self._parent
        if not self._children and parent is not None and isinstance(parent.wait, _NurseryWait):
            current("a nursery").wake(parent)

    def fail(self, error: BaseException) -> None:
        """One branch, or the block itself, ended with ``error``: the others are cancelled."""
        self._errors.append(error)
        self.cancel_scope.cancel("another branch of the nursery failed")

    async def __aenter__(self) -> Self:
        self.cancel_scope.__enter__()
        self._parent = current("open_nursery").task
        self._closed = False
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is not None and not isinstance(error, (Exception, Cancelled, BaseExceptionGroup)):
            # The run leaves memory, or the process is told to stop: nothing is waited for.
            return False
        if error is not None:
            self.fail(error)
        if self._children:
            await suspend(_NurseryWait(self))
        self._closed = True
        combined = self._combined()
        if combined is None:
            self.cancel_scope.leave(None)
            return error is not None
        return self._raise(combined, error)

    def _raise(self, combined: BaseException, error: BaseException | None) -> bool:
        left = self.cancel_scope.leave(combined)
        if left is None:
            return error is not None
        if left is error:
            return False
        context = left.__context__
        try:
            raise left
        finally:
            left.__context__ = context
            self._errors.clear()
            del left, combined, error, context

    def _combined(self) -> BaseException | None:
        if not self._errors:
            return None
        if all(isinstance(error, Cancelled) for error in self._errors):
            return self._errors[0]
        return BaseExceptionGroup("errors in a nursery", self._errors)


class _NurseryWait(Wait):
    """The block is done, branches are not."""

    __slots__ = ("_nursery", "_told")

    def __init__(self, nursery: Nursery) -> None:
        self._nursery = nursery
        self._told = False

    def abort(self) -> bool:
        # Branches are cancelled by the same stroke; the block ends when they have ended.
        if not self._told:
            self._told = True
            parent = self._nursery._parent  # noqa: SLF001  # the wait is the nursery's own
            assert parent is not None
            self._nursery._errors.append(Cancelled(parent.status.why()))  # noqa: SLF001
        return False


def open_nursery() -> Nursery:
    """A nursery, for ``async with``: the block ends when all its branches have ended."""
    return Nursery()


@overload
async def gather(*awaitables: Awaitable[T], return_exceptions: Literal[False] = ...) -> list[T]: ...
@overload
async def gather(*awaitables: Awaitable[T], return_exceptions: bool) -> list[T | Exception]: ...
async def gather(
    *awaitables: Awaitable[T], return_exceptions: bool = False
) -> list[T] | list[T | Exception]:
    """Run all at once; their results in the order given.

    The first exception cancels the rest and leaves as part of an exception group; with
    ``return_exceptions`` all run to their end and exceptions stand in the list instead.
    """
    results: list[Any] = [None] * len(awaitables)

    async def branch(index: int, awaitable: Awaitable[T]) -> None:
        try:
            results[index] = await awaitable
        except Exception as error:
            if not return_exceptions:
                raise
            results[index] = error

    async with open_nursery() as nursery:
        for index, awaitable in enumerate(awaitables):
            nursery.start_soon(branch, index, awaitable)
    return results


async def race(*awaitables: Awaitable[T]) -> T:
    """Run all at once; the first to end wins, the others are cancelled. If the first to end does so
    with an exception, that leaves as part of an exception group.

    Raises:
        ValueError: there is nothing to run.
    """
    if not awaitables:
        raise ValueError("race needs something to run")
    winner: list[T] = []

    async def branch(nursery: Nursery, awaitable: Awaitable[T]) -> None:
        result = await awaitable
        if not winner:
            winner.append(result)
            nursery.cancel_scope.cancel("another one was first")

    async with open_nursery() as nursery:
        for awaitable in awaitables:
            nursery.start_soon(branch, nursery, awaitable)
    return winner[0]
