"""A cluster at core depth: machines with clocks and disks, and the lives of nodes on them."""

from collections.abc import Collection, Mapping
from functools import partial
from random import Random
from typing import Final

from flowactor.cluster.envelopes import GroupEnvelope
from flowactor.cluster.group import GroupActor
from flowactor.identity import NodeId
from flowactor.limits import NANOSECONDS
from flowactor.simulation.checks.judge import Judge
from flowactor.simulation.core.heap import Heap
from flowactor.simulation.core.life import Bodies, Habitat, Life, Machine
from flowactor.simulation.core.network import CoreNetwork
from flowactor.simulation.core.storage import CoreLog
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
from flowactor.simulation.runtime import stream
from flowactor.simulation.trace import Kind
from flowactor.simulation.world import World
from flowactor.workflow import App

__all__ = ["CoreCluster"]

RESTART_NS: Final = NANOSECONDS
"""A supervisor of processes starts one again that ended by itself."""


class CoreCluster:
    """All machines, and what can befall them.

    Args:
        app: the code that every node has.
        nodes: how many.
        seed: decides delays and time-outs.
        heap: virtual time.
        judge: sees it all.
        bodies: where step bodies run.
        world: outside.
    """

    def __init__(
        self,
        app: App,
        nodes: int,
        seed: int,
        heap: Heap,
        judge: Judge,
        bodies: Bodies,
        world: World,
    ) -> None:
        numbers = range(1, nodes + 1)
        self._seed: Final = seed
        self._heap: Final = heap
        self._judge: Final = judge
        self._handled = 0
        self.healed: tuple[int, ...] = ()
        self.network: Final = CoreNetwork(
            numbers, heap, stream(seed, "network"), judge.trace, self._deliver
        )
        self._habitat: Final = Habitat(
            app=app,
            voters=tuple(map(NodeId, numbers)),
            heap=heap,
            judge=judge,
            bodies=bodies,
            world=world,
            send=self.network.send,
            limits=_draw_limits(stream(seed, "limits")),
        )
        self.machines: Final[Mapping[int, Machine]] = {
            node: Machine(node, heap, seed, partial(self._stop_for_disk, node)) for node in numbers
        }

    # -- looking ----------------------------------------------------------------------------------

    @property
    def handled(self) -> int:
        """How many messages all actors have handled so far."""
        return self._handled + sum(life.handled for life in self.lives)

    @property
    def lives(self) -> list[Life]:
        """Of all processes that are there, running or paused; by number."""
        return [machine.life for machine in self.machines.values() if machine.life is not None]

    def is_up(self, node: int) -> bool:
        """See ``stage.Cast``."""
        return self.machines[node].life is not None

    @property
    def size(self) -> int:
        """See ``healing.Cluster``."""
        return len(self.machines)

    @property
    def sound(self) -> list[int]:
        """See ``healing.Cluster``."""
        return [node for node in self.healed if not self.machines[node].lost]

    def groups(self) -> dict[int, GroupActor]:
        """See ``healing.Cluster``."""
        return {int(life.node): life.group for life in self.lives if not life.paused}

    # -- events -----------------------------------------------------------------------------------

    def _deliver(self, sender: int, receiver: int, envelope: GroupEnvelope) -> bool:
        life = self.machines[receiver].life
        if life is not None:
            life.group.receive(NodeId(sender), envelope)
            life.touched = True
        return life is not None

    def settle(self) -> None:
        """Let every node handle what has come to it."""
        for machine in self.machines.values():
            life = machine.life
            if life is not None and life.touched:
                life.settle()

    # -- lives ------------------------------------------------------------------------------------

    def start(self, node: int) -> None:
        """Start the process of a node, unless something keeps it from starting."""
        machine = self.machines[node]
        if machine.life is not None or machine.lost or machine.held:
            return
        if machine.log.damaged:
            machine.lost = True
            self._judge.marks["damage found"] += 1
            self._judge.write(node, Kind.STOPPED, "its log is damaged")
            return
        machine.lives += 1
        chance = stream(self._seed, f"life {node}.{machine.lives}")
        machine.life = Life(node, machine.lives, machine, self._habitat, chance)

    def kill(self, node: int, why: str) -> None:
        """End the process of a node from one instant to the next."""
        machine = self.machines[node]
        life, machine.life = machine.life, None
        if life is None:
            return
        self._handled += life.handled
        self._judge.died(node)
        self._judge.write(node, Kind.STOPPED, why)
        life.die()
        self.network.drop(node)
        busy = machine.log.busy
        if machine.log.crash():
            self._judge.marks["unsynced write survived"] += 1
        else:
            self._judge.marks["torn tail"] += busy
        machine.state.crash()

    def _stop_for_disk(self, node: int) -> None:
        """A sync failed: the process ends, and is started again a little later."""
        self._judge.marks["sync failed"] += 1
        self.kill(node, "a sync failed")
        self._heap.post(self._heap.now_ns + RESTART_NS, self.start, node)

    def restart(self, node: int) -> None:
        """One fault less keeps the node down."""
        self.machines[node].held -= 1
        self.start(node)

    def take_down(self, node: int, why: str) -> None:
        """Kill the node, and keep it down until ``restart``."""
        self.machines[node].held += 1
        self.kill(node, why)

    def heal(self, nodes: Collection[int]) -> None:
        """Make these nodes whole again, and the ways between them; others stay as they are."""
        self.healed = tuple(nodes)
        self.network.heal(nodes)
        for node in nodes:
            machine = self.machines[node]
            machine.held = 0
            machine.log.heal()
            if machine.life is None:
                self.start(node)
            elif machine.life.paused:
                machine.life.resume()

    # -- faults -----------------------------------------------------------------------------------

    def begin(self, fault: Fault) -> None:
        """Something goes wrong."""
        match fault:
            case Crash(node=node):
                self.take_down(node, "killed")
            case PowerCut(nodes=nodes):
                for node in nodes:
                    self.take_down(node, "without power")
            case Wipe(node=node):
                self.take_down(node, "its disk is gone")
                self.machines[node].lost = True
                self._judge.marks["wiped disk refused"] += 1
                self._judge.consensus.lost(node)
            case Pause(node=node):
                if (life := self.machines[node].life) is not None:
                    life.pause()
            case ClockOffset() | ClockDrift() | ClockJump():
                self.machines[fault.node].clock.begin(fault)
            case (
                DiskSlow() | DiskStall() | DiskFull() | SyncError() | BitFlip() | MisdirectedWrite()
            ):
                self._change_disk(self.machines[fault.node].log, fault, 1)
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
                life = self.machines[node].life
                if life is not None and life.paused:
                    life.resume()
            case ClockOffset() | ClockDrift() | ClockJump():
                self.machines[fault.node].clock.end(fault)
            case DiskSlow() | DiskStall() | DiskFull() | SyncError():
                self._change_disk(self.machines[fault.node].log, fault, -1)
            case BitFlip() | MisdirectedWrite():
                pass
            case _:
                self.network.end(fault)

    def _change_disk(
        self,
        log: CoreLog,
        fault: DiskSlow | DiskStall | DiskFull | SyncError | BitFlip | MisdirectedWrite,
        sign: int,
    ) -> None:
        match fault:
            case DiskSlow(seconds=seconds):
                log.slow_seconds += sign * seconds
            case DiskStall():
                log.stalled += sign
                if not log.stalled:
                    log.resume()
            case DiskFull():
                log.full += sign
            case SyncError(lasting=True):
                log.failing += sign
            case SyncError():
                log.fail_once = sign > 0
            case BitFlip() | MisdirectedWrite():
                log.damaged = True


def _draw_limits(chance: Random) -> dict[str, int]:
    """In some runs limits so small that even a short run meets all of them."""
    if chance.random() < 2 / 3:
        return {}
    return {
        "append_bytes_max": chance.choice((200, 2000)),
        "inflight_appends_max": chance.choice((1, 3)),
        "inflight_bytes_max": chance.choice((2000, 6000)),
        "uncommitted_bytes_max": chance.choice((3000, 20_000)),
        "cache_bytes_max": chance.choice((0, 2000)),
    }
