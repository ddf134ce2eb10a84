import pytest
import trio
import trio.testing

from flowactor.actors import BatchActor, Mailbox, MailboxClosed, Overflow, Promise, ask, start_actor
from flowactor.actors.promise import wait_until
from flowactor.errors import DeadlineExceeded, NotFound, Overloaded


async def test_all_waiters_get_the_value() -> None:
    """Waiters that came before and after the value was set all get it."""
    promise: Promise[int] = Promise()
    got: list[int] = []

    async def wait() -> None:
        got.append(await promise.wait())

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not promise.done
        assert promise.set(5)
        assert promise.done
        nursery.start_soon(wait)
    assert got == [5] * 101


async def test_the_first_outcome_wins() -> None:
    """Later outcomes change nothing and say so."""
    promise: Promise[int] = Promise()
    assert promise.set(1)
    assert not promise.set(2)
    assert not promise.fail(NotFound("late"))
    assert await promise.wait() == 1
    failed: Promise[int] = Promise()
    assert failed.fail(NotFound("gone"))
    assert not failed.set(1)
    with pytest.raises(NotFound, match="gone"):
        await failed.wait()


async def test_a_cancelled_waiter_leaves_no_trace() -> None:
    """A waiter that was cancelled is not woken later, and the others are."""
    promise: Promise[int] = Promise()
    got: list[int] = []

    async def wait() -> None:
        got.append(await promise.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        with trio.move_on_after(0):
            await promise.wait()
        promise.set(3)
    assert got == [3]


async def test_waiting_is_always_a_checkpoint() -> None:
    """Also for a promise that is settled."""
    promise: Promise[int] = Promise()
    promise.set(1)
    with trio.testing.assert_checkpoints():
        await promise.wait()
    with trio.testing.assert_checkpoints():
        await wait_until(promise, 1.0, "a value")


async def test_the_deadline_says_what_was_awaited(autojump_clock: trio.testing.MockClock) -> None:
    """``wait_until`` raises ``DeadlineExceeded`` with the caller's words at exactly its time."""
    promise: Promise[int] = Promise()
    with pytest.raises(DeadlineExceeded, match=r"the moon: no answer within 2\.5 s"):
        await wait_until(promise, 2.5, "the moon")
    assert trio.current_time() == 2.5
    promise.set(1)
    assert await wait_until(promise, 0.0, "the moon") == 1, "what is there is returned"


class Doubler(BatchActor[tuple[int, Promise[int]]]):
    """Answers with twice the number; negative numbers never."""

    async def receive(self, batch: list[tuple[int, Promise[int]]]) -> None:
        for number, promise in batch:
            if number == 0:
                promise.fail(NotFound("zero"))
            elif number > 0:
                promise.set(2 * number)


async def test_ask_and_its_ways_to_fail(autojump_clock: trio.testing.MockClock) -> None:
    """An answer, an error, silence, a stopped actor: each has its own outcome."""
    actor = Doubler("doubler", Mailbox("doubler", 10, Overflow.REFUSE))

    async def double(number: int) -> int:
        return await ask(
            actor.mailbox, lambda promise: (number, promise), timeout_seconds=3, what="double"
        )

    async with trio.open_nursery() as nursery:
        start_actor(nursery, actor)
        await trio.testing.wait_all_tasks_blocked()
        assert [task.name for task in nursery.child_tasks] == ["doubler"]
        assert await double(21) == 42
        with pytest.raises(NotFound, match="zero"):
            await double(0)
        with pytest.raises(DeadlineExceeded, match="double"):
            await double(-1)
        actor.stop()
    with pytest.raises(MailboxClosed):
        await double(1)
    assert actor.statistics().received == 3


@pytest.mark.parametrize("overflow", [Overflow.REFUSE, Overflow.WAIT])
async def test_asking_a_full_mailbox_changes_nothing(
    overflow: Overflow, autojump_clock: trio.testing.MockClock
) -> None:
    """No room means ``Overloaded``, at once or at the deadline: nothing happened."""
    mailbox: Mailbox[Promise[int]] = Mailbox("box", 1, overflow)
    mailbox.put_nowait(Promise())
    with pytest.raises(Overloaded):
        await ask(mailbox, lambda promise: promise, timeout_seconds=2, what="it")
    assert trio.current_time() == (2 if overflow is Overflow.WAIT else 0)
    assert len(await mailbox.drain()) == 1
