"""Frames over WebSockets: the transport between processes.

The handshake is trio-websocket's (``handshake``), the frames are ours (``framing``). A connection
has no task of its own: who calls ``receive`` reads the stream, who calls ``send`` writes it.
"""

import errno
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import trio

from flowactor.errors import (
    ConfigurationError,
    FlowactorError,
    InvalidInput,
    MalformedDataError,
    Unavailable,
)
from flowactor.limits import (
    CLOSE_TIMEOUT_SECONDS,
    CONNECT_TIMEOUT_SECONDS,
    FRAME_BYTES_MAX,
    LINK_CONNECTIONS_MAX,
    RECEIVE_BYTES_MAX,
    RECEIVE_BYTES_MIN,
)
from flowactor.observability import Observer, ignore
from flowactor.observability.events import ConnectionRefused
from flowactor.ports import Connection
from flowactor.transport import framing
from flowactor.transport.framing import Close, FrameReader, Ping, Violation
from flowactor.transport.handshake import accept_handshake, offer_handshake
from flowactor.transport.network import StreamNetwork, format_address, parse_address
from flowactor.transport.system import TcpNetwork

__all__ = ["WebSocketConnection", "WebSocketTransport"]

Handler = Callable[[Connection], Awaitable[None]]

CLOSED_HERE: Final = "closed by this side"
INTERNAL_ERROR: Final = 1011
REFUSED: Final = 1008
NO_ROOM: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 33\r\nConnection: close\r\n\r\nthe limit of connections is met\r\n"
)


