"""What every transport promises (``ports.Transport``, ``ports.Connection``).

``TransportConformance`` is for all, ``BackPressureConformance`` for those whose connections fill
up, ``GuardedTransportConformance`` for those that a node opens to the world.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

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
from flowactor.observability.events import ObservedEvent
from flowactor.ports import Connection, Transport

__all__ = [
    "BackPressureConformance",
    "GuardedTransportConformance",
    "TransportConformance",
    "TransportWorld",
]

Handler = Callable[[Connection], Awaitable[None]]


class TransportWorld(ABC):
    """Where a transport is tested: one network, fresh for each test.

    Attributes:
        address: where a server may listen; port 0 if the transport picks one.
        nobody: an address at which nobody listens.
        observed: what guarded transports told; others leave it empty.
    """

    address: str
    nobody: str

    def __init__(self) -> None:
        self.observed: list[ObservedEvent] = []

    @abstractmethod
    def transport(self, **options: Any) -> Transport:
        """A new transport on this network. ``options`` are given by the guarded suite only:
        ``connections_max``.
        """

    async def settled(self) -> None:
        """Return once nothing is under way any more. Where messages take virtual time, let it
        pass.
        """
        await trio.testing.wait_all_tasks_blocked(0.01)

    async def serve(
        self, nursery: trio.Nursery, handler: Handler, transport: Transport | None = None
    ) -> str:
        """Start a server; returns its address."""
        server = transport or self.transport()

        async def run(task_status: Any) -> None:
            await server.serve(self.address, handler, task_status=task_status)

        address: str = await nursery.start(run)
        return address


async def echo(connection: Connection) -> None:
    """Send back whatever comes, for ever."""
    while True:
        await connection.send(await connection.receive())


class _Suite:
    pytestmark = pytest.mark.trio

    @pytest.fixture
    def world(self) -> TransportWorld:
        """The world of the transport under test: overridden by who uses the suite."""
        raise NotImplementedError("override the fixture `world`")


class TransportConformance(_Suite):
    """Order, size, errors and ends, as every node relies on them."""

    async def test_frames_arrive_whole_and_in_order(self, world: TransportWorld) -> None:
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
    async def test_every_size_up_to_the_limit_travels(
        self, world: TransportWorld, size: int
    ) -> None:
        """Sizes around each change of a WebSocket frame's head, and the largest that flowactor
        sends, arrive unchanged.
        """
        async with trio.open_nursery() as nursery:
            connection = await world.transport().dial(await world.serve(nursery, echo))
            frame = bytes(range(256)) * (size // 256) + bytes(size % 256)
            await connection.send(frame)
            assert await connection.receive() == frame
            await connection.aclose()
            nursery.cancel_scope.cancel()

    async def test_a_frame_beyond_the_limit_is_refused_where_it_is_sent(
        self, world: TransportWorld
    ) -> None:
        """The sender gets a typed error before anything is sent, and the connection goes on."""
        async with trio.open_nursery() as nursery:
            connection = await world.transport().dial(await world.serve(nursery, echo))
            with pytest.raises(InvalidInput, match=str(FRAME_BYTES_MAX)):
                await connection.send(bytes(FRAME_BYTES_MAX + 1))
            await connection.send(b"still here")
            assert await connection.receive() == b"still here"
            await connection.aclose()
            nursery.cancel_scope.cancel()

    async def test_the_reason_of_a_close_reaches_the_other_side(
        self, world: TransportWorld
    ) -> None:
        """Whichever side closes: the other reads what was sent before, then the reason; here and
        there nothing goes on; closing again does nothing.
        """
        heard: list[Unavailable] = []

        async def listen(connection: Connection) -> None:
            assert await connection.receive() == b"first"
            with pytest.raises(Unavailable, match="closed by the other side: going home") as caught:
                await connection.receive()
            heard.append(caught.value)

        async def close(connection: Connection) -> None:
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
                await world.settled()
                nursery.cancel_scope.cancel()
        assert [error.outcome_unknown for error in heard] == [True, True]
        assert world.observed == []

    async def test_a_reason_of_any_length_and_script_is_cut_to_fit(
        self, world: TransportWorld
    ) -> None:
        """A long reason in a script of several bytes a letter is cut between letters."""

        async def close(connection: Connection) -> None:
            await connection.aclose("я" * 500)

        async with trio.open_nursery() as nursery:
            connection = await world.transport().dial(await world.serve(nursery, close))
            with pytest.raises(Unavailable, match="я" * 60):
                await connection.receive()
            await connection.aclose()
            nursery.cancel_scope.cancel()

    async def test_a_connection_whose_handler_returns_is_closed(
        self, world: TransportWorld
    ) -> None:
        """The other side is told at once; nothing hangs."""

        async def leave(connection: Connection) -> None:
            await connection.receive()

        async with trio.open_nursery() as nursery:
            connection = await world.transport().dial(await world.serve(nursery, leave))
            await connection.send(b"x")
            with pytest.raises(Unavailable, match="closed by the other side"):
                await connection.receive()
            await connection.aclose()
            nursery.cancel_scope.cancel()

    async def test_both_sides_have_a_name_for_the_other(self, world: TransportWorld) -> None:
        """``remote`` is a text for people; the dialling side sees the address it dialled."""
        names: list[str] = []

        async def note(connection: Connection) -> None:
            names.append(connection.remote)
            await connection.receive()

        async with trio.open_nursery() as nursery:
            address = await world.serve(nursery, note)
            connection = await world.transport().dial(address)
            assert connection.remote == address
            await connection.send(b"x")
            with pytest.raises(Unavailable):
                await connection.receive()
            await connection.aclose()
            nursery.cancel_scope.cancel()
        assert len(names) == 1
        assert names[0]

    async def test_dialling_nobody_is_unavailable(self, world: TransportWorld) -> None:
        """Nobody there: a typed error with the address, safe to retry, and nothing happened."""
        with pytest.raises(Unavailable, match=f"cannot connect to {world.nobody}") as caught:
            await world.transport().dial(world.nobody)
        assert caught.value.retry_is_safe
        assert not caught.value.outcome_unknown

    async def test_an_address_in_use_is_a_wrong_setting(self, world: TransportWorld) -> None:
        """The second server on one address gets one clear line."""
        async with trio.open_nursery() as nursery:
            address = await world.serve(nursery, echo)
            with pytest.raises(ConfigurationError, match=f"cannot listen on {address}: another"):
                await world.transport().serve(address, echo, task_status=trio.TASK_STATUS_IGNORED)
            nursery.cancel_scope.cancel()

    async def test_a_cancelled_receive_loses_nothing(self, world: TransportWorld) -> None:
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

    async def test_many_connections_at_once(self, world: TransportWorld) -> None:
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

    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (Refused("not you"), "not you"),
            (ValueError("secret detail"), "internal error"),
            (ExceptionGroup("nursery", [Refused("in a group")]), "in a group"),
        ],
    )
    async def test_a_handlers_error_is_its_own(
        self, world: TransportWorld, error: Exception, told: str
    ) -> None:
        """The connection ends with a reason (no inside story for unexpected errors), and the server
        serves on.
        """
        await _stumble(world, error, told)

    async def test_a_server_that_stops_ends_its_connections(self, world: TransportWorld) -> None:
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


async def _stumble(world: TransportWorld, error: Exception, told: str) -> None:
    """The first connection's handler raises ``error``, and its client is ``told``; the next one is
    served.
    """
    first = True

    async def handle(connection: Connection) -> None:
        nonlocal first
        if first:
            first = False
            raise error
        await echo(connection)

    async with trio.open_nursery() as nursery:
        address = await world.serve(nursery, handle)
        connection = await world.transport().dial(address)
        with pytest.raises(Unavailable, match=told):
            await connection.receive()
        await connection.aclose()
        connection = await world.transport().dial(address)
        await connection.send(b"x")
        assert await connection.receive() == b"x"
        await connection.aclose()
        nursery.cancel_scope.cancel()


class BackPressureConformance(_Suite):
    """For transports in which a connection that nobody reads fills up, as those of networks do."""

    async def test_sends_of_many_tasks_do_not_mix(self, world: TransportWorld) -> None:
        """Large frames sent by several tasks at once each arrive whole."""
        got: list[bytes] = []
        done = trio.Event()

        async def collect(connection: Connection) -> None:
            while len(got) < 8:
                got.append(await connection.receive())
            done.set()

        async with trio.open_nursery() as nursery:
            address = await world.serve(nursery, collect)
            connection = await world.transport().dial(address)
            frames = [bytes([number]) * 3_000_000 for number in range(8)]
            async with trio.open_nursery() as senders:
                for frame in frames:
                    senders.start_soon(connection.send, frame)
            await done.wait()
            await connection.aclose()
            nursery.cancel_scope.cancel()
        assert sorted(got) == frames

    async def test_a_peer_that_does_not_read_blocks_only_its_own_senders(
        self, world: TransportWorld
    ) -> None:
        """Sending to a half-dead peer waits once its buffers are full, so memory is bounded; others
        go on, and the sender can be cancelled and the connection closed.
        """
        sent = 0

        async def deaf(connection: Connection) -> None:
            if await connection.receive() == b"deaf":
                await trio.sleep_forever()
            await echo(connection)

        async def flood(connection: Connection) -> None:
            nonlocal sent
            while True:
                await connection.send(bytes(1_000_000))
                sent += 1

        async with trio.open_nursery() as nursery:
            address = await world.serve(nursery, deaf)
            stuck = await world.transport().dial(address)
            await stuck.send(b"deaf")
            async with trio.open_nursery() as flooding:
                flooding.start_soon(flood, stuck)
                await world.settled()
                assert sent < 50
                other = await world.transport().dial(address)
                for _ in range(10):
                    await other.send(b"alive")
                await other.aclose()
                flooding.cancel_scope.cancel()
            await stuck.aclose("given up")
            nursery.cancel_scope.cancel()

    async def test_what_was_read_makes_room_again(self, world: TransportWorld) -> None:
        """After much has gone through, a peer that pauses still has its whole window."""
        done = trio.Event()

        async def read_then_pause(connection: Connection) -> None:
            for _ in range(100):
                await connection.receive()
            done.set()
            await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            address = await world.serve(nursery, read_then_pause)
            connection = await world.transport().dial(address)
            for _ in range(100):
                await connection.send(bytes(100_000))
            await done.wait()
            with trio.fail_after(5):
                for _ in range(5):
                    await connection.send(bytes(10_000))
            nursery.cancel_scope.cancel()
        await connection.aclose()


class GuardedTransportConformance(_Suite):
    """For transports that a node opens to the world: they refuse what is too much, and tell it to
    ``world.observed``. Their connections have a ``frame_bytes_max``.
    """

    async def test_a_frame_beyond_the_receivers_limit_ends_that_connection_only(
        self, world: TransportWorld
    ) -> None:
        """The receiver raises, the sender reads why, and the server serves on."""
        errors: list[Exception] = []

        async def picky(connection: Any) -> None:
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
            await world.settled()
            assert len(errors) == 1
            second = await transport.dial(address)
            await second.send(b"hello")
            assert await second.receive() == b"hello"
            await second.aclose()
            nursery.cancel_scope.cancel()

    @pytest.mark.parametrize(
        ("error", "told", "observed"),
        [
            (Refused("not you"), "not you", "not you"),
            (ValueError("secret detail"), "internal error", "secret detail"),
            (ExceptionGroup("nursery", [Refused("in a group")]), "in a group", "in a group"),
        ],
    )
    async def test_a_handlers_error_is_observed(
        self, world: TransportWorld, error: Exception, told: str, observed: str
    ) -> None:
        """Who runs the node learns the whole error, once; the other side only what concerns it."""
        await _stumble(world, error, told)
        assert [observed in getattr(event, "reason", "") for event in world.observed] == [True]

    async def test_connections_beyond_the_limit_are_turned_away(
        self, world: TransportWorld
    ) -> None:
        """One too many gets ``Unavailable`` with the reason; when one leaves there is room."""
        server = world.transport(connections_max=2)
        async with trio.open_nursery() as nursery:
            address = await world.serve(nursery, echo, server)
            transport = world.transport()
            first, second = await transport.dial(address), await transport.dial(address)
            with pytest.raises(Unavailable, match=r"takes no more connections: .*limit"):
                await transport.dial(address)
            await first.aclose()
            await world.settled()
            third = await transport.dial(address)
            for connection in (second, third):
                await connection.send(b"x")
                assert await connection.receive() == b"x"
                await connection.aclose()
            nursery.cancel_scope.cancel()
        assert len(world.observed) == 1
