"""Slots move from one group to another: nothing in them is lost, and nothing happens twice."""

from flowactor.identity import slot_of
from flowactor.limits import SESSION_EXPIRY_SECONDS
from flowactor.machine import (
    InboxGrew,
    MoveWentOn,
    OperationRefused,
    OwnerChanged,
    RunArrived,
    RunLeft,
    RunParked,
    SlotsLeft,
    StepsDue,
)
from flowactor.machine.commands import ArmTimer, CompleteRun, SetVariable
from flowactor.machine.events import Failure, TimerFired
from flowactor.machine.history import OwnerAssigned
from flowactor.machine.operations import (
    Advance,
    ClientOperation,
    CompareAndSet,
    FailAttempt,
    OpenSession,
    ParkRun,
    ReassignRuns,
    SignalRun,
    StartRun,
    TerminateRun,
    WriteVariable,
)
from flowactor.machine.replies import Done, Moved, RunStatus, Started, Written
from flowactor.machine.state import Parking, Variable
from tests.machine.handing import ALL, KEY, SECOND, TIMER, Handoff, ask_again, names, state_of

# -- who serves ------------------------------------------------------------------------------------


def test_what_is_not_served_is_not_applied(groups):
    """A group without the slot answers every request of a client with ``Moved``, remembers none,
    and applies none; with the same sequence the right group then does it.
    """
    group, other = groups
    start = StartRun("w", "w", "T", 1, b"", 1)
    bodies = [
        start,
        SignalRun("w", "", "n", b""),
        TerminateRun("w", "", "over"),
        TerminateRun("", "w", "over"),
        WriteVariable("v", b"1"),
        CompareAndSet("v", 0, b"1"),
    ]
    before = other.machine.find("w", ""), other.machine.variable("v")
    assert [other.ask(body) for body in bodies] == [Moved(0, 0)] * 6
    assert (other.machine.find("w", ""), other.machine.variable("v")) == before
    assert ask_again(other, 1, start) == Moved(0, 0)
    assert group.ask(start) == Started("w", "w", 1, created=True)


def test_a_group_of_some_slots_serves_these(make_group):
    """A new group serves the slots that it is told."""
    (inside,), (outside,) = names(True, 1), names(False, 1)
    group = make_group(slots=(7,))
    assert group.ask(WriteVariable(inside, b"1")) == Written(1)
    assert group.ask(WriteVariable(outside, b"1")) == Moved(0, 0)
    group.check()


def test_only_the_slots_that_move_are_frozen(groups):
    """Runs and variables of other slots go on during the move."""
    group, other = groups
    (inside,), (outside,) = names(True, 1), names(False, 1)
    group.start(outside)
    Handoff(group, other, [7]).freeze()
    assert group.ask(SignalRun(outside, "", "n", b"")) == Done()
    assert group.ask(WriteVariable(inside, b"1")) == Moved(2, 1, under_way=True)
    assert group.machine.elsewhere(outside) is None
    assert not isinstance(group.advance(name=outside).notices[0], OperationRefused)


# -- runs in flight --------------------------------------------------------------------------------


def test_a_run_in_flight_goes_on_where_it_was(groups, make_step):
    """Inbox, steps, timers, variables, position and history come along; the step in flight starts
    again as the next attempt, and the end is the same.
    """
    group, other = groups
    group.start(timeout=1000)
    group.advance(make_step(), make_step("t"), ArmTimer(TIMER, 50 * SECOND), SetVariable("x", b"1"))
    group.fail(((), "t", 0), at=10)
    group.ask(SignalRun("w", "", "note", b"hello"))
    before, run, past = state_of(group), group.run(), group.history()
    applied = Handoff(group, other, ALL).run()
    moved = other.run()
    assert applied.notices[:2] == (RunArrived("w", run.epoch), OwnerChanged("w", 3, run.epoch + 1))
    assert state_of(other) == before
    assert (moved.inbox, moved.timers, moved.variables) == (run.inbox, run.timers, run.variables)
    assert moved.deadline_ns == run.deadline_ns
    assert (moved.steps[KEY].attempt, moved.steps[((), "t", 0)].attempt) == (2, 1)
    assert other.history()[: len(past)] == past
    assert isinstance(other.history()[len(past)], OwnerAssigned)
    other.complete(KEY, CompleteRun(b"done"))
    assert other.machine.find("w", "").status is RunStatus.COMPLETED