class WebSocketConnection:
    """A stream behind its handshake, as ``ports.Connection``.

    ``send`` may be called by many tasks, ``receive`` by one at a time. Cancelling ``receive`` loses
    nothing; cancelling a ``send`` that has begun ends the connection, because half a frame is out.
    """

    def __init__(
        self, stream: trio.abc.Stream, leftover: bytes, remote: str, *, is_client: bool
    ) -> None:
        self._stream: Final = stream
        self._remote: Final = remote
        self._masked: Final = is_client
        self._reader: Final = FrameReader(masked=not is_client, payload_bytes_max=FRAME_BYTES_MAX)
        self._reader.feed(leftover)
        self._read_bytes = RECEIVE_BYTES_MIN
        self._turns: Final = trio.lowlevel.ParkingLot()
        self._reading = self._writing = self._closed = False
        # Why nothing more can be sent, or received. Each direction has its own: the other side may
        # have said why it left before our sending failed, and that is still to be read.
        self._send_end: str | None = None
        self._receive_end: str | None = None

    @property
    def remote(self) -> str:
        """The other side's address, for people."""
        return self._remote

    @property
    def frame_bytes_max(self) -> int:
        """The largest frame that is received; ``greet`` lowers it for strangers."""
        return self._reader.payload_bytes_max

    @frame_bytes_max.setter
    def frame_bytes_max(self, size: int) -> None:
        self._reader.payload_bytes_max = size

    async def send(self, frame: bytes) -> None:
        """Send one frame; frames of several tasks leave one after another.

        Raises:
            InvalidInput: the frame exceeds ``FRAME_BYTES_MAX``; nothing was sent.
            Unavailable: the connection has ended; whether the frame arrived is not known.
        """
        if len(frame) > FRAME_BYTES_MAX:
            raise InvalidInput(f"a frame of {len(frame)} bytes, the limit is {FRAME_BYTES_MAX}")
        await self._write(framing.binary(frame, masked=self._masked))

    async def receive(self) -> bytes:
        """Wait for the next frame.

        Raises:
            Unavailable: the connection has ended; the text has the other side's reason, if any.
            MalformedDataError: the other side broke the protocol or a limit. It was told so, and
                the connection has ended.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        waited = False
        while self._receive_end is None:
            try:
                item = self._reader.next()
            except Violation as violation:
                await self.close_with(violation.code, str(violation))
                raise MalformedDataError(f"{self._remote}: {violation}") from violation
            match item:
                case None:
                    waited = True
                    await self._read_more()
                case bytes():
                    if not waited:
                        await trio.lowlevel.cancel_shielded_checkpoint()
                    return item
                case Ping(payload):
                    if not self._writing:  # or it would come too late to be of use to anybody
                        with suppress(Unavailable):  # what came before the end is still read
                            await self._write(framing.pong(payload, masked=self._masked))
                case Close(_, reason):
                    self._receive_end = f"closed by the other side: {reason or 'no reason given'}"
        raise self._gone(self._receive_end)

    async def aclose(self, reason: str = "") -> None:
        """Close in good order: tell the other side why and give it ``CLOSE_TIMEOUT_SECONDS`` to
        take note. If cancelled, close at once. Closing again does nothing.
        """
        await self.close_with(framing.NORMAL, reason)

    async def close_with(self, code: int, reason: str) -> None:
        """As ``aclose``, with one of the codes of RFC 6455, 7.4."""
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        try:
            with trio.move_on_after(CLOSE_TIMEOUT_SECONDS):
                await self._say_goodbye(code, reason)
        finally:
            self._end_sending(CLOSED_HERE)
            self._receive_end = self._receive_end or CLOSED_HERE
            await trio.aclose_forcefully(self._stream)

    async def _say_goodbye(self, code: int, reason: str) -> None:
        """Send the closing frame, then read until the other side has seen it: closing a socket with
        unread bytes in it would make the kernel throw away the reason on its way.
        """
        try:
            await self._transmit(framing.close(code, reason, masked=self._masked))
        except Unavailable:
            return
        self._send_end = CLOSED_HERE
        legible = True
        while self._receive_end is None and not self._reading:
            try:
                item = self._reader.next() if legible else None
            except Violation:
                legible, item = False, None
            match item:
                case None:
                    await self._read_more(keep=legible)
                case Close():
                    return
                case bytes() | Ping():
                    pass

    async def _read_more(self, *, keep: bool = True) -> None:
        """Feed the reader; at the end of the stream, note it."""
        assert not self._reading, "two tasks receive on one connection"
        self._reading = True
        try:
            data = await self._stream.receive_some(self._read_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        finally:
            self._reading = False
        if not data:
            self._receive_end = self._receive_end or "connection lost"
            return
        if len(data) == self._read_bytes:
            self._read_bytes = min(2 * self._read_bytes, RECEIVE_BYTES_MAX)
        elif len(data) < RECEIVE_BYTES_MIN:
            self._read_bytes = RECEIVE_BYTES_MIN  # what is asked for is allocated each time
        if keep:
            self._reader.feed(bytes(data))

    async def _write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._receive_end is not None:
            raise self._gone(self._receive_end)
        await self._transmit(data)

    async def _transmit(self, data: bytes) -> None:
        while self._writing and self._send_end is None:
            await self._turns.park()
        if self._send_end is not None:
            raise self._gone(self._send_end)
        self._writing = True
        complete = False
        try:
            await self._stream.send_all(data)
            complete = True
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self._gone("connection lost") from error
        finally:
            self._writing = False
            if complete:
                self._turns.unpark()
            else:
                self._end_sending("connection lost")

    def _end_sending(self, why: str) -> None:
        if self._send_end is None:
            self._send_end = why
        self._turns.unpark_all()

    def _gone(self, why: str) -> Unavailable:
        error = Unavailable(f"{self._remote}: {why}")
        error.outcome_unknown = True  # of what was sent before, anything may have arrived
        return error


class WebSocketTransport:
    """``ports.Transport`` over WebSockets on the streams of a network.

    Args:
        network: where streams come from; TCP unless a simulation says otherwise.
        observe: told of connections that were refused or ended for a fault.
        connections_max: inbound connections at once; more are told that there is no room.
    """

    def __init__(
        self,
        network: StreamNetwork | None = None,
        *,
        observe: Observer = ignore,
        connections_max: int = LINK_CONNECTIONS_MAX,
    ) -> None:
        self._network: Final = network or TcpNetwork()
        self._observe: Final = observe
        self._connections_max: Final = connections_max
        self._connections = 0

    async def dial(self, address: str) -> WebSocketConnection:
        """Connect to ``HOST:PORT`` or ``[IPV6]:PORT`` within ``CONNECT_TIMEOUT_SECONDS``.

        Raises:
            ConfigurationError: that is no address.
            Unavailable: nobody is there, or has no room; nothing happened.
            Refused: somebody is there who speaks no WebSocket.
            MalformedDataError: somebody who speaks no HTTP.
        """
        host, port = parse_address(address)
        if not host or not port:
            raise ConfigurationError(f"{address!r} is no address to connect to: write HOST:PORT")
        try:
            with trio.fail_after(CONNECT_TIMEOUT_SECONDS):
                return await self._open(host, port, format_address(host, port))
        except trio.TooSlowError:
            raise Unavailable(
                f"{address} did not answer within {CONNECT_TIMEOUT_SECONDS:g} s"
            ) from None
        except OSError as error:
            raise Unavailable(f"cannot connect to {address}: {_explain(error)}") from error

    async def _open(self, host: str, port: int, remote: str) -> WebSocketConnection:
        stream = await self._network.open_stream(host, port)
        try:
            leftover = await offer_handshake(stream, remote)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return WebSocketConnection(stream, leftover, remote, is_client=True)

    async def serve(
        self,
        address: str,
        handler: Handler,
        *,
        task_status: Any = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept connections for ever, as ``ports.Transport`` says.

        What a handler raises ends its connection; the other side sees the text if it is one of
        flowactor's errors. A connection whose handler returns is closed.

        Raises:
            ConfigurationError: the address cannot be listened on; the message says why.
        """
        host, port = parse_address(address)
        try:
            listeners, bound_port = await self._network.listen(host, port)
        except OSError as error:
            raise ConfigurationError(_explain_listen(address, error)) from error
        serve_one = partial(self._serve_stream, handler)
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, serve_one, listeners)
            task_status.started(format_address(host, bound_port))

    async def _serve_stream(self, handler: Handler, stream: trio.abc.Stream) -> None:
        remote = self._network.remote_name(stream)
        self._connections += 1
        try:
            if self._connections > self._connections_max:
                await self._turn_away(stream, remote)
                return
            with trio.fail_after(CONNECT_TIMEOUT_SECONDS):
                leftover = await accept_handshake(stream, remote)
            await self._handle(
                handler, WebSocketConnection(stream, leftover, remote, is_client=False)
            )
        except Exception as error:  # noqa: BLE001  # a stranger's trouble, or a handler's, stays its own
            self._observe(ConnectionRefused(remote, _describe(error)))
        finally:
            self._connections -= 1
            await trio.aclose_forcefully(stream)

    async def _turn_away(self, stream: trio.abc.Stream, remote: str) -> None:
        self._observe(
            ConnectionRefused(remote, f"{self._connections_max} connections are the limit")
        )
        with trio.move_on_after(CLOSE_TIMEOUT_SECONDS):
            await stream.receive_some(RECEIVE_BYTES_MIN)  # unread, it would undo what we send
            await stream.send_all(NO_ROOM)

    async def _handle(self, handler: Handler, connection: WebSocketConnection) -> None:
        try:
            await handler(connection)
        except Exception as error:
            cause = _first_cause(error)
            if isinstance(cause, Unavailable):
                await connection.aclose()  # how most connections end: the other side left
                return
            if isinstance(cause, FlowactorError):
                await connection.close_with(REFUSED, str(cause))
            else:
                await connection.close_with(INTERNAL_ERROR, "internal error")
            raise
        await connection.aclose()


def _first_cause(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _describe(error: BaseException) -> str:
    error = _first_cause(error)
    if isinstance(error, trio.TooSlowError):
        return f"no WebSocket handshake within {CONNECT_TIMEOUT_SECONDS:g} s"
    return str(error) if isinstance(error, FlowactorError) else repr(error)


def _explain(error: OSError) -> str:
    """The plain reason inside what trio raises after trying all addresses of a host."""
    cause = error.__cause__
    first = _first_cause(cause) if cause is not None else error
    number = getattr(first, "errno", None) or 0
    # Trio's own text repeats the address; names that cannot be resolved have negative numbers.
    return os.strerror(number) if number > 0 else getattr(first, "strerror", None) or str(first)


def _explain_listen(address: str, error: OSError) -> str:
    hints: dict[int | None, str] = {
        errno.EADDRINUSE: "another process uses the port: stop it, or choose another port",
        errno.EACCES: "ports below 1024 need privileges: choose a higher one",
        errno.EADDRNOTAVAIL: "this machine does not have the address: listen on one of its own",
    }
    hint = hints.get(error.errno, _explain(error))
    return f"cannot listen on {address}: {hint}"
