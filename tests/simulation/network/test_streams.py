"""A simulated stream has TCP's manners. Time is virtual."""

import errno

import pytest
import trio
import trio.testing

from flowactor.simulation.network import address_of, host_of, machine_of

WINDOW = 256 * 1024


async def read_exactly(stream: trio.abc.Stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = await stream.receive_some(size - len(data))
        assert chunk, "the stream ended early"
        data += chunk
    return data


async def read_to_end(stream: trio.abc.Stream) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def test_bytes_take_their_time(lab, autojump_clock) -> None:
    """Sending is at once, arriving is a latency later, and the time is virtual."""
    ours, theirs = await lab.join(1, 2)
    begun = lab.now
    await ours.send_all(b"hello")
    assert lab.now == begun
    assert await read_exactly(theirs, 5) == b"hello"
    assert 0.0001 <= lab.now - begun <= 0.03
    await trio.testing.wait_all_tasks_blocked()
    assert lab.arrivals[-1][1:3] == (1, 2)


async def test_each_direction_keeps_its_order_in_any_pieces(lab, autojump_clock) -> None:
    """Of thousands of small writes every byte arrives once, in order, but not piece by piece."""
    ours, theirs = await lab.join(1, 2)
    sent = b"".join(number.to_bytes(4) for number in range(4000))
    sizes = []

    async def write() -> None:
        for at in range(0, len(sent), 16):
            await ours.send_all(sent[at : at + 16])
            if at % 640 == 0:
                await trio.sleep(0.0005)
        await ours.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        got = b""
        while chunk := await theirs.receive_some(256):
            sizes.append(len(chunk))
            got += chunk
    assert got == sent
    assert max(sizes) == 256, "what has arrived together can be read together"
    assert any(size % 16 for size in sizes), "reads also end in the middle of what was sent"


async def test_parts_of_one_write_may_arrive_apart(lab, autojump_clock) -> None:
    """Some writes arrive as two parts at two times: half a message can be all there is."""
    ours, theirs = await lab.join(1, 2)
    for _ in range(300):
        await ours.send_all(bytes(100))
        await read_exactly(theirs, 100)
    sizes = [size for *_, size in lab.arrivals]
    assert 3 <= sum(size < 100 for size in sizes) / 2 <= 30
    assert sum(sizes) == 30_000


async def test_a_full_window_blocks_the_sender(lab, autojump_clock) -> None:
    """What is sent and not read is bounded; reading makes room; order survives."""
    ours, theirs = await lab.join(1, 2)
    sent = bytes(range(256)) * 4096
    done = trio.Event()

    async def write() -> None:
        await ours.send_all(sent)
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.sleep(10)
        assert not done.is_set()
        assert sum(size for *_, size in lab.arrivals) == WINDOW
        assert await read_exactly(theirs, len(sent)) == sent
        await done.wait()


async def test_waiting_for_room_can_be_cancelled(lab, autojump_clock) -> None:
    """A sender that gave up leaves no trace of waiting, and another can take its place."""
    ours, theirs = await lab.join(1, 2)
    with trio.move_on_after(1) as scope:
        await ours.send_all(bytes(2 * WINDOW))
    assert scope.cancelled_caught
    with trio.move_on_after(1) as scope:
        await ours.wait_send_all_might_not_block()
    assert scope.cancelled_caught
    await read_exactly(theirs, WINDOW)
    await ours.wait_send_all_might_not_block()
    await ours.send_all(b"x")
    assert await read_exactly(theirs, 1) == b"x"


async def test_two_tasks_at_one_side_are_refused(lab, autojump_clock) -> None:
    """A second reader or writer gets ``BusyResourceError``, as from every Trio stream."""
    ours, _ = await lab.join(1, 2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.receive_some)
        nursery.start_soon(ours.send_all, bytes(2 * WINDOW))
        await trio.sleep(1)
        for busy in (ours.receive_some, ours.wait_send_all_might_not_block):
            with pytest.raises(trio.BusyResourceError):
                await busy()
        with pytest.raises(trio.BusyResourceError):
            await ours.send_all(b"x")
        nursery.cancel_scope.cancel()


async def test_an_end_comes_after_the_data(lab, autojump_clock) -> None:
    """Closing delivers what was sent, then the end; both sides may do so at once."""
    ours, theirs = await lab.join(1, 2)
    await ours.send_all(b"last words")
    await ours.aclose()
    await ours.aclose()
    assert await read_to_end(theirs) == b"last words"
    assert await theirs.receive_some() == b""
    for use in (ours.receive_some, lambda: ours.send_all(b"x")):
        with pytest.raises(trio.ClosedResourceError):
            await use()
    await theirs.aclose()
    await trio.sleep(1)
    assert not ours.end.alive
    assert not theirs.end.alive


async def test_sending_to_who_has_closed_breaks(lab, autojump_clock) -> None:
    """What arrives at a closed end is answered with a reset."""
    ours, theirs = await lab.join(1, 2)
    await theirs.aclose()
    await ours.send_all(b"are you there?")
    await trio.sleep(1)
    with pytest.raises(trio.BrokenResourceError) as caught:
        await ours.send_all(b"hello?")
    assert caught.value.__cause__.errno == errno.ECONNRESET


async def test_closing_over_unread_bytes_is_a_reset(lab, autojump_clock) -> None:
    """As a kernel does: what the other side is being sent at that moment may be lost."""
    ours, theirs = await lab.join(1, 2)
    await ours.send_all(b"a question")
    await trio.sleep(1)
    await theirs.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await ours.receive_some()


async def test_closing_wakes_who_waits_on_this_side(lab, autojump_clock) -> None:
    """A reader and a writer of the closed end get ``ClosedResourceError``."""
    ours, _ = await lab.join(1, 2)

    async def closed(use) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await use()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(closed, ours.receive_some)
        nursery.start_soon(closed, lambda: ours.send_all(bytes(2 * WINDOW)))
        await trio.sleep(1)
        await ours.aclose()


async def test_nobody_listens(lab, autojump_clock) -> None:
    """Connecting is refused, by the machine and thus a latency later."""
    with pytest.raises(ConnectionRefusedError):
        await lab.hosts[1].open_stream(host_of(2), 7400)
    assert lab.now > 0.0001


async def test_connecting_can_be_given_up(lab, autojump_clock) -> None:
    """Whoever accepts what was given up meanwhile hears of it, and before that nothing is left."""
    outcomes = set()
    for part in range(100):
        [listener], port = await lab.hosts[2].listen("", 0)
        with trio.move_on_after(0.00002 * part) as opening:
            await lab.hosts[1].open_stream(host_of(2), port)
        outcome = "opened"
        if opening.cancelled_caught:
            outcome = "never arrived"
            with trio.move_on_after(1):
                accepted = await listener.accept()
                with pytest.raises(trio.BrokenResourceError):
                    await accepted.receive_some()
                outcome = "reset"
        outcomes.add(outcome)
        await listener.aclose()
    assert outcomes == {"never arrived", "reset", "opened"}


@pytest.mark.parametrize("host", ["", "127.0.0.1", "localhost", "10.0.0.1", "node-1"])
async def test_a_machine_goes_by_several_names(lab, autojump_clock, host: str) -> None:
    """All of them can be listened on, and the other end is named by its number and port."""
    [listener], port = await lab.hosts[1].listen(host, 0)
    stream = await lab.hosts[100].open_stream("node-1", port)
    accepted = await listener.accept()
    assert lab.hosts[1].remote_name(accepted).startswith("10.0.0.100:")
    assert lab.hosts[100].remote_name(stream) == f"10.0.0.1:{port}"


async def test_what_cannot_be_listened_on(lab, autojump_clock) -> None:
    """A port that is taken, and the address of another machine; the next free port is known."""
    [first], port = await lab.hosts[1].listen("", 0)
    _, second = await lab.hosts[1].listen("", 0)
    assert (port, second) == (40_000, 40_001)
    for host, busy, number in (("", port, errno.EADDRINUSE), ("node-2", 1, errno.EADDRNOTAVAIL)):
        with pytest.raises(OSError) as caught:
            await lab.hosts[1].listen(host, busy)
        assert caught.value.errno == number
    await first.aclose()
    assert await lab.hosts[1].listen("", port)


async def test_a_listener_that_closes_turns_away_who_waits(lab, autojump_clock) -> None:
    """Connections that nobody accepted are reset, and its acceptor is told."""
    [listener], port = await lab.hosts[2].listen("", 0)
    stream = await lab.hosts[1].open_stream(host_of(2), port)
    await listener.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()
    with pytest.raises(ConnectionRefusedError):
        await lab.hosts[1].open_stream(host_of(2), port)


@pytest.mark.parametrize("host", ["10.0.0", "10.0.0.256", "node-", "node-x", "example.org"])
def test_unknown_hosts_are_errors_of_the_network(host: str) -> None:
    """A name that belongs to no machine is an ``OSError``, as for every network."""
    with pytest.raises(OSError):
        machine_of(host, 1)


@pytest.mark.parametrize("machine", [1, 9, 100, 255, 256, 70_000])
def test_addresses_are_read_as_they_are_written(machine: int) -> None:
    """Every number has an address that names it."""
    assert machine_of(host_of(machine), 1) == machine
    assert address_of(machine) == f"{host_of(machine)}:7400"
