"""The first words on every connection: who is there, and may we talk?

Both sides do the same: send ``Hello``, judge the other's, send ``Verdict``, read the other's. So a
refusal is known to both before the connection closes, and both raise ``Refused`` with a text that
says what was found, what was expected, and what to do.

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

__all__ = ["CLIENT", "PEER", "Hello", "Verdict", "greet"]

PEER: Final = "peer"
CLIENT: Final = "client"
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
        role: ``PEER`` or ``CLIENT``: what kind of conversation follows.
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
    """``refusal`` is empty for "you may"; ``proof`` is empty where no secret is used."""

    refusal: str = ""
    proof: bytes = b""


Accept = Callable[[Hello], str | None]
"""Looks at the other side's hello; a text refuses it."""


@runtime_checkable
class FrameLimited(Protocol):
    """A connection that can be told how large a frame it may receive."""

    frame_bytes_max: int


def _anyone(_: Hello) -> None:
    return None


async def greet(
    connection: Connection, mine: Hello, accept: Accept = _anyone, *, secret: bytes = b""
) -> Hello:
    """Introduce both sides to each other; returns the other's hello. Closes what it refuses.

    Until this returns, a frame of more than ``HELLO_BYTES_MAX`` ends the connection.

    Raises:
        Refused: by this side or by the other; both know why.
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
            theirs = await _exchange(connection, mine, accept, secret)
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


async def _exchange(connection: Connection, mine: Hello, accept: Accept, secret: bytes) -> Hello:
    my_bytes = records.encode(mine)
    await _say(connection, my_bytes)
    their_bytes = await connection.receive()
    theirs, refusal = _judge(their_bytes, mine, accept)
    proof = b"" if refusal else _proof(secret, my_bytes, their_bytes)
    await _say(connection, records.encode(Verdict(refusal or "", proof)))
    if refusal or theirs is None:
        raise Refused(f"{connection.remote} is not accepted: {refusal}")
    verdict = records.decode(await connection.receive())
    if not isinstance(verdict, Verdict):
        raise MalformedDataError(f"{connection.remote} sent {type(verdict).__name__}, no verdict")
    if verdict.refusal:
        raise Refused(f"{connection.remote} does not accept this side: {verdict.refusal}")
    if not hmac.compare_digest(verdict.proof, _proof(secret, their_bytes, my_bytes)):
        raise Refused(
            f"{connection.remote} proves another secret than this side's: "
            "give all nodes and clients of the cluster the same one"
        )
    return theirs


async def _say(connection: Connection, words: bytes) -> None:
    """Send, but if that fails, go on to listen: the other side may have said why it left."""
    with suppress(Unavailable):
        await connection.send(words)


def _judge(data: bytes, mine: Hello, accept: Accept) -> tuple[Hello | None, str | None]:
    """The other side's hello, and why it is refused, if it is. The text speaks to both sides."""
    plain = records.decode_plain(data)
    if not isinstance(plain, tuple) or plain[:1] != (HELLO_TAG,):
        raise MalformedDataError("the first message is no hello")
    if plain[1:2] != (mine.protocol,):
        return None, (
            f"protocol versions differ, {', '.join(map(repr, plain[1:2]))} and {mine.protocol}: "
            "upgrade the older side's flowactor"
        )
    theirs: Hello = records.from_plain(plain)
    if not _is_well_typed(theirs):
        raise MalformedDataError("a hello with fields of wrong types")
    return theirs, _find_difference(mine, theirs) or accept(theirs)


def _is_well_typed(hello: Hello) -> bool:
    return all(
        isinstance(getattr(hello, field.name), field.type or object)
        for field in attrs.fields(Hello)
    )


def _find_difference(mine: Hello, theirs: Hello) -> str | None:
    if mine.cluster and theirs.cluster and mine.cluster != theirs.cluster:
        return (
            f"clusters differ, {theirs.cluster!r} and {mine.cluster!r}: "
            "check the addresses, and that each node has its own data directory"
        )
    if theirs.role not in (PEER, CLIENT) or (theirs.role == CLIENT) is not (theirs.node == 0):
        return f"node {theirs.node} cannot be a {theirs.role!r}"
    if mine.secured is not theirs.secured:
        return "one side has a cluster secret and the other has none: give both the same"
    # A stranger could otherwise have this node answer its own challenge on a second connection.
    mirrored = mine.challenge and mine.challenge == theirs.challenge
    if mirrored or (mine.incarnation and mine.incarnation == theirs.incarnation):
        return "this is a connection of a node to itself: check the peers' addresses"
    return None


def _proof(secret: bytes, speaker: bytes, listener: bytes) -> bytes:
    """What only those who know the secret can say to this hello."""
    return hmac.digest(secret, speaker + listener, "sha256") if secret else b""
