"""Connections inside one process, for tests and simulations that need no bytes on a wire.

They keep the promises of the real transport: order, back-pressure, limits, errors, reasons. Both
run the same conformance suite.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from flowactor.errors import (
    ConfigurationError,
    FlowactorError,
    InvalidInput,
    MalformedDataError,
    Unavailable,
)
from flowactor.limits import FRAME_BYTES_MAX, LINK_CONNECTIONS_MAX
from flowactor.observability import Observer, ignore
from flowactor.observability.events import ConnectionRefused
from flowactor.ports import Connection

__all__ = ["MemoryConnection", "MemoryNetwork", "MemoryTransport"]

Handler = Callable[[Connection], Awaitable[None]]

WINDOW_BYTES: Final = 1024 * 1024
"""Under way in one direction, as sockets have buffers; a larger frame travels alone."""
CLOSED_HERE: Final = "closed by this side"


class _Pipe:
    """One direction of a connection."""

    def __init__(self) -> None:
        self.frames: deque[bytes] = deque()
        self.bytes_queued = 0
        self.end: str | None = None
        """Why nothing more comes, once the frames are read."""
        self.changed: Final = trio.lowlevel.ParkingLot()

    def finish(self, why: str) -> None:
        if self.end is None:
            self.end = why
        self.changed.unpark_all()


class MemoryConnection:
    """One end of a pair of pipes, as ``ports.Connection``."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe, remote: str) -> None:
        self.frame_bytes_max = FRAME_BYTES_MAX
        self._incoming: Final = incoming
        self._outgoing: Final = outgoing
        self._remote: Final = remote
        self._closed = False

    @property
    def remote(self) -> str:
        """The other side's name."""
        return self._remote

    async def send(self, frame: bytes) -> None:
        """Queue one frame, waiting while the window is full. A cancelled send has sent nothing."""
        if len(frame) > FRAME_BYTES_MAX:
            raise InvalidInput(f"a frame of {len(frame)} bytes, the limit is {FRAME_BYTES_MAX}")
        await trio.lowlevel.checkpoint()
        pipe = self._outgoing
        while pipe.end is None and pipe.frames and pipe.bytes_queued + len(frame) > WINDOW_BYTES:
            await pipe.changed.park()
        if self._closed or pipe.end is not None:
            raise self._gone(CLOSED_HERE if self._closed else pipe.end)
        pipe.frames.append(frame)
        pipe.bytes_queued += len(frame)
        pipe.changed.unpark_all()

    async def receive(self) -> bytes:
        """Wait for the next frame. Frames sent before a close are still received."""
        await trio.lowlevel.checkpoint()
        pipe = self._incoming
        while not pipe.frames and pipe.end is None and not self._closed:
            await pipe.changed.park()
        if self._closed or not pipe.frames:
            raise self._gone(CLOSED_HERE if self._closed else pipe.end)
        frame = pipe.frames.popleft()
        pipe.bytes_queued -= len(frame)
        pipe.changed.unpark_all()
        if len(frame) > self.frame_bytes_max:
            text = f"a message of {len(frame)} bytes, the limit is {self.frame_bytes_max}"
            await self.aclose(text)
            raise MalformedDataError(f"{self._remote}: {text}")
        return frame

    async def aclose(self, reason: str = "") -> None:
        """Close both directions; the other side sees the reason. Closing again does nothing."""
        if not self._closed:
            self._closed = True
            why = f"closed by the other side: {reason or 'no reason given'}"
            self._outgoing.finish(why)
            self._incoming.finish(why)
        await trio.lowlevel.checkpoint()

    def _gone(self, why: str | None) -> Unavailable:
        error = Unavailable(f"{self._remote}: {why}")
        error.outcome_unknown = True
        return error


class MemoryNetwork:
    """Who listens under which name. Any text is an address."""

    def __init__(self) -> None:
        self.listeners: Final[dict[str, Callable[[MemoryConnection], None]]] = {}


class MemoryTransport:
    """``ports.Transport`` over a ``MemoryNetwork``; ``name`` is what others see as ``remote``."""

    def __init__(
        self,
        network: MemoryNetwork,
        name: str = "memory",
        *,
        observe: Observer = ignore,
        connections_max: int = LINK_CONNECTIONS_MAX,
    ) -> None:
        self._network: Final = network
        self._name: Final = name
        self._observe: Final = observe
        self._connections_max: Final = connections_max
        self._connections = 0

    async def dial(self, address: str) -> MemoryConnection:
        """Connect to who listens on ``address``, or raise ``Unavailable``."""
        await trio.lowlevel.checkpoint()
        listener = self._network.listeners.get(address)
        if listener is None:
            raise Unavailable(f"cannot connect to {address}: nobody listens there")
        there, back = _Pipe(), _Pipe()
        listener(MemoryConnection(there, back, self._name))
        return MemoryConnection(back, there, address)

    async def serve(
        self,
        address: str,
        handler: Handler,
        *,
        task_status: Any = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept connections for ever, as ``ports.Transport`` says."""
        listeners = self._network.listeners
        if address in listeners:
            raise ConfigurationError(f"cannot listen on {address}: another node uses the name")
        async with trio.open_nursery() as nursery:

            def accept(connection: MemoryConnection) -> None:
                if self._connections >= self._connections_max:
                    reason = f"{self._connections_max} connections are the limit"
                    self._observe(ConnectionRefused(connection.remote, reason))
                    raise Unavailable(f"{address} takes no more connections: {reason}")
                self._connections += 1
                nursery.start_soon(self._handle, handler, connection)

            listeners[address] = accept
            try:
                task_status.started(address)
                await trio.sleep_forever()
            finally:
                del listeners[address]

    async def _handle(self, handler: Handler, connection: MemoryConnection) -> None:
        reason = "connection lost"
        try:
            await handler(connection)
            reason = ""
        except Exception as error:  # noqa: BLE001  # a handler's trouble stays its own
            cause: BaseException = error
            while isinstance(cause, BaseExceptionGroup):
                cause = cause.exceptions[0]
            reason = str(cause) if isinstance(cause, FlowactorError) else "internal error"
            if not isinstance(cause, Unavailable):
                self._observe(ConnectionRefused(connection.remote, repr(cause)))
        finally:
            self._connections -= 1
            await connection.aclose(reason)
