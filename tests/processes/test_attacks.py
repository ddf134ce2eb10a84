"""Strangers attack a live node with raw bytes (A-F18): the connection is closed with a reason, the
node's memory stays bounded, and it serves on.
"""

import struct
from contextlib import AsyncExitStack, asynccontextmanager

import cbor2
import pytest
import trio

from flowactor.codec import records
from flowactor.errors import Unavailable
from flowactor.limits import CONNECT_TIMEOUT_SECONDS, FRAME_BYTES_MAX, HELLO_BYTES_MAX
from flowactor.ports import Connection
from flowactor.transport import PEER, Hello, WebSocketTransport, framing, greet, parse_address
from flowactor.transport.hello import Verdict
from tests.processes.flows import Concat

pytestmark = pytest.mark.processes

UPGRADE = (
    b"GET /flowactor HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
GROWTH_BYTES_MAX = 48 * 1024 * 1024
"""Of a node's resident memory, by an attack: far less than what the attackers announce or send."""
TOO_BIG = 1009
END_OF_HEAD = b"\r\n\r\n"


@pytest.fixture
async def victim(cluster):
    """The leader under attack. Afterwards it has not grown, has lost neither its place nor a link,
    and works.
    """
    leader = await cluster.settle()
    node = cluster.nodes[leader]
    before, term, log = node.memory_bytes(), await term_of(cluster, leader), len(node.log_text())
    yield node
    async with cluster.client(leader) as client:
        with cluster.awaiting("an ordinary client is served", 5):
            assert await client.execute(Concat.run, "still ", "here") == "still here"
    assert node.memory_bytes() - before < GROWTH_BYTES_MAX
    assert await term_of(cluster, leader) == term
    since = node.log_text()[log:]
    assert "LinkDown" not in since
    assert "Traceback" not in since


async def term_of(cluster, number: int) -> int:
    async with cluster.client(number) as client:
        return (await client.status()).groups[0].term


@asynccontextmanager
async def raw(node, *words: bytes):
    """A TCP connection to the node on which these words were said."""
    async with await trio.open_tcp_stream(*parse_address(node.address)) as stream:
        for word in words:
            await stream.send_all(word)
        yield stream


async def read_to_end(stream: trio.SocketStream) -> bytes:
    """What the node still says; fails if it does not close the connection in time."""
    received = b""
    with trio.fail_after(2 * CONNECT_TIMEOUT_SECONDS):
        try:
            async for chunk in stream:
                received += chunk
        except trio.BrokenResourceError:
            pass  # it did not read all of what was thrown at it
    return received


async def reason_of_end(stream: trio.SocketStream) -> framing.Close:
    """How the node closes a WebSocket, with its reason."""
    reader = framing.FrameReader(masked=False, payload_bytes_max=FRAME_BYTES_MAX)
    received = b""
    with trio.fail_after(2 * CONNECT_TIMEOUT_SECONDS):
        async for chunk in stream:
            head_was_read = END_OF_HEAD in received
            received += chunk
            reader.feed(chunk if head_was_read else received.partition(END_OF_HEAD)[2])
            while (item := reader.next()) is not None:
                if isinstance(item, framing.Close):
                    return item
    raise AssertionError(f"closed without a reason: {received!r:.200}")


async def reason_told(connection: Connection) -> str:
    """What the node says when it ends this connection."""
    with trio.fail_after(2 * CONNECT_TIMEOUT_SECONDS):
        try:
            while True:
                await connection.receive()
        except Unavailable as error:
            return str(error)


def hello(**fields: object) -> bytes:
    """A hello in its frame."""
    return framing.binary(records.encode(Hello(**fields)), masked=True)


@pytest.mark.parametrize("length", [HELLO_BYTES_MAX + 1, 2**32 - 1, 2**63 - 1])
async def test_a_f18_hostile_length(victim, length):
    """A-F18: a frame that announces more than a stranger may send is refused by its header."""
    head = struct.pack("!BBQ", 0x82, 0xFF, length) + bytes(4)
    async with raw(victim, UPGRADE, head) as stream:
        end = await reason_of_end(stream)
    assert end.code == TOO_BIG
    assert f"{length} bytes, the limit is {HELLO_BYTES_MAX}" in end.reason


async def test_a_f18_garbage_instead_of_http(victim):
    """A-F18: 50 strangers pour noise into fresh connections: each is closed at once."""
    noise = bytes(range(256)) * 4096

    async def pour() -> None:
        async with raw(victim) as stream:
            with trio.fail_after(CONNECT_TIMEOUT_SECONDS):
                try:
                    await stream.send_all(noise)
                except trio.BrokenResourceError:
                    return
                await read_to_end(stream)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(pour)


@pytest.mark.parametrize(
    "words",
    [
        framing.binary(b"\xff" * 1000, masked=True),
        framing.binary(b"\x81" * 4000, masked=True),  # arrays in arrays in arrays
        framing.binary(b"\x9b" + b"\xff" * 8, masked=True),  # an array of 2^64 - 1 items
        framing.binary(b"\x5b" + b"\xff" * 8, masked=True),  # as many bytes
        framing.binary(cbor2.dumps("hello"), masked=True),
        framing.binary(b"", masked=True),
        b"\x00" * 64,
        b"\xff" * 64,
    ],
    ids=["noise", "nested", "long array", "long bytes", "text", "empty", "zeros", "ones"],
)
async def test_a_f18_garbage_instead_of_hello(victim, words):
    """A-F18: noise behind a WebSocket handshake ends that connection, with a reason."""
    async with raw(victim, UPGRADE, words) as stream:
        assert (await reason_of_end(stream)).reason


@pytest.mark.parametrize(
    "words",
    [
        b"\x81" * 1_000_000,
        b"\x9a\xff\xff\xff\xff" + bytes(1000),
        b"\x9b" + b"\xff" * 8,
        b"\x81\xbb" + b"\xff" * 8,
        b"\x81\xda\x00\x0f\x42\x40\x80",
        cbor2.dumps([cbor2.CBORTag(29, 0)] * 100),
        cbor2.dumps([[200, 1, "s", 1, 0, "not a body"]]),
    ],
    ids=["nested", "many", "long", "long map", "unknown tag", "shared", "no request"],
)
async def test_a_f18_garbage_of_a_greeted_client(victim, words):
    """A-F18: who was let in as a client and then sends what is no request is shown the door, with a
    reason.
    """
    connection = await WebSocketTransport().dial(victim.address)
    await greet(connection, Hello())
    await connection.send(words)
    told = await reason_told(connection)
    assert "closed by the other side: " in told
    assert "no reason" not in told
    assert "internal error" not in told
    await connection.aclose()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"cluster": "another", "node": 2, "role": PEER}, "clusters differ, 'another' and"),
        ({"cluster": "another"}, "clusters differ, 'another' and"),
        ({"node": 9, "role": PEER}, "node 9 is no member"),
        ({"protocol": 99}, "protocol versions differ, 99 and 1"),
    ],
    ids=["peer", "client", "unknown node", "newer protocol"],
)
async def test_a_f18_wrong_hello(victim, fields, text):
    """A hello of another cluster, an unknown node or another protocol is refused, and told why."""
    async with raw(victim, UPGRADE, hello(**fields)) as stream:
        end = await reason_of_end(stream)
    assert text in end.reason


