"""Processes that die, lose their power, stop, go on and come back. Time is virtual."""

import errno
from functools import partial

import pytest
import trio

from flowactor.errors import Unavailable
from flowactor.limits import CONNECT_TIMEOUT_SECONDS, FRAME_BYTES_MAX
from flowactor.simulation.faults import Block, Partition, SlowLink
from flowactor.simulation.network import FrameTransport, address_of, host_of

SILENCE = 5.0
WINDOW = 256 * 1024


async def broken(stream: trio.abc.Stream, number: int) -> bytes:
    """What can be read before it breaks, for the expected reason."""
    data = bytearray()

    async def read_to_end() -> None:
        while chunk := await stream.receive_some():
            data.extend(chunk)

    with pytest.raises(trio.BrokenResourceError) as caught:
        await read_to_end()
    assert caught.value.__cause__.errno == number
    return bytes(data)


async def echo(connection) -> None:
    while True:
        await connection.send(await connection.receive())


async def test_who_talks_to_a_killed_process_is_told(lab, autojump_clock) -> None:
    """A latency later both a reader and a writer at the other side see a reset; the dead side can
    do nothing more, and its address is free and refuses."""
    ours, theirs = await lab.join(1, 2)
    [listener], port = await lab.hosts[2].listen("", 7400)

    async def write_on() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await ours.send_all(bytes(2 * WINDOW))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_on)
        nursery.start_soon(broken, ours, errno.ECONNRESET)
        await trio.sleep(1)
        begun = lab.now
        lab.network.kill(2)
    assert 0.0001 < lab.now - begun < 0.05
    with pytest.raises(trio.BrokenResourceError):
        await theirs.send_all(b"from the grave")
    with pytest.raises(ConnectionRefusedError):
        await lab.hosts[1].open_stream(host_of(2), port)
    for use in (lab.hosts[2].open_stream, lab.hosts[2].listen):
        with pytest.raises(OSError):
            await use(host_of(2), 1)
    with trio.move_on_after(10) as accepting:
        await listener.accept()
    assert accepting.cancelled_caught
    await theirs.aclose()


async def test_last_words_may_arrive_and_may_not(lab, autojump_clock) -> None:
    """What a process sent right before it was killed races with the reset; both can win."""
    heard = set()
    for _ in range(60):
        ours, theirs = await lab.join(1, 2)
        await ours.send_all(b"last words")
        lab.network.kill(1)
        heard.add(await broken(theirs, errno.ECONNRESET))
        lab.hosts[1] = lab.network.host(1)
    assert {b"", b"last words"} <= heard


async def test_a_new_process_takes_the_address(lab, autojump_clock) -> None:
    """It listens where the dead one did, and the dead one's listener cannot take that away."""
    [old], port = await lab.hosts[2].listen("", 7400)
    lab.network.kill(2)
    host = lab.network.host(2)
    [new], _ = await host.listen("", port)
    await old.aclose()
    await lab.hosts[1].open_stream(host_of(2), port)
    with trio.fail_after(1):
        await new.accept()


async def test_only_one_process_runs_on_a_machine(lab) -> None:
    """Starting a second one is a mistake of the simulation."""
    with pytest.raises(AssertionError, match="machine 1"):
        lab.network.host(1)


async def test_a_machine_without_power_says_nothing(lab, autojump_clock) -> None:
    """Its peers find out by keep-alive, and connecting hangs; what had left it arrives."""
    ours, theirs = await lab.join(1, 2)
    lab.network.begin(SlowLink(2, 1, seconds=1.0, at=0))
    for number in range(10):
        await theirs.send_all(bytes([number]))
    lab.network.kill(2, silent=True)
    begun = lab.now
    assert await broken(ours, errno.ETIMEDOUT) == bytes(range(10))
    assert len({seconds for seconds, *_ in lab.arrivals}) > 2
    assert lab.now - begun == pytest.approx(2 * SILENCE, abs=0.1)
    with trio.move_on_after(30) as connecting:
        await lab.hosts[1].open_stream(host_of(2), 7400)
    assert connecting.cancelled_caught


async def test_a_machine_that_is_back_knows_nothing(lab, autojump_clock) -> None:
    """Whoever sends to it on a connection of before gets a reset; whoever waits does too, when
    keep-alive asks; whoever connects gets through."""
    sending, _ = await lab.join(1, 2)
    waiting, _ = await lab.join(100, 2)
    lab.network.kill(2, silent=True)
    begun = lab.now
    await trio.sleep(0.5)
    host = lab.network.host(2)
    await sending.send_all(b"do you remember?")
    await broken(sending, errno.ECONNRESET)
    assert lab.now - begun < 0.6
    await broken(waiting, errno.ECONNRESET)
    assert lab.now - begun == pytest.approx(SILENCE, abs=0.1)
    [listener], port = await host.listen("", 0)
    await lab.hosts[1].open_stream(host_of(2), port)
    await listener.accept()


async def test_killing_inside_a_partition(lab, autojump_clock) -> None:
    """The reset does not get through: the other side finds out by itself."""
    ours, _ = await lab.join(1, 2)
    lab.network.begin(Partition(((1,), (2, 3)), at=0))
    await trio.sleep(1)
    lab.network.kill(2)
    begun = lab.now
    await broken(ours, errno.ETIMEDOUT)
    assert lab.now - begun == pytest.approx(2 * SILENCE - 1, abs=0.1)


