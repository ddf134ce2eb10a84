"""What each fault does to connections. Time is virtual; a connection holds 5 s of silence."""

import errno
import math

import pytest
import trio
import trio.testing

from flowactor.simulation.faults import (
    Block,
    Duplicate,
    Loss,
    Partition,
    Reorder,
    Reset,
    SlowLink,
)
from flowactor.simulation.network import host_of

SILENCE = 5.0


async def broken(stream: trio.abc.Stream, number: int = errno.ETIMEDOUT) -> None:
    """Read until it breaks, for the expected reason."""

    async def read_to_end() -> None:
        while await stream.receive_some():
            pass

    with pytest.raises(trio.BrokenResourceError) as caught:
        await read_to_end()
    assert caught.value.__cause__.errno == number


async def reads(stream: trio.abc.Stream, expected: bytes) -> None:
    data = b""
    while len(data) < len(expected):
        chunk = await stream.receive_some()
        assert chunk
        data += chunk
    assert data == expected


@pytest.mark.parametrize("seconds", [0.1, 0.3, 1.0, 2.9, 4.9])
async def test_a_block_holds_back_and_loses_nothing(lab, autojump_clock, seconds: float) -> None:
    """What was sent into a block, and after it, arrives in order with a retransmission: at 0.2,
    0.6, 1.4 or 3.0 s, or at the latest when the silence would have been too long."""
    ours, theirs = await lab.join(1, 2)
    block = Block(1, 2, at=0)
    begun = lab.now
    lab.network.begin(block)
    await ours.send_all(b"one ")
    await trio.sleep(seconds)
    lab.network.end(block)
    await ours.send_all(b"two")
    await reads(theirs, b"one two")
    retries = [0.2, 0.6, 1.4, 3.0, SILENCE]
    expected = min(retry for retry in retries if retry > seconds)
    assert lab.now - begun == pytest.approx(expected, abs=0.03)


async def test_a_long_block_breaks_the_sender_first(lab, autojump_clock) -> None:
    """Five seconds after what was sent in vain the sender's end times out; the other side asks for
    a sign of life before it gives up, or is told once the block is over."""
    for heals in (True, False):
        ours, theirs = await lab.join(1, 2)
        block = Block(1, 2, at=0)
        begun = lab.now
        lab.network.begin(block)
        await ours.send_all(b"into the void")
        await broken(ours)
        assert lab.now - begun == pytest.approx(SILENCE, abs=0.03)
        if heals:
            lab.network.end(block)
            await broken(theirs, errno.ECONNRESET)
        else:
            await broken(theirs)
            assert lab.now - begun == pytest.approx(2 * SILENCE, abs=0.03)
            lab.network.end(block)


async def test_one_way_is_enough_to_end_a_connection(lab, autojump_clock) -> None:
    """With only the way back blocked data arrives, but the sender cannot know that."""
    ours, theirs = await lab.join(1, 2)
    begun = lab.now
    lab.network.begin(Block(2, 1, at=0))
    await ours.send_all(b"heard")
    await reads(theirs, b"heard")
    assert lab.now - begun < 0.05
    await trio.sleep(2)
    await ours.send_all(b", and more")
    await reads(theirs, b", and more")
    await broken(ours)
    assert lab.now - begun == pytest.approx(SILENCE, abs=0.03)


async def test_an_acknowledgement_in_time_saves_a_connection(lab, autojump_clock) -> None:
    """A one-way block that is over before the silence was too long leaves nothing behind."""
    ours, theirs = await lab.join(1, 2)
    block = Block(2, 1, at=0)
    lab.network.begin(block)
    await ours.send_all(b"heard")
    await trio.sleep(4)
    lab.network.end(block)
    await trio.sleep(20)
    await theirs.send_all(b"still here")
    await reads(ours, b"still here")
    await reads(theirs, b"heard")