async def test_a_f18_half_handshakes_held_open(cluster, victim):
    """A-F18: 300 connections say nothing, half of HTTP, or all but a hello, and stay. The node
    serves others meanwhile, and closes all of them when their time is over.
    """
    beginnings = [(), (UPGRADE[:40],), (UPGRADE,)]
    async with AsyncExitStack() as stack:
        held = [
            await stack.enter_async_context(raw(victim, *beginnings[number % 3]))
            for number in range(300)
        ]
        async with cluster.client() as client:
            with cluster.awaiting("ordinary work beside them", 3):
                for _ in range(5):
                    assert await client.execute(Concat.run, "a", "b") == "ab"
        ends = [await read_to_end(stream) for stream in held]
    assert all(b"no hello in time" in end for end in ends[2::3])


async def test_a_f18_slow_large_frames(victim):
    """A-F18: 40 greeted clients announce the largest frame each and send a little of it: what is
    held is what was sent, not what was announced.
    """
    announced = struct.pack("!BBQ", 0x82, 0xFF, FRAME_BYTES_MAX) + bytes(4) + bytes(100_000)
    async with AsyncExitStack() as stack:
        for _ in range(40):
            verdict = framing.binary(records.encode(Verdict()), masked=True)
            await stack.enter_async_context(raw(victim, UPGRADE, hello(), verdict, announced))
        before = victim.memory_bytes()
        await trio.sleep(0.2)
        assert victim.memory_bytes() - before < GROWTH_BYTES_MAX
