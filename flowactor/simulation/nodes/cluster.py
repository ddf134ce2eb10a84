"""A cluster of whole nodes: machines with clocks, disks and a network, and the lives on them.

A crash is not a cancellation. First everything is taken away from the process, in one instant: its
disk becomes a copy that nobody will see, its connections break, its witness looks away. Only then
are its tasks cancelled, and whatever they still do on their way out reaches nothing.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Final, assert_never

import trio
from attrs import asdict, evolve

from flowactor.cluster.group.actor import ExecutionGroup
from flowactor.errors import StorageCorrupt, StorageError, StoragePoisoned, WorldError
from flowactor.identity import GroupId, NodeId
from flowactor.limits import NANOSECONDS
from flowactor.management import MANAGEMENT_GROUP, NodeState
from flowactor.management.majorities import need_of
from flowactor.node import Node, NodeConfig
from flowactor.node import World as Surroundings
from flowactor.ports import Transport
from flowactor.raft import RaftConfig
from flowactor.simulation.changes import Change, Join, Remove, Replace, Reshape, Restart
from flowactor.simulation.checks.judge import FIRST_GROUP, Judge
from flowactor.simulation.checks.windows import USUAL, Windows
from flowactor.simulation.disk import Device, SimulatedDisk
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.fleet import Fleet
from flowactor.simulation.housekeeping import draw_compaction, draw_pace
from flowactor.simulation.network import FrameTransport, Host, Network, address_of
from flowactor.simulation.nodes.life import Life, LifeObserver, LifePlace, Messages
from flowactor.simulation.nodes.settled import unsettled
from flowactor.simulation.orders import Order
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
        seeds: the machines through which it joins; none on that of a founder.
        is_fresh: its disk is empty, and no process has served with it yet.
    """

    def __init__(self, number: int, runtime: Runtime) -> None:
        self.number: Final = number
        self.clock: Final = NodeClock(runtime.time)
        self.disk = Device(runtime.random(f"disk {number}"))
        self.life: Life | None = None
        self.lives = 0
        self.lost = False
        self.held = 0
        self.seeds: tuple[int, ...] = ()
        self.is_fresh = True


