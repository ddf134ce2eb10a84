"""A client of a cluster in other processes."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from flowactor.client.client import Client
from flowactor.client.remote import Dial, RemoteChannel
from flowactor.client.system import SystemEntropy
from flowactor.errors import ConfigurationError, Unavailable
from flowactor.limits import CONNECT_TIMEOUT_SECONDS, REQUEST_TIMEOUT_SECONDS
from flowactor.ports import Connection, Entropy, Transport
from flowactor.transport import Hello, WebSocketTransport, dial_and_greet
from flowactor.transport.network import parse_address

__all__ = ["connect", "parse_addresses"]


@asynccontextmanager
async def connect(
    addresses: str,
    *,
    connect_timeout: float = CONNECT_TIMEOUT_SECONDS,
    request_timeout: float = REQUEST_TIMEOUT_SECONDS,
    transport: Transport | None = None,
    entropy: Entropy | None = None,
) -> AsyncIterator[Client]:
    """A client of the cluster that has a node at ``"HOST:PORT[,HOST:PORT]"``.

    Any node serves; with several addresses the client goes on with another when one is lost. What
    was under way then is asked again, and still happens at most once. The first node that answers
    says which cluster it is; nodes of another one are refused from then on. Time-outs are in
    seconds.

    Raises:
        ConfigurationError: an address that is none.
        Unavailable: no node could be reached within ``connect_timeout``.
        Refused: every node refuses this client.
    """
    chance = entropy or SystemEntropy()
    wire = transport or WebSocketTransport()
    channel = RemoteChannel(
        parse_addresses(addresses),
        _faithful(wire),
        chance.seed(),
    )
    with _unwrapped():
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(connect_timeout) as connecting:
                await nursery.start(channel.run)
            if connecting.cancelled_caught:
                raise Unavailable(f"no node can be reached: {channel.describe_trouble()}")
            yield Client(channel, entropy=chance, request_timeout=request_timeout)
            nursery.cancel_scope.cancel()


def _faithful(wire: Transport) -> Dial:
    """Dials nodes of one cluster: that of the first which answered."""
    cluster = ""

    async def dial(address: str) -> Connection:
        nonlocal cluster
        theirs = ""

        def accept(hello: Hello) -> str | None:
            nonlocal theirs
            theirs = hello.cluster
            if not cluster or theirs == cluster:
                return None
            return (
                f"it is of cluster {theirs!r}, and this client is one of cluster {cluster!r}: name"
                " the nodes of one cluster only; if these are, the node has lost its data directory"
            )

        connection, _ = await dial_and_greet(wire, address, Hello(), accept)
        cluster = theirs
        return connection

    return dial


def parse_addresses(text: str) -> tuple[str, ...]:
    """``"HOST:PORT[,HOST:PORT]"`` as a tuple of addresses.

    Raises:
        ConfigurationError: one of them is no ``HOST:PORT``.
    """
    addresses = tuple(part.strip() for part in text.split(",") if part.strip())
    for address in addresses:
        host, port = parse_address(address)
        if not host or not port:
            raise ConfigurationError(
                f"{address!r}: one can only connect to a certain host and port"
            )
    if not addresses:
        raise ConfigurationError("no address given: write HOST:PORT[,HOST:PORT]")
    return addresses


@contextmanager
def _unwrapped() -> Iterator[None]:
    """Raise the one error of a nursery as itself: callers of ``connect`` see no nursery."""
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        [error] = group.exceptions
        context = error.__context__
        try:
            raise error
        finally:
            error.__context__ = context  # not the group it was wrapped in