def test_the_owner_at_the_source_is_fenced(groups, make_step):
    """Nothing that it decided before the freeze counts after it, here or there; nothing falls due
    at the source any more.
    """
    group, other = groups
    group.start(timeout=100)
    group.advance(make_step(), ArmTimer(TIMER, 50 * SECOND))
    handoff = Handoff(group, other, ALL)
    applied = handoff.freeze()
    assert applied.notices == (RunLeft("w", 2), SlotsLeft(ALL), MoveWentOn(1))
    assert group.machine.next_due_ns is None
    late = [
        Advance("w", 1, 1, 0, (), (CompleteRun(b""),)),
        FailAttempt("w", 1, KEY, 1, Failure("builtins.OSError", "try again")),
        ParkRun("w", 1, "look"),
        ReassignRuns(1, 1),
    ]
    notices = group.apply(*late, at=200).notices
    assert [(type(notice), notice.stale) for notice in notices] == [(OperationRefused, True)] * 3
    handoff.expect()
    handoff.copy()
    handoff.activate()
    before = other.run().position
    assert {type(notice) for notice in other.apply(*late[:3]).notices} == {OperationRefused}
    assert other.run().position == before


def test_closed_runs_and_variables_come_along(groups):
    """They are found, read and compared in the new group as they were in the old one, which has
    nothing left of them.
    """
    group, other = groups
    group.start()
    group.advance(SetVariable("x", b"1"), CompleteRun(b"done"))
    group.ask(WriteVariable("v", b"1"))
    group.ask(WriteVariable("v", b"2"))
    before = group.machine.find("w", "")
    Handoff(group, other, ALL).run()
    assert other.machine.find("", "w") == before
    assert other.machine.run_variables("w") == {"x": b"1"}
    assert other.machine.variable("v") == Variable(b"2", 2)
    assert other.ask(CompareAndSet("v", 1, b"")).code == "VersionMismatch"
    assert other.ask(CompareAndSet("v", 2, b"3")) == Written(3)
    assert group.machine.find("w", "") is None
    assert group.machine.variable("v") == Variable(None, 0)
    group.flush()
    left = {table for table, rows in group.rows.tables.items() if rows}
    assert left == {"meta", "nodes", "sessions", "session_replies", "slots", "voters"}


def test_only_rows_of_the_moved_slots_are_deleted(groups):
    """The runs and variables of other slots keep every row."""
    group, other = groups
    inside, outside = names(True, 3), names(False, 3)
    for name in inside + outside:
        group.start(name)
        group.ask(WriteVariable(name, b"1"))
    kept = {name: group.history(name) for name in outside}
    Handoff(group, other, [7]).run()
    assert {name: group.history(name) for name in outside} == kept
    assert sorted(group.machine.runs) == sorted(outside)
    assert sorted(other.machine.runs) == sorted(inside)
    assert all(group.machine.variable(name).version for name in outside)


def test_parked_runs_stay_parked_or_find_their_code(groups, make_group):
    """One that its owner parked waits for an operator there too; one that found no node with its
    code goes on if the new group has one, and one whose code the new group lacks is parked.
    """
    group, _ = groups
    other = make_group(voters=(4,), slots=())
    for name in ("a", "b"):
        group.start(name)
    group.apply(ParkRun("a", 1, "look"))
    handoff = Handoff(group, other, ALL)
    applied = handoff.run()
    assert [type(notice) for notice in applied.notices[-2:]] == [RunParked, MoveWentOn]
    assert other.run("a").parking is Parking.BY_OWNER
    assert other.run("b").parking is Parking.NO_NODE
    other.announce(4, ("T", 1))
    assert (other.run("a").owner, other.run("b").owner) == (0, 4)
    assert other.run("b").epoch > 1
    other.check()


# -- time ------------------------------------------------------------------------------------------


def test_what_fell_due_on_the_way_fires_once_and_not_early(groups, make_step):
    """Timers and retries due by the time of activation fire then, in order; later ones wait for
    their time; the source fires none of them, however late it is there.
    """
    group, other = groups
    group.start(at=10)
    later = ((), "later", 0)
    group.advance(make_step(initial=5), ArmTimer(TIMER, 20 * SECOND), ArmTimer(later, 99 * SECOND))
    group.fail(KEY, at=11)
    handoff = Handoff(group, other, ALL)
    handoff.freeze(at=12)
    handoff.expect(at=15)
    handoff.copy()
    assert other.apply(at=30).notices == ()
    assert group.apply(at=500).notices == ()
    applied = handoff.activate(at=40)
    assert InboxGrew("w") in applied.notices
    assert StepsDue("w", (KEY,)) in applied.notices
    fired = [event for event in other.run().inbox.values() if isinstance(event, TimerFired)]
    assert fired == [TimerFired(TIMER, 20 * SECOND)]
    assert other.machine.next_due_ns == 99 * SECOND
    handoff.forget()
    assert other.apply(at=98).notices == ()
    other.apply(at=99)
    fired = [event for event in other.run().inbox.values() if isinstance(event, TimerFired)]
    assert fired == [TimerFired(TIMER, 20 * SECOND), TimerFired(later, 99 * SECOND)]


