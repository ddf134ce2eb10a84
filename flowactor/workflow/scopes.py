"""Cancel scopes with durable deadlines. Names and meaning are Trio's; a deadline is a timer of the
run, so it holds across restarts and on whichever node the run is by then.
"""

import datetime as dt
import math
import sys
from types import TracebackType
from typing import Final, Self

from flowactor.errors import TooSlowError, WorkflowMisuse
from flowactor.identity import TimerKey
from flowactor.limits import NANOSECONDS
from flowactor.workflow.cancellation import Cancelled, CancelStatus
from flowactor.workflow.context import ACTIVE, current
from flowactor.workflow.scheduler import Task

__all__ = [
    "CancelScope",
    "fail_after",
    "fail_at",
    "from_ns",
    "move_on_after",
    "move_on_at",
    "span_ns",
    "to_ns",
]

Span = float | dt.timedelta
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)


def span_ns(span: Span) -> int:
    """Seconds, or a timedelta, in nanoseconds.

    Raises:
        ValueError: it is not a number.
    """
    if isinstance(span, dt.timedelta):
        return span // _MICROSECOND * 1000
    if math.isnan(span):
        raise ValueError("a time span must be a number of seconds, not nan")
    return round(span * NANOSECONDS)


def to_ns(moment: dt.datetime) -> int:
    """Nanoseconds since the epoch.

    Raises:
        ValueError: the datetime has no time zone, so it means another moment on another node.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; build on fa.now(), which has one")
    return (moment - _EPOCH) // _MICROSECOND * 1000


def from_ns(stamp_ns: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(microseconds=stamp_ns // 1000)


class CancelScope:
    """A block that can be cancelled as a whole, from inside, from another task, or by a deadline.

    Args:
        deadline: when to cancel; must have a time zone.
        relative_deadline: seconds from entering the block, instead.
        shield: cancellation from outside does not reach the block.

    Attributes:
        cancelled_caught: the block was cut short by this scope.
    """

    def __init__(
        self,
        *,
        deadline: dt.datetime | None = None,
        relative_deadline: Span | None = None,
        shield: bool = False,
    ) -> None:
        if deadline is not None and relative_deadline is not None:
            raise ValueError("give either deadline or relative_deadline")
        self._due_ns = None if deadline is None else to_ns(deadline)
        self._span_ns = None
        if relative_deadline is not None and relative_deadline != math.inf:
            self._span_ns = span_ns(relative_deadline)
        self._shield = shield
        self._status: CancelStatus | None = None
        self._task: Task | None = None
        self._timer: TimerKey | None = None
        self._called = False
        self._reason = ""
        self.cancelled_caught = False

    @property
    def deadline(self) -> dt.datetime | None:
        """When the block will be cancelled. May be moved; None is never."""
        return None if self._due_ns is None else from_ns(self._due_ns)

    @deadline.setter
    def deadline(self, moment: dt.datetime | None) -> None:
        current("CancelScope.deadline").check_writable("CancelScope.deadline")
        self._disarm()
        self._due_ns, self._span_ns = (None if moment is None else to_ns(moment)), None
        if self._status is not None:
            self._arm()

    @property
    def shield(self) -> bool:
        return self._shield

    @shield.setter
    def shield(self, shield: bool) -> None:
        self._shield = shield
        if self._status is not None:
            self._status.shield = shield
            current("CancelScope.shield").deliver_cancellation(self._status)

    @property
    def cancel_called(self) -> bool:
        return self._called

    def cancel(self, reason: str = "") -> None:
        """Cancel the block: whatever waits in it gets ``Cancelled``, now and at each later
        await.
        """
        scheduler = current("CancelScope.cancel")
        scheduler.check_writable("CancelScope.cancel")
        if self._called:
            return
        self._called, self._reason = True, reason
        if self._status is not None:
            self._disarm()
            self._status.called, self._status.reason = True, reason
            scheduler.deliver_cancellation(self._status)

    def __enter__(self) -> Self:
        task = current("a cancel scope").acting_task("a cancel scope")
        if self._task is not None:
            raise WorkflowMisuse("a CancelScope can be entered once; make a new one")
        self._task = task
        self._status = CancelStatus(task.status, shield=self._shield)
        task.enter(self._status)
        if self._called:
            self._status.called, self._status.reason, self._status.cancelled = (
                True,
                self._reason,
                True,
            )
        else:
            self._arm()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        left = self.leave(error)
        if left is None:
            return error is not None
        if left is error:
            return False
        # Part of a group was absorbed. A new exception raised here would get the old one as its
        # context, which is the very thing it was split from.
        context = left.__context__
        try:
            raise left
        finally:
            _, raised, _ = sys.exc_info()
            assert raised is left
            raised.__context__ = context
            del left, raised, context

    def leave(self, error: BaseException | None) -> BaseException | None:
        """Close the scope; returns what is left of ``error`` once this scope's own cancellation is
        taken out of it.
        """
        scheduler = ACTIVE.scheduler
        if scheduler is None or scheduler.disposed:
            return error
        status, task = self._status, self._task
        assert status is not None
        assert task is not None
        if task is not scheduler.task or task.status is not status:
            raise WorkflowMisuse(
                "cancel scopes must be left in the task that entered them, innermost first"
            )
        self._disarm()
        absorbs = status.cancelled and not status.parent_is_visible()
        assert status.parent is not None
        task.enter(status.parent)
        status.close()
        self._status = None
        return self._without_cancelled(error) if absorbs and error is not None else error

    def _without_cancelled(self, error: BaseException) -> BaseException | None:
        if isinstance(error, Cancelled):
            self.cancelled_caught = True
            return None
        if isinstance(error, BaseExceptionGroup):
            matched, rest = error.split(Cancelled)
            if matched is not None:
                self.cancelled_caught = True
                return rest
        return error

    def _arm(self) -> None:
        scheduler = current("a deadline")
        if self._span_ns is not None:
            self._due_ns, self._span_ns = scheduler.now_ns + self._span_ns, None
        if self._due_ns is None or self._called:
            return
        if self._due_ns <= scheduler.now_ns:
            self._expire()
        else:
            self._timer = scheduler.arm_timer("deadline", self._due_ns, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self.cancel("deadline")

    def _disarm(self) -> None:
        if self._timer is not None:
            timer, self._timer = self._timer, None
            current("a deadline").disarm_timer(timer)


class _FailScope(CancelScope):
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        swallowed = super().__exit__(kind, error, traceback)
        if self.cancelled_caught:
            raise TooSlowError(f"the block did not end by {self.deadline}") from None
        return swallowed


def move_on_after(seconds: Span, *, shield: bool = False) -> CancelScope:
    """A scope that is left after ``seconds``, wherever its block waits by then."""
    return CancelScope(relative_deadline=seconds, shield=shield)


def move_on_at(deadline: dt.datetime, *, shield: bool = False) -> CancelScope:
    """As ``move_on_after``, at a given moment."""
    return CancelScope(deadline=deadline, shield=shield)


def fail_after(seconds: Span, *, shield: bool = False) -> CancelScope:
    """As ``move_on_after``, and raises ``TooSlowError`` if the block had to be left."""
    return _FailScope(relative_deadline=seconds, shield=shield)


def fail_at(deadline: dt.datetime, *, shield: bool = False) -> CancelScope:
    """As ``fail_after``, at a given moment."""
    return _FailScope(deadline=deadline, shield=shield)
