"""Where connections come in: a peer's becomes its link, a client's is served, and all others are
told why they are refused.

Only here nodes hear that they were taken out of the cluster while they were away: it is known from
what is committed, and said of the very data directory that comes. Ids and directories are never let
in again, so a node that has applied it may say so whatever else it has missed.
"""

from collections.abc import Callable
from typing import Final

from flowactor.cluster.door import serve_client
from flowactor.cluster.links import Links
from flowactor.cluster.protocol.border import Serve
from flowactor.identity import NodeId
from flowactor.management import Topology
from flowactor.observability.events import ForeignCluster, Observer
from flowactor.ports import Connection
from flowactor.transport import CLIENT, PEER, Hello, OtherCluster, greet

__all__ = ["Reception"]


class Reception:
    """One node's.

    Args:
        hello: what this node says of itself, anew for every connection.
        links: of its peers.
        topology: the cluster, as this node has applied it.
        serve: answers requests.
        observer: told of nodes of another cluster.
    """

    def __init__(
        self,
        *,
        hello: Callable[[], Hello],
        links: Links,
        topology: Callable[[], Topology],
        serve: Serve,
        observer: Observer,
    ) -> None:
        self._hello: Final = hello
        self._links: Final = links
        self._topology: Final = topology
        self._serve: Final = serve
        self._observer: Final = observer
        self._stranger = ""

    async def receive(self, connection: Connection) -> None:
        """Serve one connection until it ends.

        Raises:
            WorldError: as ``greet`` does, and the connection as it ends.
        """
        hello = self._hello()
        try:
            theirs = await greet(connection, hello, self._judge, gone=self._gone)
        except OtherCluster as error:
            self._meet_stranger(connection.remote, hello, error.theirs)
            return
        if theirs.role != CLIENT:
            self._links.greeted(theirs)
        if theirs.role == PEER:
            await self._links.adopt(NodeId(theirs.node), connection, self._serve)
        elif theirs.role == CLIENT:
            await serve_client(connection, self._serve, self._observer)

    def _judge(self, theirs: Hello) -> str | None:
        return None if theirs.role == CLIENT else self._links.judge(theirs)

    def _gone(self, theirs: Hello) -> str:
        known = self._topology().nodes.get(NodeId(theirs.node))
        if known is None or known.disk != theirs.disk or not known.state.is_gone:
            return ""
        return known.state.value

    def _meet_stranger(self, address: str, mine: Hello, theirs: Hello) -> None:
        """A node of another cluster comes, and will come again and again: it is told of once."""
        if theirs.cluster == self._stranger:
            return
        self._stranger = theirs.cluster
        reason = (
            f"its node {theirs.node} takes this one, of cluster {mine.cluster}, for a member: was"
            " the data directory of this node lost, or not mounted? Stop it, and have it join anew"
            " (--join)"
        )
        self._observer(ForeignCluster(address, theirs.cluster, reason))
