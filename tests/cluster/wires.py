"""In-memory links that a test can cut: the transport of nodes that share one process."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import trio

from flowactor.errors import Unavailable
from flowactor.ports import Connection
from flowactor.transport import MemoryNetwork, MemoryTransport


class Wires:
    """All links of one cluster. A cut pair of addresses cannot talk until it is healed.

    A cut is *silent*, as a pulled cable is: what is sent waits, nobody gets an error, and after the
    heal it arrives. Or it *breaks*: both sides lose their connection and cannot dial.
    """

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self._cut: set[frozenset[str]] = set()
        self._changed = trio.lowlevel.ParkingLot()
        self._open: dict[WiredConnection, None] = {}

    def transport(self, name: str) -> "WiredTransport":
        return WiredTransport(self, name)

    def cut(self, left: Iterable[str], right: Iterable[str], *, silent: bool = True) -> None:
        """Part every address of ``left`` from every one of ``right``."""
        right = tuple(right)
        pairs = {frozenset((one, other)) for one in left for other in right if one != other}
        self._cut |= pairs
        if not silent:
            for connection in list(self._open):
                if connection.pair in pairs:
                    connection.snap()

    def heal(self) -> None:
        """All can talk again."""
        self._cut.clear()
        self._changed.unpark_all()

    def reconnect(self, address: str) -> None:
        """This address can talk to all again."""
        self._cut = {pair for pair in self._cut if address not in pair}
        self._changed.unpark_all()

    def is_cut(self, pair: frozenset[str]) -> bool:
        return pair in self._cut

    async def passable(self, pair: frozenset[str]) -> None:
        """Return when the two can talk."""
        while pair in self._cut:
            await self._changed.park()

    def add(self, connection: "WiredConnection") -> None:
        self._open[connection] = None

    def remove(self, connection: "WiredConnection") -> None:
        self._open.pop(connection, None)


class WiredConnection(Connection):
    """One end of a connection over ``Wires``."""

    def __init__(self, wires: Wires, pair: frozenset[str], inner: Connection) -> None:
        self.pair = pair
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
            await self._wires.passable(self.pair)
            await self._inner.send(frame)

    async def receive(self) -> bytes:
        with self._unless_snapped():
            frame = await self._inner.receive()
            await self._wires.passable(self.pair)
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
        pair = frozenset((self._name, address))
        if self._wires.is_cut(pair):
            await trio.lowlevel.checkpoint()
            raise Unavailable(f"cannot connect to {address}: no route")
        return WiredConnection(self._wires, pair, await self._memory.dial(address))

    async def serve(self, address, handler, *, task_status) -> None:
        async def wired(connection: Connection) -> None:
            pair = frozenset((address, connection.remote))
            await handler(WiredConnection(self._wires, pair, connection))

        await self._memory.serve(address, wired, task_status=task_status)
