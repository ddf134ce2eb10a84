"""The composition root: the one file that knows every part and wires them into a node.

One nursery holds everything a node does; leaving it ends everything. What happens when:

1. the data directory is opened, and the address bound;
2. the directory says who this node is; a new one is told, once, by the configuration or a seed;
3. log and state are recovered, and the actors start: links, the group and its pulse, open runs;
4. on the way out other nodes get what is this one's, as far as they can; then tasks are cancelled,
   the state is written and the disk let go.
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
from typing import Any, Final, Self

import trio
from attrs import Factory, evolve, frozen

from flowactor.actors import Promise
from flowactor.client import Client, connect
from flowactor.client.system import SystemEntropy
from flowactor.cluster.founding import (
    Founding,
    Membership,
    check_peers,
    found,
    is_loopback,
    kept_membership,
    membership_facts,
)
from flowactor.cluster.group.actor import ExecutionGroup, GroupActor, ManagementGroup
from flowactor.cluster.group.compaction import Compaction
from flowactor.cluster.group.hosting import Ground, Hosting, Replica
from flowactor.cluster.group.sending import Pace
from flowactor.cluster.group.witness import Watch, nobody
from flowactor.cluster.leaving import hand_over
from flowactor.cluster.links import Links
from flowactor.cluster.lookout import look_out
from flowactor.cluster.overview import Overview
from flowactor.cluster.protocol.views import ClusterView
from flowactor.cluster.reception import Reception
from flowactor.cluster.router import FIRST_GROUP, Router
from flowactor.cluster.runs.execution import Execution
from flowactor.cluster.runs.instances import Instances
from flowactor.cluster.runs.moving import Movers
from flowactor.cluster.runs.service import GroupService
from flowactor.cluster.steward import FEATURE_LEVEL, Steward
from flowactor.cluster.system import SystemClock
from flowactor.cluster.vigil import Vigil, quiet_ticks
from flowactor.errors import ConfigurationError, Refused, StorageError, StorageFull
from flowactor.identity import ClusterId, GroupId, NodeId
from flowactor.limits import (
    ELECTION_TICKS_MAX,
    OWNER_LEASE_SECONDS,
    RESEND_SECONDS,
    TICK_SECONDS,
)
from flowactor.management import MANAGEMENT_GROUP, NodeState, Topology
from flowactor.management.operations import AdmitNode
from flowactor.management.replies import Admitted
from flowactor.observability import Observer, ignore
from flowactor.observability.events import (
    JoinIgnored,
    NodeStarted,
    NodeStopped,
    ObservedEvent,
    StorageFailed,
    describe,
)
from flowactor.ports import Clock, Connection, Disk, Entropy, Transport
from flowactor.raft import RaftConfig
from flowactor.storage import (
    DirectoryDisk,
    open_identity,
    read_identity,
    remember,
)
from flowactor.transport import (
    PEER,
    Hello,
    WebSocketTransport,
)
from flowactor.workflow import App

__all__ = ["Node", "NodeConfig", "World"]

_logger: Final = logging.getLogger("flowactor")


@frozen(kw_only=True)
class NodeConfig:
    """Settings of one node.

    Attributes:
        data: directory for everything this node keeps; made if need be.
        listen: ``HOST:PORT`` to bind; port 0 picks a free one (for a cluster of one).
        bootstrap: found a new cluster, of ``peers`` or of this node alone.
        peers: the addresses of all members of a new cluster, the same list on each of them.
        join: nodes of a cluster, one or more, through any of which this one is let in as a new
            node.
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
        watch: for simulations: who sees what consensus and the machine of a group do.
        compaction, pace, raft: for simulations: limits that a short run meets; the pace may change.
    """

    clock: Clock = Factory(SystemClock)
    entropy: Entropy = Factory(SystemEntropy)
    transport: Transport = Factory(WebSocketTransport)
    disk: Callable[[Path], Disk] = DirectoryDisk
    watch: Watch = nobody
    compaction: Compaction = Factory(Compaction)
    pace: Callable[[], Pace] = Pace
    raft: Callable[..., RaftConfig] = RaftConfig


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
        self._ready: Final[Promise[Reception]] = Promise()
        self._known: Final[Promise[None]] = Promise()
        self._executions: Final[dict[GroupId, Execution]] = {}
        self._failure: Final[Promise[None]] = Promise()
        self.gone: NodeState | None = None
        """In which way this node was taken out of the cluster, once it knows that it was."""

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
    steward: Steward
    _hosting: Hosting

    @property
    def node_id(self) -> NodeId:
        return self.membership.node

    @property
    def cluster_id(self) -> ClusterId:
        return self.membership.cluster

    @property
    def group(self) -> ExecutionGroup:
        """The first execution group, if it has a replica here."""
        return self._hosting.groups[FIRST_GROUP]

    @property
    def groups(self) -> Mapping[GroupId, ExecutionGroup]:
        """The execution groups that have a replica here."""
        return self._hosting.groups

    @property
    def instances(self) -> Instances:
        """The runs of that group."""
        return self._executions[FIRST_GROUP].instances

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
                await hand_over(
                    self.node_id,
                    [
                        (group, self._executions[key].incarnation)
                        for key, group in self._hosting.groups.items()
                    ],
                    self._hosting.management,
                    self._links.connected,
                )
                nursery.cancel_scope.cancel()
            # Only after a clean end: a machine that broke an invariant must not reach the disk.
            self._hosting.hand_over_rows()
        self._observe(NodeStopped(self.node_id))

    async def _decide_membership(self, disk: Disk) -> Membership:
        """Who this node is: as its directory says, or by founding or joining, once."""
        own = self.config.advertise or self.address
        kept = read_identity(disk)
        if kept is not None:
            membership = kept_membership(kept, disk.describe())
            if membership.node not in membership.addresses:
                raise Refused(
                    f"{disk.describe()} was node {membership.node}, which was taken out of the"
                    " cluster for good: start with an empty directory, and have that join"
                )
            check_peers(membership, self.config.peers, disk.describe())
            if self.config.join and not {*self.config.join} & {*membership.addresses.values()}:
                self._observe(JoinIgnored(membership.node, membership.cluster, self.config.join))
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
        """Be admitted to a cluster that is there; the id is this directory's for ever."""
        seeds = ",".join(self.config.join)
        async with connect(
            seeds, transport=self._world.transport, entropy=self._world.entropy
        ) as client:
            admitted = await client.manage(AdmitNode(disk_id, own, FEATURE_LEVEL))
            assert isinstance(admitted, Admitted)
            view = await client.status()
        # Another seed may have told about the cluster, which has not heard of this node yet.
        addresses = {node.node: node.address for node in view.nodes} | {admitted.node: own}
        disks = {node.node: node.disk for node in view.nodes if node.disk}
        disks[admitted.node] = disk_id
        return Membership(ClusterId(view.cluster), admitted.node, disk_id, addresses, disks=disks)

    def _assemble(self, nursery: trio.Nursery, disk: Disk, closing: ExitStack) -> None:
        """Recover from disk, wire all parts together, start their tasks."""
        world, membership, node = self._world, self.membership, self.membership.node
        vigil = Vigil(world.clock, lambda: hosting.relied_on(), self._stir)  # noqa: PLW0108
        links = self._links = Links(
            node=node,
            hello=self._hello,
            transport=world.transport,
            random=Random(world.entropy.seed()),
            # These lambdas name what is defined further down: the parts know each other.
            receive=lambda sender, envelope: hosting.receive(sender, envelope),  # noqa: PLW0108
            vigil=vigil,
            refusal=self._founding.meet,
            greeted=self._founding.greeted,
            gone=partial(self._taken_out, disk),
            observer=self._observe,
        )
        ground = self._ground(disk, links, vigil)
        hosting = self._hosting = Hosting(ground, self._settle, nursery)
        closing.callback(hosting.shut)
        hosting.recover(membership.founders)
        steward = self.steward = Steward(
            node=node,
            disk=membership.disk,
            address=membership.addresses[node],
            incarnation=self._incarnation,
            founders=self._founders,
            management=hosting.management,
            replicas=hosting,
            movers=Movers(
                node=node,
                tasks=nursery,
                groups=lambda: hosting.groups,
                members=lambda group: _members(steward.topology, group),
                links=links,
            ),
            connected=links.connected,
            learned=partial(self._learned, disk),
            lease_seconds=self.config.owner_lease_seconds,
            clock=world.clock,
        )
        wires = hosting.replicas[MANAGEMENT_GROUP].wires
        wires.notices = lambda _: steward.applied()
        wires.restored = lambda _: steward.applied()
        wires.leader = steward.leader_changed
        router = self._route(steward, links, hosting)
        self.client = Client(router, entropy=world.entropy)
        self._learned(disk, steward.topology)
        links.know(self.membership.addresses)
        links.open(nursery, router.request)
        nursery.start_soon(self._take_part, name="founding")
        nursery.start_soon(
            look_out,
            world.clock,
            links,
            lambda: self.membership.addresses,
            lambda: self._is_led(hosting.management),
            self._told,
            name="lookout",
        )
        self._ready.set(
            Reception(
                hello=self._hello,
                links=links,
                topology=lambda: steward.topology,
                serve=router.request,
                observer=self._observe,
            )
        )

    def _ground(self, disk: Disk, links: Links, vigil: Vigil) -> Ground:
        world = self._world
        return Ground(
            node=self.node_id,
            disk=disk,
            clock=world.clock,
            entropy=world.entropy,
            send=links.send,
            failed=self._fail,
            observer=self._observe,
            watch=world.watch,
            compaction=world.compaction,
            pace=world.pace,
            raft=world.raft,
            is_alive=vigil.is_alive,
            ticked=self._ticked,
            moved=lambda group: self.steward.ticked(group),  # noqa: PLW0108
            is_busy=lambda group: self.steward.is_busy(group),  # noqa: PLW0108
            quiet_ticks=quiet_ticks(self.config.owner_lease_seconds),
        )

    def _route(self, steward: Steward, links: Links, hosting: Hosting) -> Router:
        return Router(
            node=self.node_id,
            topology=lambda: steward.topology,
            founded=self._known,
            management=hosting.management,
            services=self._services,
            overview=Overview(
                cluster=self.cluster_id,
                node=self.node_id,
                version=version("flowactor"),
                nodes=lambda: (self.membership.addresses, self.membership.disks),
                connected=links.connected,
                groups=lambda: {key: replica.group for key, replica in hosting.replicas.items()},
            ),
            peers=links,
            reach=links.reach,
        )

    def _settle(self, replica: Replica) -> None:
        """An execution group has a replica here."""
        world = self._world
        self._executions[replica.group.group] = Execution(
            replica,
            app=self.app,
            node=self.node_id,
            disk=self.membership.disk,
            incarnation=world.entropy.token_hex(8),
            peers=self._links,
            lease_seconds=self.config.owner_lease_seconds,
            clock=world.clock,
            observer=self._observe,
        )

    def _is_led(self, management: ManagementGroup) -> bool:
        """Whether somebody leads the cluster, and is heard. A learner holds no elections, and takes
        whom it heard last for its leader however long ago that was.
        """
        status = management.progress()
        silent_seconds = status.leader_ticks_silent * TICK_SECONDS
        is_heard = silent_seconds < self.config.owner_lease_seconds
        return management.is_leader or bool(status.leader and is_heard)

    def _ticked(self, group: GroupActor[Any]) -> None:
        """A group here has ticked."""
        self.steward.ticked(group)
        self._hosting.writer.retry()

    def _stir(self, node: NodeId, silent_ticks: int) -> None:
        """A node is gone, or is back."""
        self._hosting.stir(node, silent_ticks)
        self.steward.stir()

    def _services(self) -> dict[GroupId, GroupService]:
        return {group: self._executions[group].service for group in self._hosting.groups}

    # -- the cluster ------------------------------------------------------------------------------

    async def _take_part(self) -> None:
        """Let all groups begin, once the cluster is founded: tried again if a disk was full."""
        while not self._founding.done.done:
            with trio.move_on_after(RESEND_SECONDS):
                await self._founding.done.wait()
            self._founding.look()
        self._hosting.start()

    def _founded(self, disk: Disk, disks: Mapping[NodeId, str]) -> bool:
        """These are the directories of the founders; whether that is durable."""
        membership = evolve(self.membership, disks=dict(disks))
        if kept := self._keep(disk, membership):
            self.membership = membership
        return kept

    def _keep(self, disk: Disk, membership: Membership) -> bool:
        """For the next life; False if there is no space, or a disk not to be trusted any more."""
        try:
            remember(disk, membership_facts(membership))
        except StorageError as error:
            self._fail(error)
            return False
        return True

    def _told(self, view: ClusterView) -> None:
        """Another node says whom it knows."""
        addresses = {node.node: node.address for node in view.nodes}
        self._links.know({**addresses, **self.membership.addresses})
        self._founding.told(view.node, {node.node: node.disk for node in view.nodes if node.disk})

    def _founders(self) -> tuple[tuple[NodeId, str, str], ...]:
        """Those that found the cluster with this node: id, data directory, address."""
        membership = self.membership
        if not self._founding.done.done or not membership.disks.keys() >= {*membership.founders}:
            return ()
        return tuple(
            (node, membership.disks[node], membership.addresses[node])
            for node in membership.founders
        )

    def _learned(self, disk: Disk, topology: Topology) -> None:
        """The cluster, as it is applied here, has these nodes and groups."""
        nodes = [node for node in topology.nodes_in_order() if not node.state.is_gone]
        if self.node_id not in topology.nodes:
            return  # it is as of a time before this node was let in, who knows more from its seed
        if topology.groups:
            self._known.set(None)
        own = topology.nodes.get(self.node_id)
        if own is not None and own.state.is_gone:
            self._taken_out(disk, own.state.value)
        addresses = {node.id: node.address for node in nodes}
        disks = {node.id: node.disk for node in nodes}
        learned = evolve(self.membership, addresses=addresses, disks=disks)
        if learned != self.membership:
            self._founding.learn(disks)
            self._links.know(addresses)
            if self._keep(disk, learned):  # if not, with the next entry
                self.membership = learned

    def _taken_out(self, disk: Disk, how: str) -> None:
        """This node is none of the cluster's any more: it ends, and its directory keeps that."""
        self.gone = next((state for state in NodeState if state.value == how), NodeState.REMOVED)
        others = {**self.membership.addresses}
        others.pop(self.node_id, None)
        self._keep(disk, evolve(self.membership, addresses=others))
        self._failure.fail(
            Refused(f"node {self.node_id} was taken out of the cluster: it is {how}")
        )

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
        """Serve one inbound connection, once this node knows who it is."""
        reception = await self._ready.wait()
        await reception.receive(connection)

    def _observe(self, event: ObservedEvent) -> None:
        try:
            self.config.on_event(event)
        except Exception:
            # It is called in the midst of everything: what it raises must not end what it watches.
            _logger.exception("on_event failed on %s", describe(event))


def _members(topology: Topology, group: GroupId) -> tuple[NodeId, ...]:
    known = topology.groups.get(group)
    return () if known is None else known.members


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