async def test_idle_connections_find_out(lab, autojump_clock) -> None:
    """Both ends of a connection on which nothing is sent break, by keep-alive, within twice the
    silence; a connection elsewhere does not."""
    ours, theirs = await lab.join(1, 2)
    spared, _ = await lab.join(1, 3)
    begun = lab.now
    lab.network.begin(Partition(((1, 3), (2,)), at=0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broken, ours)
        nursery.start_soon(broken, theirs)
    assert lab.now - begun == pytest.approx(2 * SILENCE, abs=0.03)
    await trio.sleep(100)
    assert spared.end.alive


async def test_connecting_waits_for_the_end_of_a_block(lab, autojump_clock) -> None:
    """In either direction: nothing happens, for as long as it takes, then it goes on."""
    for source, target in ((1, 2), (2, 1)):
        block = Block(source, target, at=0)
        lab.network.begin(block)
        done = trio.Event()

        async def connect(done: trio.Event = done) -> None:
            await lab.join(1, 2)
            done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(connect)
            await trio.sleep(60)
            assert not done.is_set()
            lab.network.end(block)
            await done.wait()


async def test_faults_of_a_kind_add_up(lab, autojump_clock) -> None:
    """The end of one block is not the end of another, nor of a partition."""
    ours, theirs = await lab.join(1, 2)
    faults = [Partition(((1,), (2, 3)), at=0), Block(1, 2, at=0), Block(1, 2, at=0)]
    for fault in faults:
        lab.network.begin(fault)
    await ours.send_all(b"x")
    for fault in faults:
        before = len(lab.arrivals)
        await trio.sleep(0.5)
        assert len(lab.arrivals) == before
        lab.network.end(fault)
    await reads(theirs, b"x")


@pytest.mark.parametrize(
    ("sides", "joined"),
    [
        (((1, 2), (3,)), {(1, 2), (1, 100), (2, 100), (3, 100)}),
        (((1, 2),), {(1, 2), (1, 100), (2, 100), (3, 100)}),
        (((1, 2), (2, 3)), {(1, 2), (2, 3), (1, 100), (2, 100), (3, 100)}),
        (((1, 2, 3), (100,)), {(1, 2), (1, 3), (2, 3)}),
        (((1, 100), (2, 3)), {(1, 100), (2, 3)}),
    ],
    ids=["halves", "an unnamed node", "a bridge", "a client", "a client with a node"],
)
async def test_who_can_talk_in_a_partition(lab, autojump_clock, sides, joined) -> None:
    """Nodes talk if they stand on one side together; clients talk to all unless they are named."""
    partition = Partition(sides, at=0)
    lab.network.begin(partition)
    found = set()
    for near, far in ((1, 2), (1, 3), (2, 3), (1, 100), (2, 100), (3, 100)):
        with trio.move_on_after(1):
            await lab.join(near, far)
            found.add((near, far))
    assert found == joined
    lab.network.end(partition)
    await lab.join(1, 3)
    await lab.join(3, 100)


async def test_a_slow_link_is_slow_one_way_and_for_a_while(lab, autojump_clock) -> None:
    """It takes up to that much longer, more with two, and the way back is as it was."""
    ours, theirs = await lab.join(1, 2)

    async def seconds(stream: trio.abc.Stream, other: trio.abc.Stream) -> float:
        begun = lab.now
        await stream.send_all(b"x")
        await reads(other, b"x")
        return lab.now - begun

    slow = SlowLink(1, 2, seconds=2.0, at=0)
    lab.network.begin(slow)
    lab.network.begin(slow)
    times = [await seconds(ours, theirs) for _ in range(50)]
    assert 2.0 < max(times) < 4.1
    assert min(times) < 2.0
    assert await seconds(theirs, ours) < 0.05
    lab.network.end(slow)
    assert max([await seconds(ours, theirs) for _ in range(50)]) < 2.1
    lab.network.end(slow)
    assert await seconds(ours, theirs) < 0.05


async def test_loss_is_a_delay_on_a_stream(lab, autojump_clock) -> None:
    """Each loss costs a retransmission after 200 ms, doubling, and all behind it waits: nothing is
    missing, nothing out of order."""
    ours, theirs = await lab.join(1, 2)
    loss = Loss(1, 2, odds=0.3, at=0)
    lab.network.begin(loss)
    delays = []
    for number in range(100):
        begun = lab.now
        await ours.send_all(bytes([number]))
        await reads(theirs, bytes([number]))
        delays.append(lab.now - begun)
    retries = [0.0, 0.2, 0.6, 1.4, 3.0]
    for delay in delays:
        assert any(delay == pytest.approx(retry, abs=0.03) for retry in retries)
    assert 15 < sum(delay > 0.1 for delay in delays) < 45
    assert sum(delay > 0.3 for delay in delays) > 2
    lab.network.end(loss)
    await ours.send_all(b"x")
    begun = lab.now
    await reads(theirs, b"x")
    assert lab.now - begun < 0.05


async def test_losing_everything_is_a_block(lab, autojump_clock) -> None:
    """With odds of 1 the sender times out, and the other side asks in vain for a sign of life."""
    ours, theirs = await lab.join(1, 2)
    lab.network.begin(Loss(1, 2, odds=1.0, at=0))
    await ours.send_all(b"x")
    begun = lab.now
    await broken(ours)
    assert lab.now - begun == pytest.approx(SILENCE, abs=0.03)
    await broken(theirs, errno.ECONNRESET)
    assert lab.now - begun == pytest.approx(2 * SILENCE, abs=0.03)


async def test_duplicates_are_unseen(lab, autojump_clock) -> None:
    """A connection knows what it has received."""
    ours, theirs = await lab.join(1, 2)
    duplicate = Duplicate(1, 2, odds=1.0, at=0)
    lab.network.begin(duplicate)
    await ours.send_all(b"once")
    lab.network.end(duplicate)
    await ours.aclose()
    await reads(theirs, b"once")
    assert await theirs.receive_some() == b""


async def test_reordering_lets_new_connections_overtake_old_ones(lab, autojump_clock) -> None:
    """Bytes on a younger connection arrive tens of milliseconds before older bytes on an older
    one; within one connection they stay in order."""
    pairs = [await lab.join(1, 2) for _ in range(20)]
    reorder = Reorder(1, 2, at=0)
    lab.network.begin(reorder)
    arrived: list[int] = []

    async def note(number: int, stream: trio.abc.Stream) -> None:
        await reads(stream, b"first, second")
        arrived.append(number)

    begun = lab.now
    async with trio.open_nursery() as nursery:
        for number, (ours, theirs) in enumerate(pairs):
            await ours.send_all(b"first, ")
            await ours.send_all(b"second")
            nursery.start_soon(note, number, theirs)
    assert arrived != sorted(arrived)
    assert 0.02 < lab.now - begun < 0.1
    lab.network.end(reorder)
    begun = lab.now
    await pairs[0][0].send_all(b"x")
    await reads(pairs[0][1], b"x")
    assert lab.now - begun < 0.03


async def test_a_reset_loses_what_is_under_way(lab, autojump_clock) -> None:
    """Both ends of every connection between the two break at once, whoever opened it; what has
    arrived can still be read, what has not never comes; others are spared."""
    ours, theirs = await lab.join(1, 2)
    back, forth = await lab.join(2, 1)
    spared, other = await lab.join(1, 3)
    await ours.send_all(b"arrived")
    await trio.sleep(1)
    await ours.send_all(b"under way")
    lab.network.begin(Reset(2, 1, at=0))
    begun = lab.now
    await reads(theirs, b"arrived")
    for stream in (ours, theirs, back, forth):
        await broken(stream, errno.ECONNRESET)
    assert lab.now == begun
    lab.network.end(Reset(2, 1, at=0))
    await spared.send_all(b"x")
    await reads(other, b"x")
    assert sum(size for *_, size in lab.arrivals) == len(b"arrived" + b"x")


async def test_a_reset_that_is_lost_is_found_out_later(lab, autojump_clock) -> None:
    """A refusal that a block swallows leaves its addressee waiting, until keep-alive asks again."""
    ours, theirs = await lab.join(1, 2)
    block = Block(1, 2, at=0)
    lab.network.begin(block)
    lab.network.kill(1)
    await trio.sleep(1)
    assert theirs.end.alive
    lab.network.end(block)
    begun = lab.now
    await broken(theirs, errno.ECONNRESET)
    assert math.isclose(lab.now - begun, SILENCE - 1, abs_tol=0.1)
    await broken(ours, errno.ENETDOWN)


async def test_the_silence_that_a_connection_bears_can_be_chosen(make_lab, autojump_clock) -> None:
    """A minute of it, if the network is made so."""
    lab = make_lab(silence_seconds=60)
    ours, theirs = await lab.join(1, 2)
    block = Block(1, 2, at=0)
    lab.network.begin(block)
    await ours.send_all(b"patience")
    await trio.sleep(50)
    lab.network.end(block)
    await reads(theirs, b"patience")
    lab.network.begin(block)
    await ours.send_all(b"patience")
    await broken(ours)


async def test_latencies_are_a_matter_of_the_pair(make_lab, autojump_clock) -> None:
    """Each pair of machines has its usual latency between the given bounds, in both directions."""
    lab = make_lab(latency_seconds=(0.010, 0.100))
    usual = set()
    for near, far in ((1, 2), (2, 3), (1, 3)):
        ours, theirs = await lab.join(near, far)
        for stream, other in ((ours, theirs), (theirs, ours)):
            times = []
            for _ in range(30):
                begun = lab.now
                await stream.send_all(b"x")
                await reads(other, b"x")
                times.append(lab.now - begun)
            assert 0.010 <= min(times) <= 0.115
            usual.add(round(min(times), 2))
    assert len(usual) >= 3


async def test_connecting_to_who_is_unknown_fails_at_once(lab, autojump_clock) -> None:
    """A wrong host name is an error of the caller's machine."""
    with pytest.raises(OSError):
        await lab.hosts[1].open_stream("example.org", 80)
    assert host_of(1) == "10.0.0.1"
    assert lab.now == 0
