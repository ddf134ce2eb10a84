"""A cluster of whole nodes: machines with clocks, disks and a network, and the lives on them.

A crash is not a cancellation. First everything is taken away from the process, in one instant: its
disk becomes a copy that nobody will see, its connections break, its witness looks away. Only then
are its tasks cancelled, and whatever they still do on their way out reaches nothing.
"""

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import trio

from flowactor.cluster.group import GroupActor
from flowactor.errors import StorageCorrupt, StorageError
from flowactor.limits import NANOSECONDS
from flowactor.node import Node, NodeConfig
from flowactor.node import World as Surroundings
from flowactor.ports import Transport
from flowactor.simulation.checks.judge import Judge
from flowactor.simulation.disk import Device, SimulatedDisk
from flowactor.simulation.faults import (
    BitFlip,
    ClockDrift,
    ClockJump,
    ClockOffset,
    Crash,
    DiskFull,
    DiskSlow,
    DiskStall,
    Fault,
    MisdirectedWrite,
    Pause,
    PowerCut,
    SyncError,
    Wipe,
)
from flowactor.simulation.network import FrameTransport, Host, Network, address_of
from flowactor.simulation.nodes.life import Life, LifePlace, LifeWitness, Messages
from flowactor.simulation.runtime import NodeClock, Runtime, SeededEntropy
from flowactor.simulation.runtime.scheduling import unshield
from flowactor.simulation.trace import Kind
from flowactor.simulation.world import World, at_place
from flowactor.transport import WebSocketTransport
from flowactor.workflow import App

__all__ = ["Cluster", "Machine", "transport_of"]

RESTART_NS: Final = NANOSECONDS
"""A supervisor of processes starts one again that ended by itself."""

_DiskFault = DiskSlow | DiskStall | DiskFull | SyncError | BitFlip | MisdirectedWrite


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
        self.device = Device(runtime.random(f"disk {number}"))
        self.life: Life | None = None
        self.lives = 0
        self.lost = False
        self.held = 0


