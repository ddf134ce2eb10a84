"""Whole frames over the same paths and faults: a transport without WebSockets, for speed."""

import errno
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

import trio

from flowactor.errors import (
    ConfigurationError,
    FlowactorError,
    InvalidInput,
    MalformedDataError,
    Unavailable,
)
from flowactor.limits import CONNECT_TIMEOUT_SECONDS, FRAME_BYTES_MAX, LINK_CONNECTIONS_MAX
from flowactor.observability import Observer, ignore
from flowactor.observability.events import ConnectionRefused
from flowactor.ports import Connection
from flowactor.simulation.network.ends import End
from flowactor.simulation.network.streams import Host, SimulatedListener
from flowactor.transport import format_address, parse_address

__all__ = ["FrameConnection", "FrameTransport"]

Handler = Callable[[Connection], Awaitable[None]]

WELCOME: Final = b"welcome"
"""The first frame, from who was dialled: it stands for the answer to a handshake."""
REASON_BYTES_MAX: Final = 120
CLOSED_HERE: Final = "closed by this side"


class FrameConnection:
    """A connection of whole frames, as ``ports.Connection``."""

    def __init__(self, end: End, remote: str) -> None:
        self.frame_bytes_max = FRAME_BYTES_MAX
        self._end: Final = end
        self._remote: Final = remote
        self._turns: Final = trio.lowlevel.ParkingLot()

    @property
    def remote(self) -> str:
        """The other side's address."""
        return self._remote

    async def send(self, frame: bytes) -> None:
        """Send one frame, waiting while the window is full; one that is larger than the window
        travels alone. A cancelled send has sent nothing.

        Raises:
            InvalidInput: the frame exceeds ``FRAME_BYTES_MAX``; nothing was sent.
            Unavailable: the connection has ended; whether earlier frames arrived is not known.
        """
        size = len(frame)
        if size > FRAME_BYTES_MAX:
            raise InvalidInput(f"a frame of {size} bytes, the limit is {FRAME_BYTES_MAX}")
        await trio.lowlevel.checkpoint()
        end = self._end
        wanted = min(size, end.window_bytes)
        while True:
            if end.unusable or end.farewell is not None:
                raise self._gone()
            if end.machine.frozen:
                await end.machine.thawed.park()
            elif end.writing:
                await self._turns.park()
            elif end.room >= wanted:
                end.send(frame)
                return
            else:
                try:
                    await end.wait_room(wanted)
                finally:
                    self._turns.unpark_all()

    async def receive(self) -> bytes:
        """Wait for the next frame; what was sent before an end is still received.

        Raises:
            Unavailable: the connection has ended; the text has the other side's reason, if any.
            MalformedDataError: the frame exceeds this side's limit; the other side was told so.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        end = self._end
        assert not end.reading, "two tasks receive on one connection"
        waited = await end.wait_data()
        if end.closed or not end.chunks:
            raise self._gone()
        frame = end.read_whole()
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
        if len(frame) > self.frame_bytes_max:
            text = f"a message of {len(frame)} bytes, the limit is {self.frame_bytes_max}"
            await self.aclose(text)
            raise MalformedDataError(f"{self._remote}: {text}")
        return frame

    async def aclose(self, reason: str = "") -> None:
        """Close both directions; the other side sees the reason. Closing again does nothing."""
        self._end.close(reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore"))
        self._turns.unpark_all()
        await trio.lowlevel.checkpoint()

    def _gone(self) -> Unavailable:
        end = self._end
        why = "connection lost"
        if end.closed:
            why = CLOSED_HERE
        elif end.farewell is not None:
            why = f"closed by the other side: {end.farewell or 'no reason given'}"
        error = Unavailable(f"{self._remote}: {why}")
        error.outcome_unknown = True  # of what was sent before, anything may have arrived
        return error


class FrameTransport:
    """``ports.Transport`` of one process; see ``WebSocketTransport`` for ``observe`` and
    ``connections_max``.
    """

    def __init__(
        self,
        host: Host,
        *,
        observe: Observer = ignore,
        connections_max: int = LINK_CONNECTIONS_MAX,
    ) -> None:
        self._host: Final = host
        self._observe: Final = observe
        self._connections_max: Final = connections_max
        self._connections = 0

    async def dial(self, address: str) -> FrameConnection:
        """Connect to ``HOST:PORT`` within ``CONNECT_TIMEOUT_SECONDS``.

        Raises:
            ConfigurationError: that is no address.
            Unavailable: nobody is there, or has no room; nothing happened.
        """
        host, port = parse_address(address)
        if not host or not port:
            raise ConfigurationError(f"{address!r} is no address to connect to: write HOST:PORT")
        try:
            with trio.fail_after(CONNECT_TIMEOUT_SECONDS):
                return await self._open(host, port, address)
        except trio.TooSlowError:
            raise Unavailable(
                f"{address} did not answer within {CONNECT_TIMEOUT_SECONDS:g} s"
            ) from None
        except OSError as error:
            raise Unavailable(f"cannot connect to {address}: {error.strerror}") from error

    async def _open(self, host: str, port: int, address: str) -> FrameConnection:
        end = await self._host.connect(host, port, whole=True)
        connection = FrameConnection(end, address)
        try:
            await connection.receive()
        except Unavailable as error:
            end.close()
            if end.farewell is None:
                raise Unavailable(f"{address} hung up during the handshake") from error
            raise Unavailable(f"{address} takes no more connections: {end.farewell}") from None
        except BaseException:
            end.close()
            raise
        return connection

    async def serve(
        self,
        address: str,
        handler: Handler,
        *,
        task_status: Any = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept connections for ever, as ``ports.Transport`` says.

        Raises:
            ConfigurationError: the address cannot be listened on; the message says why.
        """
        host, port = parse_address(address)
        try:
            listener = self._host.open_listener(host, port)
        except OSError as error:
            hint = error.strerror
            if error.errno == errno.EADDRINUSE:
                hint = "another process uses the port: stop it, or choose another port"
            raise ConfigurationError(f"cannot listen on {address}: {hint}") from error
        try:
            async with trio.open_nursery() as nursery:
                task_status.started(format_address(host, listener.port))
                await self._accept(listener, handler, nursery)
        finally:
            listener.close()

    async def _accept(
        self, listener: SimulatedListener, handler: Handler, nursery: trio.Nursery
    ) -> NoReturn:
        while True:
            end = await listener.accept_end()
            connection = FrameConnection(end, self._host.name_of(end.peer))
            if self._connections < self._connections_max:
                self._connections += 1
                nursery.start_soon(self._handle, handler, connection)
            else:
                reason = f"{self._connections_max} connections are the limit"
                self._observe(ConnectionRefused(connection.remote, reason))
                await connection.aclose(reason)

    async def _handle(self, handler: Handler, connection: FrameConnection) -> None:
        reason = "connection lost"
        try:
            await connection.send(WELCOME)
            await handler(connection)
            reason = ""
        except Exception as error:  # noqa: BLE001  # a handler's trouble stays its own
            cause: BaseException = error
            while isinstance(cause, BaseExceptionGroup):
                cause = cause.exceptions[0]
            known = isinstance(cause, FlowactorError)
            reason = str(cause) if known else "internal error"
            if not isinstance(cause, Unavailable):
                shown = str(cause) if known else repr(cause)
                self._observe(ConnectionRefused(connection.remote, shown))
        finally:
            self._connections -= 1
            await connection.aclose(reason)
