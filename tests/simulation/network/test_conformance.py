"""The simulated transports promise what every transport promises: the same suites, another world.

Time is the network's own here, and goes on whenever all tasks wait.
"""

from random import Random
from typing import Any

import pytest
import trio
import trio.testing

from flowactor.ports import Transport
from flowactor.simulation.network import FrameTransport, Network, address_of
from flowactor.testing.conformance import (
    BackPressureConformance,
    GuardedTransportConformance,
    TransportConformance,
    TransportWorld,
)
from flowactor.transport import WebSocketTransport
from tests.simulation.network.conftest import HeapAgenda


class IdleAgenda(HeapAgenda):
    """Has a time of its own, which goes on whenever all tasks wait: no clock is needed."""

    async def run(self) -> None:
        while True:
            await self.wait_filled()
            await trio.testing.wait_all_tasks_blocked()
            self.act()

    async def run_dry(self) -> None:
        """Return when all tasks wait, and nothing is due that could wake one."""
        before = (-1, -1)
        while before != (self.count, 0):
            before = (self.count, len(self.heap))
            await trio.testing.wait_all_tasks_blocked()


class Facing:
    """Serves on one machine, dials from another."""

    def __init__(self, near: Transport, far: Transport) -> None:
        self.dial, self.serve = near.dial, far.serve


class World(TransportWorld):
    """Servers on one machine and clients on another."""

    address = "10.0.0.1:0"
    nobody = address_of(1, 1)

    def __init__(self, kind: type[Any], agenda: IdleAgenda) -> None:
        super().__init__()
        self.kind, self.agenda = kind, agenda
        network = Network(agenda, Random(1))
        self.server, self.client = network.host(1), network.host(100)

    def transport(self, **options: Any) -> Facing:
        options["observe"] = self.observed.append
        return Facing(self.kind(self.client, **options), self.kind(self.server, **options))

    async def settled(self) -> None:
        await self.agenda.run_dry()


class TestSimulatedTransports(
    TransportConformance, BackPressureConformance, GuardedTransportConformance
):
    """WebSockets over simulated streams, and whole frames that do without them."""

    @pytest.fixture(params=[WebSocketTransport, FrameTransport])
    async def world(self, request: pytest.FixtureRequest, nursery: trio.Nursery) -> World:
        agenda = IdleAgenda()
        nursery.start_soon(agenda.run)
        return World(request.param, agenda)
