"""A cluster of whole nodes that nothing bad befalls, grown to a certain shape."""

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Final

import trio

import flowactor as fa
from flowactor.identity import GroupId, NodeId, Slot, slot_of
from flowactor.management import Topology
from flowactor.management.operations import ChangeSettings, CreateGroup
from flowactor.simulation.disk import Device, SimulatedDisk
from flowactor.simulation.network import FrameTransport, Network, address_of
from flowactor.simulation.runtime import NodeClock, Runtime, SeededEntropy
from simulations.scale.counting import Census
from simulations.scale.model import Shape

__all__ = ["Fleet", "Waits"]

FIRST_GROUP: Final = GroupId(1)
PATIENCE_SECONDS: Final = 600.0
GLANCE_SECONDS: Final = 0.1
STRIDE: Final = 7
"""Between the nodes of a group; it divides no number of nodes that is looked at."""
SLOTS_EACH: Final = 8
"""Of each group but the first, which keeps the rest: enough to find names that belong there."""


@fa.workflow
class Waits:
    """For ever."""

    async def run(self) -> None:
        await fa.wait_condition(lambda: False)


APP: Final = fa.App([Waits])


class Fleet:
    """Whole nodes, as they run in production, over a network and disks that count.

    Args:
        runtime: the run it is part of.
        nursery: where the nodes live.
        shape: what it is to become; the first nodes found it, as many as a group has replicas.
    """

    def __init__(self, runtime: Runtime, nursery: trio.Nursery, shape: Shape) -> None:
        self.shape: Final = shape
        self.census: Final = Census()
        self._runtime: Final = runtime
        self._nursery: Final = nursery
        self._network: Final = Network(
            runtime.time, runtime.random("network"), nodes=shape.nodes, told=self.census.arrived
        )
        self._nodes: Final[dict[int, fa.Node]] = {}

    @property
    def client(self) -> fa.Client:
        """In the process of the first node."""
        return self._nodes[1].client

    @property
    def topology(self) -> Topology:
        """As the first node knows it."""
        return self._nodes[1].steward.topology

    def leader(self, group: GroupId) -> fa.Node:
        """The node that leads."""
        return next(
            node for node in self._nodes.values() if (at := node.groups.get(group)) and at.is_leader
        )

    def pairs(self) -> set[frozenset[NodeId]]:
        """Two nodes each, of which one leads a group that the other belongs to."""
        leads = [
            (node.node_id, replica.group.status.configuration.members)
            for node in self._nodes.values()
            for replica in node._hosting.replicas.values()  # noqa: SLF001
            if replica.group.is_leader
        ]
        return {
            frozenset((leader, member))
            for leader, members in leads
            for member in members
            if member != leader
        }

    def name_in(self, group: GroupId, number: int = 0) -> str:
        """A name that the group serves; another one for each number."""
        names = (f"name {number} {attempt}" for attempt in count())
        return next(name for name in names if self.topology.slots[slot_of(name)] == group)

    # -- growing ----------------------------------------------------------------------------------

    async def grow(self) -> None:
        """Become what it is to be, and come to rest."""
        shape = self.shape
        for number in range(1, shape.replicas + 1):
            self._start(number, ())
        await self._until(lambda: len(self._nodes) == shape.replicas)
        await self._until(lambda: len(self._present()) == shape.replicas)
        await self.client.manage(ChangeSettings((("automatic", 0), ("balanced", 0))))
        for number in range(shape.replicas + 1, shape.nodes + 1):
            self._start(number, (1 + number % shape.replicas,))
        await self._until(lambda: len(self._present()) == shape.nodes)
        for group in range(1, shape.groups):
            await self.client.manage(CreateGroup(self._members(group)))
        await self._until(self._has_grown)
        for group in range(1, shape.groups):
            slots = (Slot(SLOTS_EACH * group + number) for number in range(SLOTS_EACH))
            await self.client.cluster.move(slots, group + 1)
        await self._until(lambda: not self.topology.moves)

    def _members(self, group: int) -> tuple[NodeId, ...]:
        """Each has about as many places, and no two groups on the same nodes if that can be."""
        replicas, nodes = self.shape.replicas, self.shape.nodes
        first = group * replicas
        places = (first + STRIDE * number for number in range(replicas))
        return tuple(sorted(NodeId(1 + place % nodes) for place in places))

    def _present(self) -> list[NodeId]:
        nodes = self.topology.nodes_in_order()
        return [node.id for node in nodes if node.is_available and node.incarnation]

    def _has_grown(self) -> bool:
        topology = self.topology
        reports = [topology.reports.get(group) for group in topology.groups]
        voters = [len(report.configuration.voters) for report in reports if report is not None]
        return voters == [self.shape.replicas] * self.shape.groups

    async def _until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            while not condition():  # noqa: ASYNC110  # any condition, and time costs nothing
                await trio.sleep(GLANCE_SECONDS)

    # -- nodes ------------------------------------------------------------------------------------

    def _start(self, number: int, seeds: Sequence[int]) -> None:
        with self._runtime.processes.of(number):
            self._nursery.start_soon(self._live, number, seeds, name=f"node {number}")

    async def _live(self, number: int, seeds: Sequence[int]) -> None:
        runtime = self._runtime
        clock, where = NodeClock(runtime.time), f"disk {number}"
        device = self.census.device(Device(runtime.random(where)))
        config = fa.NodeConfig(
            data=Path(f"node-{number}"),
            listen=address_of(number),
            peers=() if seeds else tuple(map(address_of, range(1, self.shape.replicas + 1))),
            join=tuple(map(address_of, seeds)),
            insecure=True,
        )
        world = fa.World(
            clock=clock,
            entropy=SeededEntropy(runtime.random(f"entropy {number}")),
            transport=FrameTransport(self._network.host(number)),
            disk=lambda _: SimulatedDisk(device, runtime.time, clock, where),
            watch=self.census.watch,
        )
        async with fa.Node(APP, config, world) as self._nodes[number]:
            await trio.sleep_forever()
