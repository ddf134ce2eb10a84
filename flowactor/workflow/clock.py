"""Time, chance and waiting, as a run sees them: the same on every node and in every replay."""

import datetime as dt
import random as random_module
import uuid
from collections.abc import Callable

from flowactor.workflow.context import current
from flowactor.workflow.scheduler import RunInfo, Wait, suspend
from flowactor.workflow.scopes import CancelScope, Span, from_ns, span_ns, to_ns

__all__ = [
    "checkpoint",
    "now",
    "random",
    "sleep",
    "sleep_forever",
    "sleep_until",
    "time_ns",
    "uuid4",
    "wait_condition",
    "workflow_info",
]


class _Forever(Wait):
    """Only cancellation ends it."""

    __slots__ = ()

    def abort(self) -> bool:
        return True


async def sleep(seconds: Span) -> None:
    """Wait, durably: the timer outlives this process. 0 lets other branches run.

    Raises:
        ValueError: not a number, or negative.
    """
    span = span_ns(seconds)
    if span < 0:
        raise ValueError(f"cannot sleep for {seconds!r} seconds")
    scheduler = current("sleep")
    await scheduler.sleep_until_ns(scheduler.now_ns + span)


async def sleep_until(moment: dt.datetime) -> None:
    """Wait, durably, until a moment (which must have a time zone)."""
    await current("sleep_until").sleep_until_ns(to_ns(moment))


async def sleep_forever() -> None:
    """Wait until cancelled. Signals are still handled."""
    current("sleep_forever").blocking_task("sleep_forever")
    await suspend(_Forever())


async def checkpoint() -> None:
    """Let other branches run, and notice cancellation."""
    await current("checkpoint").checkpoint()


async def wait_condition(predicate: Callable[[], object], timeout: Span | None = None) -> bool:
    """Wait until ``predicate()`` is true. It is asked again whenever something happened in the run,
    and may only look.

    Returns:
        True; False if ``timeout`` seconds passed first.
    """
    scheduler = current("wait_condition")
    if timeout is None:
        await scheduler.condition(predicate)
        return True
    with CancelScope(relative_deadline=timeout) as scope:
        await scheduler.condition(predicate)
    return not scope.cancelled_caught


def now() -> dt.datetime:
    """The moment of the current activation, in UTC; it stands still while the code runs."""
    return from_ns(current("now").now_ns)


def time_ns() -> int:
    """As ``now``, in nanoseconds since the epoch."""
    return current("time_ns").now_ns


def random() -> random_module.Random:
    """The run's own generator, seeded from its id."""
    scheduler = current("random")
    scheduler.check_writable("random")
    return scheduler.random


def uuid4() -> uuid.UUID:
    """A random UUID from the run's own generator."""
    return uuid.UUID(int=random().getrandbits(128), version=4)


def workflow_info() -> RunInfo:
    """Which run this is."""
    return current("workflow_info").info
