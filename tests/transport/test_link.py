"""The outbound side of a link."""

from random import Random

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from flowactor.codec import records
from flowactor.errors import (
    ConfigurationError,
    InvalidInput,
    MalformedDataError,
    Refused,
    Unavailable,
)
from flowactor.limits import FRAME_BYTES_MAX, FRAME_BYTES_TARGET, FRAME_MESSAGES_MAX
from flowactor.transport import (
    Backoff,
    Hello,
    MemoryNetwork,
    MemoryTransport,
    Outbox,
    dial_and_greet,
    frames,
    greet,
    keep_connected,
    pump,
)
from flowactor.transport.hello import Verdict


@given(
    seed=st.integers(), low=st.floats(0.001, 1), ratio=st.floats(1, 1000), tries=st.integers(1, 80)
)
def test_delays_double_up_to_the_maximum_with_bounded_jitter(seed, low, ratio, tries) -> None:
    """Each delay lies between half of its exponential and the whole; the same seed repeats it."""
    backoff, twin = (
        Backoff(Random(seed), seconds_min=low, seconds_max=low * ratio) for _ in range(2)
    )
    for number in range(tries):
        longest = min(low * 2.0 ** min(number, 32), low * ratio)
        delay = backoff.next_seconds()
        assert longest / 2 <= delay <= longest
        assert delay == twin.next_seconds()
    backoff.reset()
    assert backoff.next_seconds() <= low


async def test_an_outbox_gives_everything_that_fits_a_frame() -> None:
    """All at once below the target; then as much as fits, and a single giant alone."""
    outbox = Outbox()
    for number in range(10):
        outbox.put(bytes([number]))
    assert await outbox.take() == [bytes([number]) for number in range(10)]
    half = bytes(FRAME_BYTES_TARGET // 2)
    giant = bytes(FRAME_BYTES_TARGET * 2)
    for message in (half, half, b"x", giant, b"y"):
        outbox.put(message)
    assert [len(batch) for batch in [await outbox.take() for _ in range(4)]] == [2, 1, 1, 1]
    statistics = outbox.statistics()
    assert (statistics.messages, statistics.bytes, statistics.taken) == (0, 0, 15)


async def test_a_batch_never_has_more_messages_than_a_frame_may() -> None:
    """Very many tiny messages leave in several batches."""
    outbox = Outbox()
    for _ in range(FRAME_MESSAGES_MAX + 5):
        outbox.put(b"")
    assert len(await outbox.take()) == FRAME_MESSAGES_MAX
    assert len(await outbox.take()) == 5


async def test_an_outbox_refuses_what_no_frame_can_carry() -> None:
    """Its maker gets an error; what waits, and what comes later, does not suffer."""
    outbox = Outbox()
    outbox.put(b"x")
    with pytest.raises(InvalidInput, match=str(FRAME_BYTES_MAX)):
        outbox.put(bytes(FRAME_BYTES_MAX))
    outbox.put(b"y")
    assert await outbox.take() == [b"x", b"y"]


async def test_a_pump_tells_what_has_left() -> None:
    """Each message is told of once, in order, and only after the connection took it."""
    outbox, left, taking = Outbox(), [], trio.Event()

    class Slow:
        async def send(self, frame: bytes) -> None:
            await taking.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump, Slow(), outbox, left.extend)
        for message in (b"\x01", b"\x02", b"\x03"):
            outbox.put(message)
        await trio.testing.wait_all_tasks_blocked()
        assert left == []
        taking.set()
        await trio.testing.wait_all_tasks_blocked()
        assert left == [b"\x01", b"\x02", b"\x03"]
        nursery.cancel_scope.cancel()


async def test_an_outbox_drops_the_oldest_beyond_its_limit() -> None:
    """The newest messages survive, the drops are counted, and the newest survives even if alone."""
    outbox = Outbox(bytes_max=10)
    for number in range(8):
        outbox.put(bytes([number]) * 3)
    assert outbox.statistics().dropped == 5
    assert await outbox.take() == [bytes([number]) * 3 for number in (5, 6, 7)]
    outbox.put(bytes(3))
    outbox.put(bytes(50))
    assert await outbox.take() == [bytes(50)]


async def test_a_waiting_taker_survives_clearing_and_cancelling() -> None:
    """A taker whose messages were cleared meanwhile waits on; a cancelled one took none."""
    outbox = Outbox()
    taken: list[list[bytes]] = []

    async def take() -> None:
        taken.append(await outbox.take())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        outbox.put(b"old")
        outbox.clear()
        await trio.testing.wait_all_tasks_blocked()
        assert taken == []
        outbox.put(b"new")
    assert taken == [[b"new"]]


