"""In-memory links that a test can cut: the transport of nodes that share one process."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import trio

from flowactor.errors import Unavailable
from flowactor.ports import Connection
from flowactor.transport import MemoryNetwork, MemoryTransport

Way = tuple[str, str]
"""From one address to another: what travels the other way is not meant."""


class Wires:
    """All links of one cluster. Addresses that are cut off cannot talk until they are healed.

    A cut is *silent*, as a pulled cable is: what is sent waits, nobody gets an error, and after the
    heal it arrives. Or it *breaks*: both sides lose their connection and cannot dial. A silent cut
    may concern one way only.
    """

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self._cut: set[Way] = set()
        self._changed = trio.lowlevel.ParkingLot()
        self._open: dict[WiredConnection, None] = {}

    def transport(self, name: str) -> "WiredTransport":
        return WiredTransport(self, name)

    def cut(self, left: Iterable[str], right: Iterable[str], *, silent: bool = True) -> None:
        """Part every address of ``left`` from every one of ``right``."""
        left, right = tuple(left), tuple(right)
        self.silence(left, right)
        self.silence(right, left)
        if not silent:
            for connection in list(self._open):
                if connection.way in self._cut:
                    connection.snap()

    def silence(self, sources: Iterable[str], destinations: Iterable[str]) -> None:
        """Nothing that ``sources`` send reaches ``destinations``; the other way is as it was."""
        destinations = tuple(destinations)
        self._cut |= {(one, other) for one in sources for other in destinations if one != other}

    def heal(self) -> None:
        """All can talk again."""
        self._cut.clear()
        self._changed.unpark_all()

    def reconnect(self, address: str) -> None:
        """This address can talk to all again."""
        self._cut = {way for way in self._cut if address not in way}
        self._changed.unpark_all()

    def is_cut(self, way: Way) -> bool:
        return way in self._cut

    async def passable(self, way: Way) -> None:
        """Return when what is sent this way arrives."""
        while way in self._cut:
            await self._changed.park()

    def add(self, connection: "WiredConnection") -> None:
        self._open[connection] = None

    def remove(self, connection: "WiredConnection") -> None:
        self._open.pop(connection, None)


class WiredConnection(Connection):
    """One end of a connection over ``Wires``; ``way`` is from here to there."""

    def __init__(self, wires: Wires, way: Way, inner: Connection) -> None:
        self.way = way
        self._wires = wires
        self._inner = inner
        self._snapped = False
        self._scopes: dict[trio.CancelScope, None] = {}
        wires.add(self)

    @property
    def remote(self) -> str:
        return self._inner.remote

    @property
    def frame_bytes_max(self) -> int:
        return self._inner.frame_bytes_max

    @frame_bytes_max.setter
    def frame_bytes_max(self, size: int) -> None:
        self._inner.frame_bytes_max = size

    def snap(self) -> None:
        self._snapped = True
        for scope in list(self._scopes):
            scope.cancel()

    async def send(self, frame: bytes) -> None:
        with self._unless_snapped():
            await self._wires.passable(self.way)
            await self._inner.send(frame)

    async def receive(self) -> bytes:
        with self._unless_snapped():
            frame = await self._inner.receive()
            here, there = self.way
            await self._wires.passable((there, here))
            return frame

    async def aclose(self, reason: str = "") -> None:
        self._wires.remove(self)
        await self._inner.aclose(reason)

    @contextmanager
    def _unless_snapped(self) -> Iterator[None]:
        gone = Unavailable(f"{self.remote}: the link was cut")
        if self._snapped:
            raise gone
        with trio.CancelScope() as scope:
            self._scopes[scope] = None
            try:
                yield
            finally:
                del self._scopes[scope]
        if scope.cancelled_caught:
            raise gone


class WiredTransport:
    """``ports.Transport`` of the node listening at ``name``."""

    def __init__(self, wires: Wires, name: str) -> None:
        self._wires = wires
        self._name = name
        self._memory = MemoryTransport(wires.network, name)

    async def dial(self, address: str) -> Connection:
        way = (self._name, address)
        if self._wires.is_cut(way) or self._wires.is_cut(way[::-1]):
            await trio.lowlevel.checkpoint()
            raise Unavailable(f"cannot connect to {address}: no route")
        return WiredConnection(self._wires, way, await self._memory.dial(address))

    async def serve(self, address, handler, *, task_status) -> None:
        async def wired(connection: Connection) -> None:
            way = (address, connection.remote)
            await handler(WiredConnection(self._wires, way, connection))

        await self._memory.serve(address, wired, task_status=task_status)
