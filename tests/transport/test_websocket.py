"""The WebSocket transport against strangers: raw bytes, other implementations, silence."""

import socket
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing
import trio_websocket

from flowactor.errors import ConfigurationError, MalformedDataError, Refused, Unavailable
from flowactor.limits import CONNECT_TIMEOUT_SECONDS, FRAME_BYTES_MAX
from flowactor.transport import WebSocketTransport, format_address, framing, parse_address

UPGRADE = (
    b"GET /flowactor HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def echo(connection) -> None:
    while True:
        await connection.send(await connection.receive())


async def read_to_end(stream: trio.abc.Stream) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def assert_healthy(world, address: str) -> None:
    """The server still serves others."""
    connection = await world.transport().dial(address)
    await connection.send(b"x")
    assert await connection.receive() == b"x"
    await connection.aclose()


async def open_raw(world, address: str) -> trio.abc.Stream:
    network = world.transport()._network
    return await network.open_stream(*parse_address(address))


@asynccontextmanager
async def foreign_client(address: str):
    """A client of another implementation, on a stream that is closed whatever happens (its own
    ``open_websocket`` leaves the socket open if the server closes first)."""
    host, port = parse_address(address)
    async with await trio.open_tcp_stream(host, port) as stream, trio.open_nursery() as nursery:
        yield await trio_websocket.wrap_client_stream(nursery, stream, host, "/")
        nursery.cancel_scope.cancel()


@pytest.fixture(params=["streams_world", "tcp_world"])
def wire_world(request):
    """A world in which there are bytes."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (b"\x82\xff" + (2**32 - 1).to_bytes(8), 1009, b"4294967295 bytes, the limit is"),
        (b"\x82\xff" + bytes([0x7F] * 8) + bytes(100_000), 1009, b"the limit is"),
        (b"\x00garbage that is no frame", 1002, b"masks not its frames"),
        (b"\x81\x85\x00\x00\x00\x00hello", 1003, b"only binary"),
        (b"\xff" * 1000, 1002, b"extensions"),
    ],
)
async def test_hostile_frames_are_answered_with_a_reason(wire_world, words, code, reason) -> None:
    """A length of 2^32-1, garbage, text: that connection is closed and told why, at once and
    without storing what was announced; the server serves on (A-F18)."""
    async with trio.open_nursery() as nursery:
        address = await wire_world.serve(nursery, echo)
        stream = await open_raw(wire_world, address)
        async with stream:
            await stream.send_all(UPGRADE)
            answer = await stream.receive_some()
            assert answer.startswith(b"HTTP/1.1 101 ")
            await stream.send_all(words)
            if isinstance(stream, trio.abc.HalfCloseableStream):
                await stream.send_eof()
            rest = answer.partition(b"\r\n\r\n")[2] + await read_to_end(stream)
        assert rest[0] == 0x88
        assert int.from_bytes(rest[2:4]) == code
        assert reason in rest
        await assert_healthy(wire_world, address)
        nursery.cancel_scope.cancel()
    assert len(wire_world.observed) == 1


@pytest.mark.parametrize(
    "words",
    [
        b"\x16\x03\x01\x02\x00 this is a TLS hello\r\n\r\n",
        bytes(100_000),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50_000,
    ],
)
async def test_who_speaks_no_websocket_is_closed_at_once(wire_world, words) -> None:
    """Garbage, plain HTTP or an endless head: closed without waiting, observed, server healthy."""
    async with trio.open_nursery() as nursery:
        address = await wire_world.serve(nursery, echo)
        stream = await open_raw(wire_world, address)
        async with stream:
            try:
                await stream.send_all(words)
                await read_to_end(stream)
            except trio.BrokenResourceError:
                pass  # unread bytes make the kernel hang up the hard way
        await assert_healthy(wire_world, address)
        nursery.cancel_scope.cancel()
    assert len(wire_world.observed) == 1


@pytest.mark.parametrize("cut", [1, *range(len(UPGRADE) - 5, len(UPGRADE) + 8)])
async def test_a_handshake_cut_anywhere_keeps_every_byte(streams_world, cut: int) -> None:
    """The head may come in pieces, and the first frames right behind it: none of it is lost."""
    words = UPGRADE + framing.binary(b"first", masked=True) + framing.binary(b"next", masked=True)
    async with trio.open_nursery() as nursery:
        address = await streams_world.serve(nursery, echo)
        stream = await open_raw(streams_world, address)
        await stream.send_all(words[:cut])
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(words[cut:])
        await trio.testing.wait_all_tasks_blocked()
        answer = await stream.receive_some()
        assert answer.endswith(b"\r\n\r\n\x82\x05first\x82\x04next")
        await stream.aclose()
        nursery.cancel_scope.cancel()


async def test_hanging_up_in_the_handshake_is_noticed(wire_world) -> None:
    """Half a head, then the end: no task waits for the rest."""
    async with trio.open_nursery() as nursery:
        address = await wire_world.serve(nursery, echo)
        stream = await open_raw(wire_world, address)
        await stream.send_all(UPGRADE[:50])
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert "hung up during the handshake" in wire_world.observed[0].reason
        nursery.cancel_scope.cancel()


async def test_silence_instead_of_a_handshake_times_out(streams_world, autojump_clock) -> None:
    """Both a silent client and a silent server are given up after the connect time-out."""
    async with trio.open_nursery() as nursery:
        address = await streams_world.serve(nursery, echo)
        stream = await open_raw(streams_world, address)
        assert await read_to_end(stream) == b""
        assert trio.current_time() == CONNECT_TIMEOUT_SECONDS
        assert "no WebSocket handshake within 5 s" in streams_world.observed[0].reason
        streams_world.pairs.silent = True
        with pytest.raises(Unavailable, match="did not answer within 5 s") as caught:
            await streams_world.transport().dial(address)
        assert not caught.value.outcome_unknown
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot\x1bhere\n",
            Refused,
            "answers the WebSocket handshake with 404: not.here",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Refused, "with 200"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", MalformedDataError, "is it a flowactor node"),
        (b"HTTP/1.1 101 Fine\r\nUpgrade: tea\r\n\r\n", MalformedDataError, "does not speak"),
        (b"", Unavailable, "hung up during the handshake"),
        (b"HTTP/1.1 101 ", Unavailable, "hung up during the handshake"),
    ],
)
async def test_dialling_something_else_says_so(tcp_world, answer, error, text) -> None:
    """A web server, another protocol or a premature end each get an error a person can use."""

    async def server(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        if answer:
            await stream.send_all(answer)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, server, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        with pytest.raises(error, match=text):
            await tcp_world.transport().dial(f"127.0.0.1:{port}")
        nursery.cancel_scope.cancel()


async def test_a_trio_websocket_client_is_served(tcp_world) -> None:
    """Another implementation connects, is answered, pings, closes: as the protocol says."""
    async with trio.open_nursery() as nursery:
        async with foreign_client(await tcp_world.serve(nursery, echo)) as client:
            for size in (0, 5, 200, 70_000):
                await client.send_message(bytes(size))
                assert await client.get_message() == bytes(size)
            await client.ping(b"hello?")
            await client.send_message("text")
            with pytest.raises(trio_websocket.ConnectionClosed) as caught:
                await client.get_message()
            assert caught.value.reason.code == 1003
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    assert "only binary" in tcp_world.observed[0].reason


async def test_a_too_large_message_is_refused_while_it_is_sent(tcp_world) -> None:
    """A client of another implementation that sends too much reads the code and the reason."""
    async with trio.open_nursery() as nursery:
        async with foreign_client(await tcp_world.serve(nursery, echo)) as client:
            with pytest.raises(trio_websocket.ConnectionClosed):  # noqa: PT012  # whichever first
                await client.send_message(bytes(FRAME_BYTES_MAX + 1))
                await client.get_message()
            assert client.closed.code == 1009
            assert "the limit is" in client.closed.reason
        nursery.cancel_scope.cancel()


async def test_a_trio_websocket_server_is_understood(tcp_world) -> None:
    """Our client talks to another implementation, also when its first frame comes with the
    handshake, and reads its reason."""

    async def serve(request) -> None:
        server = await request.accept()
        await server.send_message(b"welcome")
        await server.send_message(await server.get_message())
        await server.aclose(1001, "tea time")

    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(trio_websocket.serve_websocket, serve, "127.0.0.1", 0, None)
        )
        connection = await tcp_world.transport().dial(f"127.0.0.1:{server.port}")
        assert await connection.receive() == b"welcome"
        await connection.send(bytes(70_000))
        assert await connection.receive() == bytes(70_000)
        with pytest.raises(Unavailable, match="tea time"):
            await connection.receive()
        await connection.aclose()
        nursery.cancel_scope.cancel()


async def test_a_send_cut_short_ends_the_connection(tcp_world) -> None:
    """After half a frame nothing more may be sent, or the other side would read nonsense."""
    got: list[bytes] = []
    go = trio.Event()

    async def collect(connection) -> None:
        await go.wait()
        while True:
            got.append(await connection.receive())

    async with trio.open_nursery() as nursery:
        connection = await tcp_world.transport().dial(await tcp_world.serve(nursery, collect))
        async with trio.open_nursery() as sending:
            sending.start_soon(connection.send, bytes(FRAME_BYTES_MAX))
            await trio.testing.wait_all_tasks_blocked(0.01)
            sending.cancel_scope.cancel()
        with pytest.raises(Unavailable):
            await connection.send(b"more")
        go.set()
        await connection.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    assert got == []


async def test_closing_under_a_reader_wakes_it(tcp_world) -> None:
    """Another task that waits in ``receive`` gets ``Unavailable`` when this side closes."""
    woken: list[str] = []

    async def wait(connection) -> None:
        with pytest.raises(Unavailable) as caught:
            await connection.receive()
        woken.append(str(caught.value))

    async with trio.open_nursery() as nursery:
        connection = await tcp_world.transport().dial(await tcp_world.serve(nursery, echo))
        async with trio.open_nursery() as waiting:
            waiting.start_soon(wait, connection)
            await trio.testing.wait_all_tasks_blocked()
            await connection.aclose()
        nursery.cancel_scope.cancel()
    assert len(woken) == 1
    assert "closed by this side" in woken[0]


async def test_ipv6_addresses_have_brackets(tcp_world) -> None:
    """``[::1]:0`` is listened on, reported and dialled."""
    tcp_world.address = "[::1]:0"
    async with trio.open_nursery() as nursery:
        try:
            address = await tcp_world.serve(nursery, echo)
        except ConfigurationError as error:
            pytest.skip(f"no IPv6 here: {error}")
        assert address.startswith("[::1]:")
        await assert_healthy(tcp_world, address)
        nursery.cancel_scope.cancel()


async def test_small_frames_leave_at_once_and_silence_is_bounded(tcp_world) -> None:
    """Sockets have no Nagle delay, and do not wait a quarter of an hour for a dead peer."""
    async with trio.open_nursery() as nursery:
        connection = await tcp_world.transport().dial(await tcp_world.serve(nursery, echo))
        sock = connection._stream.socket
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if option := getattr(socket, "TCP_USER_TIMEOUT", None):
            milliseconds = sock.getsockopt(socket.IPPROTO_TCP, option)
            assert milliseconds == CONNECT_TIMEOUT_SECONDS * 1000
        await connection.aclose()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "address",
    ["", "host", "host:", "host:port", "host:65536", "host:-1", "::1:7400", "[host:7", "h:٣", ":7"],
)
async def test_a_wrong_address_is_a_wrong_setting(address: str) -> None:
    """What is no ``HOST:PORT`` is refused with an example, before anything is opened."""
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        await WebSocketTransport().dial(address)


@pytest.mark.parametrize("address", ["host:1", "127.0.0.1:65535", "[::1]:7400", ":0"])
def test_addresses_are_written_as_they_are_read(address: str) -> None:
    """Parsing and formatting are inverse to each other."""
    assert format_address(*parse_address(address)) == address


@pytest.mark.parametrize(
    ("host", "reason"), [("127.0.0.1", "Connection refused"), ("no-such-host.invalid", "[A-Z].*")]
)
async def test_the_address_is_named_once(host: str, reason: str) -> None:
    """Whatever is wrong with it: the plain reason follows, without the address in other words."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"{host}:{taken.getsockname()[1]}"
        with pytest.raises(Unavailable, match=f"^cannot connect to {address}: {reason}$") as caught:
            await WebSocketTransport().dial(address)
    assert str(caught.value).count(host) == 1


async def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    """The error says in one line what is wrong with the setting."""
    with pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1:0: .*address"):
        await WebSocketTransport().serve("192.0.2.1:0", echo)
