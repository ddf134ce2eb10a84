"""Who a node is, and who its peers take it for: settings, directories, disks."""

import logging
import shutil

import pytest
import trio

import flowactor as fa
from flowactor.cluster.protocol.requests import Opened, Request, Response
from flowactor.cluster.protocol.views import ClusterView, NodeView
from flowactor.codec import records
from flowactor.errors import ConfigurationError, Refused, Unavailable
from flowactor.identity import NodeId
from flowactor.limits import CONNECT_TIMEOUT_SECONDS
from flowactor.machine.operations import OpenSession
from flowactor.management.operations import AdmitNode
from flowactor.management.replies import Admitted
from flowactor.observability.events import JoinIgnored, LinkDown
from flowactor.transport import PEER, Hello, MemoryNetwork, MemoryTransport, frames, greet
from tests.cluster.harness import cluster


async def test_a_wiped_voter_is_not_let_in_again(tmp_path, autojump_clock):
    """With an empty directory under its old address a node has forgotten its votes: its peers
    refuse it, and an acknowledged write is not lost.
    """
    async with cluster(tmp_path, fa.App([])) as c:
        stays = c.leader()
        wiped, behind = (number for number in c.running if number != stays)
        money = c.client(stays).variable("money", int)
        await money.set(1)
        c.isolate(behind)
        assert await money.set(2) == 2
        c.kill(wiped, stays)
        await c.dead(wiped, stays)
        shutil.rmtree(c.members[wiped].data)
        c.heal()
        await c.start(wiped)
        with pytest.raises(Unavailable):
            await c.client(behind).variable("money", int).read()
        assert c.leader() == 0, "two voters, one of them without its memory, elect nobody"
        assert any("another data directory" in event.reason for event in c.seen(LinkDown))
        await c.start(stays)
        assert await c.client(behind).variable("money", int).get() == 2


async def test_peers_that_differ_from_the_founding_ones_are_refused(tmp_path):
    """A directory keeps its members, so other ones on the command line would be ignored."""
    config = {"data": tmp_path, "listen": "memory:1", "insecure": True}

    def node(*peers):
        network = MemoryNetwork()
        world = fa.World(transport=MemoryTransport(network, "memory:1"))
        return fa.Node(fa.App([]), fa.NodeConfig(**config, peers=peers, bootstrap=True), world)

    async with node("memory:1", "memory:2"):
        pass
    async with node():
        pass
    async with node("memory:2", "memory:1"):
        pass
    with pytest.raises(ConfigurationError, match="founded with the peers memory:1, memory:2, but"):
        async with node("memory:1", "memory:3"):
            pass


async def test_a_node_joins_though_its_seed_has_not_heard_of_it(tmp_path, autojump_clock):
    """Who admits it and who tells it about the cluster may be two seeds, of which the second lags:
    the node knows of itself what it was told, and starts again with that.
    """
    network = MemoryNetwork()

    async def seed(connection):
        await greet(connection, Hello(cluster="c", node=1, role=PEER))
        while True:
            for request in frames.unpack(await connection.receive(), Request):
                match request.body:
                    case OpenSession():
                        answer = Opened(1)
                    case AdmitNode():
                        answer = Admitted(NodeId(7), created=True)
                    case _:
                        view = NodeView(NodeId(1), "memory:1", True, (), 0, disk="d")
                        answer = ClusterView("c", NodeId(1), "1", (view,), (), 0)
                await connection.send(
                    frames.pack([records.encode(Response(request.number, answer))])[0]
                )

    def joiner():
        config = fa.NodeConfig(data=tmp_path, listen="memory:7", join=("memory:1",), insecure=True)
        return fa.Node(fa.App([]), config, fa.World(transport=MemoryTransport(network, "memory:7")))

    async with trio.open_nursery() as nursery:
        serve = MemoryTransport(network, "memory:1").serve
        await nursery.start(lambda task_status: serve("memory:1", seed, task_status=task_status))
        async with joiner() as node:
            assert node.membership.addresses == {1: "memory:1", 7: "memory:7"}
        nursery.cancel_scope.cancel()
    async with joiner() as node:
        assert node.node_id == 7


async def test_a_node_that_cannot_be_reached_is_not_let_in(tmp_path, autojump_clock):
    """The seed looks before it admits, for some seconds; so the cluster has no node that is joining
    for ever, and whoever starts it hears where nobody answers.
    """
    async with cluster(tmp_path, fa.App([]), 1) as c:

        def joiner(advertise):
            config = fa.NodeConfig(
                data=tmp_path / "joiner",
                listen="memory:7",
                advertise=advertise,
                join=("memory:1",),
                insecure=True,
            )
            world = fa.World(disk=c.disk, transport=c.wires.transport("memory:7"))
            return fa.Node(fa.App([]), config, world)

        before = trio.current_time()
        with pytest.raises(Refused, match=r"nobody answers at memory:8 from node 1.*--advertise"):
            async with joiner("memory:8"):
                pass
        assert CONNECT_TIMEOUT_SECONDS <= trio.current_time() - before < 2 * CONNECT_TIMEOUT_SECONDS
        assert set(c.node(1).steward.topology.nodes) == {1}
        async with joiner(None) as node:
            assert node.node_id == 2


async def test_a_join_that_leads_elsewhere_is_not_ignored_in_silence(tmp_path):
    """A directory that belongs to a cluster stays with it; that ``join`` names nobody of it is
    said once, and if it names one, nothing is.
    """
    events = []

    def node(**how):
        network = MemoryNetwork()
        world = fa.World(transport=MemoryTransport(network, "memory:1"))
        config = fa.NodeConfig(
            data=tmp_path, listen="memory:1", insecure=True, on_event=events.append, **how
        )
        return fa.Node(fa.App([]), config, world)

    async with node(bootstrap=True) as first:
        cluster = first.cluster_id
    for seeds in (("memory:1", "memory:9"), ("memory:8", "memory:9")):
        async with node(join=seeds):
            pass
    ignored = [event for event in events if isinstance(event, JoinIgnored)]
    assert ignored == [JoinIgnored(NodeId(1), cluster, ("memory:8", "memory:9"))]


@pytest.mark.parametrize("lease_seconds", [0, 0.9, -1, float("inf"), float("nan")])
def test_a_lease_that_cannot_work_is_refused(tmp_path, lease_seconds):
    """Shorter than an election, it would take runs from living nodes for ever."""
    with pytest.raises(ConfigurationError, match="owner_lease_seconds must be"):
        fa.Node(fa.App([]), fa.NodeConfig(data=tmp_path, owner_lease_seconds=lease_seconds))


async def test_an_observer_that_raises_ends_nothing(tmp_path, caplog):
    """What the user's ``on_event`` raises is logged, and the node goes on."""

    def broken(_):
        raise KeyError("bug of the observer")

    config = fa.NodeConfig(data=tmp_path, listen="127.0.0.1:0", bootstrap=True, on_event=broken)
    with caplog.at_level(logging.ERROR, "flowactor"):
        async with fa.Node(fa.App([]), config) as node:
            with trio.fail_after(20):
                await node.client.variable("x", int).set(1)
    assert "on_event failed on node started" in caplog.text
