"""One deadline per call, one (session, sequence) per change, and a definite ending."""

import pytest
import trio

from flowactor.client.caller import SESSION_IDLE_SECONDS_MAX, expect
from flowactor.client.session import Session
from flowactor.cluster.protocol.requests import ReadVariable, VariableView
from flowactor.errors import (
    AlreadyExists,
    DeadlineExceeded,
    MalformedDataError,
    Overloaded,
    SessionExpired,
    Unavailable,
)
from flowactor.machine.operations import CancelRun
from flowactor.machine.replies import Done, Rejected, Written
from flowactor.management.operations import RemoveNode

CHANGE = CancelRun("w", "", "")
READ = ReadVariable("v")
VALUE = VariableView("v", b"\x01", 3)


async def fall_silent(request) -> None:
    """What a channel makes of a node that does not answer."""
    await trio.sleep(request.timeout_ms / 1000)
    raise DeadlineExceeded("silence")


def lost(*, unknown: bool) -> Unavailable:
    error = Unavailable("lost")
    error.outcome_unknown = unknown
    return error


async def test_session_is_opened_once_before_the_first_change(make_caller):
    """Reads need no session; the first change opens one, and later ones count on in it."""
    caller, channel = make_caller(Done())
    await caller.read(READ)
    assert channel.opened == []
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(caller.change, CHANGE)
    assert len(channel.opened) == 1
    assert sorted(r.sequence for r in channel.requests[1:]) == [1, 2, 3]
    assert {r.session for r in channel.requests[1:]} == set(channel.opened)
    assert channel.requests[0].session == ""


async def test_a_change_of_the_cluster_needs_no_session_of_a_group(make_caller):
    """It has one of its own, which the management group opens when it is first used: other groups
    may have no majority.
    """
    caller, channel = make_caller(Done())
    await caller.change(RemoveNode(1))
    await caller.change(RemoveNode(2))
    assert channel.opened == []
    await caller.change(CHANGE)
    first, second, other = channel.requests
    assert first.session == second.session != other.session
    assert (first.sequence, second.sequence, second.acknowledged) == (1, 2, 2)


async def test_change_is_sent_again_with_the_same_session_and_sequence(make_caller, autojump_clock):
    """Whatever goes wrong on the way, every attempt of a change carries the same identity."""
    caller, channel = make_caller(
        lost(unknown=True), Rejected("Unavailable", "no leader"), DeadlineExceeded("late"), Done()
    )
    assert await caller.change(CHANGE) == Done()
    assert len(channel.requests) == 4
    assert len({(r.session, r.sequence, r.body) for r in channel.requests}) == 1


async def test_acknowledged_is_the_lowest_outstanding_sequence(make_caller):
    """A sequence is acknowledged only when all below it have their reply."""
    first_may_answer = trio.Event()

    async def answer(request):
        if request.sequence == 1:
            await first_may_answer.wait()
        return Done()

    caller, channel = make_caller(answer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.change, CHANGE)
        await trio.testing.wait_all_tasks_blocked()
        await caller.change(CHANGE)
        await caller.change(CHANGE)
        first_may_answer.set()
        await trio.testing.wait_all_tasks_blocked()
        await caller.change(CHANGE)
    by_sequence = {r.sequence: r.acknowledged for r in channel.requests}
    assert by_sequence == {1: 1, 2: 1, 3: 1, 4: 4}


async def test_refusal_is_raised_at_once(make_caller):
    """A typed refusal is final: it is raised as its class and nothing is sent again."""
    for code, cls in [("AlreadyExists", AlreadyExists), ("Overloaded", Overloaded)]:
        caller, channel = make_caller(Rejected(code, "no"))
        with pytest.raises(cls, match="no") as caught:
            await caller.change(CHANGE)
        assert not caught.value.outcome_unknown
        assert len(channel.requests) == 1


async def test_change_that_was_never_sent_is_not_unknown(make_caller, autojump_clock):
    """If no attempt reached a node, the caller learns that nothing happened."""
    caller, _ = make_caller(lost(unknown=False))
    with pytest.raises(Unavailable) as caught:
        await caller.change(CHANGE)
    assert not caught.value.outcome_unknown


async def test_change_that_may_have_been_sent_is_unknown(make_caller, autojump_clock):
    """One attempt that may have arrived makes the outcome unknown, whatever the last one says."""
    caller, _ = make_caller(lost(unknown=True), lost(unknown=False))
    with pytest.raises(Unavailable) as caught:
        await caller.change(CHANGE)
    assert caught.value.outcome_unknown


async def test_read_is_never_unknown(make_caller, autojump_clock):
    """A read changes nothing, so no ending of it is unknown."""
    caller, _ = make_caller(Rejected("DeadlineExceeded", "late"))
    with pytest.raises(DeadlineExceeded) as caught:
        await caller.read(READ)
    assert not caught.value.outcome_unknown


