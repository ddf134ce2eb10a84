"""The composition root: the one file that knows every part and wires them into a node.

One nursery holds everything a node does; leaving it ends everything. What happens when:

1. the data directory is opened, and the address bound;
2. the directory says who this node is; a new one is told, once, by the configuration or a seed;
3. log and state are recovered, and the actors start: links, the group and its pulse, open runs;
4. on the way out tasks are cancelled first, then the state is written and the disk let go.
"""

import logging
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Final, Self

import trio
from attrs import Factory, evolve, frozen

from flowactor.actors import Promise
from flowactor.client import Client, connect
from flowactor.client.system import SystemEntropy
from flowactor.cluster.compaction import Compaction
from flowactor.cluster.door import serve_client
from flowactor.cluster.founding import (
    Founding,
    Membership,
    found,
    is_loopback,
    kept_membership,
    membership_facts,
)
from flowactor.cluster.group import GroupActor
from flowactor.cluster.inspection import Inspection
from flowactor.cluster.instance import InstanceActor
from flowactor.cluster.instances import Instances
from flowactor.cluster.links import Links
from flowactor.cluster.liveness import Liveness
from flowactor.cluster.router import Router
from flowactor.cluster.sending import Pace
from flowactor.cluster.steps import StepRunner
from flowactor.cluster.system import SystemClock
from flowactor.cluster.variables import VariableActors
from flowactor.cluster.witness import Witness
from flowactor.errors import ConfigurationError, StorageError, StorageFull
from flowactor.identity import ClusterId, GroupId, NodeId, RunId
from flowactor.limits import (
    ELECTION_TICKS_MAX,
    OWNER_LEASE_SECONDS,
    TICK_SECONDS,
)
from flowactor.machine import TABLES, Machine
from flowactor.machine.state import Variable
from flowactor.observability import Observer, ignore
from flowactor.observability.events import (
    NodeStarted,
    NodeStopped,
    ObservedEvent,
    Recovered,
    StorageFailed,
    describe,
)
from flowactor.ports import Clock, Connection, Disk, Entropy, Transport
from flowactor.raft import Configuration, Raft, RaftConfig
from flowactor.storage import (
    DirectoryDisk,
    LogStore,
    LogWriter,
    StateFiles,
    open_identity,
    read_identity,
    remember,
    remove_leftovers,
)
from flowactor.transport import (
    PEER,
    Hello,
    MemoryNetwork,
    MemoryTransport,
    WebSocketTransport,
    greet,
)
from flowactor.workflow import App

__all__ = ["Node", "NodeConfig", "World", "local_cluster"]

_logger: Final = logging.getLogger("flowactor")

EXECUTION_GROUP: Final = GroupId(1)


@frozen(kw_only=True)
class NodeConfig:
    """Settings of one node.

    Attributes:
        data: directory for everything this node keeps; made if need be.
        listen: ``HOST:PORT`` to bind; port 0 picks a free one (for a cluster of one).
        bootstrap: found a new cluster, of ``peers`` or of this node alone.
        peers: the addresses of all members of a new cluster, the same list on each of them.
        join: seeds of the cluster whose founding list has this node's address.
        advertise: the address others reach this node by, if it is not ``listen``.
        insecure: allow an address that other machines can reach, without encryption.
        owner_lease_seconds: how long a silent node keeps its runs.
        on_event: told what happens inside, synchronously (see ``flowactor.observability``).

    A node whose directory has been used needs none of bootstrap, peers and join.
    """

    data: Path
    listen: str = "127.0.0.1:7400"
    bootstrap: bool = False
    peers: tuple[str, ...] = ()
    join: tuple[str, ...] = ()
    advertise: str | None = None
    insecure: bool = False
    owner_lease_seconds: float = OWNER_LEASE_SECONDS
    on_event: Observer = ignore

    def check(self) -> None:
        """Refuse what cannot work, before anything is touched.

        Raises:
            ConfigurationError: with the setting, and what to do.
        """
        if not self.insecure and not is_loopback(self.listen):
            raise ConfigurationError(
                f"{self.listen} can be reached from other machines, and connections are not "
                "encrypted yet: listen on a loopback address, or accept the risk with --insecure"
            )
        if self.join and (self.bootstrap or self.peers):
            raise ConfigurationError(
                "join an existing cluster, or found one with bootstrap or peers: not both"
            )
        least = ELECTION_TICKS_MAX * TICK_SECONDS
        if not least <= self.owner_lease_seconds < math.inf:
            raise ConfigurationError(
                f"owner_lease_seconds must be finite, and at least {least:g}, which an election"
                f" may take; not {self.owner_lease_seconds}"
            )


