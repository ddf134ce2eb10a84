"""The first words on every connection: who is there, and may we talk?

Both sides do the same: send ``Hello``, judge the other's, send ``Verdict``, read the other's. So a
refusal is known to both before the connection closes, and both raise ``Refused`` with a text that
says what was found, what was expected, and what to do. Two refusals between nodes have types of
their own, since something follows from them: ``OtherCluster`` and ``TakenOut``.

With a shared secret, each verdict carries proof of knowing it: a keyed hash over both hellos, whose
``challenge`` is fresh on every connection. The secret itself never travels, and a proof fits no
other connection. This tells nodes from strangers; against somebody who sits on the wire and changes
what is sent, use TLS.
"""

import hmac
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol, runtime_checkable

import attrs
import trio

from flowactor.codec import records
from flowactor.errors import MalformedDataError, Refused, Unavailable
from flowactor.limits import CONNECT_TIMEOUT_SECONDS, HELLO_BYTES_MAX, PROTOCOL_VERSION
from flowactor.ports import Connection

__all__ = ["CLIENT", "KNOCK", "PEER", "Hello", "OtherCluster", "TakenOut", "Verdict", "greet"]

PEER: Final = "peer"
CLIENT: Final = "client"
KNOCK: Final = "knock"
"""A node that waits to be dialled asks whether it still belongs; no conversation follows."""
HELLO_TAG: Final = 300


@records.record(HELLO_TAG)
@attrs.frozen
class Hello:
    """Who speaks. ``protocol`` stays the first field in every version, so that a reader of any
    version finds it and can name the difference.

    Attributes:
        protocol: version of everything that follows on the connection.
        cluster: id of the cluster; empty means any (a client that was given an address only).
        node: 0 for a client.
        role: ``PEER``, ``CLIENT`` or ``KNOCK``: what kind of conversation follows.
        incarnation: tells two lives of one node apart.
        challenge: fresh random text; must not be empty where a secret is used.
        secured: whether this side has a secret, and so expects proof.
        disk: of a node: tells its data directory from any other it may come with later.
        founding: of a node that knows with which directories its cluster was founded: a digest.
    """

    protocol: int = PROTOCOL_VERSION
    cluster: str = ""
    node: int = 0
    role: str = CLIENT
    incarnation: str = ""
    challenge: str = ""
    secured: bool = False
    disk: str = ""
    founding: str = ""


@records.record(301)
@attrs.frozen
class Verdict:
    """Attributes:
    refusal: why not; empty for "you may".
    proof: of the secret; empty where none is used, or nothing was said that needs proof.
    gone: of a node that was taken out of the cluster for good: in which way.
    """

    refusal: str = ""
    proof: bytes = b""
    gone: str = ""


class OtherCluster(Refused):
    """The other side is a node of another cluster: ``theirs``."""

    def __init__(self, message: str, theirs: Hello) -> None:
        super().__init__(message)
        self.theirs: Final = theirs


class TakenOut(Refused):
    """A node of this node's own cluster says that this one was taken out for good; ``state`` says
    how.

    It has applied that, and found there the very data directory that this node has: no node that
    lags, and none of another cluster, can say so.
    """

    def __init__(self, message: str, state: str) -> None:
        super().__init__(message)
        self.state: Final = state


Accept = Callable[[Hello], str | None]
"""Looks at the other side's hello; a text refuses it."""
Gone = Callable[[Hello], str]
"""How the node that says this hello was taken out of the cluster, by what is committed; empty if it
was not, as far as is known here.
"""


@runtime_checkable
class FrameLimited(Protocol):
    """A connection that can be told how large a frame it may receive."""

    frame_bytes_max: int


def _anyone(_: Hello) -> None:
    return None


def _nobody(_: Hello) -> str:
    return ""


async def greet(
    connection: Connection,
    mine: Hello,
    accept: Accept = _anyone,
    *,
    gone: Gone = _nobody,
    secret: bytes = b"",
) -> Hello:
    """Introduce both sides to each other; returns the other's hello. Closes what it refuses.

    Until this returns, a frame of more than ``HELLO_BYTES_MAX`` ends the connection.

    Raises:
        Refused: by this side or by the other; both know why.
        OtherCluster: both are nodes, and have nothing to do with each other.
        TakenOut: the other side, of the same cluster, knows that this one does not belong any more.
        MalformedDataError: the other side says something else than hello.
        Unavailable: it hung up, or took longer than ``CONNECT_TIMEOUT_SECONDS``.
    """
    assert mine.challenge or not secret, "a proof needs a fresh challenge"
    mine = attrs.evolve(mine, secured=bool(secret))
    limit = 0
    if isinstance(connection, FrameLimited):
        limit, connection.frame_bytes_max = connection.frame_bytes_max, HELLO_BYTES_MAX
    try:
        with trio.fail_after(CONNECT_TIMEOUT_SECONDS):
            theirs = await _exchange(connection, mine, accept, gone, secret)
    except (Refused, MalformedDataError) as error:
        await connection.aclose(str(error))
        raise
    except trio.TooSlowError:
        await connection.aclose("no hello in time")
        raise Unavailable(
            f"{connection.remote} did not say hello within {CONNECT_TIMEOUT_SECONDS:g} s"
        ) from None
    if isinstance(connection, FrameLimited):
        connection.frame_bytes_max = limit
    return theirs


