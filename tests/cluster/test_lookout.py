"""Looking out for those who joined while this node was away."""

import trio

from flowactor.cluster.lookout import look_out
from flowactor.cluster.protocol.requests import DescribeCluster
from flowactor.cluster.protocol.views import ClusterView, NodeView
from flowactor.errors import Unavailable
from flowactor.identity import NodeId
from tests.cluster.harness import TrioClock


def node(number):
    return NodeView(NodeId(number), f"memory:{number}", True, (), 0)


class Peers:
    """Node 2 cannot be reached, node 3 breaks off, node 4 knows nodes 4 and 5."""

    def __init__(self):
        self.asked = []

    def connected(self, peer):
        return peer != 2

    async def relay(self, peer, request):
        self.asked.append(peer)
        assert isinstance(request.body, DescribeCluster)
        await trio.lowlevel.checkpoint()
        if peer == 3:
            raise Unavailable("it broke off")
        return ClusterView("c", NodeId(4), "1", (node(4), node(5)), (), 0)


async def looking(nursery, is_led):
    peers, found = Peers(), []
    nursery.start_soon(look_out, TrioClock(), peers, lambda: (2, 3, 4), is_led, found.append)
    await trio.sleep(1.5)
    return peers.asked, found


async def test_asks_whom_it_can_reach(autojump_clock):
    """Those that cannot be reached, or break off, are passed over; the others tell whom they
    know.
    """
    async with trio.open_nursery() as nursery:
        asked, found = await looking(nursery, lambda: False)
        assert asked == [3, 4]
        assert [[other.node for other in view.nodes] for view in found] == [[4, 5]]
        await trio.sleep(1.0)
        assert len(found) == 2
        nursery.cancel_scope.cancel()


async def test_asks_nobody_while_there_is_a_leader(autojump_clock):
    """Who follows a leader is told by that who there is."""
    async with trio.open_nursery() as nursery:
        assert await looking(nursery, lambda: True) == ([], [])
        nursery.cancel_scope.cancel()
