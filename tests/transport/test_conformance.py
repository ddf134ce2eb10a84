"""What every transport promises. A new one joins by a line in ``conftest.World``."""

import pytest
import trio
import trio.testing

from flowactor.errors import (
    ConfigurationError,
    InvalidInput,
    MalformedDataError,
    Refused,
    Unavailable,
)
from flowactor.limits import FRAME_BYTES_MAX
from flowactor.ports import Connection


async def echo(connection: Connection) -> None:
    while True:
        await connection.send(await connection.receive())


async def test_frames_arrive_whole_and_in_order(world) -> None:
    """A thousand frames of many sizes come back as they were sent, both ways at once."""
    frames = [bytes([number % 256]) * (number * 37 % 5000) for number in range(1000)]
    async with trio.open_nursery() as nursery:
        connection = await world.transport().dial(await world.serve(nursery, echo))

        async def write() -> None:
            for frame in frames:
                await connection.send(frame)

        nursery.start_soon(write)
        for frame in frames:
            assert await connection.receive() == frame
        await connection.aclose()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 1_000_000, FRAME_BYTES_MAX])
async def test_every_size_up_to_the_limit_travels(world, size: int) -> None:
    """Sizes around each change of the frame's head, and the largest, arrive unchanged."""
    async with trio.open_nursery() as nursery:
        connection = await world.transport().dial(await world.serve(nursery, echo))
        frame = bytes(range(256)) * (size // 256) + bytes(size % 256)
        await connection.send(frame)
        assert await connection.receive() == frame
        await connection.aclose()
        nursery.cancel_scope.cancel()


async def test_a_frame_beyond_the_limit_is_refused_where_it_is_sent(world) -> None:
    """The sender gets a typed error before anything is sent, and the connection goes on."""
    async with trio.open_nursery() as nursery:
        connection = await world.transport().dial(await world.serve(nursery, echo))
        with pytest.raises(InvalidInput, match=str(FRAME_BYTES_MAX)):
            await connection.send(bytes(FRAME_BYTES_MAX + 1))
        await connection.send(b"still here")
        assert await connection.receive() == b"still here"
        await connection.aclose()
        nursery.cancel_scope.cancel()


async def test_a_frame_beyond_the_receivers_limit_ends_that_connection_only(world) -> None:
    """The receiver raises, the sender reads why, and the server serves on."""
    errors: list[Exception] = []

    async def picky(connection) -> None:
        connection.frame_bytes_max = 10
        try:
            await echo(connection)
        except MalformedDataError as error:
            errors.append(error)
            raise

    async with trio.open_nursery() as nursery:
        address = await world.serve(nursery, picky)
        transport = world.transport()
        connection = await transport.dial(address)
        await connection.send(bytes(100_000))
        with pytest.raises(Unavailable, match="100000 bytes, the limit is 10"):
            await connection.receive()
        await connection.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(errors) == 1
        second = await transport.dial(address)
        await second.send(b"hello")
        assert await second.receive() == b"hello"
        await second.aclose()
        nursery.cancel_scope.cancel()


async def test_the_reason_of_a_close_reaches_the_other_side(world) -> None:
    """Whichever side closes: the other reads what was sent before, then the reason."""
    heard: list[str] = []

    async def listen(connection) -> None:
        assert await connection.receive() == b"first"
        with pytest.raises(Unavailable, match="closed by the other side: going home") as caught:
            await connection.receive()
        heard.append(str(caught.value))
        assert caught.value.outcome_unknown

    async def close(connection) -> None:
        await connection.send(b"first")
        await connection.aclose("going home")
        await connection.aclose("again")
        with pytest.raises(Unavailable, match="closed by this side"):
            await connection.receive()
        with pytest.raises(Unavailable, match="closed by this side"):
            await connection.send(b"more")

    for client, server in ((listen, close), (close, listen)):
        async with trio.open_nursery() as nursery:
            connection = await world.transport().dial(await world.serve(nursery, server))
            await client(connection)
            await connection.aclose()
            await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.cancel_scope.cancel()
    assert len(heard) == 2
    assert world.observed == []


async def test_a_reason_of_any_length_and_script_is_cut_to_fit(world) -> None:
    """A long reason in a script of several bytes a letter is cut between letters."""

    async def close(connection) -> None:
        await connection.aclose("я" * 500)

    async with trio.open_nursery() as nursery:
        connection = await world.transport().dial(await world.serve(nursery, close))
        with pytest.raises(Unavailable, match="я" * 60):
            await connection.receive()
        await connection.aclose()
        nursery.cancel_scope.cancel()


async def test_a_connection_whose_handler_returns_is_closed(world) -> None:
    """The other side is told at once; nothing hangs."""

    async def leave(connection) -> None:
        await connection.receive()

    async with trio.open_nursery() as nursery:
        connection = await world.transport().dial(await world.serve(nursery, leave))
        await connection.send(b"x")
        with pytest.raises(Unavailable, match="closed by the other side"):
            await connection.receive()
        await connection.aclose()
        nursery.cancel_scope.cancel()


async def test_dialling_nobody_is_unavailable(world) -> None:
    """Nobody there: a typed error with the address, safe to retry, and nothing happened."""
    with pytest.raises(Unavailable, match=f"cannot connect to {world.nobody}") as caught:
        await world.transport().dial(world.nobody)
    assert caught.value.retry_is_safe
    assert not caught.value.outcome_unknown


async def test_an_address_in_use_is_a_wrong_setting(world) -> None:
    """The second server on one address gets one clear line."""
    async with trio.open_nursery() as nursery:
        address = await world.serve(nursery, echo)
        with pytest.raises(ConfigurationError, match=f"cannot listen on {address}: another"):
            await world.transport().serve(address, echo)
        nursery.cancel_scope.cancel()


async def test_a_cancelled_receive_loses_nothing(world) -> None:
    """Frames that come while nobody receives, or to somebody who gives up, stay in order."""
    async with trio.open_nursery() as nursery:
        connection = await world.transport().dial(await world.serve(nursery, echo))
        with trio.CancelScope() as scope:
            scope.cancel()
            await connection.receive()
        async with trio.open_nursery() as inner:
            inner.start_soon(connection.receive)
            await trio.testing.wait_all_tasks_blocked()
            inner.cancel_scope.cancel()
        for number in range(10):
            await connection.send(bytes([number]) * 30_000)
            with trio.CancelScope() as scope:
                scope.cancel()
                await connection.receive()
        for number in range(10):
            assert await connection.receive() == bytes([number]) * 30_000
        await connection.aclose()
        nursery.cancel_scope.cancel()


async def test_many_connections_at_once(world) -> None:
    """Fifty connections echo side by side, each its own frames."""

    async def talk(address: str, number: int) -> None:
        connection = await world.transport().dial(address)
        for round_ in range(5):
            frame = f"{number}.{round_}".encode()
            await connection.send(frame)
            assert await connection.receive() == frame
        await connection.aclose()

    async with trio.open_nursery() as nursery:
        address = await world.serve(nursery, echo)
        async with trio.open_nursery() as talkers:
            for number in range(50):
                talkers.start_soon(talk, address, number)
        nursery.cancel_scope.cancel()


async def test_sends_of_many_tasks_do_not_mix(bounded_world) -> None:
    """Large frames sent by several tasks at once each arrive whole."""
    got: list[bytes] = []
    done = trio.Event()

    async def collect(connection) -> None:
        while len(got) < 8:
            got.append(await connection.receive())
        done.set()

    async with trio.open_nursery() as nursery:
        address = await bounded_world.serve(nursery, collect)
        connection = await bounded_world.transport().dial(address)
        frames = [bytes([number]) * 3_000_000 for number in range(8)]
        async with trio.open_nursery() as senders:
            for frame in frames:
                senders.start_soon(connection.send, frame)
        await done.wait()
        await connection.aclose()
        nursery.cancel_scope.cancel()
    assert sorted(got) == frames


async def test_a_peer_that_does_not_read_blocks_only_its_own_senders(bounded_world) -> None:
    """Sending to a half-dead peer waits once its buffers are full, so memory is bounded; others
    go on, and the sender can be cancelled and the connection closed."""
    sent = 0

    async def deaf(connection) -> None:
        if await connection.receive() == b"deaf":
            await trio.sleep_forever()
        await echo(connection)

    async def flood(connection) -> None:
        nonlocal sent
        while True:
            await connection.send(bytes(1_000_000))
            sent += 1

    async with trio.open_nursery() as nursery:
        address = await bounded_world.serve(nursery, deaf)
        stuck = await bounded_world.transport().dial(address)
        await stuck.send(b"deaf")
        async with trio.open_nursery() as flooding:
            flooding.start_soon(flood, stuck)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert sent < 50
            other = await bounded_world.transport().dial(address)
            for _ in range(10):
                await other.send(b"alive")
            await other.aclose()
            flooding.cancel_scope.cancel()
        await stuck.aclose("given up")
        nursery.cancel_scope.cancel()


async def test_what_was_read_makes_room_again(bounded_world) -> None:
    """After much has gone through, a peer that pauses still has its whole window."""
    done = trio.Event()

    async def read_then_pause(connection) -> None:
        for _ in range(100):
            await connection.receive()
        done.set()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        address = await bounded_world.serve(nursery, read_then_pause)
        connection = await bounded_world.transport().dial(address)
        for _ in range(100):
            await connection.send(bytes(100_000))
        await done.wait()
        with trio.fail_after(5):
            for _ in range(5):
                await connection.send(bytes(10_000))
        nursery.cancel_scope.cancel()
    await connection.aclose()


@pytest.mark.parametrize(
    ("error", "told", "observed"),
    [
        (Refused("not you"), "not you", "not you"),
        (ValueError("secret detail"), "internal error", "secret detail"),
        (ExceptionGroup("nursery", [Refused("in a group")]), "in a group", "in a group"),
    ],
)
async def test_a_handlers_error_is_its_own(world, error, told: str, observed: str) -> None:
    """The connection ends with a reason (no inside story for unexpected errors), the fault is
    observed, and the server serves on."""
    first = True

    async def stumble(connection) -> None:
        nonlocal first
        if first:
            first = False
            raise error
        await echo(connection)

    async with trio.open_nursery() as nursery:
        address = await world.serve(nursery, stumble)
        connection = await world.transport().dial(address)
        with pytest.raises(Unavailable, match=told):
            await connection.receive()
        await connection.aclose()
        connection = await world.transport().dial(address)
        await connection.send(b"x")
        assert await connection.receive() == b"x"
        await connection.aclose()
        nursery.cancel_scope.cancel()
    assert len(world.observed) == 1
    assert observed in world.observed[0].reason


async def test_connections_beyond_the_limit_are_turned_away(world) -> None:
    """One too many gets ``Unavailable`` with the reason; when one leaves there is room again."""
    server = world.transport(connections_max=2)
    async with trio.open_nursery() as nursery:
        address = await world.serve(nursery, echo, server)
        transport = world.transport()
        first, second = await transport.dial(address), await transport.dial(address)
        with pytest.raises(Unavailable, match=r"takes no more connections: .*limit"):
            await transport.dial(address)
        await first.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        third = await transport.dial(address)
        for connection in (second, third):
            await connection.send(b"x")
            assert await connection.receive() == b"x"
            await connection.aclose()
        nursery.cancel_scope.cancel()
    assert len(world.observed) == 1


async def test_a_server_that_stops_ends_its_connections(world) -> None:
    """Cancelling ``serve`` frees the address and ends all connections, without leftovers."""
    async with trio.open_nursery() as nursery:
        address = await world.serve(nursery, echo)
        connection = await world.transport().dial(address)
        await connection.send(b"x")
        assert await connection.receive() == b"x"
        nursery.cancel_scope.cancel()
    with pytest.raises(Unavailable):
        await connection.receive()
    await connection.aclose()
    with pytest.raises(Unavailable):
        await world.transport().dial(address)