async def test_the_pump_sends_what_queued_meanwhile_as_one_frame(world) -> None:
    """Messages put while a frame is on its way leave together in the next one."""
    got: list[int] = []
    done = trio.Event()

    async def collect(connection) -> None:
        total = 0
        while total < 1001:
            items = frames.unpack(await connection.receive(), Verdict)
            got.append(len(items))
            total += len(items)
        done.set()

    async with trio.open_nursery() as nursery:
        connection = await world.transport().dial(await world.serve(nursery, collect))
        outbox = Outbox()
        outbox.put(records.encode(Verdict("first")))
        nursery.start_soon(pump, connection, outbox)
        for number in range(1000):
            outbox.put(records.encode(Verdict(str(number))))
        await done.wait()
        nursery.cancel_scope.cancel()
    await connection.aclose()
    assert got == [1001]


class Dials:
    """Connections that fail, or last, as told."""

    def __init__(self, *fates: Exception | float) -> None:
        self.fates = iter(fates)
        self.times: list[float] = []
        self.closed: list[str] = []
        self.downs: list[tuple[str, float]] = []

    async def dial(self) -> "Dials":
        self.times.append(trio.current_time())
        self.fate = next(self.fates, None)
        await trio.lowlevel.checkpoint()
        if isinstance(self.fate, Unavailable | Refused):
            raise self.fate
        return self

    async def run(self, _: "Dials") -> None:
        match self.fate:
            case None:
                await trio.sleep_forever()
            case Exception():
                async with trio.open_nursery():
                    raise self.fate
            case seconds:
                await trio.sleep(seconds)
                raise Unavailable("lost")

    async def aclose(self, reason: str = "") -> None:
        self.closed.append(reason)
        await trio.lowlevel.checkpoint()

    async def keep(self) -> None:
        await keep_connected(
            self.dial,
            self.run,
            Backoff(Random(1), seconds_min=1, seconds_max=8),
            on_down=lambda reason, delay: self.downs.append((reason, delay)),
        )


async def test_a_link_reconnects_with_growing_delays_and_starts_anew_when_stable(
    autojump_clock,
) -> None:
    """Failures double the delay; a connection that lasted resets it, one that flapped does not."""
    dials = Dials(Unavailable("a"), Refused("b"), 0.5, 60.0, Unavailable("c"))
    with trio.move_on_after(500):
        await dials.keep()
    assert [reason for reason, _ in dials.downs] == ["a", "b", "lost", "lost", "c"]
    longest = [1, 2, 4, 1, 2]
    for (_, delay), limit in zip(dials.downs, longest, strict=True):
        assert limit / 2 <= delay <= limit
    assert len(dials.times) == 6


async def test_a_broken_peer_is_told_why_and_tried_again(autojump_clock) -> None:
    """An error inside a nursery of the connection's user closes it with the reason."""
    dials = Dials(MalformedDataError("no array of messages"))
    with trio.move_on_after(5):
        await dials.keep()
    assert dials.closed[0] == "no array of messages"
    assert len(dials.times) == 2


@pytest.mark.parametrize("error", [ConfigurationError("no address"), AssertionError("bug")])
async def test_what_no_retry_can_cure_leaves(error, autojump_clock) -> None:
    """Wrong settings and broken invariants are not hidden by reconnecting."""
    dials = Dials(error)
    with pytest.raises(ExceptionGroup) as caught:
        await dials.keep()
    assert caught.value.subgroup(lambda part: part is error) is not None
    assert len(dials.times) == 1


@pytest.mark.parametrize("how", ["cancelled", "hung up", "refused", "silent"])
async def test_a_greeting_that_fails_leaves_no_connection(nursery, autojump_clock, how) -> None:
    """However a greeting ends without success, the other side sees the connection closed."""
    network, closed = MemoryNetwork(), trio.Event()

    async def answer(connection) -> None:
        if how == "hung up":
            await connection.aclose()
        if how == "refused":
            with pytest.raises(Refused):
                await greet(connection, Hello(), lambda _: "not you")
        try:
            while True:
                await connection.receive()
        except Unavailable:
            closed.set()

    await nursery.start(MemoryTransport(network, "a:1").serve, "a:1", answer)
    with trio.move_on_after(1 if how == "cancelled" else 60) as scope:
        with pytest.raises((Unavailable, Refused)):
            await dial_and_greet(MemoryTransport(network), "a:1", Hello())
    assert scope.cancelled_caught == (how == "cancelled")
    with trio.fail_after(0.1):
        await closed.wait()
