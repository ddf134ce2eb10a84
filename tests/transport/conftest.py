"""The worlds in which transports are tested: what a node's transport can stand on."""

import errno
from collections import deque
from typing import Any

import pytest
import trio
import trio.testing

from flowactor.ports import Transport
from flowactor.testing.conformance import TransportWorld
from flowactor.transport import MemoryNetwork, MemoryTransport, WebSocketTransport


class StreamListener(trio.abc.Listener[trio.abc.Stream]):
    """Accepts the server ends of stream pairs."""

    def __init__(self, network: "PairNetwork", port: int) -> None:
        self.network, self.port = network, port
        self.arrived: deque[trio.abc.Stream] = deque()
        self.lot = trio.lowlevel.ParkingLot()

    async def accept(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        while not self.arrived:
            await self.lot.park()
        return self.arrived.popleft()

    async def aclose(self) -> None:
        self.network.listeners.pop(self.port, None)
        await trio.lowlevel.checkpoint()


class PairNetwork:
    """A ``StreamNetwork`` of in-memory streams: real frames, virtual time."""

    def __init__(self) -> None:
        self.listeners: dict[int, StreamListener] = {}
        self.silent = False
        """Connections open, but nobody ever answers on them."""

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = trio.testing.memory_stream_pair()
        if self.silent:
            self.kept = theirs
            return ours
        if port not in self.listeners:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens there")
        self.listeners[port].arrived.append(theirs)
        self.listeners[port].lot.unpark()
        return ours

    async def listen(self, host: str, port: int) -> tuple[list[StreamListener], int]:
        await trio.lowlevel.checkpoint()
        port = port or 1000 + len(self.listeners)
        if port in self.listeners:
            raise OSError(errno.EADDRINUSE, "in use")
        self.listeners[port] = StreamListener(self, port)
        return [self.listeners[port]], port

    def remote_name(self, stream: trio.abc.Stream) -> str:
        return "somebody"


class World(TransportWorld):
    """One kind of transport, a place to listen, and what was observed."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.memory = MemoryNetwork()
        self.pairs = PairNetwork()
        self.address = "server" if kind == "memory" else "127.0.0.1:0"
        self.nobody = "127.0.0.1:1"

    def transport(self, **options: Any) -> Transport:
        match self.kind:
            case "memory":
                return MemoryTransport(
                    self.memory, "client", observe=self.observed.append, **options
                )
            case "streams":
                return WebSocketTransport(self.pairs, observe=self.observed.append, **options)
            case _:
                return WebSocketTransport(observe=self.observed.append, **options)


@pytest.fixture(params=["memory", "streams", "tcp"])
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


@pytest.fixture(params=["memory", "streams"])
def timeless_world(request: pytest.FixtureRequest) -> World:
    """A world that needs no real time; for tests with a virtual clock."""
    return World(request.param)


@pytest.fixture
def streams_world() -> World:
    return World("streams")


@pytest.fixture
def tcp_world() -> World:
    return World("tcp")
