"""A cluster of whole nodes: machines with clocks, disks and a network, and the lives on them.

A crash is not a cancellation. First everything is taken away from the process, in one instant: its
disk becomes a copy that nobody will see, its connections break, its witness looks away. Only then
are its tasks cancelled, and whatever they still do on their way out reaches nothing.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import trio

from flowactor.cluster.group import ExecutionGroup
from flowactor.errors import StorageCorrupt, StorageError
from flowactor.limits import NANOSECONDS
from flowactor.node import Node, NodeConfig
from flowactor.node import World as Surroundings
from flowactor.ports import Transport
from flowactor.simulation.checks.judge import Judge
from flowactor.simulation.disk import Device, SimulatedDisk
from flowactor.simulation.fleet import Fleet
from flowactor.simulation.housekeeping import draw_compaction, draw_pace
from flowactor.simulation.network import FrameTransport, Host, Network, address_of
from flowactor.simulation.nodes.life import Life, LifeObserver, LifePlace, Messages
from flowactor.simulation.runtime import NodeClock, Runtime, SeededEntropy
from flowactor.simulation.runtime.scheduling import unshield
from flowactor.simulation.trace import Kind
from flowactor.simulation.world import World, at_place
from flowactor.transport import WebSocketTransport
from flowactor.workflow import App

__all__ = ["Cluster", "Machine", "transport_of"]

CHUNK_BYTES: Final = 4000
"""Of a state on its way: it is a file of SQLite, and has pages where at core depth are rows."""
RESTART_NS: Final = NANOSECONDS
"""A supervisor of processes starts one again that ended by itself."""


class Machine:
    """What a node runs on; it outlives its processes.

    Attributes:
        life: of the process that runs now, if one does.
        lives: how many there were.
        lost: it can never serve again: its disk is damaged, or it came with another one and the
            cluster does not let it in.
        held: how many faults keep its process from being started.
    """

    def __init__(self, number: int, runtime: Runtime) -> None:
        self.number: Final = number
        self.clock: Final = NodeClock(runtime.time)
        self.disk = Device(runtime.random(f"disk {number}"))
        self.life: Life | None = None
        self.lives = 0
        self.lost = False
        self.held = 0


class Cluster(Fleet[Machine]):
    """All machines, and what can befall them. Methods may be called anywhere in the run, but pauses
    only from the agenda.

    Args:
        runtime: the run it is part of.
        app: the code that every node has.
        nodes: how many.
        judge: sees it all.
        world: outside.
        sockets: WebSockets in all their bytes, or whole frames.
        nursery: where nodes live.

    Attributes:
        network: that they are on.
        addresses: of all nodes.
    """

    def __init__(
        self,
        runtime: Runtime,
        app: App,
        nodes: int,
        judge: Judge,
        world: World,
        *,
        sockets: bool,
        nursery: trio.Nursery,
    ) -> None:
        numbers = range(1, nodes + 1)
        self.network: Final = Network(runtime.time, runtime.random("network"), nodes=nodes)
        machines = {number: Machine(number, runtime) for number in numbers}
        super().__init__(machines, self.network, judge)
        self._runtime: Final = runtime
        self._app: Final = app
        self._world: Final = world
        self._sockets: Final = sockets
        self._nursery: Final = nursery
        self._messages: Final = Messages(judge)
        self._compaction: Final = draw_compaction(runtime.random("compaction"))
        self._pace: Final = draw_pace(runtime.random("pace"), CHUNK_BYTES)
        self.addresses: Final = tuple(map(address_of, self.machines))

    # -- looking ----------------------------------------------------------------------------------

    def groups(self) -> Mapping[int, ExecutionGroup]:
        """See ``healing.Cluster``."""
        return {number: node.group for number, node in self.serving().items()}

    def serving(self) -> dict[int, Node]:
        """The nodes that could answer now, by number."""
        return {
            number: machine.life.node
            for number, machine in self.machines.items()
            if machine.life is not None
            and machine.life.node is not None
            and not self._runtime.processes.is_paused(number)
        }

    # -- lives ------------------------------------------------------------------------------------

    def start(self, node: int) -> None:
        """See ``Fleet``."""
        machine = self.machines[node]
        if machine.life is not None or machine.held:
            return
        machine.lives += 1
        runtime, name = self._runtime, f"{node}.{machine.lives}"
        where = f"disk of node {node}"
        disk = SimulatedDisk(machine.disk, runtime.time, machine.clock, where)
        life = machine.life = Life(node, disk)
        chance = runtime.random(f"bodies {name}")
        place = LifePlace(life, self._world, runtime.time, chance, self._judge.point)
        with runtime.processes.of(node), at_place(place):
            self._nursery.start_soon(self._live, machine, life, name, name=f"node {node}")

    async def _live(self, machine: Machine, life: Life, name: str) -> None:
        number = life.number
        observer = LifeObserver(life, self._judge, self._messages, self._runtime.fail)
        config = NodeConfig(
            data=Path(f"node-{number}"),
            listen=address_of(number),
            peers=self.addresses,
            insecure=True,
            on_event=observer.observed,
        )
        surroundings = Surroundings(
            clock=machine.clock,
            entropy=SeededEntropy(self._runtime.random(f"entropy {name}")),
            transport=transport_of(self.network.host(number), sockets=self._sockets),
            disk=lambda _: life.disk,
            watch=observer.watch,
            compaction=self._compaction,
            pace=self._pace,
            strict=True,
        )
        try:
            with life.scope:
                async with Node(self._app, config, surroundings) as life.node:
                    await trio.sleep_forever()
        except StorageError as error:
            self._ended_by_itself(machine, life, error)
        except Exception as error:  # noqa: BLE001  # of the dead, nothing is of interest
            if life.alive:
                self._runtime.fail(error)
        finally:
            life.ended.set()

    def _ended_by_itself(self, machine: Machine, life: Life, error: StorageError) -> None:
        """The node does not trust its disk, and its supervisor starts it again."""
        if not life.alive:
            return
        number, judge = machine.number, self._judge
        life.alive, machine.life = False, None
        life.disk.close()
        self.network.kill(number)
        judge.died(number)
        judge.write(number, Kind.STOPPED, str(error))
        if isinstance(error, StorageCorrupt):
            machine.lost = True
            judge.marks["damage found"] += 1
            return
        judge.marks["sync failed"] += 1
        time = self._runtime.time
        time.at(time.now_ns + RESTART_NS, partial(self.start, number))

    def kill(self, node: int, why: str, *, power_cut: bool = False) -> None:
        """See ``Fleet``."""
        machine = self.machines[node]
        life, machine.life = machine.life, None
        if life is None:
            return
        life.alive = False
        machine.disk = life.disk.crash(power_cut=power_cut)
        self.network.kill(node, silent=power_cut)
        self._judge.died(node)
        self._judge.write(node, Kind.STOPPED, why)
        life.scope.cancel()
        unshield(life.scope)  # the dead have no time to clean up
        self.resume(node)

    def pause(self, node: int) -> None:
        """See ``Fleet``: with its threads; its kernel goes on."""
        if not self._runtime.processes.is_paused(node):
            self._runtime.processes.pause(node)
            self.machines[node].disk.pace.stall()

    def resume(self, node: int) -> None:
        """See ``Fleet``."""
        if self._runtime.processes.is_paused(node):
            self.machines[node].disk.pace.unstall()
            self._runtime.processes.thaw(node)

    def replace_disk(self, node: int) -> None:
        """See ``Fleet``."""
        machine = self.machines[node]
        machine.disk = Device(self._runtime.random(f"disk {node} after {machine.lives}"))


def transport_of(host: Host, *, sockets: bool) -> Transport:
    """How a process speaks: WebSockets in all their bytes, or whole frames."""
    return WebSocketTransport(host) if sockets else FrameTransport(host)
