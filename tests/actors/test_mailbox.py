import pytest
import trio
import trio.testing

from flowactor.actors import Mailbox, MailboxClosed, MailboxStatistics, Overflow
from flowactor.errors import Overloaded, Unavailable


async def test_drain_takes_everything_in_order() -> None:
    """One drain returns all queued messages, oldest first."""
    mailbox: Mailbox[int] = Mailbox("box", 10, Overflow.REFUSE)
    for number in range(5):
        mailbox.put_nowait(number)
    assert await mailbox.drain() == [0, 1, 2, 3, 4]


async def test_a_parked_reader_gets_all_that_was_put_in_one_go() -> None:
    """Messages put before the reader runs again cost one wake-up and arrive as one batch."""
    mailbox: Mailbox[int] = Mailbox("box", 10, Overflow.REFUSE)
    batches: list[list[int]] = []

    async def read() -> None:
        batches.append(await mailbox.drain())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(3):
            mailbox.put_nowait(number)
    assert batches == [[0, 1, 2]]


async def test_a_full_mailbox_refuses_and_counts() -> None:
    """Under REFUSE one message too many raises ``Overloaded``, is counted and harms no other."""
    mailbox: Mailbox[int] = Mailbox("box", 2, Overflow.REFUSE)
    mailbox.put_nowait(1)
    mailbox.put_nowait(2)
    with pytest.raises(Overloaded, match="box has 2 messages waiting"):
        mailbox.put_nowait(3)
    with pytest.raises(Overloaded):
        await mailbox.put(3)
    assert await mailbox.drain() == [1, 2]
    assert mailbox.statistics() == MailboxStatistics(
        queued=0, peak=2, received=2, dropped=0, refused=2
    )


async def test_the_oldest_makes_room_and_is_counted() -> None:
    """Under DROP_OLDEST the newest messages survive and the drops are visible."""
    mailbox: Mailbox[int] = Mailbox("box", 3, Overflow.DROP_OLDEST)
    for number in range(8):
        mailbox.put_nowait(number)
    assert await mailbox.drain() == [5, 6, 7]
    assert mailbox.statistics() == MailboxStatistics(
        queued=0, peak=3, received=8, dropped=5, refused=0
    )


async def test_waiting_writers_are_served_in_order_of_arrival() -> None:
    """Under WAIT a writer waits for room, none is overtaken and nothing is lost."""
    mailbox: Mailbox[int] = Mailbox("box", 2, Overflow.WAIT)
    await mailbox.put(0)
    await mailbox.put(1)
    async with trio.open_nursery() as nursery:
        for number in range(2, 7):
            nursery.start_soon(mailbox.put, number)
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Overloaded):
            mailbox.put_nowait(99)
        assert await mailbox.drain() == [0, 1]
        assert mailbox.statistics().queued == 2, "the first two waiting writers are in"
        assert await mailbox.drain() == [2, 3]
        assert await mailbox.drain() == [4, 5]
        assert await mailbox.drain() == [6]


async def test_a_cancelled_writer_has_queued_nothing() -> None:
    """Cancelling a ``put``, waiting or not yet begun, leaves no message behind."""
    mailbox: Mailbox[int] = Mailbox("box", 1, Overflow.WAIT)
    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.put(0)
    assert scope.cancelled_caught
    await mailbox.put(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.put, 2)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await mailbox.drain() == [1]
    assert mailbox.statistics().queued == 0


async def test_a_cancelled_reader_has_taken_nothing() -> None:
    """Cancelling a ``drain`` loses no message and frees the reader's place."""
    mailbox: Mailbox[int] = Mailbox("box", 10, Overflow.REFUSE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.drain)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    mailbox.put_nowait(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.drain()
    assert scope.cancelled_caught
    assert await mailbox.drain() == [1]


async def test_every_path_is_a_checkpoint() -> None:
    """``put`` and ``drain`` let other tasks run even if they need not wait."""
    mailbox: Mailbox[int] = Mailbox("box", 10, Overflow.WAIT)
    with trio.testing.assert_checkpoints():
        await mailbox.put(1)
    with trio.testing.assert_checkpoints():
        await mailbox.drain()
    mailbox.close()
    with trio.testing.assert_checkpoints(), pytest.raises(MailboxClosed):
        await mailbox.drain()


async def test_close_lets_the_rest_be_read_first() -> None:
    """After ``close`` the reader gets what was queued, writers an error at once."""
    mailbox: Mailbox[int] = Mailbox("box", 10, Overflow.REFUSE)
    mailbox.put_nowait(1)
    mailbox.close()
    mailbox.close()
    with pytest.raises(MailboxClosed, match="box has stopped"):
        mailbox.put_nowait(2)
    assert await mailbox.drain() == [1]
    with pytest.raises(MailboxClosed):
        await mailbox.drain()
    assert issubclass(MailboxClosed, Unavailable), "an asker sees an actor that is not there"


async def test_close_wakes_a_parked_reader_and_waiting_writers() -> None:
    """Nobody is left waiting at a mailbox that was closed."""
    mailbox: Mailbox[int] = Mailbox("box", 1, Overflow.WAIT)
    raised: list[str] = []

    async def attempt(kind: str) -> None:
        try:
            await (mailbox.drain() if kind == "reader" else mailbox.put(7))
        except MailboxClosed:
            raised.append(kind)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, "reader")
        await trio.testing.wait_all_tasks_blocked()
        mailbox.close()
    mailbox = Mailbox("box", 1, Overflow.WAIT)
    await mailbox.put(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, "writer")
        await trio.testing.wait_all_tasks_blocked()
        mailbox.close()
    assert raised == ["reader", "writer"]
    assert await mailbox.drain() == [1]


async def test_a_second_reader_is_a_bug() -> None:
    """Two tasks draining one mailbox is a broken invariant, not a race."""
    mailbox: Mailbox[int] = Mailbox("box", 1, Overflow.WAIT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.drain)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(AssertionError, match="two readers"):
            await mailbox.drain()
        nursery.cancel_scope.cancel()
