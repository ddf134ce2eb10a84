"""A whole cluster in a made-up world, as a test has it in hand."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import trio
from attrs import evolve

from flowactor.client import Client, WorkflowHandle, connect
from flowactor.errors import ConfigurationError, NotFound
from flowactor.limits import NANOSECONDS
from flowactor.machine import Machine
from flowactor.simulation.checks.judge import Judge
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.faults import (
    DOWN,
    Crash,
    Fault,
    Partition,
    Pause,
    PowerCut,
    check_faults,
    kind_of,
    nodes_of,
    source_of,
)
from flowactor.simulation.network import Network
from flowactor.simulation.nodes import Cluster
from flowactor.simulation.nodes.cluster import transport_of
from flowactor.simulation.runtime import Runtime, SeededEntropy
from flowactor.simulation.timeline.world import FAMILIES
from flowactor.simulation.trace import Kind
from flowactor.simulation.world import World
from flowactor.testing.calendar import Calendar, sleep_until

__all__ = ["SimulatedCluster"]

FIRST_CLIENT: Final = 200
"""The machine of the client of all nodes; that of node 1 alone is on the next."""
PATIENCE_SECONDS: Final = 60.0
"""Of virtual time: there is a leader, and a started node serves, long before that."""
LOOK_SECONDS: Final = 0.05


class SimulatedCluster:
    """Real nodes with real clients, on made-up clocks, links and disks, for the time of one test.

    Made by ``simulate_test`` and by the fixture ``simulated_cluster``. Nodes go by their numbers,
    from 1. What befalls them takes effect at once, and only what says so waits: a crashed node
    does not get to do one more thing.

    Attributes:
        client: asks any node; goes on with another when one is lost.
        world: what steps do to the world outside: ``current_world()`` in a step is the same.
        nodes: their numbers.
        befell: all faults that ever began, in order.
    """

    client: Client

    def __init__(
        self,
        runtime: Runtime,
        nursery: trio.Nursery,
        cluster: Cluster,
        world: World,
        judge: Judge,
        calendar: Calendar,
        *,
        sockets: bool,
    ) -> None:
        self.world: Final = world
        self.nodes: Final = tuple(cluster.machines)
        self.befell: Final[list[Fault]] = []
        self._runtime: Final = runtime
        self._nursery: Final = nursery
        self._cluster: Final = cluster
        self._judge: Final = judge
        self._calendar: Final = calendar
        self._sockets: Final = sockets
        self._clients: Final[dict[int, Client]] = {}
        self._faults: Final[list[Fault]] = []
        self._over = False

    def __repr__(self) -> str:
        return f"<SimulatedCluster of {len(self.nodes)} nodes at {self.now:.3f} s>"

    # -- looking ----------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds of virtual time since the run began."""
        return self._calendar.now_ns / NANOSECONDS

    @property
    def serving(self) -> tuple[int, ...]:
        """The nodes that could answer now."""
        return tuple(self._cluster.serving())

    @property
    def leader(self) -> int:
        """The node that leads, and knows it; 0 if there is none."""
        groups = {number: node.group for number, node in self._cluster.serving().items()}
        leading = [number for number, group in groups.items() if group.is_leader]
        return max(leading, key=lambda number: groups[number].status.term, default=0)

    def owner(self, run: WorkflowHandle[Any] | str) -> int:
        """The node that performs a run, as the node knows that has heard most; 0 if nobody does.

        Args:
            run: a handle, or a workflow id.

        Raises:
            NotFound: no node that serves knows such a run.
        """
        handle = (run, "") if isinstance(run, str) else (run.id, run.run_id)
        found = None if (machine := self._newest()) is None else machine.find(*handle)
        if found is None:
            raise NotFound(f"there is no run {handle[0]}")
        return found.owner

    def _newest(self) -> Machine | None:
        groups = [node.group for node in self._cluster.serving().values()]
        newest = max(groups, key=lambda group: group.applied, default=None)
        return None if newest is None else newest.machine

    # -- time -------------------------------------------------------------------------------------

    async def sleep(
        self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0, days: float = 0.0
    ) -> None:
        """Let time pass. A month costs milliseconds: where the cluster does nothing but wait for
        timers, its clocks leap to the next of them.
        """
        total = seconds + 60 * (minutes + 60 * (hours + 24 * days))
        due_ns = self._calendar.now_ns + round(total * NANOSECONDS)
        await sleep_until(due_ns, self._calendar, self._cluster)

    async def wait_for_leader(self) -> int:
        """Return the leader once there is one.

        Raises:
            CheckFailed: a minute has passed without.
        """
        await self._until(lambda: self.leader > 0, "there is no leader")
        return self.leader

    async def _until(self, come: Callable[[], bool], otherwise: str) -> None:
        await trio.lowlevel.checkpoint()
        end = trio.current_time() + PATIENCE_SECONDS
        while not come():
            if trio.current_time() >= end:
                raise CheckFailed("patience", f"{otherwise} after {PATIENCE_SECONDS:g} s")
            await trio.sleep(LOOK_SECONDS)

    # -- clients ----------------------------------------------------------------------------------

    async def client_of(self, node: int) -> Client:
        """A client that asks this node and no other, over the network, from a machine of its own.

        Raises:
            Unavailable: the node cannot be reached.
        """
        self._check_nodes((node,))
        if node not in self._clients:
            self._clients[node] = await self._connect(FIRST_CLIENT + node, (node,))
        return self._clients[node]

    async def _connect(self, machine: int, nodes: Iterable[int]) -> Client:
        addresses = ",".join(self._cluster.addresses[node - 1] for node in nodes)
        with self._runtime.processes.of(machine):
            client: Client = await self._nursery.start(
                self._keep_client, machine, addresses, name=f"client on machine {machine}"
            )
        return client

    async def _keep_client(
        self, machine: int, addresses: str, task_status: trio.TaskStatus[Client]
    ) -> None:
        network: Network = self._cluster.network
        async with connect(
            addresses,
            transport=transport_of(network.host(machine), sockets=self._sockets),
            entropy=SeededEntropy(self._runtime.random(f"client on machine {machine}")),
        ) as client:
            task_status.started(client)
            await trio.sleep_forever()

    # -- processes --------------------------------------------------------------------------------

    def crash(self, node: int) -> None:
        """Kill the process of a node, as ``kill -9`` does; it stays down until ``restart``.

        Raises:
            ConfigurationError: it is down, or there is no such node.
        """
        self._check_nodes((node,), down=False)
        self._begin(Crash(node, self._moment))

    def power_cut(self, *nodes: int) -> None:
        """Take the power from these machines, or from all: of what they had not synced, each sector
        is there afterwards, or not. They stay down until ``restart``.

        Raises:
            ConfigurationError: one of them is down, or there is no such node.
        """
        struck = nodes or tuple(node for node in self.nodes if not self._holding(node))
        self._check_nodes(struck, down=False)
        for node in struck:  # a fault each, so that they may come back one by one
            self._begin(PowerCut((node,), self._moment))

    async def restart(self, *nodes: int) -> None:
        """Start these nodes again, or all that are down, and return once they serve.

        Raises:
            ConfigurationError: one of them is not down, or there is no such node.
            CheckFailed: it does not serve after a minute.
        """
        started = nodes or tuple(node for node in self.nodes if self._holding(node))
        self._check_nodes(started, down=True)
        for node in started:
            for fault in self._holding(node):
                self._end(fault)
        for node in started:
            await self._until(partial(self._serves, node), f"node {node} does not serve")

    def pause(self, node: int) -> None:
        """Stop the process of a node, as SIGSTOP does, before any more time passes."""
        self._check_nodes((node,))
        self._calendar.at(self._calendar.now_ns, lambda: self._begin(Pause(node, self._moment)))

    def resume(self, node: int) -> None:
        """Let it go on, late for all."""
        self._check_nodes((node,))

        def go_on() -> None:
            for fault in [one for one in self._faults if isinstance(one, Pause)]:
                if fault.node == node:
                    self._end(fault)

        self._calendar.at(self._calendar.now_ns, go_on)

    def _serves(self, node: int) -> bool:
        return node in self._cluster.serving()

    def _holding(self, node: int) -> list[Fault]:
        """What keeps this node down."""
        return [one for one in self._faults if isinstance(one, DOWN) and node in nodes_of(one)]

    # -- network ----------------------------------------------------------------------------------

    def partition(self, *sides: Iterable[int]) -> None:
        """Cut the network: two nodes can talk if they are on one side together, and a node may be
        on several; one that is not named is alone. Clients reach all. Partitions add up.

        Raises:
            ConfigurationError: there is no such node.
        """
        told = tuple(tuple(sorted(side)) for side in sides)
        self._check_nodes({node for side in told for node in side})
        self._begin(Partition(told, self._moment))

    def isolate(self, node: int) -> None:
        """Cut a node off from all others."""
        self._check_nodes((node,))
        self.partition((node,), (other for other in self.nodes if other != node))

    def heal(self) -> None:
        """End all that is wrong with the network. Nodes stay as they are."""
        for fault in [one for one in self._faults if FAMILIES[kind_of(one)] == "network"]:
            self._end(fault)

    # -- schedules --------------------------------------------------------------------------------

    def play(self, *faults: Fault) -> None:
        """Have all these happen, each at its time from now on. One without an end goes on to the
        end of the test. Meanwhile no time is left out.

        Raises:
            ConfigurationError: they cannot be played on this cluster.
        """
        check_faults(faults, len(self.nodes))
        begun = self._calendar.now_ns
        for fault in faults:
            moved = _moved(fault, begun / NANOSECONDS)
            self._calendar.at(_ns(moved.at), partial(self._begin, moved))
            until: float | None = getattr(moved, "until", None)
            if until is not None:
                self._calendar.at(_ns(until), partial(self._end, moved))

    @property
    def _moment(self) -> float:
        return round(self.now, 3)

    def _begin(self, fault: Fault) -> None:
        if self._over:
            return
        self._judge.write(0, Kind.FAULT, kind_of(fault), source_of(fault), 1)
        self._calendar.disturbed()
        self.befell.append(fault)
        self._faults.append(fault)
        self._cluster.begin(fault)

    def _end(self, fault: Fault) -> None:
        if fault in self._faults:
            self._calendar.disturbed()
            self._faults.remove(fault)
            self._judge.write(0, Kind.FAULT, kind_of(fault), source_of(fault), 0)
            self._cluster.end(fault)

    def _check_nodes(self, nodes: Iterable[int], *, down: bool | None = None) -> None:
        for node in nodes:
            if node not in self.nodes:
                raise ConfigurationError(
                    f"there is no node {node}, nodes are 1 to {len(self.nodes)}"
                )
            if down is not None and bool(self._holding(node)) is not down:
                raise ConfigurationError(
                    f"node {node} is down already: restart it first"
                    if not down
                    else f"node {node} is not down: only what was taken down can be restarted"
                )

    # -- its life ---------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Start all nodes and a client; called once, by whoever made it."""
        for node in self.nodes:
            self._cluster.start(node)
        for node in self.nodes:
            await self._until(partial(self._serves, node), f"node {node} does not serve")
        await self.wait_for_leader()
        self.client = await self._connect(FIRST_CLIENT, self.nodes)

    def mend(self) -> None:
        """All that went wrong is over, and nothing more will."""
        for fault in list(self._faults):
            self._end(fault)
        self._over = True

    def close(self) -> None:
        """End all processes."""
        self._over = True
        for node in self.nodes:
            self._cluster.kill(node, "the run is over")


def _moved(fault: Fault, seconds: float) -> Fault:
    """The same, so much later."""
    moved: dict[str, float] = {"at": round(fault.at + seconds, 6)}
    until: float | None = getattr(fault, "until", None)
    if until is not None:
        moved["until"] = round(until + seconds, 6)
    later: Fault = evolve(fault, **moved)  # type: ignore[arg-type]
    return later


def _ns(seconds: float) -> int:
    return round(seconds * NANOSECONDS)
