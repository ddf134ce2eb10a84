"""The outbound side of a link to one peer: a bounded queue, a pump, and staying connected.

Nothing here knows consensus, or actors. A queue of messages survives the connection it was to leave
by; what was in a frame when the connection broke is lost, and whoever needs it sends it again.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, TypeVar

import attrs
import trio

from flowactor.codec import records
from flowactor.errors import FlowactorError, InvalidInput, WorldError
from flowactor.limits import (
    CLOSE_TIMEOUT_SECONDS,
    FRAME_BYTES_MAX,
    FRAME_BYTES_TARGET,
    FRAME_MESSAGES_MAX,
    LINK_QUEUE_BYTES_MAX,
    LINK_STABLE_SECONDS,
)
from flowactor.ports import Connection, Transport
from flowactor.transport.backoff import Backoff
from flowactor.transport.hello import Hello, greet

__all__ = ["Outbox", "OutboxStatistics", "dial_and_greet", "keep_connected", "pump"]

C = TypeVar("C", bound=Connection)


@attrs.frozen
class OutboxStatistics:
    """``messages`` and ``bytes`` wait now; ``taken`` and ``dropped`` count messages so far."""

    messages: int
    bytes: int
    taken: int
    dropped: int


class Outbox:
    """Encoded messages that wait for one peer, at most ``bytes_max`` of them: beyond that the
    oldest are dropped: a peer that comes back after so long needs the news, not the history.
    """

    def __init__(self, bytes_max: int = LINK_QUEUE_BYTES_MAX) -> None:
        self._bytes_max: Final = bytes_max
        self._messages: Final[deque[bytes]] = deque()
        self._bytes = self._taken = self._dropped = 0
        self._reader: trio.lowlevel.Task | None = None

    def put(self, message: bytes) -> None:
        """Queue one encoded record. Never waits.

        Raises:
            InvalidInput: no frame can carry it. Whoever made it of what users size looks before.
        """
        if len(message) >= FRAME_BYTES_MAX:
            raise InvalidInput(f"{len(message)} bytes, a frame carries less than {FRAME_BYTES_MAX}")
        messages = self._messages
        messages.append(message)
        self._bytes += len(message)
        while self._bytes > self._bytes_max and len(messages) > 1:
            self._bytes -= len(messages.popleft())
            self._dropped += 1
        if self._reader is not None:
            trio.lowlevel.reschedule(self._reader)
            self._reader = None

    async def take(self) -> list[bytes]:
        """Wait for messages, then take what goes into one frame: all, or up to
        ``FRAME_BYTES_TARGET``, but at least one. For one task at a time; a cancelled ``take`` has
        taken nothing.
        """
        if self._messages:
            await trio.lowlevel.checkpoint()
        else:
            await self._wait()
        messages = self._messages
        if self._bytes <= FRAME_BYTES_TARGET and len(messages) <= FRAME_MESSAGES_MAX:
            batch = list(messages)
            self.clear()
        else:
            batch = self._take_some()
        self._taken += len(batch)
        return batch

    def clear(self) -> None:
        """Forget what waits."""
        self._messages.clear()
        self._bytes = 0

    def statistics(self) -> OutboxStatistics:
        """How it stands."""
        return OutboxStatistics(len(self._messages), self._bytes, self._taken, self._dropped)

    def _take_some(self) -> list[bytes]:
        messages = self._messages
        batch = [messages.popleft()]
        size = len(batch[0])
        while (
            messages
            and len(batch) < FRAME_MESSAGES_MAX
            and size + len(messages[0]) <= FRAME_BYTES_TARGET
        ):
            batch.append(messages.popleft())
            size += len(batch[-1])
        self._bytes -= size
        return batch

    async def _wait(self) -> None:
        assert self._reader is None, "two tasks take from one outbox"

        def abort(_: object) -> trio.lowlevel.Abort:
            self._reader = None
            return trio.lowlevel.Abort.SUCCEEDED

        while not self._messages:  # what woke this task may have been cleared before it ran
            self._reader = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(abort)


async def dial_and_greet(
    transport: Transport,
    address: str,
    mine: Hello,
    accept: Callable[[Hello], str | None] = lambda _: None,
) -> tuple[Connection, Hello]:
    """Connect, and introduce both sides to each other. What comes to nothing leaves no connection.

    Returns the connection, and what the other side said of itself.

    Raises:
        WorldError: as ``Transport.dial`` and ``greet`` do.
    """
    connection = await transport.dial(address)
    try:
        theirs = await greet(connection, mine, accept)
    except BaseException:
        with trio.move_on_after(CLOSE_TIMEOUT_SECONDS, shield=True):
            await connection.aclose("no greeting")
        raise
    return connection, theirs


async def pump(
    connection: Connection,
    outbox: Outbox,
    on_sent: Callable[[list[bytes]], None] = lambda _: None,
) -> NoReturn:
    """Send everything queued since the last send in one frame, for ever; ``on_sent`` is told of the
    messages that have left.

    Raises:
        Unavailable: the connection has ended.
    """
    while True:
        messages = await outbox.take()
        await connection.send(records.join(messages))
        on_sent(messages)


async def keep_connected(
    dial: Callable[[], Awaitable[C]],
    run: Callable[[C], Awaitable[None]],
    backoff: Backoff,
    *,
    on_down: Callable[[str, float], None],
    stable_seconds: float = LINK_STABLE_SECONDS,
) -> NoReturn:
    """Connect, use the connection until it ends, and again, for ever.

    Args:
        dial: connects, and greets: a connection counts from when this returns.
        run: uses it; returns, or raises ``WorldError`` (also inside a group), when it has ended.
        backoff: the delays between attempts.
        on_down: told after each end, why, and how many seconds pass until the next attempt.
        stable_seconds: a connection that held this long lets ``backoff`` begin anew.

    Raises:
        ExceptionGroup: of what is no ``WorldError``: a bug or a wrong setting, which no new attempt
            can cure.
    """
    while True:
        connected_at = float("inf")
        reason = "closed"
        try:
            connection = await dial()
            connected_at = trio.current_time()
            try:
                await run(connection)
            except Exception as error:
                cause = _first(error)
                await connection.aclose(str(cause) if isinstance(cause, FlowactorError) else "")
                raise
            finally:
                await connection.aclose()
        except* WorldError as group:
            reason = str(_first(group))
        if trio.current_time() - connected_at >= stable_seconds:
            backoff.reset()
        delay_seconds = backoff.next_seconds()
        on_down(reason, delay_seconds)
        await trio.sleep(delay_seconds)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
