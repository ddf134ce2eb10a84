"""Streams: the network as one process sees it, in the shape that the real transport stands on."""

import errno
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import trio

from flowactor.limits import RECEIVE_BYTES_MAX
from flowactor.simulation.network.addresses import host_of, machine_of
from flowactor.simulation.network.ends import End, Machine
from flowactor.transport import format_address

__all__ = ["Host", "SimulatedListener", "SimulatedStream"]

FREE_PORT: Final = 40_000


class SimulatedStream(trio.abc.Stream):
    """A TCP connection, with TCP's manners: bytes in order, but in any pieces."""

    def __init__(self, end: End) -> None:
        self.end: Final = end

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, waiting while the window is full."""
        await trio.lowlevel.checkpoint()
        end = self.end
        rest = data if len(data) <= end.room else memoryview(data)  # many pieces: do not copy
        while True:
            if end.writing:
                raise trio.BusyResourceError("another task sends on this stream")
            if end.unusable:
                raise end.trouble()
            if end.machine.frozen:
                await end.machine.thawed.park()
                continue
            if (size := min(len(rest), end.room)) > 0:
                end.send(bytes(rest[:size]))
                rest = rest[size:]
            if not rest:
                return
            await end.wait_room(min(len(rest), end.window_bytes // 2))

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room in the window."""
        await trio.lowlevel.checkpoint()
        end = self.end
        if end.writing:
            raise trio.BusyResourceError("another task sends on this stream")
        while end.room <= 0 and not end.unusable:
            await end.wait_room(1)
        if end.unusable:
            raise end.trouble()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes; none at the end."""
        bytes_max = RECEIVE_BYTES_MAX if max_bytes is None else max_bytes
        if bytes_max < 1:
            raise ValueError("max_bytes must be at least 1")
        await trio.lowlevel.checkpoint_if_cancelled()
        end = self.end
        if end.reading:
            raise trio.BusyResourceError("another task receives on this stream")
        waited = await end.wait_data()
        if end.chunks and not end.closed:
            data = end.read(bytes_max)
        elif end.farewell is not None and not end.closed:
            data = b""
        else:
            raise end.trouble()
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return data

    async def aclose(self) -> None:
        """Close both directions."""
        self.end.close()
        await trio.lowlevel.checkpoint()


class SimulatedListener(trio.abc.Listener[SimulatedStream]):
    """Where connections to one port of one machine wait to be accepted."""

    def __init__(self, machine: Machine, port: int) -> None:
        self.port: Final = port
        self._machine: Final = machine
        self._queue: Final[deque[End]] = deque()
        self._changed: Final = trio.lowlevel.ParkingLot()
        self._closed = False

    def offer(self, end: End) -> None:
        """A connection has come in."""
        self._queue.append(end)
        self._changed.unpark()

    async def accept_end(self) -> End:
        """Wait for a connection. In a process that was killed, wait for ever."""
        await trio.lowlevel.checkpoint()
        while True:
            if self._closed:
                raise trio.ClosedResourceError("the listener is closed")
            if self._machine.frozen:
                await self._machine.thawed.park()
            elif self._queue:
                return self._queue.popleft()
            else:
                await self._changed.park()

    async def accept(self) -> SimulatedStream:
        """As ``accept_end``, for a stream."""
        return SimulatedStream(await self.accept_end())

    def close(self) -> None:
        """Free the port; who was not accepted yet is turned away."""
        if self._closed:
            return
        self._closed = True
        if self._machine.listeners.get(self.port) is self:
            del self._machine.listeners[self.port]
        for end in self._queue:
            if end.alive:
                end.abort()
        self._queue.clear()
        self._changed.unpark_all()

    async def aclose(self) -> None:
        """As ``close``."""
        self.close()
        await trio.lowlevel.checkpoint()


class Host:
    """What one process, from its start to its end, has of the network: a ``StreamNetwork``.

    Args:
        pair: begins a connection to a port of another machine, of whole frames or not; its first
            end.
        machine: where the process runs.
    """

    def __init__(self, pair: Callable[[int, int, bool], End], machine: Machine) -> None:
        self._pair: Final = pair
        self._machine: Final = machine

    async def open_stream(self, host: str, port: int) -> SimulatedStream:
        """Connect; waits for as long as nothing gets through. Raises ``OSError``."""
        return SimulatedStream(await self.connect(host, port, whole=False))

    async def connect(self, host: str, port: int, *, whole: bool) -> End:
        """As ``open_stream``; ``whole`` makes a connection of whole frames."""
        await trio.lowlevel.checkpoint()
        machine = self._machine
        self._check_alive()
        target = machine_of(host, machine.number)
        end = self._pair(target, port, whole)
        try:
            while not end.connected and not end.error:
                await end.wait_change()
            while machine.frozen:
                await machine.thawed.park()
        except BaseException:
            end.close()
            raise
        if end.error:
            raise OSError(end.error, os.strerror(end.error))
        return end

    async def listen(self, host: str, port: int) -> tuple[Sequence[SimulatedListener], int]:
        """Listen on a port of this machine; 0 is the first free one from 40000."""
        await trio.lowlevel.checkpoint()
        listener = self.open_listener(host, port)
        return [listener], listener.port

    def open_listener(self, host: str, port: int) -> SimulatedListener:
        """As ``listen``."""
        self._check_alive()
        machine = self._machine
        if machine_of(host, machine.number) != machine.number:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        if port == 0:
            port = FREE_PORT
            while port in machine.listeners:
                port += 1
        if port in machine.listeners:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        machine.listeners[port] = listener = SimulatedListener(machine, port)
        return listener

    def remote_name(self, stream: trio.abc.Stream) -> str:
        """``host:port`` of the other end."""
        assert isinstance(stream, SimulatedStream)
        return self.name_of(stream.end.peer)

    @staticmethod
    def name_of(end: End) -> str:
        """``host:port`` of an end."""
        return format_address(host_of(end.machine.number), end.port)

    def _check_alive(self) -> None:
        if self._machine.host is not self:
            raise OSError(errno.ENETDOWN, os.strerror(errno.ENETDOWN))
