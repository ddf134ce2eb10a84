"""Ends: what a kernel keeps of one connection, and where its process waits for it."""

import errno
import os
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import trio

from flowactor.simulation.network.flows import Farewell, Flow, Item, Sign
from flowactor.simulation.network.paths import Kernel, Path

__all__ = ["End", "Machine", "Told"]

Told = Callable[[int, int, int, int], None]
"""Told of each arrival: (sender, receiver, bytes, number of the connection)."""

SPLIT_ODDS: Final = 1 / 32
"""How often what is sent arrives in two parts, at two times."""
FRAGMENT_ODDS: Final = 1 / 16
"""How often a read gives less than there is."""


class Listener(Protocol):
    """Where connections to a port are offered."""

    def offer(self, end: "End") -> None:
        """A connection has come in."""


class Machine(Kernel):
    """A computer: its kernel, as far as connections go. Processes on it come and go.

    Attributes:
        frozen: its process is stopped; its kernel goes on.
        thawed: where the tasks of a frozen process wait that would have gone on.
        missed: ends whose tasks should have been woken while it was frozen.
        host: what its present process holds of it, if there is one.
        ends: all connection ends that its kernel knows, in the order in which they were made.
        listeners: by port.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.frozen = False
        self.thawed: Final = trio.lowlevel.ParkingLot()
        self.missed: Final[list[End]] = []
        self.host: object | None = None
        self.ends: Final[dict[int, End]] = {}
        self.listeners: Final[dict[int, Listener]] = {}


class End:
    """One of the two ends of a connection.

    Args:
        number: of the connection.
        port: on this end's machine.
        path: where what is sent goes.
        window_bytes: how much may be sent and not yet read, on either side.
        whole: what is sent is read as it was sent, in one piece.
        told: of what arrives here.

    Attributes:
        alive: the kernel knows of it. To what arrives otherwise it answers with a reset.
        connected: the other side has accepted.
        closed: this side has closed it.
        farewell: the last words of the other side, once they are here.
        error: why it is broken (an ``errno``), or 0.
        room: how many bytes may be sent now.
    """

    peer: "End"
    flow: Flow
    """What this end sends."""

    def __init__(
        self,
        number: int,
        machine: Machine,
        port: int,
        path: Path,
        *,
        window_bytes: int,
        whole: bool,
        told: Told,
    ) -> None:
        self.number: Final = number
        self.machine: Final = machine
        self.port: Final = port
        self.path: Final = path
        self.window_bytes: Final = window_bytes
        self.room = window_bytes
        self.alive = self.connected = self.closed = False
        self.farewell: str | None = None
        self.error = 0
        self.chunks: Final[deque[bytes]] = deque()
        self._unread = 0
        self._key = self._silence_ns = 0
        self._whole: Final = whole
        self._told: Final = told
        self._reader: trio.lowlevel.Task | None = None
        self._writer: trio.lowlevel.Task | None = None
        self._wanted = 0

    def join(self, peer: "End", key: int, silence_ns: int) -> None:
        """Make this one of a pair, before anything else. No other end has the same ``key``; see
        ``Flow`` for the silence.
        """
        self.peer, self._key, self._silence_ns = peer, key, silence_ns
        self.flow = Flow(self, peer, self.path, silence_ns)

    def begin(self) -> None:
        """The kernel gets to know of it."""
        self.alive = True
        self.machine.ends[self._key] = self

    # -- what arrives -----------------------------------------------------------------------------

    def arrive(self, item: Item) -> None:
        """Take what the other end sent; called by its flow."""
        if item is Sign.OPEN:
            self._knock()
        elif not self.alive:
            if self.peer.alive:
                self.send_error(errno.ECONNRESET)
        elif isinstance(item, bytes):
            self._take_in(item)
        elif isinstance(item, Farewell):
            self.farewell = item.reason
            self.wake()
            self.settle()
            self.peer.settle()
        elif item is Sign.ACCEPT:
            self.connected = True
            self.wake()

    def _take_in(self, data: bytes) -> None:
        self._told(self.peer.machine.number, self.machine.number, len(data), self.number)
        if not self.closed:
            self.chunks.append(data)
            self._unread += len(data)
            self._wake_reader()
        elif self._whole:
            self.peer.grant(len(data))
        else:
            self.abort()

    def _knock(self) -> None:
        listener = self.machine.listeners.get(self.port)
        if listener is None:
            self.send_error(errno.ECONNREFUSED)
        else:
            self.begin()
            self.connected = True
            self.flow.put(Sign.ACCEPT)
            listener.offer(self)

    def send_error(self, number: int) -> None:
        """Break the other end, with the latency of the path but in no order with what was sent."""
        agenda = self.path.agenda
        due_ns = agenda.now_ns + self.path.delay_ns(0.0)
        agenda.at(due_ns, partial(self._error_arrives, number))

    def _error_arrives(self, number: int) -> None:
        if not self.path.blocked:
            self.peer.break_off(number)

    # -- what the process does --------------------------------------------------------------------

    @property
    def unusable(self) -> bool:
        """Whether nothing can be sent any more, as far as this side knows."""
        return self.closed or self.error != 0

    def trouble(self) -> trio.ClosedResourceError | trio.BrokenResourceError:
        """What to raise where it is unusable."""
        if self.closed:
            return trio.ClosedResourceError("closed by this side")
        text = os.strerror(self.error)
        trouble = trio.BrokenResourceError(text)
        trouble.__cause__ = OSError(self.error, text)
        return trouble

    def send(self, data: bytes) -> None:
        """Send what there is room for."""
        self.room -= len(data)
        size = len(data)
        if not self._whole and size > 1:
            draw = self.path.chance.random()
            if draw < SPLIT_ODDS:
                cut = 1 + int(draw / SPLIT_ODDS * (size - 1))
                self.flow.put(data[:cut])
                data = data[cut:]
        self.flow.put(data)

    def read_whole(self) -> bytes:
        """The next of what has arrived, in one piece."""
        data = self.chunks.popleft()
        self._read(len(data))
        return data

    def read(self, bytes_max: int) -> bytes:
        """Some of what has arrived: by chance not all, even if there is room for it."""
        size = min(self._unread, bytes_max)
        draw = self.path.chance.random()
        if draw < FRAGMENT_ODDS:
            size = 1 + int(draw / FRAGMENT_ODDS * (size - 1))
        chunks = self.chunks
        if size == len(chunks[0]):
            return self.read_whole()
        parts = []
        missing = size
        while missing:
            chunk = chunks.popleft()
            if len(chunk) > missing:
                chunks.appendleft(chunk[missing:])
                chunk = chunk[:missing]
            parts.append(chunk)
            missing -= len(chunk)
        self._read(size)
        return b"".join(parts)

    def _read(self, size: int) -> None:
        self._unread -= size
        self.peer.grant(size)

    def grant(self, size: int) -> None:
        """The other side has read that much: as much more may be sent."""
        self.room += size
        if self._writer is not None and self.room >= self._wanted:
            self._wake_writer()

    def doubt(self) -> None:
        """Something may have happened that nobody can tell: find out in time (keep-alive)."""
        if self.alive:
            agenda = self.path.agenda
            agenda.at(agenda.now_ns + self._silence_ns, self._probe)

    def _probe(self) -> None:
        if self.alive and self.flow.idle:
            self.flow.put(Sign.PROBE)

    # -- how it ends ------------------------------------------------------------------------------

    def close(self, reason: str = "") -> None:
        """Say farewell after all that was sent; but with unread bytes here, reset, as TCP does."""
        if self.closed:
            return
        self.closed = True
        self.wake()
        if not self.alive:
            return
        if self.connected and (self._whole or not self._unread):
            self.flow.put(Farewell(reason))
        else:
            self.abort()

    def abort(self) -> None:
        """End it without a word of order: the other side sees a reset."""
        if self.connected:
            self.send_error(errno.ECONNRESET)
        self.break_off(errno.ECONNABORTED)

    def break_off(self, number: int) -> None:
        """It is over on this side, for the reason ``number``; what it has sent last is lost."""
        if self.alive:
            self.flow.cut()
            self.die(number)

    def die(self, number: int) -> None:
        """As ``break_off``; but what has left already is on its way."""
        self.error = self.error or number
        self._forget()
        self.wake()

    def settle(self) -> None:
        """Forget what both sides have closed."""
        if self.alive and self.closed and self.farewell is not None and self.flow.idle:
            self._forget()

    def _forget(self) -> None:
        self.alive = False
        self.machine.ends.pop(self._key, None)

    # -- waiting ----------------------------------------------------------------------------------

    @property
    def reading(self) -> bool:
        """Whether a task waits for something to arrive."""
        return self._reader is not None

    @property
    def writing(self) -> bool:
        """Whether a task waits for room."""
        return self._writer is not None

    async def wait_data(self) -> bool:
        """Wait until there is something to read, or nothing more will come. Tells whether that
        took a wait: if not, this was no checkpoint.
        """
        waited = False
        while self.machine.frozen or not (
            self.chunks or self.unusable or self.farewell is not None
        ):
            if self.machine.frozen:
                await self.machine.thawed.park()
            else:
                await self.wait_change()
            waited = True
        return waited

    async def wait_change(self) -> None:
        """Wait until something changes for who reads."""

        def abort(_: object) -> trio.lowlevel.Abort:
            self._reader = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._reader = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    async def wait_room(self, wanted: int) -> None:
        """Wait until there is room for ``wanted`` bytes, or something else changes."""

        def abort(_: object) -> trio.lowlevel.Abort:
            self._writer = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._writer, self._wanted = trio.lowlevel.current_task(), wanted
        await trio.lowlevel.wait_task_rescheduled(abort)

    def wake(self) -> None:
        """Have who waits look again. A frozen process sleeps on."""
        self._wake_reader()
        self._wake_writer()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._oversleeps():
            trio.lowlevel.reschedule(self._reader)
            self._reader = None

    def _wake_writer(self) -> None:
        if self._writer is not None and not self._oversleeps():
            trio.lowlevel.reschedule(self._writer)
            self._writer = None

    def _oversleeps(self) -> bool:
        if self.machine.frozen:
            self.machine.missed.append(self)
        return self.machine.frozen