async def test_call_ends_at_its_deadline(make_caller, autojump_clock):
    """However the channel fails, early or late, the call is over when it said."""
    for item in [lost(unknown=False), fall_silent]:
        caller, _ = make_caller(item, timeout=9.0)
        began = trio.current_time()
        with pytest.raises((Unavailable, DeadlineExceeded)):
            await caller.read(READ)
        assert trio.current_time() - began <= 9.01


async def test_attempt_leaves_time_for_another_node(make_caller, autojump_clock):
    """A node is told a fraction of the deadline, and a long poll gets its waiting time on top."""
    caller, channel = make_caller(Rejected("Unavailable", "no"), VALUE, timeout=30.0)
    await caller.read(READ)
    await caller.read(READ, wait_seconds=10.0)
    assert [r.timeout_ms for r in channel.requests] == [10_000, 10_000, 20_000]


async def test_session_expired_at_the_first_attempt_is_replaced(make_caller):
    """Sent once and refused, the change did not happen: it goes on in a new session, unnoticed."""
    caller, channel = make_caller(Done(), Rejected("SessionExpired", "who?"), Done())
    await caller.change(CHANGE)
    assert await caller.change(CHANGE) == Done()
    _, refused, again = channel.requests
    assert refused.session != again.session
    assert (refused.sequence, again.sequence) == (2, 1)
    assert len(channel.opened) == 2


async def test_session_expired_at_a_later_attempt_is_unknown(make_caller, autojump_clock):
    """An earlier attempt may have done it: the call ends unknown; the next has a new session."""
    caller, channel = make_caller(
        lost(unknown=True),
        Rejected("SessionExpired", "who?"),
        Rejected("SessionExpired", "?", True),
    )
    for _ in range(2):
        with pytest.raises(SessionExpired) as caught:
            await caller.change(CHANGE)
        assert caught.value.outcome_unknown
    first, second, third = channel.requests
    assert first.session == second.session != third.session


async def test_sessions_that_expire_for_ever_end_with_the_deadline(make_caller, autojump_clock):
    """A cluster that forgets every session at once does not keep its caller for ever."""

    async def forget(_) -> Rejected:
        await trio.sleep(1)
        return Rejected("SessionExpired", "who?")

    caller, channel = make_caller(forget, timeout=9.0)
    with pytest.raises(SessionExpired) as caught:
        await caller.change(CHANGE)
    assert not caught.value.outcome_unknown
    assert len(channel.requests) == 9


async def test_refusal_says_whether_the_outcome_is_known(make_caller, autojump_clock):
    """A node that had proposed nothing says so, and the caller passes it on."""
    for unknown in (False, True):
        caller, _ = make_caller(Rejected("Unavailable", "no leader", unknown))
        with pytest.raises(Unavailable) as caught:
            await caller.change(CHANGE)
        assert caught.value.outcome_unknown is unknown


async def test_idle_session_is_replaced_before_it_expires(make_caller, autojump_clock):
    """A client that slept for long does not fail its next change with an expired session."""
    caller, channel = make_caller(Done())
    await caller.change(CHANGE)
    await trio.sleep(SESSION_IDLE_SECONDS_MAX + 1)
    await caller.change(CHANGE)
    assert len(channel.opened) == 2


async def test_session_window_is_bounded():
    """More changes than the cluster keeps replies for wait for the oldest to be settled."""
    session = Session("s", 0.0, window=2)
    begun = []

    async def change(settled: trio.Event) -> None:
        sequence = await session.begin()
        begun.append((sequence, session.acknowledged))
        await settled.wait()
        session.end(sequence)

    events = [trio.Event() for _ in range(4)]
    async with trio.open_nursery() as nursery:
        for event in events:
            nursery.start_soon(change, event)
            await trio.testing.wait_all_tasks_blocked()
        assert [sequence for sequence, _ in begun] == [1, 2]
        events[1].set()
        await trio.testing.wait_all_tasks_blocked()
        assert [sequence for sequence, _ in begun] == [1, 2]
        events[0].set()
        await trio.testing.wait_all_tasks_blocked()
        assert begun[2:] == [(3, 3), (4, 3)]
        for event in events:
            event.set()


async def test_cancelled_change_settles_its_sequence(make_caller):
    """A caller who gives up leaves no sequence outstanding: the window cannot fill up for ever."""

    async def answer(request):
        if request.sequence == 1:
            await trio.sleep_forever()
        return Done()

    caller, channel = make_caller(answer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.change, CHANGE)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    await caller.change(CHANGE)
    assert channel.requests[-1].acknowledged == 2


def test_answer_of_another_kind_is_malformed():
    """A peer that answers something else than what was asked is not trusted further."""
    assert expect(VALUE, VariableView) is VALUE
    with pytest.raises(MalformedDataError, match="Written where VariableView is due"):
        expect(Written(1), VariableView)
