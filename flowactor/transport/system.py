"""The real network: TCP."""

import socket
from collections.abc import Sequence
from typing import Final

import trio

from flowactor.limits import CONNECT_TIMEOUT_SECONDS
from flowactor.transport.network import format_address

__all__ = ["TcpNetwork"]

SILENCE_SECONDS: Final = int(CONNECT_TIMEOUT_SECONDS)
"""Sent bytes that nobody acknowledges for this long end a connection. Without it TCP retries for a
quarter of an hour, ever more slowly, and a link stays dead for minutes after a partition is over.
"""
LISTEN_BACKLOG: Final = 1024


class TcpNetwork:
    """Streams over TCP. Trio sets TCP_NODELAY on each."""

    async def open_stream(self, host: str, port: int) -> trio.SocketStream:
        """Connect to the first of the host's addresses that answers."""
        stream = await trio.open_tcp_stream(host, port)
        _limit_silence(stream.socket)
        return stream

    async def listen(self, host: str, port: int) -> tuple[Sequence[trio.SocketListener], int]:
        """Listen on all addresses of ``host``; if any port will do, on the first address only, as
        others could not be sure to get the same port.
        """
        listeners = await trio.open_tcp_listeners(port, host=host or None, backlog=LISTEN_BACKLOG)
        if port == 0:
            for spare in listeners[1:]:
                await spare.aclose()
            listeners = listeners[:1]
        for listener in listeners:
            _limit_silence(listener.socket)  # accepted sockets inherit it
        bound: int = listeners[0].socket.getsockname()[1]
        return listeners, bound

    def remote_name(self, stream: trio.abc.Stream) -> str:
        """``host:port`` of the other end, or ``unknown`` if it has gone already."""
        assert isinstance(stream, trio.SocketStream)
        try:
            host, port, *_ = stream.socket.getpeername()
        except OSError:
            return "unknown"
        return format_address(host, port)


def _limit_silence(sock: trio.socket.SocketType) -> None:
    """Notice a dead other side also on a connection that nobody sends anything over (keep-alive),
    as is one of two nodes of which neither relies on the other.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE": SILENCE_SECONDS,
        "TCP_KEEPALIVE": SILENCE_SECONDS,  # what macOS calls it
        "TCP_KEEPINTVL": max(1, SILENCE_SECONDS // 3),
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": SILENCE_SECONDS * 1000,
    }
    for name, value in options.items():
        if (option := getattr(socket, name, None)) is not None:  # not every system has them all
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
