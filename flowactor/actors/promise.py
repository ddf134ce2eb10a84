"""A one-shot result that tasks wait for. Waiters are rescheduled directly: 1.4 times as fast as an
``Event`` each when thousands wait (docs/design/actors.md).
"""

from typing import Generic, TypeVar

import trio

from flowactor.errors import DeadlineExceeded

__all__ = ["Promise", "wait_until"]

T = TypeVar("T")


class Promise(Generic[T]):
    """A value or an error that will be there once. Not for use from other threads.

    The first ``set`` or ``fail`` wins and later ones do nothing but return False: an answer may
    race with the failure of whoever was to give it, and neither side should have to know.
    """

    __slots__ = ("_done", "_error", "_value", "_waiters")

    _value: T

    def __init__(self) -> None:
        self._done = False
        self._error: BaseException | None = None
        # A dict for its order of insertion; None until somebody waits, since many promises are
        # settled before.
        self._waiters: dict[trio.lowlevel.Task, None] | None = None

    @property
    def done(self) -> bool:
        """True once there is a value or an error."""
        return self._done

    def set(self, value: T) -> bool:
        """Settle with ``value`` and wake all waiters. Returns False if it was settled before."""
        if self._done:
            return False
        self._value = value
        self._settle()
        return True

    def fail(self, error: BaseException) -> bool:
        """Settle with ``error``, raised in every waiter. Returns False if it was settled before."""
        if self._done:
            return False
        self._error = error
        self._settle()
        return True

    def result(self) -> T:
        """The value, without waiting; or raises the error. Only for a promise that is done."""
        assert self._done, "the promise is not settled yet"
        if self._error is not None:
            raise self._error
        return self._value

    async def wait(self) -> T:
        """Wait for the value; raises the error if it failed. Always a checkpoint; several tasks may
        wait, and one that is cancelled leaves no trace.
        """
        if self._done:
            await trio.lowlevel.checkpoint()
        else:
            await self._park()
        return self.result()

    def _settle(self) -> None:
        self._done = True
        if self._waiters:
            for task in self._waiters:
                trio.lowlevel.reschedule(task)
            self._waiters = None

    async def _park(self) -> None:
        if self._waiters is None:
            self._waiters = {}
        waiters = self._waiters
        task = trio.lowlevel.current_task()
        waiters[task] = None

        def abort(_: object) -> trio.lowlevel.Abort:
            del waiters[task]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)


async def wait_until(promise: Promise[T], seconds: float, what: str) -> T:
    """As ``promise.wait()``, for at most ``seconds``. A value that is there is returned, however
    little time was left.

    Raises:
        DeadlineExceeded: nothing came in time; ``what`` begins the message.
    """
    if promise.done:
        return await promise.wait()
    with trio.move_on_after(seconds):
        return await promise.wait()
    raise DeadlineExceeded(f"{what}: no answer within {seconds:g} s")