@frozen
class World:
    """What a node touches of the world (``flowactor.ports``); the default is the real one.

    Attributes:
        witness: for simulations: sees what consensus and the machine do.
        compaction, pace: for simulations: limits that a short run meets.
        strict: for simulations: calls of workflow code to clocks, chance and files of this process
            are refused with their line. Slow.
    """

    clock: Clock = Factory(SystemClock)
    entropy: Entropy = Factory(SystemEntropy)
    transport: Transport = Factory(WebSocketTransport)
    disk: Callable[[Path], Disk] = DirectoryDisk
    witness: Witness | None = None
    compaction: Compaction = Factory(Compaction)
    pace: Pace = Factory(Pace)
    strict: bool = False


class Node:
    """One member of a cluster, embedded in this process.

    ``async with Node(app, config) as node`` serves until the block is left; ``node.client`` talks
    to the cluster through it. A failure of the node leaves the block as one ``FlowactorError``.

    Raises (on entering):
        ConfigurationError: settings, an address in use.
        StorageError: the data directory cannot be used.
        WorldError: no seed could be reached.
    """

    def __init__(self, app: App, config: NodeConfig, world: World | None = None) -> None:
        config.check()
        self.app: Final = app
        self.config: Final = config
        self._world: Final = world or World(transport=WebSocketTransport(observe=self._observe))
        self._stack: Final = AsyncExitStack()
        self._incarnation: Final = self._world.entropy.token_hex(8)
        self._ready: Final[Promise[tuple[Links, Router]]] = Promise()
        self._failure: Final[Promise[None]] = Promise()

    async def __aenter__(self) -> Self:
        with _unwrapped():
            await self._stack.enter_async_context(self._live())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        with _unwrapped():
            return await self._stack.__aexit__(kind, error, traceback)

    # These exist once the node is entered.
    address: str
    membership: Membership
    client: Client
    group: GroupActor
    instances: Instances

    @property
    def node_id(self) -> NodeId:
        return self.membership.node

    @property
    def cluster_id(self) -> ClusterId:
        return self.membership.cluster

    # -- life -------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _live(self) -> AsyncIterator[None]:
        disk = self._world.disk(self.config.data)
        with ExitStack() as closing:
            closing.callback(disk.close)
            async with trio.open_nursery() as nursery:
                self.address = await nursery.start(
                    self._world.transport.serve, self.config.listen, self._welcome
                )
                self.membership = await self._decide_membership(disk)
                self._founding = Founding(self.membership, partial(self._founded, disk))
                self._assemble(nursery, disk, closing)
                nursery.start_soon(self._failure.wait, name="failure of the node")
                self._observe(NodeStarted(self.node_id, self.cluster_id, self.address))
                yield
                nursery.cancel_scope.cancel()
            # Only after a clean end: a machine that broke an invariant must not reach the disk.
            self.group.hand_over_rows()
        self._observe(NodeStopped(self.node_id))

    async def _decide_membership(self, disk: Disk) -> Membership:
        """Who this node is: as its directory says, or by founding or joining, once."""
        own = self.config.advertise or self.address
        kept = read_identity(disk)
        if kept is not None:
            membership = kept_membership(kept, disk.describe())
            self._check_peers(disk, membership)
            return self._at_address(disk, membership, own)
        disk_id = self._world.entropy.token_hex(8)
        if self.config.join:
            membership = await self._ask_seeds(own, disk_id)
        elif self.config.bootstrap or self.config.peers:
            membership = found(own, self.config.peers, disk_id)
        else:
            raise ConfigurationError(
                f"{disk.describe()} is new: found a cluster, of all its members with peers"
                " (--peers) or of this node alone with bootstrap (--bootstrap), or name nodes of"
                " the one it belongs to with join (--join)"
            )
        now_ns, facts = self._world.clock.now_ns(), membership_facts(membership)
        open_identity(disk, membership.cluster, membership.node, now_ns, facts)
        return membership

    def _founded(self, disk: Disk, disks: Mapping[NodeId, str]) -> None:
        self.membership = evolve(self.membership, disks=dict(disks))
        remember(disk, membership_facts(self.membership))

    def _check_peers(self, disk: Disk, membership: Membership) -> None:
        members = membership.addresses.values()
        if self.config.peers and sorted(self.config.peers) != sorted(members):
            raise ConfigurationError(
                f"{disk.describe()} was founded with the peers {', '.join(members)}, but those"
                f" given are {', '.join(self.config.peers)}: members cannot be changed yet, leave"
                " peers away or name the same"
            )

    def _at_address(self, disk: Disk, membership: Membership, own: str) -> Membership:
        known = membership.addresses[membership.node]
        if known == own:
            return membership
        if len(membership.addresses) == 1:
            # Nobody else has to find a cluster of one, so it may move.
            moved = evolve(membership, addresses={membership.node: own})
            remember(disk, membership_facts(moved))
            return moved
        raise ConfigurationError(
            f"{disk.describe()} is of node {membership.node}, which its peers reach at {known}, "
            f"not {own}: listen on (or advertise) {known}"
        )

    async def _ask_seeds(self, own: str, disk_id: str) -> Membership:
        seeds = ",".join(self.config.join)
        async with connect(
            seeds, transport=self._world.transport, entropy=self._world.entropy
        ) as client:
            view = await client.status()
        addresses = {node.node: node.address for node in view.nodes}
        mine = [node for node, address in addresses.items() if address == own]
        if not mine:
            raise ConfigurationError(
                f"the cluster of {seeds} was founded by {', '.join(addresses.values())}, and {own} "
                "is not among them: members cannot be added yet, found it with all its --peers"
            )
        return Membership(ClusterId(view.cluster), mine[0], addresses, disk_id)

    def _assemble(self, nursery: trio.Nursery, disk: Disk, closing: ExitStack) -> None:
        """Recover from disk, wire all parts together, start their tasks."""
        world, membership, node = self._world, self.membership, self.membership.node
        writer, states, machine, core = self._recover(disk, closing)
        links = Links(
            node=node,
            hello=self._hello,
            transport=world.transport,
            random=Random(world.entropy.seed()),
            # These lambdas name what is defined further down: the parts know each other.
            receive=lambda sender, envelope: group.receive(sender, envelope),  # noqa: PLW0108
            refusal=self._founding.meet,
            observer=self._observe,
        )
        group = GroupActor(
            EXECUTION_GROUP,
            core=core,
            machine=machine,
            states=states,
            restore=partial(Machine, membership.voters),
            log=writer,
            send=links.send,
            clock=world.clock,
            on_notices=lambda notices: instances.notify(notices),  # noqa: PLW0108
            on_tick=lambda: _each(liveness.tick, instances.tick, writer.retry),
            on_leader=lambda: _each(liveness.leader_changed, instances.repair),
            on_restored=lambda before: instances.start_over(before),  # noqa: PLW0108
            on_failure=self._fail,
            observer=self._observe,
            compaction=world.compaction,
            pace=world.pace,
            witness=world.witness,
        )
        liveness = Liveness(
            group,
            node=node,
            disk=membership.disk,
            incarnation=self._incarnation,
            workflows=self.app.registered,
            lease_seconds=self.config.owner_lease_seconds,
            clock=world.clock,
        )
        variables = VariableActors(nursery, self._variable)
        instances = self._run_instances(nursery, group, variables)
        inspection = Inspection(
            cluster=membership.cluster,
            node=node,
            version=version("flowactor"),
            addresses=membership.addresses,
            group=group,
            instances=instances,
            links=links,
            states=states,
        )
        router = Router(
            node=node,
            app=self.app,
            group=group,
            instances=instances,
            variables=variables,
            inspection=inspection,
            liveness=liveness,
            peers=links,
        )
        self.group, self.instances = group, instances
        self.client = Client(router, entropy=world.entropy)
        instances.open_all()
        nursery.start_soon(self._take_part, nursery, name="founding")
        links.know(membership.addresses)
        links.open(nursery, router.request)
        self._ready.set((links, router))

    async def _take_part(self, nursery: trio.Nursery) -> None:
        """Start the group, once the cluster is founded."""
        await self._founding.done.wait()
        group = self.group
        nursery.start_soon(group.run, name=group.name)
        nursery.start_soon(group.pulse, name=f"{group.name} pulse")

    def _variable(self, name: str) -> Variable:
        return self.group.machine.variable(name)

    def _run_instances(
        self, nursery: trio.Nursery, group: GroupActor, variables: VariableActors
    ) -> Instances:
        """The actors of open runs: each is made from the definition its run was started with."""
        steps = StepRunner(group.clock.now_ns, self._observe)

        def make_instance(run_id: RunId) -> InstanceActor:
            run = group.machine.runs[run_id]
            return InstanceActor(
                run_id,
                node=self.node_id,
                incarnation=self._incarnation,
                group=group,
                definition=self.app.find(run.workflow_type, run.version),
                steps=steps,
                clock=self._world.clock,
                observer=self._observe,
                strict=self._world.strict,
            )

        return Instances(
            nursery,
            node=self.node_id,
            group=group,
            make=make_instance,
            variables=variables,
            observer=self._observe,
        )

    def _recover(
        self, disk: Disk, closing: ExitStack
    ) -> tuple[LogWriter, StateFiles, Machine, Raft]:
        """Open log and state; what a crash left is made whole here."""
        node, voters = self.membership.node, self.membership.voters
        worker = disk.worker(f"node {node} log")
        store = LogStore.open(disk)
        writer = LogWriter(store, worker, self._world.clock, self._fail)
        closing.callback(writer.close)
        if EXECUTION_GROUP not in store.groups():
            store.found(EXECUTION_GROUP, Configuration(voters))
        remove_leftovers(disk, store.generations())
        state_worker = disk.worker(f"node {node} state")
        states = StateFiles(
            disk,
            EXECUTION_GROUP,
            TABLES,
            state_worker,
            on_failure=self._fail,
            generation=store.generation(EXECUTION_GROUP),
        )
        closing.callback(states.close)
        closing.callback(state_worker.close)
        closing.callback(states.stop)
        state = states.current
        machine = Machine(voters, state)
        cache_bytes_max = self._world.compaction.cache_bytes_max
        restored = store.recover(EXECUTION_GROUP, state.applied_index, cache_bytes_max)
        config = RaftConfig(node, cache_bytes_max=cache_bytes_max)
        core = Raft(config, restored, self._world.entropy.seed())
        if self._world.witness is not None:
            self._world.witness.recovered(core, restored, machine)
        last_index = restored.previous_index + len(restored.entries)
        if last_index:
            self._observe(
                Recovered(EXECUTION_GROUP, state.applied_index, last_index, len(machine.runs))
            )
        return writer, states, machine, core

    def _fail(self, error: StorageError) -> None:
        """Storage cannot be trusted, or is full: say so; the former ends the node."""
        self._observe(StorageFailed(str(error)))
        if not isinstance(error, StorageFull):
            self._failure.fail(error)

    # -- connections ------------------------------------------------------------------------------

    def _hello(self) -> Hello:
        return Hello(
            cluster=self.membership.cluster,
            node=self.membership.node,
            role=PEER,
            incarnation=self._incarnation,
            challenge=self._world.entropy.token_hex(8),
            disk=self.membership.disk,
            founding=self._founding.digest,
        )

    async def _welcome(self, connection: Connection) -> None:
        """Serve one inbound connection: a peer's link, or a client."""
        links, router = await self._ready.wait()

        def accept(theirs: Hello) -> str | None:
            if theirs.role == PEER and not links.expects(theirs.node):
                return f"node {theirs.node} is no member that dials node {self.node_id}"
            return links.refusal(theirs) if theirs.role == PEER else None

        theirs = await greet(connection, self._hello(), accept)
        if theirs.role == PEER:
            await links.adopt(NodeId(theirs.node), connection, router.request)
        else:
            await serve_client(connection, router.request, self._observe)

    def _observe(self, event: ObservedEvent) -> None:
        try:
            self.config.on_event(event)
        except Exception:
            # It is called in the midst of everything: what it raises must not end what it watches.
            _logger.exception("on_event failed on %s", describe(event))