async def _exchange(
    connection: Connection, mine: Hello, accept: Accept, gone: Gone, secret: bytes
) -> Hello:
    my_bytes = records.encode(mine)
    await _say(connection, my_bytes)
    their_bytes = await connection.receive()
    theirs, verdict = _judge(their_bytes, mine, accept, gone)
    if verdict.gone or not verdict.refusal:
        verdict = attrs.evolve(verdict, proof=_proof(secret, my_bytes, their_bytes))
    await _say(connection, records.encode(verdict))
    if theirs is None or (verdict.refusal and not _are_kin(mine, theirs)):
        raise _refused(connection, verdict, mine, theirs)
    try:
        heard = records.decode(await connection.receive())
    except Unavailable:
        if verdict.refusal:
            raise _refused(connection, verdict, mine, theirs) from None
        raise
    if not isinstance(heard, Verdict):
        raise MalformedDataError(f"{connection.remote} sent {type(heard).__name__}, no verdict")
    is_proven = hmac.compare_digest(heard.proof, _proof(secret, their_bytes, my_bytes))
    if heard.gone and is_proven and _are_kin(mine, theirs):  # whatever this side thinks of it
        raise TakenOut(f"{connection.remote} says: {heard.refusal}", heard.gone)
    if verdict.refusal:
        raise _refused(connection, verdict, mine, theirs)
    if heard.refusal:
        raise Refused(f"{connection.remote} does not accept this side: {heard.refusal}")
    if not is_proven:
        raise Refused(
            f"{connection.remote} proves another secret than this side's: "
            "give all nodes and clients of the cluster the same one"
        )
    return theirs


def _are_nodes(mine: Hello, theirs: Hello) -> bool:
    return CLIENT not in (mine.role, theirs.role)


def _are_kin(mine: Hello, theirs: Hello) -> bool:
    """Whether both are nodes of one cluster."""
    return _are_nodes(mine, theirs) and bool(mine.cluster) and mine.cluster == theirs.cluster


def _refused(
    connection: Connection, verdict: Verdict, mine: Hello, theirs: Hello | None
) -> Refused:
    message = f"{connection.remote} is not accepted: {verdict.refusal}"
    if theirs is not None and _are_nodes(mine, theirs) and _clusters_differ(mine, theirs):
        return OtherCluster(message, theirs)
    return Refused(message)


async def _say(connection: Connection, words: bytes) -> None:
    """Send, but if that fails, go on to listen: the other side may have said why it left."""
    with suppress(Unavailable):
        await connection.send(words)


def _judge(data: bytes, mine: Hello, accept: Accept, gone: Gone) -> tuple[Hello | None, Verdict]:
    """The other side's hello, and what this side thinks of it. The text speaks to both sides."""
    plain = records.decode_plain(data)
    if not isinstance(plain, tuple) or plain[:1] != (HELLO_TAG,):
        raise MalformedDataError("the first message is no hello")
    if plain[1:2] != (mine.protocol,):
        return None, Verdict(
            f"protocol versions differ, {', '.join(map(repr, plain[1:2]))} and {mine.protocol}: "
            "upgrade the older side's flowactor"
        )
    theirs: Hello = records.from_plain(plain)
    if not _is_well_typed(theirs):
        raise MalformedDataError("a hello with fields of wrong types")
    difference = _find_difference(mine, theirs)
    if difference is None and (state := gone(theirs)):
        text = f"node {theirs.node} was taken out of the cluster: it is {state}"
        return theirs, Verdict(text, gone=state)
    return theirs, Verdict(difference or accept(theirs) or "")


def _is_well_typed(hello: Hello) -> bool:
    return all(
        isinstance(getattr(hello, field.name), field.type or object)
        for field in attrs.fields(Hello)
    )


def _find_difference(mine: Hello, theirs: Hello) -> str | None:
    if _clusters_differ(mine, theirs):
        return (
            f"clusters differ, {theirs.cluster!r} and {mine.cluster!r}: "
            "check the addresses, and that each node has its own data directory"
        )
    if theirs.role not in (PEER, KNOCK, CLIENT) or (theirs.role == CLIENT) is not (
        theirs.node == 0
    ):
        return f"node {theirs.node} cannot be a {theirs.role!r}"
    if mine.secured is not theirs.secured:
        return "one side has a cluster secret and the other has none: give both the same"
    # A stranger could otherwise have this node answer its own challenge on a second connection.
    mirrored = mine.challenge and mine.challenge == theirs.challenge
    if mirrored or (mine.incarnation and mine.incarnation == theirs.incarnation):
        return "this is a connection of a node to itself: check the peers' addresses"
    return None


def _clusters_differ(mine: Hello, theirs: Hello) -> bool:
    return bool(mine.cluster and theirs.cluster) and mine.cluster != theirs.cluster


def _proof(secret: bytes, speaker: bytes, listener: bytes) -> bytes:
    """What only those who know the secret can say to this hello."""
    return hmac.digest(secret, speaker + listener, "sha256") if secret else b""
