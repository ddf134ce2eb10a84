"""Durable timers and run time-outs, by the stamps of the log."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowactor.machine import InboxGrew, RunClosed
from flowactor.machine.commands import ArmTimer, CancelTimer, CompleteRun
from flowactor.machine.events import TimerFired
from flowactor.machine.operations import ParkRun, ReassignRuns
from flowactor.machine.replies import RunStatus
from flowactor.machine.timers import DueKind, DueQueue

DAY = 86_400
KEY = ((), "sleep", 0)


def arm(name, seconds):
    return ArmTimer(((), name, 0), round(seconds * 10**9))


def test_durable_timer_of_scenario_b1(group):
    """A sleep of 30 days fires at day 30, once, not before, and across every restart."""
    group.start(at=0)
    group.advance(arm("sleep", 30 * DAY))
    assert group.machine.next_due_ns == 30 * DAY * 10**9
    assert group.apply(at=10 * DAY).notices == ()
    assert group.apply(at=30 * DAY - 1e-6).notices == ()
    assert group.apply(at=30 * DAY).notices == (InboxGrew("w"),)
    assert list(group.run().inbox.values()) == [TimerFired(KEY, 30 * DAY * 10**9)]
    assert group.apply(at=40 * DAY).notices == ()
    assert group.run().timers == {}
    assert group.machine.next_due_ns is None


def test_timer_that_is_due_when_it_is_recorded(group):
    """An activation that took long to be recorded sets a timer of the past: it fires in the very
    entry. The leader asks for no other, for the stamp of this one is late enough.
    """
    group.start(at=0)
    assert InboxGrew("w") in group.advance(arm("sleep", 3), at=5).notices
    assert list(group.run().inbox.values()) == [TimerFired(KEY, 3 * 10**9)]
    assert group.machine.next_due_ns is None


def test_timer_cancelled_of_scenario_b3(group):
    """A timer that was taken back in time fires never."""
    group.start(at=0)
    group.advance(arm("sleep", 60))
    group.advance(CancelTimer(KEY), at=5)
    assert group.machine.next_due_ns is None
    assert group.apply(at=60).notices == ()


def test_many_timers_of_scenario_b2(group):
    """A thousand timers of random delays arrive in due order, none lost or doubled, at whatever
    moments time moves on; equal moments go by key.
    """
    random = Random(7)
    group.start(at=0)
    commands = [arm(f"t{number:04}", random.randint(1, 300)) for number in range(1000)]
    group.advance(*commands)
    for at in sorted(random.sample(range(300), 5)):
        group.apply(at=at)
    group.apply(at=300)
    fired = [(event.due_ns, event.timer) for event in group.run().inbox.values()]
    assert fired == sorted((command.due_ns, command.timer) for command in commands)


def test_the_leaders_clock_may_go_back(group):
    """Log time never does: a new leader with an earlier clock unfires nothing."""
    group.start(at=0)
    group.advance(arm("a", 10), arm("b", 20))
    group.apply(at=15)
    group.apply(at=3)
    assert group.machine.clock_ns == 15 * 10**9
    assert [event.timer[1] for event in group.run().inbox.values()] == ["a"]


def test_a_moment_beyond_all_time_is_bounded(group):
    """A due time that no integer column holds is lowered to the highest that it does."""
    group.start(at=0, timeout=2**62)
    group.advance(arm("sleep", 2**70))
    group.flush()
    assert group.run().timers[KEY] == group.run().deadline_ns == 2**63 - 1


def test_workflow_timeout_of_scenario_b14(group, make_step):
    """A run of one hour is TIMED_OUT at exactly one hour, whenever that is noticed, with everything
    it waited for gone; also when its node died at minute 59.
    """
    group.start(at=0, timeout=3600)
    group.advance(arm("sleep", 3600), make_step())
    group.apply(ReassignRuns(1, 1), at=3540)
    assert group.apply(at=3599).notices == ()
    applied = group.apply(at=3700)
    assert applied.notices == (RunClosed("w", RunStatus.TIMED_OUT),)
    found = group.machine.find("w", "")
    assert found.closed_ns == 3600 * 10**9
    assert found.reason == "not done within its time-out of 3600 s"
    assert group.machine.next_due_ns is None


def test_an_earlier_timer_fires_before_the_time_out(group):
    """In one leap of time the order of due moments is kept: first the timer, then the end."""
    group.start(at=0, timeout=10)
    group.advance(arm("early", 9), arm("late", 11))
    group.apply(at=20)
    assert [type(fact).__name__ for fact in group.history()[-2:]] == ["Arrived", "Closed"]


def test_a_parked_run_times_out_and_its_timers_fire(group):
    """Parking stops nobody's clock: timers are buffered, the time-out ends it."""
    group.start(at=0, timeout=10)
    group.advance(arm("sleep", 5))
    group.apply(ParkRun("w", 1, "look"))
    group.apply(at=5)
    assert list(group.run().inbox.values()) == [TimerFired(KEY, 5 * 10**9)]
    group.apply(at=10)
    assert group.machine.find("w", "").status is RunStatus.TIMED_OUT


def test_a_run_that_ends_in_time_does_not_time_out(group):
    """Completion takes the time-out back."""
    group.start(at=0, timeout=10)
    group.advance(CompleteRun(b""), at=9)
    assert group.apply(at=11).notices == ()
    assert group.machine.find("w", "").status is RunStatus.COMPLETED


ENTRIES = st.tuples(
    st.integers(0, 5),
    st.sampled_from("ab"),
    st.sampled_from(DueKind),
    st.sampled_from([((), "x", 0), ((), "x", 1)]),
)


@given(st.lists(st.tuples(st.sampled_from(["add", "discard", "pop"]), ENTRIES)))
def test_the_queue_is_a_sorted_set(steps):
    """Whatever is added, taken back and popped, the queue answers like a sorted set."""
    queue, model = DueQueue(), set()
    for action, entry in steps:
        if action == "add":
            queue.add(entry)
            model.add(entry)
        elif action == "discard":
            queue.discard(entry)
            model.discard(entry)
        else:
            first = min(model, default=None)
            expected = first if first and first[0] <= entry[0] else None
            assert queue.pop(entry[0]) == expected
            model.discard(expected)
        assert queue.next_ns == min((entry[0] for entry in model), default=None)
        assert len(queue) == len(model)


@pytest.mark.parametrize("kept", [0, 10])
def test_arming_and_cancelling_for_ever_does_not_grow_the_queue(kept):
    """Entries that were taken back do not stay until their time, months later."""
    queue = DueQueue()
    for number in range(kept):
        queue.add((number, "keep", DueKind.TIMER, KEY))
    for number in range(10_000):
        entry = (10**18 + number, "w", DueKind.TIMER, KEY)
        queue.add(entry)
        queue.discard(entry)
    assert len(queue._heap) <= 2 * kept + 65
    assert [queue.pop(10**19) is not None for _ in range(kept + 1)] == [True] * kept + [False]