class Cluster:
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
        healed: the nodes that have to work when the faults are over.
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
        self._runtime: Final = runtime
        self._app: Final = app
        self._judge: Final = judge
        self._world: Final = world
        self._sockets: Final = sockets
        self._nursery: Final = nursery
        self._messages: Final = Messages(judge)
        self.network: Final = Network(runtime.time, runtime.random("network"), nodes=nodes)
        self.machines: Final[Mapping[int, Machine]] = {
            number: Machine(number, runtime) for number in range(1, nodes + 1)
        }
        self.addresses: Final = tuple(map(address_of, self.machines))
        self.healed: tuple[int, ...] = tuple(self.machines)

    # -- looking ----------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """See ``healing.Cluster``."""
        return len(self.machines)

    @property
    def sound(self) -> list[int]:
        """See ``healing.Cluster``."""
        return [number for number in self.healed if not self.machines[number].lost]

    def groups(self) -> dict[int, GroupActor]:
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

    def start(self, number: int) -> None:
        """Start the process of a node, unless one runs or something keeps it from starting."""
        machine = self.machines[number]
        if machine.life is not None or machine.held:
            return
        machine.lives += 1
        runtime, name = self._runtime, f"{number}.{machine.lives}"
        where = f"disk of node {number}"
        disk = SimulatedDisk(machine.device, runtime.time, machine.clock, where)
        life = machine.life = Life(number, disk)
        chance = runtime.random(f"bodies {name}")
        place = LifePlace(life, self._world, runtime.time, chance, self._judge.point)
        with runtime.processes.of(number), at_place(place):
            self._nursery.start_soon(self._live, machine, life, name, name=f"node {number}")

    async def _live(self, machine: Machine, life: Life, name: str) -> None:
        number = life.number
        witness = LifeWitness(life, self._judge, self._messages, self._runtime.fail)
        config = NodeConfig(
            data=Path(f"node-{number}"),
            listen=address_of(number),
            peers=self.addresses,
            insecure=True,
            on_event=witness.observed,
        )
        surroundings = Surroundings(
            clock=machine.clock,
            entropy=SeededEntropy(self._runtime.random(f"entropy {name}")),
            transport=transport_of(self.network.host(number), sockets=self._sockets),
            disk=lambda _: life.disk,
            witness=witness,
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

    def kill(self, number: int, why: str, *, power_cut: bool = False) -> None:
        """End the process of a node from one instant to the next."""
        machine = self.machines[number]
        life, machine.life = machine.life, None
        if life is None:
            return
        life.alive = False
        machine.device = life.disk.crash(power_cut=power_cut)
        self.network.kill(number, silent=power_cut)
        self._judge.died(number)
        self._judge.write(number, Kind.STOPPED, why)
        life.scope.cancel()
        unshield(life.scope)  # the dead have no time to clean up
        self.thaw(number)

    def take_down(self, number: int, why: str, *, power_cut: bool = False) -> None:
        """Kill the node, and keep it down until ``restart``."""
        self.machines[number].held += 1
        self.kill(number, why, power_cut=power_cut)

    def restart(self, number: int) -> None:
        """One reason less for the node to be down."""
        self.machines[number].held -= 1
        self.start(number)

    def pause(self, number: int) -> None:
        """Stop the process, with its threads; its kernel goes on."""
        if not self._runtime.processes.is_paused(number):
            self._runtime.processes.pause(number)
            self.machines[number].device.pace.stall()

    def heal(self, nodes: Collection[int]) -> None:
        """See ``stage.Cast``: the others stand still."""
        self.healed = tuple(nodes)
        for number in self.machines:
            if number not in nodes:
                self.pause(number)

    def is_up(self, node: int) -> bool:
        """See ``stage.Cast``."""
        return self.machines[node].life is not None

    def thaw(self, number: int) -> None:
        """Let it go on, if it does not."""
        if self._runtime.processes.is_paused(number):
            self.machines[number].device.pace.unstall()
            self._runtime.processes.thaw(number)

    # -- faults -----------------------------------------------------------------------------------

    def begin(self, fault: Fault) -> None:
        """Something goes wrong."""
        match fault:
            case Crash(node=node):
                self.take_down(node, "killed")
            case PowerCut(nodes=nodes):
                for node in nodes:
                    self.take_down(node, "without power", power_cut=True)
            case Wipe(node=node):
                self._wipe(node)
            case Pause(node=node):
                self.pause(node)
            case ClockOffset() | ClockDrift() | ClockJump():
                self.machines[fault.node].clock.begin(fault)
            case (
                DiskSlow() | DiskStall() | DiskFull() | SyncError() | BitFlip() | MisdirectedWrite()
            ):
                _break_disk(self.machines[fault.node].device, fault)
            case _:
                self.network.begin(fault)

    def end(self, fault: Fault) -> None:
        """It is over; what it left behind stays."""
        match fault:
            case Crash(node=node) | Wipe(node=node):
                self.restart(node)
            case PowerCut(nodes=nodes):
                for node in nodes:
                    self.restart(node)
            case Pause(node=node):
                self.thaw(node)
            case ClockOffset() | ClockDrift() | ClockJump():
                self.machines[fault.node].clock.end(fault)
            case (
                DiskSlow() | DiskStall() | DiskFull() | SyncError() | BitFlip() | MisdirectedWrite()
            ):
                _mend_disk(self.machines[fault.node].device, fault)
            case _:
                self.network.end(fault)

    def _wipe(self, number: int) -> None:
        self.take_down(number, "its disk is gone")
        machine = self.machines[number]
        machine.device = Device(self._runtime.random(f"disk {number} after {machine.lives}"))
        machine.lost = True
        self._judge.consensus.lost(number)
        self._judge.marks["wiped disk refused"] += 1


def transport_of(host: Host, *, sockets: bool) -> Transport:
    """How a process speaks: WebSockets in all their bytes, or whole frames."""
    return WebSocketTransport(host) if sockets else FrameTransport(host)


def _break_disk(device: Device, fault: _DiskFault) -> None:
    match fault:
        case DiskSlow(seconds=seconds):
            device.pace.slow(seconds)
        case DiskStall():
            device.pace.stall()
        case DiskFull():
            device.full = True
        case SyncError(lasting=lasting):
            device.failing_syncs = -1 if lasting else 1
        case BitFlip(place=place):
            device.flip_bit(place)
        case MisdirectedWrite(place=place):
            device.misdirect_next_write(place)


def _mend_disk(device: Device, fault: _DiskFault) -> None:
    match fault:
        case DiskSlow():
            device.pace.slow(0.0)
        case DiskStall():
            device.pace.unstall()
        case DiskFull():
            device.full = False
        case SyncError():
            device.failing_syncs = 0
        case BitFlip() | MisdirectedWrite():
            pass  # it has happened
