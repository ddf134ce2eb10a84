"""Byte streams between machines, as far as the transport needs them, and the addresses they go by.

``system.TcpNetwork`` is the real one; a simulation hands in streams of a made-up network.
"""

from collections.abc import Sequence
from typing import Protocol

import trio

from flowactor.errors import ConfigurationError

__all__ = ["StreamNetwork", "format_address", "parse_address"]


class StreamNetwork(Protocol):
    """Where streams come from. All errors of the network itself are ``OSError``."""

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        """Connect; small writes are sent at once (no Nagle). The caller bounds the time."""

    async def listen(
        self, host: str, port: int
    ) -> tuple[Sequence[trio.abc.Listener[trio.abc.Stream]], int]:
        """Listeners for ``host`` (empty: all interfaces), and the port, if 0 was asked for."""

    def remote_name(self, stream: trio.abc.Stream) -> str:
        """The other end of a stream that was accepted, for people."""


def parse_address(address: str) -> tuple[str, int]:
    """``HOST:PORT`` or ``[IPV6]:PORT`` as (host, port); the host may be empty.

    Raises:
        ConfigurationError: it is no such thing; the message says what is.
    """
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    # isdecimal alone would take digits of other scripts, which no other tool reads as a port.
    number = int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else -1
    needs_brackets = any(letter in ":[]" for letter in host)
    if not colon or not 0 <= number <= 65535 or needs_brackets is not bracketed:
        raise ConfigurationError(
            f"{address!r} is no address: write HOST:PORT, or [HOST]:PORT if the host is IPv6, "
            "as 127.0.0.1:7400 or [::1]:7400"
        )
    return host, number


def format_address(host: str, port: int) -> str:
    """The text that ``parse_address`` reads."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