def test_time_never_goes_back_in_a_run(groups):
    """Where the clock of the new group is behind, the run's own times go on from where they were,
    its timers wait for the new group's clock, and that clock is not moved.
    """
    group, other = groups
    group.start(at=100)
    group.advance(ArmTimer(TIMER, 110 * SECOND), now_ns=100 * SECOND)
    handoff = Handoff(group, other, ALL)
    handoff.freeze(at=105)
    handoff.expect(at=3)
    handoff.copy()
    assert handoff.activate().notices
    assert other.machine.clock_ns == 3 * SECOND
    assert other.machine.next_due_ns == 110 * SECOND
    other.apply(at=109)
    assert TIMER in other.run().timers
    other.advance(at=109.5, now_ns=1)
    assert other.run().now_ns == 100 * SECOND
    other.flush()
    stamps = [row[4] for row in other.rows.scan("history", ("w",))]
    assert stamps == sorted(stamps)
    other.advance(CompleteRun(b"done"))
    assert other.machine.find("w", "").closed_ns >= other.machine.find("w", "").started_ns


def test_a_run_that_ends_far_behind_ends_after_its_start(groups):
    """A run that is terminated where the clock is behind has not ended before it began."""
    group, other = groups
    group.start(at=100)
    Handoff(group, other, ALL).run()
    other.ask(TerminateRun("w", "", "over"), at=5)
    summary = other.machine.find("w", "")
    assert summary.closed_ns == summary.started_ns == 100 * SECOND


# -- sessions --------------------------------------------------------------------------------------


def test_a_request_applied_before_the_move_is_answered_after_it(groups):
    """What the source answered is remembered by the target, and not done twice; so is what the
    client has acknowledged there.
    """
    group, other = groups
    first, second = WriteVariable("v", b"1"), WriteVariable("v", b"2")
    assert group.ask(first) == Written(1)
    assert group.ask(second) == Written(2)
    handoff = Handoff(group, other, ALL)
    handoff.freeze()
    assert group.ask(WriteVariable("v", b"3")) == Moved(2, 1, under_way=True)
    assert ask_again(group, 2, second) == Written(2)
    group.apply(ClientOperation("s", 4, 2, first))  # acknowledges the first
    handoff.expect()
    assert ask_again(other, 2, second) == Moved(2, 1, under_way=True)
    handoff.copy()
    handoff.activate()
    assert ask_again(other, 2, second) == Written(2)
    assert ask_again(other, 1, first).code == "SessionExpired"
    assert other.machine.variable("v") == Variable(b"2", 2)
    assert ask_again(other, 3, WriteVariable("v", b"3")) == Written(3)


def test_a_session_that_the_target_knows_is_joined(groups):
    """Its own replies stay, the highest floor counts, and it expires by its last use in either."""
    group, other = groups
    group.apply(OpenSession("t"), at=3000)
    assert ask_again(group, 1, WriteVariable("v", b"1"), "t") == Written(1)
    first = Handoff(group, other, [slot_of("v")], 1)
    other.apply(OpenSession("t"), at=10)
    first.run()
    assert ask_again(other, 2, WriteVariable("v", b"2"), "t") == Written(2)
    back = Handoff(other, group, [slot_of("v")], 2)
    back.run()
    assert ask_again(group, 2, WriteVariable("v", b"2"), "t") == Written(2)
    assert ask_again(group, 1, WriteVariable("v", b"1"), "t") == Written(1)
    assert group.machine.variable("v") == Variable(b"2", 2)


def test_a_session_keeps_its_age(groups):
    """It is forgotten after as long as at the source, whatever the clocks of the two say."""
    group, other = groups
    group.apply(OpenSession("t"), OpenSession("u"), at=1000)
    group.apply(at=2000)
    other.apply(at=10_000)
    Handoff(group, other, ALL).run()
    ages_s = SESSION_EXPIRY_SECONDS - 1000
    other.apply(at=10_000 + ages_s - 1)
    assert ask_again(other, 1, WriteVariable("v", b"1"), "t") == Written(1)
    other.apply(at=10_000 + ages_s)
    assert ask_again(other, 1, WriteVariable("v", b"1"), "u").code == "SessionExpired"