async def test_a_stopped_process_reads_nothing_and_loses_nothing(lab, autojump_clock) -> None:
    """Its kernel takes a window full and acknowledges it; then the sender waits; when it goes on
    it finds everything, and connections that came in meanwhile."""
    ours, theirs = await lab.join(1, 2)
    [listener], port = await lab.hosts[2].listen("", 0)
    got = bytearray()

    async def read() -> None:
        while len(got) < 2 * WINDOW:
            got.extend(await theirs.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(listener.accept)
        await trio.sleep(1)
        lab.network.freeze(2)
        nursery.start_soon(ours.send_all, bytes(2 * WINDOW))
        with trio.fail_after(1):
            late = await lab.hosts[1].open_stream(host_of(2), port)
        await trio.sleep(100)
        assert not got
        assert sum(size for *_, size in lab.arrivals) == WINDOW
        assert len(nursery.child_tasks) == 3
        lab.network.thaw(2)
    assert got == bytes(2 * WINDOW)
    assert late.end.alive


async def test_a_stopped_process_does_nothing(lab, autojump_clock) -> None:
    """It sends nothing, connects to nobody and notices no end, until it goes on."""
    ours, theirs = await lab.join(1, 2)
    doomed, _ = await lab.join(1, 3)
    done: list[str] = []

    async def note(name: str, use) -> None:
        try:
            await use()
        except (trio.BrokenResourceError, OSError):
            name += " in vain"
        done.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(note, "receive", doomed.receive_some)
        await trio.sleep(1)
        lab.network.freeze(1)
        nursery.start_soon(note, "send", partial(ours.send_all, b"x"))
        nursery.start_soon(note, "connect", partial(lab.hosts[1].open_stream, host_of(3), 1))
        await theirs.send_all(b"y")
        lab.network.kill(3)
        await trio.sleep(100)
        assert done == []
        assert lab.network.thaw(1) is None
    assert sorted(done) == ["connect in vain", "receive in vain", "send"]
    assert await ours.receive_some() == b"y"


async def test_killing_a_stopped_process_ends_its_stop(lab, autojump_clock) -> None:
    """The process that is started after it runs."""
    ours, _ = await lab.join(1, 2)
    lab.network.freeze(2)
    lab.network.kill(2)
    await broken(ours, errno.ECONNRESET)
    lab.hosts[2] = lab.network.host(2)
    _, theirs = await lab.join(1, 2)
    with trio.fail_after(1):
        await theirs.send_all(b"x")


# -- whole frames -----------------------------------------------------------------------------


async def test_frames_suffer_the_same(lab, autojump_clock, nursery) -> None:
    """A block holds them back and then breaks their connection, with the errors of the port."""
    address = await lab.serve_frames(nursery, 2, echo)
    transport = FrameTransport(lab.hosts[1])
    connection = await transport.dial(address)
    block = Block(2, 1, at=0)
    lab.network.begin(block)
    await connection.send(b"1")
    await trio.sleep(2)
    lab.network.end(block)
    assert await connection.receive() == b"1"
    lab.network.begin(block)
    with pytest.raises(Unavailable, match="connection lost") as caught:
        await connection.receive()
    assert caught.value.outcome_unknown
    with pytest.raises(Unavailable, match=f"did not answer within {CONNECT_TIMEOUT_SECONDS:g} s"):
        await transport.dial(address)


async def test_frames_to_the_dead_and_the_stopped(lab, autojump_clock, nursery) -> None:
    """Killed: the connection is lost and dialling refused. Stopped: dialling times out, because
    nobody says welcome, and nothing else is lost."""
    address = await lab.serve_frames(nursery, 2, echo)
    transport = FrameTransport(lab.hosts[1])
    connection = await transport.dial(address)
    lab.network.freeze(2)
    await connection.send(b"later")
    with pytest.raises(Unavailable, match="did not answer"):
        await transport.dial(address)
    lab.network.thaw(2)
    assert await connection.receive() == b"later"
    lab.network.kill(2)
    with pytest.raises(Unavailable, match="connection lost"):
        await connection.receive()
    with pytest.raises(Unavailable, match="connection lost"):
        await connection.send(b"x")
    with pytest.raises(Unavailable, match=f"cannot connect to {address}: Connection refused"):
        await transport.dial(address)


async def test_a_frame_is_one_arrival(lab, autojump_clock, nursery) -> None:
    """However large, beyond the window too, a frame arrives at one moment, and alone if large."""
    address = await lab.serve_frames(nursery, 2, echo)
    connection = await FrameTransport(lab.hosts[1]).dial(address)
    lab.arrivals.clear()
    for _ in range(2):
        await connection.send(bytes(FRAME_BYTES_MAX))
    for _ in range(2):
        assert len(await connection.receive()) == FRAME_BYTES_MAX
    assert [size for *_, size in lab.arrivals] == [FRAME_BYTES_MAX] * 4
    there = [seconds for seconds, sender, *_ in lab.arrivals if sender == 1]
    assert there[0] < there[1]


async def test_who_hangs_up_on_a_dialler_is_not_there(lab, autojump_clock, nursery) -> None:
    """A process that dies between accepting and its welcome is ``Unavailable``."""

    async def die(connection) -> None:
        lab.network.kill(2)

    address = await lab.serve_frames(nursery, 2, die)
    transport = FrameTransport(lab.hosts[1])
    outcomes = set()
    for _ in range(20):
        with pytest.raises(Unavailable) as caught:
            await (await transport.dial(address)).receive()
        outcomes.add(str(caught.value).removeprefix(address))
        lab.hosts[2] = lab.network.host(2)
        await lab.serve_frames(nursery, 2, die)
    assert " hung up during the handshake" in outcomes
    assert address == address_of(2)
