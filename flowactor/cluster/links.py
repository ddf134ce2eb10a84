"""Links: one connection to each peer, an actor each, all groups and requests multiplexed on it.
Peers come and go with the cluster's nodes.

Of two nodes the one with the lower id dials, so there is one connection per pair. A link sends what
is queued in one frame, drops the oldest beyond its limit, reconnects for ever with back-off, and
never holds up anything else: its trouble is a dropped message, which every protocol above repairs
(rule *transport_error_is_local*).
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

import trio
from attrs import evolve

from flowactor.actors import Promise
from flowactor.cluster.protocol.border import Serve, respond
from flowactor.cluster.protocol.envelopes import Alive, Envelope, GroupEnvelope, Relay, Relayed
from flowactor.cluster.protocol.requests import Answer, Request
from flowactor.cluster.vigil import Vigil
from flowactor.codec.records import encode, join
from flowactor.errors import InvalidInput, Unavailable
from flowactor.identity import NodeId
from flowactor.limits import OPERATION_BYTES_MAX
from flowactor.observability.events import LinkDown, LinkUp, Observer
from flowactor.ports import Connection, Transport
from flowactor.transport import (
    Backoff,
    Hello,
    Outbox,
    dial_and_greet,
    frames,
    keep_connected,
    pump,
)

__all__ = ["Links"]

_BEAT: Final = encode(Alive())
_BARE_BEAT: Final = join([_BEAT])
"""The frame of a link that has nothing else to say."""


class Link:
    """What waits for one peer, and the connection to it, if there is one."""

    def __init__(self, peer: NodeId, address: str) -> None:
        self.peer: Final = peer
        self.address: Final = address
        self.outbox: Final = Outbox()
        self.connection: Connection | None = None
        self.scope = trio.CancelScope()
        self.dialling: Final = trio.CancelScope()
        self.welcome = True


class Links:
    """All links of one node.

    Args:
        node: this one.
        hello: what this node says of itself, anew for every connection.
        transport: how to dial.
        random: spreads reconnects; seeded by the caller.
        receive: takes envelopes of groups.
        vigil: told of links that come and go, and of signs of life.
        refusal: why a member that says hello may not take part, if so.
        observer: told of links that come and go.
    """

    def __init__(
        self,
        *,
        node: NodeId,
        hello: Callable[[], Hello],
        transport: Transport,
        random: Random,
        receive: Callable[[NodeId, GroupEnvelope], None],
        vigil: Vigil,
        refusal: Callable[[Hello], str | None],
        observer: Observer,
    ) -> None:
        self._node: Final = node
        self._hello: Final = hello
        self._transport: Final = transport
        self._random: Final = random
        self._receive: Final = receive
        self._vigil: Final = vigil
        self.refusal: Final = refusal
        self._observer: Final = observer
        self._links: Final[dict[NodeId, Link]] = {}
        self._opened: tuple[trio.Nursery, Serve] | None = None
        self._relayed: Final[dict[int, tuple[NodeId, Promise[Answer]]]] = {}
        self._numbers = 0
        self._last_sent: GroupEnvelope | None = None
        self._last_encoded = b""

    # -- doors ------------------------------------------------------------------------------------

    def send(self, peer: NodeId, envelope: GroupEnvelope) -> None:
        """Queue an envelope. Dropped if there is no connection to carry it."""
        link = self._links.get(peer)
        if link is not None and link.connection is not None:
            # Several peers often get the same one, one after another.
            if envelope is not self._last_sent:
                self._last_sent, self._last_encoded = envelope, encode(envelope)
            link.outbox.put(self._last_encoded)

    def connected(self, peer: NodeId) -> bool:
        """Whether there is a connection to the peer now."""
        link = self._links.get(peer)
        return link is not None and link.connection is not None

    def hears(self, peer: NodeId) -> bool:
        """Whether anything came from the peer of late."""
        return self._vigil.is_alive(peer)

    async def relay(self, peer: NodeId, request: Request) -> Answer:
        """Have ``peer`` answer a client's request.

        Raises:
            Unavailable: there is no link, or it broke; asking again is safe, because what changes
                something carries the client's session.
            InvalidInput: the request is more than a message carries.
        """
        link = self._links.get(peer)
        if link is None or link.connection is None:
            raise Unavailable(f"node {peer}, which can answer this, cannot be reached from here")
        self._numbers += 1
        number, promise = self._numbers, Promise[Answer]()
        self._relayed[number] = (peer, promise)
        try:
            onward = encode(Relay(evolve(request, number=number, hops=request.hops + 1)))
            if len(onward) > OPERATION_BYTES_MAX:
                raise InvalidInput(
                    f"a request of {len(onward)} bytes, a message carries {OPERATION_BYTES_MAX}"
                )
            link.outbox.put(onward)
            return await promise.wait()
        finally:
            del self._relayed[number]

    # -- tasks ------------------------------------------------------------------------------------

    def open(self, nursery: trio.Nursery, serve: Serve) -> None:
        """From here on keep connections to all peers that are this node's to dial, in tasks of
        ``nursery``, and have ``serve`` answer what they pass on.
        """
        self._opened = (nursery, serve)
        nursery.start_soon(self._vigil.keep, self._beat, name="signs of life")
        for link in self._links.values():
            self._dial(link)

    def know(self, addresses: Mapping[NodeId, str]) -> None:
        """These are the nodes of the cluster now, this one or not. The link to one that has moved
        ends. One that is gone is dialled no more, but what it hears last over a link that stands is
        that it is gone.
        """
        for peer, link in list(self._links.items()):
            moved = peer in addresses and addresses[peer] != link.address
            if moved or (peer not in addresses and link.connection is None):
                del self._links[peer]
                link.dialling.cancel()
                link.scope.cancel()
            link.welcome = peer in addresses
        for peer, address in sorted(addresses.items()):
            if peer != self._node and peer not in self._links:
                link = self._links[peer] = Link(peer, address)
                self._dial(link)

    def _beat(self) -> None:
        for link in self._links.values():
            if link.connection is not None:
                link.outbox.put(_BEAT)

    def _dial(self, link: Link) -> None:
        if self._opened is not None and self._node < link.peer:
            nursery, serve = self._opened
            nursery.start_soon(self._keep, link, serve, name=f"link to node {link.peer}")

    async def adopt(self, peer: NodeId, connection: Connection, serve: Serve) -> None:
        """Use a connection that a greeted peer opened, until it ends."""
        await self._carry(self._links[peer], connection, serve)

    def expects(self, peer: int) -> bool:
        """Whether a peer of this id is a member, and the one to dial this node."""
        link = self._links.get(NodeId(peer))
        return link is not None and link.welcome and peer < self._node

    async def _keep(self, link: Link, serve: Serve) -> None:
        def accept(theirs: Hello) -> str | None:
            if theirs.node == link.peer:
                return self.refusal(theirs)
            return f"{link.address} is node {theirs.node}, expected node {link.peer}"

        async def dial() -> Connection:
            return await dial_and_greet(self._transport, link.address, self._hello(), accept)

        trouble = ""

        def on_down(reason: str, _: float) -> None:
            nonlocal trouble
            if reason != trouble:
                self._observer(LinkDown(link.peer, reason))
            trouble = reason

        async def carry(connection: Connection) -> None:
            nonlocal trouble
            trouble = ""
            await self._carry(link, connection, serve)

        with link.dialling:
            await keep_connected(dial, carry, Backoff(self._random), on_down=on_down)

    async def _carry(self, link: Link, connection: Connection, serve: Serve) -> None:
        """Both directions of one connection, which replaces an older one to the same peer."""
        if link.connection is not None:
            link.scope.cancel()
            self._disconnected(link)
        with trio.CancelScope() as link.scope:
            link.connection = connection
            self._observer(LinkUp(link.peer, connection.remote))
            self._vigil.linked(link.peer)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(pump, connection, link.outbox)
                    while True:
                        frame = await connection.receive()
                        self._vigil.heard(link.peer)
                        if frame == _BARE_BEAT:
                            continue  # that it came is all it says
                        for envelope in frames.unpack(frame, Envelope):
                            self._dispatch(link, envelope, nursery, serve)
            finally:
                if link.connection is connection:
                    self._disconnected(link)

    def _disconnected(self, link: Link) -> None:
        link.connection = None
        if not link.welcome:
            link.dialling.cancel()
            self._links.pop(link.peer, None)
        link.outbox.clear()
        for peer, promise in list(self._relayed.values()):
            if peer == link.peer:
                error = Unavailable(f"the link to node {peer} broke while it was to answer")
                error.outcome_unknown = True
                promise.fail(error)
        if link.peer < self._node:
            self._observer(LinkDown(link.peer, "connection lost"))
        self._vigil.unlinked(link.peer)

    def _dispatch(
        self, link: Link, envelope: Envelope, nursery: trio.Nursery, serve: Serve
    ) -> None:
        match envelope:
            case Relay(request=request):
                nursery.start_soon(self._answer, link, request, serve)
            case Relayed(response=response):
                _, promise = self._relayed.get(response.number, (None, None))
                if promise is not None:
                    promise.set(response.answer)
            case Alive():
                pass  # as above
            case _:
                self._receive(link.peer, envelope)

    async def _answer(self, link: Link, request: Request, serve: Serve) -> None:
        link.outbox.put(await respond(request, serve, self._observer, Relayed))
