"""Nodes that do not belong: those that were taken out while they were away, and those of another
cluster at the address of a member.
"""

import shutil
from random import Random

import pytest
import trio

import flowactor as fa
from flowactor.cluster.links import Links
from flowactor.cluster.vigil import Vigil
from flowactor.errors import Refused
from flowactor.identity import NodeId
from flowactor.limits import KNOCK_SECONDS
from flowactor.observability.events import ForeignCluster, LinkDown
from flowactor.transport import PEER, Hello, MemoryNetwork, MemoryTransport, greet
from tests.cluster.harness import TrioClock, cluster

SUSPICION_SECONDS = 5.0
"""For the others to take a silent node for lost, so that its removal is done at once."""


async def remove_dead(c, *numbers):
    """Take these nodes out while they are down; returns once that is so."""
    by = next(number for number in c.running if number not in numbers)
    for number in numbers:
        await c.client(by).cluster.remove(number)
        nodes = c.node(by).steward.topology.nodes
        await c.until(lambda number=number, nodes=nodes: nodes[number].state.value == "removed")


@pytest.mark.parametrize("gone", [(1,), (3,), (4, 5)])
async def test_who_was_removed_while_it_was_down_ends(tmp_path, autojump_clock, gone):
    """Whether it has the lowest id, and dials all others, or the highest, and nobody dials it any
    more; and if there are two, which would have each other. It says why, and its directory is
    refused at once from then on.
    """
    async with cluster(tmp_path, fa.App([]), max(3, *gone)) as c:
        c.kill(*gone)
        await c.dead(*gone)
        await trio.sleep(SUSPICION_SECONDS)
        await remove_dead(c, *gone)
        await c.start(*gone)
        for number in gone:
            await c.until(lambda number=number: c.members[number].node is None, "it ends")
            failure = c.members[number].failure
            assert isinstance(failure, Refused)
            assert f"node {number} was taken out of the cluster: it is removed" in str(failure)
        await c.start(*gone)
        for number in gone:
            assert "taken out of the cluster for good" in str(c.members[number].failure)


async def test_a_founder_without_its_directory_is_noticed(tmp_path, autojump_clock):
    """Founded again on an empty directory, it is another cluster. It is told apart, and both sides
    say so, each once: those that had joined it, and it itself, which knows nobody.
    """
    async with cluster(tmp_path, fa.App([]), 1) as c:
        before = c.node(1).cluster_id
        for _ in range(2):
            await c.join(fa.App([]))
        await trio.sleep(SUSPICION_SECONDS)
        c.kill(1)
        await c.dead(1)
        shutil.rmtree(c.members[1].data)
        await c.start(1)
        twin = c.node(1).cluster_id
        assert twin != before
        await trio.sleep(10 * KNOCK_SECONDS)
        for number in (2, 3):
            [event] = c.seen(ForeignCluster, number)
            assert (event.address, event.cluster) == ("memory:1", twin)
            assert f"ought to be node 1 of cluster {before}" in event.reason
            assert "directory lost, or not mounted? Stop it, and have it join anew" in event.reason
        [event] = c.seen(ForeignCluster, 1)
        assert event.cluster == before
        assert f"takes this one, of cluster {twin}, for a member" in event.reason


def make_links(network, node, events):
    return Links(
        node=NodeId(node),
        hello=lambda: Hello(cluster="c", node=node, role=PEER),
        transport=MemoryTransport(network),
        random=Random(1),
        receive=lambda _, __: None,
        vigil=Vigil(TrioClock(), tuple, lambda _, __: None),
        refusal=lambda _: None,
        greeted=lambda _: None,
        gone=lambda _: None,
        observer=events.append,
    )


async def serve_peer(nursery, network, node, then):
    async def peer(connection):
        await greet(connection, Hello(cluster="c", node=node, role=PEER))
        await then()

    serve = MemoryTransport(network, "a:1").serve
    await nursery.start(lambda task_status: serve("a:1", peer, task_status=task_status))


async def test_who_is_not_reached_is_told_what_to_look_at(autojump_clock):
    """A node that reaches a peer which ought to dial it, and does not, says after a while what that
    may come from, and says it once.
    """
    network, events = MemoryNetwork(), []
    links = make_links(network, 2, events)
    async with trio.open_nursery() as nursery:
        await serve_peer(nursery, network, 1, trio.lowlevel.checkpoint)
        links.know({NodeId(1): "a:1"})
        links.open(nursery, lambda _: None)
        await trio.sleep(10 * KNOCK_SECONDS)
        nursery.cancel_scope.cancel()
    [down] = events
    assert isinstance(down, LinkDown)
    assert down.reason == (
        "node 1 answers, but does not reach this node: check the --advertise of both, and firewalls"
    )


async def test_a_link_to_who_is_gone_ends_soon(autojump_clock):
    """It may hear over it that it is gone; if it does not, it has to say hello again, and is told
    so then. Until then it is not dialled again.
    """
    network, peer = MemoryNetwork(), NodeId(2)
    links = make_links(network, 1, [])
    async with trio.open_nursery() as nursery:
        await serve_peer(nursery, network, 2, trio.sleep_forever)
        links.know({peer: "a:1"})
        links.open(nursery, lambda _: None)
        await trio.sleep(1)
        links.know({})
        await trio.sleep(KNOCK_SECONDS / 2)
        assert links.connected(peer)
        await trio.sleep(KNOCK_SECONDS)
        for _ in range(10):
            assert not links.connected(peer)
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