def _each(*actions: Callable[[], None]) -> None:
    for action in actions:
        action()


@contextmanager
def _unwrapped() -> Iterator[None]:
    """Raise what alone went wrong, not the groups that nurseries wrapped it in."""
    try:
        yield
    except BaseExceptionGroup as group:
        only: BaseException = group
        while isinstance(only, BaseExceptionGroup) and len(only.exceptions) == 1:
            only = only.exceptions[0]
        if isinstance(only, BaseExceptionGroup):
            raise
        raise only from only.__cause__


@asynccontextmanager
async def local_cluster(
    app: App, *, data: Path, size: int = 3, on_event: Observer = ignore
) -> AsyncIterator[list[Node]]:
    """``size`` nodes in this process, over in-memory links, with real files below ``data``.

    For tests and for trying things out; leaving the block stops all of them. Entered again with the
    same ``data``, they go on where they were.
    """
    network = MemoryNetwork()
    addresses = tuple(f"memory:{number}" for number in range(1, size + 1))
    async with AsyncExitStack() as stack:
        nodes = []
        for address in addresses:
            config = NodeConfig(
                data=data / address.replace(":", "-"),
                listen=address,
                peers=addresses,
                bootstrap=True,
                insecure=True,  # there is no wire
                on_event=on_event,
            )
            world = World(transport=MemoryTransport(network, address))
            nodes.append(await stack.enter_async_context(Node(app, config, world)))
        yield nodes
