"""Agendas for tests of the simulated network, and a small one to test with."""

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from random import Random
from typing import Any

import pytest
import trio
import trio.testing

from flowactor.ports import Connection
from flowactor.simulation.network import (
    FrameTransport,
    Network,
    SimulatedStream,
    address_of,
    host_of,
)

Handler = Callable[[Connection], Any]


class HeapAgenda:
    """A heap of actions; who turns its clock is up to the heirs."""

    def __init__(self) -> None:
        self.reached_ns = 0
        self.heap: list[tuple[int, int, Callable[[], None]]] = []
        self.count = 0
        self.changed = trio.Event()

    @property
    def now_ns(self) -> int:
        return self.reached_ns

    def at(self, due_ns: int, action: Callable[[], None]) -> None:
        self.count += 1
        heappush(self.heap, (max(due_ns, self.now_ns), self.count, action))
        self.changed.set()

    async def wait_filled(self) -> None:
        while not self.heap:
            await self.changed.wait()
            self.changed = trio.Event()

    def act(self) -> None:
        """Do what is due next, and all that is due with it."""
        self.reached_ns = max(self.now_ns, self.heap[0][0])
        while self.heap and self.heap[0][0] <= self.reached_ns:
            heappop(self.heap)[2]()


class ClockAgenda(HeapAgenda):
    """Goes by Trio's clock, which a test has replaced by a mock."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = trio.current_time()

    @property
    def now_ns(self) -> int:
        return max(self.reached_ns, round((trio.current_time() - self.begun) * 1e9))

    async def run(self) -> None:
        while True:
            await self.wait_filled()
            self.changed = trio.Event()
            with trio.move_on_at(self.begun + self.heap[0][0] / 1e9):
                await self.changed.wait()
                continue
            self.act()


@pytest.fixture
async def agenda(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> ClockAgenda:
    agenda = ClockAgenda()
    nursery.start_soon(agenda.run)
    return agenda


class Lab:
    """A network of nodes 1 to 3 and the client 100, with a process on each, and a log."""

    def __init__(self, agenda: ClockAgenda, seed: int = 1, **options: Any) -> None:
        self.agenda = agenda
        self.arrivals: list[tuple[float, int, int, int]] = []
        self.network = Network(agenda, Random(seed), told=self.note, **options)
        self.hosts = {machine: self.network.host(machine) for machine in (1, 2, 3, 100)}

    def note(self, sender: int, receiver: int, size: int, connection: int) -> None:
        self.arrivals.append((self.now, sender, receiver, size))

    @property
    def now(self) -> float:
        return self.agenda.now_ns / 1e9

    async def join(self, near: int, far: int) -> tuple[SimulatedStream, SimulatedStream]:
        """Both ends of a new connection from one machine to another."""
        [listener], port = await self.hosts[far].listen("", 0)
        ours = await self.hosts[near].open_stream(host_of(far), port)
        theirs = await listener.accept()
        await listener.aclose()
        return ours, theirs

    async def serve_frames(
        self, nursery: trio.Nursery, machine: int, handler: Handler, **options: Any
    ) -> str:
        transport = FrameTransport(self.hosts[machine], **options)

        async def run(task_status: Any) -> None:
            await transport.serve(address_of(machine), handler, task_status=task_status)

        return await nursery.start(run)


@pytest.fixture
async def lab(agenda: ClockAgenda) -> Lab:
    return Lab(agenda)


@pytest.fixture
def make_lab(agenda: ClockAgenda) -> Callable[..., Lab]:
    """Labs with other options of the network."""
    return partial(Lab, agenda)