class Cluster(Fleet[Machine]):
    """All machines, and what can befall them. Methods may be called anywhere in the run, but pauses
    only from the agenda.

    Args:
        runtime: the run it is part of.
        app: the code that every node has.
        nodes: how many found it.
        judge: sees it all.
        world: outside.
        sockets: WebSockets in all their bytes, or whole frames.
        nursery: where nodes live.
        joining: how many machines there are beside those of the founders; each begins when a change
            says so.
        windows: the limits of all cores.

    Attributes:
        network: that they are on.
        addresses: of all machines.
        removed: nodes whose removal was acknowledged.
        remove: has a client ask for the removal of a node.
        order: has a client give an order.
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
        joining: int = 0,
        windows: Windows = USUAL,
    ) -> None:
        count = nodes + joining
        self.network: Final = Network(runtime.time, runtime.random("network"), nodes=count)
        machines = {number: Machine(number, runtime) for number in range(1, count + 1)}
        for number in range(nodes + 1, count + 1):
            machines[number].held = 1
        pace = draw_pace(runtime.random("pace"), CHUNK_BYTES)
        super().__init__(machines, self.network, judge, pace)
        self._runtime: Final = runtime
        self._app: Final = app
        self._world: Final = world
        self._sockets: Final = sockets
        self._nursery: Final = nursery
        self._messages: Final = Messages(judge)
        compaction = draw_compaction(runtime.random("compaction"))
        cache_bytes_max = min(windows.cache_bytes_max, compaction.cache_bytes_max)
        self._compaction: Final = evolve(compaction, cache_bytes_max=cache_bytes_max)
        self._raft: Final = partial(RaftConfig, **asdict(windows))
        self._founders: Final = tuple(map(address_of, range(1, nodes + 1)))
        self.addresses: Final = tuple(map(address_of, self.machines))
        self._founded_in_vain = False
        self._late: Final[set[int]] = set()  # founders that may meet a disk the others never did
        self._known_founders: Final = set(range(1, nodes + 1))  # by the disks that they began with
        self.removed: Final[list[NodeId]] = []
        self.remove: Callable[[NodeId], None] = lambda _: None
        self.order: Callable[[Order], None] = lambda _: None

    # -- looking ----------------------------------------------------------------------------------

    def groups(self) -> Mapping[int, ExecutionGroup]:
        """See ``healing.Cluster``."""
        return self.replicas().get(FIRST_GROUP, {})

    def replicas(self) -> Mapping[GroupId, Mapping[int, ExecutionGroup]]:
        """See ``healing.Cluster``: who is lost may believe in groups that ended long ago."""
        found: dict[GroupId, dict[int, ExecutionGroup]] = {}
        for number, node in self.serving().items():
            if self.machines[number].lost:
                continue
            for group, replica in node.groups.items():
                found.setdefault(group, {})[number] = replica
        return {group: found[group] for group in sorted(found)}

    @property
    def awake(self) -> Collection[int]:
        """See ``healing.Cluster``."""
        return self.serving().keys()

    @property
    def sound(self) -> list[int]:
        """See ``healing.Cluster``: those that were taken out have nothing to do any more; nobody
        can be let in where nobody can decide about that, nor in the place of a node that is needed.
        """
        there = [n for n in super().sound if not self._is_out(n) and not self._is_shut_out(n)]
        if self._is_able(MANAGEMENT_GROUP):
            return [number for number in there if not self._is_kept_out(number)]
        return [number for number in there if not self.machines[number].is_fresh]

    def belongs(self, node: int, group: GroupId) -> bool:
        """See ``healing.Cluster``: who has left closes its replica when the management group says
        that it may.
        """
        members = self._judge.of(group).consensus.members.members
        return self._judge.node_of(node) in members or self._is_able(MANAGEMENT_GROUP)

    def is_able(self, group: GroupId) -> bool:
        """See ``healing.Cluster``: who waits for slots waits for those who decide about them, and
        so does a group that has reported nothing yet, for not all its founders may have heard of
        it; to found a cluster takes all founders, with the disks that they began with, and those
        who know different disks of one cannot work together.
        """
        if self._founded_in_vain:
            return False
        topology = self._judge.topology.topology
        if topology is None:
            founders = set(range(1, len(self._founders) + 1))
            return self._is_able(group) and founders <= set(self.sound)
        waits = topology.moves_of(group) or group not in topology.reports
        return self._is_able(group) and (not waits or self._is_able(MANAGEMENT_GROUP))

    def _is_able(self, group: GroupId) -> bool:
        return self._judge.of(group).consensus.is_able(self._sound_nodes())

    def unsettled(self) -> CheckFailed | None:
        """See ``healing.Cluster``."""
        outside = [str(n) for n in self.sound if not self._is_in(n)]
        lingering = [str(n) for n in super().sound if self._is_out(n) and self.is_up(n)]
        if lingering and self._is_able(MANAGEMENT_GROUP):
            return CheckFailed("plan", f"machine {', '.join(lingering)} was taken out, and goes on")
        if outside and self._is_able(MANAGEMENT_GROUP):
            return CheckFailed("plan", f"machine {', '.join(outside)} is no node of the cluster")
        return unsettled(self._judge, self._sound_nodes(), self.removed)

    def _sound_nodes(self) -> list[NodeId]:
        """What is on a fresh disk is not the node that its machine was."""
        return [
            NodeId(self._judge.node_of(number))
            for number in super().sound
            if not (self._is_out(number) or self.machines[number].is_fresh)
            and not self._is_shut_out(number)
        ]

    def _state_of(self, number: int) -> NodeState | None:
        """What the node on this machine is to the cluster; None if it does not know it."""
        topology = self._judge.topology.topology
        node = self._judge.node_of(number)
        known = None if topology is None else topology.nodes.get(NodeId(node))
        return None if known is None else known.state

    def _has_taken_part(self, number: int) -> bool:
        """Whether this founder has voted, and so knows with which disks all of them began."""
        known = self._judge.of(MANAGEMENT_GROUP).consensus.disks.get(self._judge.node_of(number))
        return known is not None and known.hard_state.term > 0

    def _is_shut_out(self, number: int) -> bool:
        """Whether this founder may never take part, though others do: it founded the cluster with a
        disk that they never met; or it cannot meet all, and is told of them by too few.
        """
        if number not in self._known_founders or self._has_taken_part(number):
            return False
        sound = {other for other in super().sound if not self._is_out(other)} - {number}
        others, there = len(self._founders) - 1, self._known_founders & sound
        is_told = 2 * sum(map(self._has_taken_part, there)) > others
        if number in self._late:
            return not is_told or self._has_met_others(number)
        return not (is_told or len(there) == others)

    def _has_met_others(self, number: int) -> bool:
        """Whether this founder holds other disks than those of the cluster for its founders'."""
        node, topology = self.serving().get(number), self._judge.topology.topology
        known = {} if node is None else node.membership.disks
        nodes = {} if topology is None else topology.nodes
        return any(nodes[each].disk != disk for each, disk in known.items() if each in nodes)

    def _is_in(self, number: int) -> bool:
        state = self._state_of(number)
        return state is not None and not state.is_gone

    def _is_out(self, number: int) -> bool:
        """Whether the node on this machine was taken out, and not put in again as another one."""
        state = self._state_of(number)
        return state in (NodeState.LEFT, NodeState.REMOVED) and not self.machines[number].is_fresh

    def _is_kept_out(self, number: int) -> bool:
        """Whether this machine lost its disk, and the node that it was cannot be given up."""
        topology, node = self._judge.topology.topology, NodeId(self._judge.node_of(number))
        return (
            topology is not None
            and self.machines[number].is_fresh
            and self._is_in(number)
            and need_of(topology, node) is not None
        )

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
        if not life.alive:  # killed before its first moment
            life.ended.set()
            return
        observer = LifeObserver(
            life, machine.clock, self._judge, self._messages, self._runtime.fail
        )
        config = NodeConfig(
            data=Path(f"node-{number}"),
            listen=address_of(number),
            peers=() if machine.seeds else self._founders,
            join=tuple(map(address_of, machine.seeds)),
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
            pace=lambda: self.pace,
            raft=self._raft,
        )
        try:
            with life.scope:
                async with Node(self._app, config, surroundings) as life.node:
                    machine.is_fresh = False
                    await life.stopping.wait()
                self._ended(machine, life, "stopped in good order", restart_ns=0)
        except StorageError as error:
            self._failed(machine, life, error)
        except WorldError as error:
            self._turned_away(machine, life, error)
        except Exception as error:  # noqa: BLE001  # of the dead, nothing is of interest
            if life.alive:
                self._runtime.fail(error)
        except BaseExceptionGroup as errors:
            # Its disk failed while the run of the simulation ended: nobody asks any more.
            ended, failed = errors.split(trio.Cancelled)
            if ended is None or failed is None or failed.split(StoragePoisoned)[1]:
                raise
            raise ended from None
        finally:
            life.ended.set()

    def _failed(self, machine: Machine, life: Life, error: StorageError) -> None:
        """The node does not trust its disk."""
        if not life.alive:
            return
        if isinstance(error, StorageCorrupt):
            if not machine.disk.statistics.damaged:
                what = f"machine {life.number} refuses a disk that nothing has damaged: {error}"
                self._runtime.fail(CheckFailed("I29", what))
                return
            machine.lost = True
            self._judge.marks["damage found"] += 1
        else:
            self._judge.marks["sync failed"] += 1
        self._ended(machine, life, str(error), restart_ns=None if machine.lost else RESTART_NS)

    def _turned_away(self, machine: Machine, life: Life, error: WorldError) -> None:
        """The node was taken out of the cluster, or is not let in yet."""
        if not life.alive:
            return
        if self._is_out(machine.number):
            self._judge.marks["removed node stopped"] += 1
            self._judge.marks["removed node told"] += _was_told(life.node)
            self._ended(machine, life, str(error), restart_ns=None)
        elif machine.seeds and life.node is None:
            # Whoever let it in first may be gone for good by now: any other will do.
            others = (number for number in self.machines if number != machine.number)
            machine.seeds = tuple(dict.fromkeys((*machine.seeds, *others)))
            self._ended(machine, life, str(error), restart_ns=RESTART_NS)
        else:
            self._runtime.fail(error)

    def _ended(self, machine: Machine, life: Life, why: str, restart_ns: int | None) -> None:
        """The process is over by itself, and its supervisor starts another so much later."""
        if not life.alive:
            return
        number, time = machine.number, self._runtime.time
        life.alive, machine.life = False, None
        life.disk.close()
        self.network.kill(number)
        self._judge.died(number)
        self._judge.write(number, Kind.STOPPED, why)
        if restart_ns is not None:
            time.at(time.now_ns + restart_ns, partial(self.start, number))

    def take_down(self, node: int, why: str, *, power_cut: bool = False) -> None:
        """See ``Fleet``."""
        machine, state = self.machines[node], self._state_of(node)
        if machine.life is not None:
            joins = machine.seeds and (machine.is_fresh or state is NodeState.JOINING)
            self._judge.marks["node killed while it joined"] += bool(joins)
            self._judge.marks["node killed while it left"] += state is NodeState.LEAVING
        super().take_down(node, why, power_cut=power_cut)

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
        """See ``Fleet``: with its threads; its kernel goes on. What is dead has to end."""
        if self.machines[node].life is not None and not self._runtime.processes.is_paused(node):
            self._runtime.processes.pause(node)
            self._judge.quiet.paused(node)
            self.machines[node].disk.pace.stall()

    def resume(self, node: int) -> None:
        """See ``Fleet``."""
        if self._runtime.processes.is_paused(node):
            self.machines[node].disk.pace.unstall()
            self._runtime.processes.thaw(node)
            self._judge.quiet.resumed(node)

    # -- changes ----------------------------------------------------------------------------------

    def change(self, change: Change) -> None:
        """See ``Fleet``."""
        if isinstance(change, Order):
            self.order(change)
            return
        assert not isinstance(change, Reshape), "refused before the run begins"
        machine = self.machines[change.node]
        match change:
            case Join(node=node, seeds=seeds):
                machine.seeds = seeds
                self.restart(node)
            case Remove(node=node):
                if target := self._judge.node_of(node):
                    self.remove(NodeId(target))
            case Restart(node=node):
                machine.held += 1
                self._stop(node)
            case Replace(node=node, seeds=seeds):
                self.lose_disk(node)
                founded = self._judge.topology.topology is not None
                if founded or machine.seeds:
                    machine.seeds, machine.lost = seeds, False
                else:  # there is nothing to join without it: it is a founder once more
                    machine.lost = True
            case _:
                assert_never(change)

    def change_over(self, change: Change) -> None:
        """See ``Fleet``."""
        if isinstance(change, Restart | Replace):
            self.restart(change.node)

    def _stop(self, node: int) -> None:
        """Ask the process to stop in good order, as by SIGTERM."""
        life = self.machines[node].life
        if life is None:
            return
        if life.node is None:
            self.kill(node, "stopped before it served")
        else:
            life.stopping.set()

    def may_join(self, node: int) -> bool:
        """See ``Fleet``."""
        return bool(self.machines[node].seeds)

    def replace_disk(self, node: int) -> None:
        """See ``Fleet``."""
        machine = self.machines[node]
        machine.is_fresh = True
        machine.disk = Device(self._runtime.random(f"disk {node} after {machine.lives}"))
        if node not in self._known_founders:
            return
        self._known_founders.remove(node)
        if self._judge.topology.topology is None:
            self._founded_in_vain = True
            return
        for number in self._known_founders:  # it may meet the new disk first, unlike the others
            if not self._has_taken_part(number):
                self._late.add(number)


def _was_told(node: Node | None) -> bool:
    """Whether it was another node that said that this one was taken out, and not its own log."""
    if node is None or node.gone is None:
        return False
    known = node.steward.topology.nodes.get(node.node_id)
    return known is None or not known.state.is_gone


def transport_of(host: Host, *, sockets: bool) -> Transport:
    """How a process speaks: WebSockets in all their bytes, or whole frames."""
    return WebSocketTransport(host) if sockets else FrameTransport(host)
