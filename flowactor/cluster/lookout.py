"""Finds who joined while this node was away, and may lead by now; and with which directories the
cluster was founded, if one of its founders cannot be met any more.

A node dials those that it knows, and those are the nodes of the day on which it was last heard. Who
joined since cannot dial it, for the lower number dials, and will not be dialled by it. So a node
that hears of no leader asks whom it can reach who else there is.
"""

from collections.abc import Callable, Iterable

import trio

from flowactor.cluster.protocol.requests import DescribeCluster, Request
from flowactor.cluster.protocol.views import ClusterView
from flowactor.cluster.runs.service import Peers
from flowactor.errors import FlowactorError
from flowactor.identity import NodeId, SessionId
from flowactor.limits import RESEND_SECONDS
from flowactor.ports import Clock

__all__ = ["look_out"]


async def look_out(
    clock: Clock,
    peers: Peers,
    known: Callable[[], Iterable[NodeId]],
    is_led: Callable[[], bool],
    told: Callable[[ClusterView], None],
) -> None:
    """Ask, again and again, as long as nobody is heard to lead; never returns.

    Args:
        clock: of this node.
        peers: the links.
        known: the nodes that may be asked.
        is_led: whether this node hears of late from who leads the management group.
        told: what another node knows of the cluster.
    """
    asked = Request(0, int(RESEND_SECONDS * 1000), SessionId(""), 0, 0, DescribeCluster())
    while True:
        await clock.sleep(RESEND_SECONDS)
        for node in () if is_led() else filter(peers.connected, list(known())):
            try:
                with trio.fail_after(RESEND_SECONDS):
                    view = await peers.relay(node, asked)
            except (FlowactorError, trio.TooSlowError):
                continue
            if isinstance(view, ClusterView):
                told(view)
