"""A bounded queue with one reader, who takes everything that is there on each wake-up.

One wake-up serves any number of messages: a writer reschedules the parked reader once, the rest
are mere appends. That is what makes a mailbox an order of magnitude cheaper than a channel.
"""

import enum
from collections import OrderedDict, deque
from typing import Final, Generic, TypeVar

import attrs
import outcome
import trio

from flowactor.errors import Overloaded, Unavailable

__all__ = ["Mailbox", "MailboxClosed", "MailboxStatistics", "Overflow"]

M = TypeVar("M")


class Overflow(enum.Enum):
    """What a full mailbox does with one message more."""

    REFUSE = "refuse"
    """The writer gets ``Overloaded``: for requests, whose senders can wait and retry."""
    WAIT = "wait"
    """``put`` waits for room, in order of arrival: for writers that may be slowed down."""
    DROP_OLDEST = "drop oldest"
    """The oldest message makes room: for news that newer news replaces. Counted, never silent."""


class MailboxClosed(Unavailable):
    """The mailbox takes no more messages, and all it had are read: its actor has stopped."""


@attrs.frozen
class MailboxStatistics:
    """Counts since the mailbox was made: ``received`` includes what was dropped later."""

    queued: int
    peak: int
    received: int
    dropped: int
    refused: int


class Mailbox(Generic[M]):
    """Any number of writers, one reader, at most ``capacity`` messages waiting.

    Everything runs on the event loop; nothing here is safe to call from another thread.
    """

    __slots__ = (
        "_capacity",
        "_dropped",
        "_peak",
        "_queue",
        "_read",
        "_reader",
        "_refused",
        "_room",
        "_writers",
        "name",
        "overflow",
    )

    def __init__(self, name: str, capacity: int, overflow: Overflow) -> None:
        assert capacity > 0, f"mailbox {name} could hold nothing"
        self.name: Final = name
        self.overflow: Final = overflow
        self._capacity: Final = capacity
        self._room = capacity  # 0 once closed, so that the fast path of a writer is one comparison
        self._queue: deque[M] = deque()
        self._reader: trio.lowlevel.Task | None = None
        # Waiting writers hand their message to the reader themselves, so nobody can overtake them:
        # while one waits, the queue is full.
        self._writers: OrderedDict[trio.lowlevel.Task, M] = OrderedDict()
        self._peak = self._read = self._dropped = self._refused = 0

    @property
    def closed(self) -> bool:
        """True once ``close`` was called, also while messages are still waiting to be read."""
        return self._room == 0

    @property
    def waiting(self) -> int:
        """How many messages wait to be read."""
        return len(self._queue)

    def put_nowait(self, message: M) -> None:
        """Queue ``message``.

        Raises:
            Overloaded: the mailbox is full, and its rule is not to drop the oldest.
            MailboxClosed: it takes no more messages.
        """
        queue = self._queue
        if len(queue) >= self._room:
            self._make_room()
        queue.append(message)
        if self._reader is not None:
            self._wake_reader()

    def put_always(self, message: M) -> None:
        """Queue ``message`` even if the mailbox is full: for what the actor's own work brings, that
        is few by nature and must not get lost. A closed mailbox forgets it.
        """
        if not self.closed:
            self._queue.append(message)
            if self._reader is not None:
                self._wake_reader()

    async def put(self, message: M) -> None:
        """Queue ``message``, waiting for room if that is the mailbox's rule. Always a checkpoint;
        a cancelled ``put`` has queued nothing. Raises as ``put_nowait``.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.overflow is not Overflow.WAIT or len(self._queue) < self._capacity or self.closed:
            self.put_nowait(message)
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        task = trio.lowlevel.current_task()
        self._writers[task] = message

        def abort(_: object) -> trio.lowlevel.Abort:
            del self._writers[task]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def drain(self) -> list[M]:
        """Wait for at least one message, then take all, oldest first. Always a checkpoint; a
        cancelled ``drain`` has taken nothing.

        Raises:
            MailboxClosed: it is closed and everything was read.
        """
        if self._queue or self.closed:
            await trio.lowlevel.checkpoint()
        else:
            await self._wait_for_writer()
        if not self._queue:
            raise MailboxClosed(f"{self.name} has stopped")
        return self.take()

    def take(self) -> list[M]:
        """All messages that wait now, oldest first; none, if there are none. For a reader that is
        no task.
        """
        queue = self._queue
        if not queue:
            return []
        batch = list(queue)
        queue.clear()
        self._read += len(batch)
        self._peak = max(self._peak, len(batch))
        while self._writers and len(queue) < self._room:
            task, message = self._writers.popitem(last=False)
            queue.append(message)
            trio.lowlevel.reschedule(task)
        return batch

    def close(self) -> None:
        """Take no more messages. What is queued can still be read; waiting writers get
        ``MailboxClosed``. Closing again does nothing.
        """
        self._room = 0
        while self._writers:
            task, _ = self._writers.popitem(last=False)
            error = MailboxClosed(f"{self.name} stopped while a message waited for room")
            trio.lowlevel.reschedule(task, outcome.Error(error))
        if self._reader is not None:
            self._wake_reader()

    def statistics(self) -> MailboxStatistics:
        """How it stands, and what it has seen so far."""
        queued = len(self._queue)
        return MailboxStatistics(
            queued=queued,
            peak=max(self._peak, queued),
            received=self._read + self._dropped + queued,
            dropped=self._dropped,
            refused=self._refused,
        )

    def _make_room(self) -> None:
        if self.closed:
            raise MailboxClosed(f"{self.name} has stopped and takes no more messages")
        if self.overflow is Overflow.DROP_OLDEST:
            self._queue.popleft()
            self._dropped += 1
            self._peak = self._capacity
            return
        self._refused += 1
        raise Overloaded(f"{self.name} has {self._capacity} messages waiting: try again later")

    def _wake_reader(self) -> None:
        assert self._reader is not None
        trio.lowlevel.reschedule(self._reader)
        self._reader = None

    async def _wait_for_writer(self) -> None:
        assert self._reader is None, f"mailbox {self.name} has two readers"
        self._reader = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._reader = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
