"""Ends runs that would never end: where nothing can happen any more, or too much does."""

from collections.abc import Callable
from pathlib import PurePath
from types import CodeType
from typing import Final

import trio
from attrs import frozen

from flowactor.simulation.failure import Deadlocked

__all__ = ["Limits", "Watchdog", "task_tree"]

GRACE_STEPS: Final = 100_000
"""For tasks to end in, once the run has been cancelled."""


@frozen
class Limits:
    """Attributes:
    steps_max: of tasks in one run.
    instant_steps_max: while virtual time stands still; more is a busy loop.
    turn_seconds: of processor time for code that awaits nothing.
    """

    steps_max: int = 200_000_000
    instant_steps_max: int = 100_000
    turn_seconds: float = 5.0


class Watchdog:
    """Counts the steps of tasks.

    Args:
        limits: how many there may be.
        give_up: told why the run cannot go on; cancels it.
        insist: called if tasks did not let themselves be cancelled; if that does not help either,
            the event loop is ended by force.
    """

    def __init__(
        self,
        limits: Limits,
        give_up: Callable[[Deadlocked], None],
        insist: Callable[[], None],
    ) -> None:
        self.steps = 0
        """Steps of tasks and events of the agenda so far."""
        self._limits: Final = limits
        self._give_up: Final = give_up
        self._insist: Final = insist
        self._insisted = False
        self._bound = min(limits.steps_max, limits.instant_steps_max)
        self._gave_up: Deadlocked | None = None

    def stepped(self, tasks: int) -> None:
        """So many tasks run now."""
        self.steps += tasks
        if self.steps > self._bound:
            busy = self.steps <= self._limits.steps_max
            self._end(
                f"{self._limits.instant_steps_max} steps of tasks, and time stands still"
                if busy
                else f"{self._limits.steps_max} steps of tasks, and no end"
            )

    def time_passed(self) -> None:
        """Virtual time goes on, so nothing turns in circles."""
        if self._gave_up is None:
            self._bound = min(self._limits.steps_max, self.steps + self._limits.instant_steps_max)

    def stuck(self) -> None:
        """Every task waits, and nothing will ever come."""
        self._end("every task waits, and nothing is going to happen")

    def _end(self, why: str) -> None:
        self._bound = self.steps + GRACE_STEPS
        if self._gave_up is None:
            self._gave_up = Deadlocked(f"{why}\n{task_tree()}")
            self._give_up(self._gave_up)
        elif not self._insisted:
            self._insisted = True
            self._insist()
        else:
            raise self._gave_up


def task_tree() -> str:
    """The tasks of this Trio run, nested, each with the line at which it waits: the same text in
    every process.
    """
    root = trio.lowlevel.current_root_task()
    assert root is not None, "called while Trio runs"
    return "\n".join(_branch(root))


def _branch(task: trio.lowlevel.Task) -> list[str]:
    children = [_branch(child) for nursery in task.child_nurseries for child in nursery.child_tasks]
    # Trio keeps siblings in a set: what they look like is the only order that is always the same.
    inner = [f"  {line}" for lines in sorted(children) for line in lines]
    return [f"{task.name} {_where(task)}".rstrip(), *inner]


def _where(task: trio.lowlevel.Task) -> str:
    """The innermost line that is not Trio's own."""
    found = ""
    for frame, line in task.iter_await_frames():
        if not frame.f_globals.get("__name__", "").startswith("trio."):
            found = f"at {_short(frame.f_code)}:{line}"
    return found


def _short(code: CodeType) -> str:
    return "/".join(PurePath(code.co_filename).parts[-3:])
