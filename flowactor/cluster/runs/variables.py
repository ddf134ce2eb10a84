"""Replicated variables as actors: each that somebody watches has a mailbox and a task here.

The value lives in the group's machine and is written through its log. The actor keeps the watchers:
it wakes them when a version other than theirs is applied on this node. It stops when nobody
watches.
"""

from collections.abc import Callable, Collection
from typing import Final, assert_never

import trio
from attrs import frozen

from flowactor.actors import Mailbox, Overflow, Promise
from flowactor.cluster.group.tasks import Tasks
from flowactor.identity import Slot, slot_of
from flowactor.limits import MAILBOX_MESSAGES_MAX
from flowactor.machine.state import Variable

__all__ = ["VariableActor", "VariableActors"]


@frozen
class _Watch:
    """Settle ``promise`` once the variable's version differs from ``version``."""

    version: int
    promise: Promise[Variable]


@frozen
class _Changed:
    """A new version was applied."""


@frozen
class _Gone:
    """The variable is served here no more."""


@frozen
class _Left:
    """A watcher waits no longer."""

    promise: Promise[Variable]


_Message = _Watch | _Changed | _Gone | _Left


class VariableActor:
    """The watchers of one variable. ``read`` gives its committed value on this node."""

    def __init__(self, name: str, read: Callable[[], Variable]) -> None:
        self.name: Final = f"variable {name}"
        self.mailbox: Final[Mailbox[_Message]] = Mailbox(
            self.name, MAILBOX_MESSAGES_MAX, Overflow.REFUSE
        )
        self._read: Final = read
        self._watches: list[_Watch] = []

    async def run(self) -> None:
        """Serve until the last watcher has left."""
        while True:
            gone = False
            for message in await self.mailbox.drain():
                match message:
                    case _Watch():
                        self._watches.append(message)
                    case _Left(promise=promise):
                        self._watches = [w for w in self._watches if w.promise is not promise]
                    case _Changed():
                        pass
                    case _Gone():
                        gone = True
                    case _:
                        assert_never(message)
            current = self._read()
            for watch in self._watches:
                if gone or watch.version != current.version:
                    watch.promise.set(current)
            self._watches = [watch for watch in self._watches if not watch.promise.done]
            if not self._watches and not self.mailbox.statistics().queued:
                return


class VariableActors:
    """All variables that are watched on this node, each an actor among ``tasks``."""

    def __init__(self, tasks: Tasks, read: Callable[[str], Variable]) -> None:
        self._tasks: Final = tasks
        self._read: Final = read
        self._actors: Final[dict[str, VariableActor]] = {}

    def changed(self, name: str) -> None:
        """A new version of the variable was applied here."""
        actor = self._actors.get(name)
        if actor is not None:
            actor.mailbox.put_nowait(_Changed())

    def left(self, slots: Collection[Slot]) -> None:
        """What is in these slots is served elsewhere: whoever watches is to ask there."""
        for name, actor in self._actors.items():
            if slot_of(name) in slots:
                actor.mailbox.put_nowait(_Gone())

    def start_over(self) -> None:
        """Any of them may have changed, unseen."""
        for name in self._actors:
            self.changed(name)

    async def watch(self, name: str, version: int, wait_seconds: float) -> Variable:
        """The variable once its version differs from ``version``, or as it is after
        ``wait_seconds``, or when it is served here no more.
        """
        actor = self._actors.get(name)
        if actor is None:
            actor = self._actors[name] = VariableActor(name, lambda: self._read(name))
            self._tasks.start_soon(self._serve, name, actor, name=actor.name)
        promise: Promise[Variable] = Promise()
        actor.mailbox.put_nowait(_Watch(version, promise))
        try:
            with trio.move_on_after(wait_seconds):
                return await promise.wait()
            return self._read(name)
        finally:
            if not promise.done:
                actor.mailbox.put_nowait(_Left(promise))

    async def _serve(self, name: str, actor: VariableActor) -> None:
        try:
            await actor.run()
        finally:
            # No checkpoint lies between the actor's decision to stop and this line, so no watch is
            # lost.
            del self._actors[name]
