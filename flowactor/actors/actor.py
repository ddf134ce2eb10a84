"""What an actor is inside the engine: a name, a mailbox and one task that reads it.

The mailbox belongs to whoever made the actor, not to the task: when a supervisor runs ``run`` again
after a crash, messages that were still queued are there, and references to the mailbox stay good.
Only the batch in hand is lost.
"""

from abc import ABC, abstractmethod
from typing import Final, Generic, Protocol, TypeVar

import trio

from flowactor.actors.mailbox import Mailbox, MailboxClosed, MailboxStatistics

__all__ = ["Actor", "BatchActor", "start_actor"]

M = TypeVar("M")


class Actor(Protocol[M]):
    """Anything with a mailbox and a receive loop."""

    @property
    def name(self) -> str:
        """Unique among its siblings; shown as the name of its Trio task."""

    @property
    def mailbox(self) -> Mailbox[M]:
        """Where its messages go."""

    async def run(self) -> None:
        """Receive until the mailbox is closed and read empty. A crash is an exception."""


class BatchActor(ABC, Generic[M]):
    """An actor whose whole behaviour is one method, ``receive``."""

    def __init__(self, name: str, mailbox: Mailbox[M]) -> None:
        self.name: Final = name
        self.mailbox: Final = mailbox

    @abstractmethod
    async def receive(self, batch: list[M]) -> None:
        """Handle everything that was queued, oldest first; never empty."""

    async def run(self) -> None:
        """Receive until the mailbox is closed and read empty."""
        while True:
            try:
                batch = await self.mailbox.drain()
            except MailboxClosed:
                return
            await self.receive(batch)

    def stop(self) -> None:
        """Take no more messages; ``run`` returns after those that are queued."""
        self.mailbox.close()

    def statistics(self) -> MailboxStatistics:
        """Of the mailbox."""
        return self.mailbox.statistics()


def start_actor(nursery: trio.Nursery, actor: Actor[M]) -> None:
    """Run ``actor`` in ``nursery``, under its own name, without supervision."""
    nursery.start_soon(actor.run, name=actor.name)
