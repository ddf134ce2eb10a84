"""Which task belongs to which machine, and stopping all of a machine's at once.

A machine is a number in a context variable: tasks inherit it from whoever starts them. A stopped
process is what SIGSTOP makes of one: whatever would run is held back where it stands, in its order,
its deadlines pass, and when it wakes all of that happens at once, late for everybody else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import trio

from flowactor.simulation.runtime.scheduling import run_queue

__all__ = ["Processes"]

_MACHINE: Final[ContextVar[int]] = ContextVar("flowactor simulated machine", default=0)


class Processes:
    """The processes of all machines of one run. Pause and thaw from the agenda: a task that is in
    the present batch already makes one more step.
    """

    def __init__(self) -> None:
        self._held: Final[dict[int, list[trio.lowlevel.Task]]] = {}
        self._watch: Final = _Watch(self._held)

    @contextmanager
    def of(self, machine: int) -> Iterator[None]:
        """Tasks started in this block, and theirs, belong to ``machine`` (from 1)."""
        token = _MACHINE.set(machine)
        try:
            yield
        finally:
            _MACHINE.reset(token)

    def is_paused(self, machine: int) -> bool:
        """Whether it stands still."""
        return machine in self._held

    def pause(self, machine: int) -> None:
        """Let no task of it run any more. Does nothing if it stands still already."""
        if machine in self._held:
            return
        if not self._held:
            # Looking at every task that is scheduled costs time, so only while it is of use.
            trio.lowlevel.add_instrument(self._watch)
        queue = run_queue()
        held = self._held[machine] = [task for task in queue if _machine_of(task) == machine]
        for task in held:
            queue.remove(task)

    def thaw(self, machine: int) -> None:
        """Let it go on with what it held back. Does nothing if it does not stand still."""
        held = self._held.pop(machine, None)
        if held is None:
            return
        if not self._held:
            trio.lowlevel.remove_instrument(self._watch)
        run_queue().extend(held)

    def thaw_all(self) -> None:
        """Let all go on."""
        for machine in list(self._held):
            self.thaw(machine)


class _Watch(trio.abc.Instrument):
    """Takes what was scheduled off the queue again if its machine stands still."""

    def __init__(self, held: dict[int, list[trio.lowlevel.Task]]) -> None:
        self._held: Final = held

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        held = self._held.get(_machine_of(task))
        if held is not None:
            queue = run_queue()
            assert queue[-1] is task, "Trio tells of a task when it has just put it into its queue"
            held.append(queue.pop())


def _machine_of(task: trio.lowlevel.Task) -> int:
    return task.context.get(_MACHINE, 0)
