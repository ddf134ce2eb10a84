"""The order in which Trio runs its tasks, and its queue of them.

The one file of the simulator that reaches for names which Trio does not publish.

Trio takes whatever can run as one *batch*, and shuffles it. In here it sorts the batch by age first
and lets a ``Schedule`` shuffle: what can run is known, and chance comes from a seed.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Final, Protocol

import trio
from trio._core import _run
from trio._core._run import GLOBAL_RUN_CONTEXT

__all__ = [
    "Schedule",
    "all_deadlines",
    "in_order",
    "run_queue",
    "somebody_waits_for_idleness",
    "unshield",
]

_GENERATOR: Final = "_r"
_SWITCH: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"

_MULTIPLIER: Final = 6364136223846793005
_INCREMENT: Final = 1442695040888963407
_MASK: Final = 2**64 - 1


class Pulse(Protocol):
    """Told of every pass of Trio's loop."""

    def __call__(self, tasks: int) -> None:
        """So many tasks run now, perhaps none."""


class Schedule:
    """Decides the order of batches: the oldest task first, except where ``deviations`` says.

    Args:
        seed: what the shuffled batches are shuffled by. The order of a batch depends on the seed
            and its number alone, so leaving one deviation out leaves the others as they are.
        deviations: the numbers (from 1, of batches of more than one task) that are shuffled; None:
            all of them.
        on_pass: told of every pass.
    """

    def __init__(self, seed: int, deviations: frozenset[int] | None, on_pass: Pulse) -> None:
        self.choices = 0
        """Batches so far in which there was something to decide."""
        self._seed: Final = seed & _MASK
        self._deviations: Final = deviations
        self._on_pass: Final = on_pass

    def shuffle(self, batch: list[trio.lowlevel.Task]) -> None:
        """Trio calls this with the tasks by age, and runs them from the end of the list."""
        size = len(batch)
        self._on_pass(size)
        if size < 2:
            return
        self.choices += 1
        if self._deviations is not None and self.choices not in self._deviations:
            batch.reverse()
            return
        state = self._seed ^ (self.choices * _MULTIPLIER & _MASK)
        for last in range(size - 1, 0, -1):
            state = (state * _MULTIPLIER + _INCREMENT) & _MASK
            other = (state >> 33) % (last + 1)
            batch[last], batch[other] = batch[other], batch[last]


@contextmanager
def in_order(schedule: Schedule) -> Iterator[None]:
    """Every ``trio.run`` in this process asks ``schedule`` meanwhile; restored afterwards.

    Raises:
        RuntimeError: inside another such block, or this release of Trio keeps its scheduler
            elsewhere.
    """
    generator, switch = getattr(_run, _GENERATOR, None), getattr(_run, _SWITCH, None)
    is_running = isinstance(generator, Schedule)
    if is_running:
        raise RuntimeError("a simulation is running already: one at a time in a process")
    is_known = isinstance(generator, Random) and isinstance(switch, bool)
    if not is_known:
        raise RuntimeError(
            f"Trio {trio.__version__} keeps its scheduler elsewhere than flowactor knows:"
            " simulations need another release of one of them"
        )
    setattr(_run, _GENERATOR, schedule)
    setattr(_run, _SWITCH, True)
    try:
        yield
    finally:
        setattr(_run, _GENERATOR, generator)
        setattr(_run, _SWITCH, switch)


def run_queue() -> deque[trio.lowlevel.Task]:
    """The tasks of the next batch, in the order they became runnable; may be changed. The same
    object to the end of the run.
    """
    return GLOBAL_RUN_CONTEXT.runner.runq


class Deadlines(Protocol):
    """Of all cancel scopes."""

    def next_deadline(self) -> float:
        """The first of them, in Trio's seconds; infinity if there is none."""


def all_deadlines() -> Deadlines:
    """The deadlines of this run: the same object to its end."""
    return GLOBAL_RUN_CONTEXT.runner.deadlines


def somebody_waits_for_idleness() -> bool:
    """Whether a task is in ``trio.testing.wait_all_tasks_blocked``, which comes before a leap."""
    return bool(GLOBAL_RUN_CONTEXT.runner.waiting_for_idle)


def unshield(scope: trio.CancelScope) -> None:
    """Let the cancellation of ``scope`` reach everything inside it, shielded or not."""
    status = scope._cancel_status  # noqa: SLF001
    waiting = [] if status is None else [status]
    while waiting:
        inner = waiting.pop()
        inner._scope.shield = False  # noqa: SLF001
        waiting.extend(inner.children)
