"""Links: one connection to each peer, an actor each, all groups and requests multiplexed on it.
Peers come and go with the cluster's nodes.

Of two nodes the one with the lower id dials, so there is one connection per pair. The other one,
if it waits for long, knocks: it connects, hears whether it still belongs, and hangs up. A link
sends what is queued in one frame, drops the oldest beyond its limit, reconnects for ever with
back-off, and never holds up anything else: its trouble is a dropped message, which every protocol
above repairs (rule *transport_error_is_local*).
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
from flowactor.errors import InvalidInput, Refused, Unavailable, WorldError
from flowactor.identity import NodeId
from flowactor.limits import (
    BEAT_SECONDS,
    CONNECT_TIMEOUT_SECONDS,
    KNOCK_SECONDS,
    OPERATION_BYTES_MAX,
)
from flowactor.observability.events import ForeignCluster, LinkDown, LinkUp, Observer
from flowactor.ports import Connection, Transport
from flowactor.transport import (
    KNOCK,
    PEER,
    Backoff,
    Hello,
    OtherCluster,
    Outbox,
    TakenOut,
    dial_and_greet,
    frames,
    keep_connected,
    pump,
)

__all__ = ["Links"]

_ASKING: Final = encode(Alive(asks=True))
_ANSWERING: Final = encode(Alive(asks=False))
_BARE_ASKING: Final = join([_ASKING])
_BARE_ANSWERING: Final = join([_ANSWERING])
"""The frames of a link that has nothing else to say."""
_FAREWELL_BEATS: Final = round(KNOCK_SECONDS / BEAT_SECONDS)
_UNREACHED: Final = "but does not reach this node: check the --advertise of both, and firewalls"


class Link:
    """What waits for one peer, and the connection to it, if there is one.

    Attributes:
        dialling: around the task that connects to it, or knocks.
        parted: wakes that task when a connection has ended.
        trouble: why there is none, as it was told last.
        stranger: the cluster of another node that was met at its address.
        welcome: it is a node of the cluster, as far as is known here.
        beats_left: of a link to one that is not: signs of life until it ends.
    """

    def __init__(self, peer: NodeId, address: str) -> None:
        self.peer: Final = peer
        self.address: Final = address
        self.outbox: Final = Outbox()
        self.connection: Connection | None = None
        self.scope = trio.CancelScope()
        self.dialling: Final = trio.CancelScope()
        self.parted: Final = trio.lowlevel.ParkingLot()
        self.trouble = ""
        self.stranger = ""
        self.welcome = True
        self.beats_left = _FAREWELL_BEATS


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
        greeted: told of a member once both sides have accepted each other.
        gone: told in which way this node was taken out, by one that knows.
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
        greeted: Callable[[Hello], None],
        gone: Callable[[str], None],
        observer: Observer,
    ) -> None:
        self._node: Final = node
        self._hello: Final = hello
        self._transport: Final = transport
        self._random: Final = random
        self._receive: Final = receive
        self._vigil: Final = vigil
        self._refusal: Final = refusal
        self.greeted: Final = greeted
        self._gone: Final = gone
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

    async def reach(self, address: str) -> None:
        """See that somebody takes connections at an address; who it is, is not asked.

        Raises:
            Refused: nobody does, for ``CONNECT_TIMEOUT_SECONDS``.
        """
        trouble, backoff = "no answer in time", Backoff(self._random)
        with trio.move_on_after(CONNECT_TIMEOUT_SECONDS):
            while True:
                try:
                    connection = await self._transport.dial(address)
                except Unavailable as error:
                    trouble = str(error)
                    await trio.sleep(backoff.next_seconds())
                else:
                    with trio.CancelScope() as hurry:
                        hurry.cancel()  # whoever is there does not listen yet
                        await connection.aclose()
                    return
        raise Refused(
            f"nobody answers at {address} from node {self._node} ({trouble}): check --advertise and"
            " firewalls, for all nodes of the cluster have to reach this one there"
        )

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
        that it is gone; if it does not, it hears that in its next hello, for the link ends soon.
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
            if link.connection is None:
                continue
            sign = self._vigil.sign_for(link.peer)
            if sign is not None:
                link.outbox.put(_ASKING if sign.asks else _ANSWERING)
            link.beats_left -= not link.welcome
            if link.beats_left <= 0:
                link.scope.cancel()

    def _dial(self, link: Link) -> None:
        if self._opened is None:
            return
        nursery, serve = self._opened
        if self._node < link.peer:
            nursery.start_soon(self._keep, link, serve, name=f"link to node {link.peer}")
        else:
            nursery.start_soon(self._knock, link, name=f"knocking at node {link.peer}")

    async def adopt(self, peer: NodeId, connection: Connection, serve: Serve) -> None:
        """Use a connection that a greeted peer opened, until it ends."""
        await self._carry(self._links[peer], connection, serve)

    def judge(self, theirs: Hello) -> str | None:
        """Why a node that comes to this one may not: it is no member, or not the one to dial, or to
        knock; or its hello says what may not be.
        """
        link = self._links.get(NodeId(theirs.node))
        dials = theirs.node < self._node
        if link is None or not link.welcome or dials is not (theirs.role == PEER):
            return f"node {theirs.node} is no member that dials node {self._node}"
        return self._refusal(theirs)

    async def _keep(self, link: Link, serve: Serve) -> None:
        async def dial() -> Connection:
            return await self._greet(link, self._hello())

        def on_down(reason: str, _: float) -> None:
            self._tell(link, reason)

        async def carry(connection: Connection) -> None:
            await self._carry(link, connection, serve)

        with link.dialling:
            await keep_connected(dial, carry, Backoff(self._random), on_down=on_down)

    async def _knock(self, link: Link) -> None:
        """Ask a peer that ought to dial, whenever there has been no link for a while.

        Who was taken out while it could not hear that is told here, for nobody dials it any more;
        and both sides learn here that the address of a node has become that of a stranger.
        """
        with link.dialling:
            while True:
                answers = 0
                while not self.connected(link.peer):
                    await trio.sleep(KNOCK_SECONDS)
                    if self.connected(link.peer):
                        break
                    try:
                        connection = await self._greet(link, evolve(self._hello(), role=KNOCK))
                    except WorldError as error:
                        self._tell(link, str(error))
                        continue
                    answers += 1
                    await connection.aclose()
                    if answers > 1 and not self.connected(link.peer):
                        self._tell(link, f"node {link.peer} answers, {_UNREACHED}")
                await link.parted.park()

    async def _greet(self, link: Link, hello: Hello) -> Connection:
        """Connect to the peer's address, and be sure that the peer is there."""

        def accept(theirs: Hello) -> str | None:
            if theirs.node == link.peer:
                return self._refusal(theirs)
            return f"{link.address} is node {theirs.node}, expected node {link.peer}"

        try:
            connection, theirs = await dial_and_greet(self._transport, link.address, hello, accept)
        except TakenOut as error:
            self._gone(error.state)
            raise
        except OtherCluster as error:
            if error.theirs.cluster != link.stranger:
                link.stranger = error.theirs.cluster
                reason = (
                    f"it ought to be node {link.peer} of cluster {hello.cluster}: was its data"
                    " directory lost, or not mounted? Stop it, and have it join anew (--join)"
                )
                self._observer(ForeignCluster(link.address, link.stranger, reason))
            raise
        self.greeted(theirs)
        return connection

    def _tell(self, link: Link, reason: str) -> None:
        """Say why there is no link, unless that was said last."""
        if reason != link.trouble:
            link.trouble = reason
            self._observer(LinkDown(link.peer, reason))

    async def _carry(self, link: Link, connection: Connection, serve: Serve) -> None:
        """Both directions of one connection, which replaces an older one to the same peer."""
        if link.connection is not None:
            link.scope.cancel()
            self._disconnected(link)
        with trio.CancelScope() as link.scope:
            link.connection = connection
            link.trouble = link.stranger = ""
            self._observer(LinkUp(link.peer, connection.remote))
            self._vigil.linked(link.peer)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(pump, connection, link.outbox)
                    while True:
                        frame = await connection.receive()
                        self._vigil.heard(link.peer)
                        if frame == _BARE_ANSWERING:
                            continue  # that it came is all it says
                        if frame == _BARE_ASKING:
                            self._vigil.asked(link.peer)
                            continue
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
            link.parted.unpark_all()
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
            case Alive(asks=asks):
                if asks:
                    self._vigil.asked(link.peer)
            case _:
                self._receive(link.peer, envelope)

    async def _answer(self, link: Link, request: Request, serve: Serve) -> None:
        link.outbox.put(await respond(request, serve, self._observer, Relayed))
