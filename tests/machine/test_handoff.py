"""Slots move from one group to another: nothing in them is lost, and nothing happens twice."""

import attrs
import pytest

from flowactor.codec import records
from flowactor.identity import slot_of
from flowactor.limits import MOVE_PAGE_BYTES_MAX, MOVE_PAGE_ROWS_MAX, SESSION_EXPIRY_SECONDS, SLOTS
from flowactor.machine import (
    InboxGrew,
    MovePhase,
    OperationRefused,
    OwnerChanged,
    Placement,
    RunArrived,
    RunLeft,
    RunParked,
    SlotState,
    StepsDue,
)
from flowactor.machine.commands import ArmTimer, CompleteRun, SetVariable
from flowactor.machine.events import Failure, TimerFired
from flowactor.machine.handoff import (
    ActivateSlots,
    ExpectSlots,
    ForgetSlots,
    FreezeSlots,
    ImportRows,
    Progress,
    ReleaseMove,
)
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
from flowactor.machine.replies import Done, Moved, Rejected, RunStatus, Started, Written
from flowactor.machine.state import Parking, Variable

SECOND = 10**9
KEY = ((), "s", 0)
TIMER = ((), "t", 0)
ALL = tuple(range(SLOTS))


class Handoff:
    """Move ``number`` of ``slots`` from one group to another, step by step or whole."""

    def __init__(self, source, target, slots, number=1):
        self.source, self.target = source, target
        self.slots, self.number = tuple(slots), number

    def freeze(self, **when):
        return self.source.apply(FreezeSlots(self.number, self.slots, 1, 2), **when)

    def expect(self, **when):
        return self.target.apply(ExpectSlots(self.number, self.slots, 1, 2), **when)

    def pages(self):
        """Every page there is from here on, as the target asks for it."""
        after = self.target.machine.moves[self.number].progress
        while page := self.source.machine.page(self.number, after):
            yield page
            after = page.then

    def copy(self):
        for page in self.pages():
            self.target.apply(page)

    def activate(self, **when):
        return self.target.apply(ActivateSlots(self.number), **when)

    def forget(self):
        while self.number in self.source.machine.moves:
            self.source.apply(ForgetSlots(self.number))

    def release(self, group):
        return group.apply(ReleaseMove(self.number, self.slots))

    def run(self):
        self.freeze()
        self.expect()
        self.copy()
        applied = self.activate()
        self.forget()
        return applied


@pytest.fixture
def groups(group, make_group):
    """Group 1 with every slot, and group 2 with none, of other nodes."""
    other = make_group(voters=(3, 4, 5), slots=())
    other.sequence = 10_000  # the session is the same client's in both
    for node in other.voters:
        other.announce(node, ("T", 1))
    yield group, other
    other.check()


def names(inside, count, slot=7):
    """Workflow ids, or names of variables, that are in the slot, or are not."""
    found = (f"n{number}" for number in range(100_000))
    chosen = (name for name in found if (slot_of(name) == slot) is inside)
    return [next(chosen) for _ in range(count)]


def ask_again(group, sequence, body, session="s"):
    """What the group answers to this sequence of the session."""
    (answer,) = group.apply(ClientOperation(session, sequence, 1, body)).replies
    return answer[2]


def state_of(group, name="w"):
    """A run without what a move changes."""
    summary = group.machine.find(name, "")
    return attrs.evolve(summary, owner=0, epoch=0)


def write(group, count):
    """That many variables, in one log entry."""
    bodies = [WriteVariable(f"v{number}", b"") for number in range(count)]
    start = group.sequence + 1
    group.sequence += count
    group.apply(*[ClientOperation("s", start + n, 1, body) for n, body in enumerate(bodies)])


def live_long(group, count):
    """Run ``w`` goes on by that many activations, in one log entry."""
    run = group.run()
    group.apply(
        *[
            Advance("w", run.epoch, run.position + n, 0, (), (SetVariable("x", b"%d" % n),))
            for n in range(count)
        ]
    )


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
    assert applied.notices == (RunLeft("w", 2),)
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
    assert isinstance(applied.notices[-1], RunParked)
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


# -- repetition, loss, staleness -------------------------------------------------------------------


def test_everything_twice_is_as_once(groups, make_step):
    """Each operation of a move may be applied again at any time after: only its own time counts."""
    group, other = groups
    group.start()
    group.advance(make_step())
    handoff = Handoff(group, other, ALL)
    said = {group: [], other: []}

    def say(one, *operations):
        for operation in operations:
            one.apply(operation)
            said[one].append(operation)
        for operation in said[one]:
            before = one.machine.digest()
            assert one.apply(operation).replies == ()
            assert one.machine.digest() == before

    say(group, FreezeSlots(1, ALL, 1, 2))
    say(other, ExpectSlots(1, ALL, 1, 2))
    say(other, *handoff.pages())
    say(other, ActivateSlots(1))
    say(other, ReleaseMove(1, ALL))
    say(group, ForgetSlots(1))
    say(group, ReleaseMove(1, ALL))
    assert other.run().position == 1
    assert group.machine.runs == {}


def test_pages_count_in_order_only(groups):
    """A page that is damaged, or does not continue what came before it, changes nothing."""
    group, other = groups
    for number in range(3):
        group.ask(WriteVariable(f"v{number}", bytes(MOVE_PAGE_BYTES_MAX - 1000)))
    handoff = Handoff(group, other, ALL)
    handoff.freeze()
    handoff.expect()
    first, second, *_ = handoff.pages()
    damaged = attrs.evolve(first, rows=(*first.rows, first.rows[0]))
    for wrong in (second, damaged, attrs.evolve(first, move=2)):
        before = other.machine.digest()
        (notice,) = other.apply(wrong).notices
        assert isinstance(notice, OperationRefused)
        assert other.machine.digest() == before
    assert other.apply(first, second).notices == ()
    (notice,) = handoff.activate().notices
    assert "page 2" in notice.reason


def test_pages_are_bounded(groups, make_step):
    """In bytes, but for a single row, and in rows; every row is on exactly one of them."""
    group, other = groups
    write(group, 600)
    group.start()
    live_long(group, 800)
    group.ask(WriteVariable("large", bytes(2 * MOVE_PAGE_BYTES_MAX)))
    handoff = Handoff(group, other, ALL)
    handoff.freeze()
    handoff.expect()
    pages = list(handoff.pages())
    rows = [row for page in pages for row in page.rows]
    assert len(rows) == len(set(rows)) > 1400
    assert all(len(page.rows) <= MOVE_PAGE_ROWS_MAX for page in pages)
    small = [page for page in pages if len(page.rows) > 1]
    assert all(sum(map(len, page.rows)) <= MOVE_PAGE_BYTES_MAX for page in small)
    assert len(pages) - len(small) <= 2
    handoff.copy()
    handoff.activate()
    assert other.machine.variable("large").value == bytes(2 * MOVE_PAGE_BYTES_MAX)


def test_every_replica_makes_the_same_pages(groups):
    """At the freeze and long after it: one that was restored, too."""
    group, other = groups
    (inside,), (outside,) = names(True, 1), names(False, 1)
    group.start(inside)
    group.ask(WriteVariable(inside, b"1"))
    handoff = Handoff(group, other, [7])
    handoff.freeze()
    handoff.expect()
    pages = list(handoff.pages())
    assert [group.twin.page(1, page.after) for page in pages] == pages
    group.start(outside)
    data = [row for page in pages for row in page.rows]
    later = [row for page in handoff.pages() for row in page.rows]

    def of_slots(rows):
        return [row for row in rows if records.decode_plain(row)[0] != "sessions"]

    assert of_slots(later) == of_slots(data) != []


def test_what_arrives_is_invisible_until_activated(groups):
    """To whoever finds, reads, lists open runs or waits for what falls due."""
    group, other = groups
    group.start(timeout=5)
    group.ask(WriteVariable("v", b"1"))
    handoff = Handoff(group, other, ALL)
    handoff.freeze()
    handoff.expect()
    handoff.copy()
    assert other.machine.moves[1].progress.complete
    assert other.machine.runs == {}
    assert other.machine.find("w", "") is other.machine.find("", "w") is None
    assert other.machine.variable("v") == Variable(None, 0)
    assert other.machine.next_due_ns is None
    assert other.machine.elsewhere("w") == Moved(2, 1, under_way=True)
    handoff.activate(at=0)
    assert other.machine.find("w", "").run_id == "w"
    assert other.machine.variable("v") == Variable(b"1", 1)


# -- giving up -------------------------------------------------------------------------------------


def test_a_move_that_is_given_up_leaves_everything_as_it_was(groups, make_step):
    """The target drops what it was sent, the source serves again, under higher epochs."""
    group, other = groups
    group.start()
    group.advance(make_step(), ArmTimer(TIMER, 5 * SECOND))
    before = state_of(group)
    handoff = Handoff(group, other, ALL)
    handoff.freeze()
    handoff.expect()
    handoff.copy()
    handoff.release(other)
    while other.machine.moves:
        other.apply(ForgetSlots(1))
    other.flush()
    assert not any(map(other.rows.scan, ("runs", "history", "workflows", "open_runs", "steps")))
    assert isinstance(handoff.activate().notices[0], OperationRefused)
    group.flush()
    applied = handoff.release(group)
    assert applied.notices == (RunArrived("w", 2), OwnerChanged("w", 1, 3))
    assert state_of(group) == before
    assert group.machine.next_due_ns == 5 * SECOND
    assert group.machine.moves == {}
    again = Handoff(group, other, ALL, number=2)
    again.run()
    assert state_of(other) == before


def test_a_page_that_comes_after_the_end_is_refused(groups):
    """The first page would fit where nothing came yet, but the target forgets already; a page never
    fits a source.
    """
    group, other = groups
    group.start()
    handoff = Handoff(group, other, ALL)
    handoff.freeze()
    handoff.expect()
    page, *_ = handoff.pages()
    handoff.release(other)
    for one in groups:
        before = one.machine.digest()
        assert isinstance(one.apply(page).notices[0], OperationRefused)
        assert one.machine.digest() == before
    handoff.release(group)


def test_history_of_elsewhere_has_no_place_in_this_log(groups):
    """Whoever follows what happens in the new group is not told again what happened in the old."""
    group, other = groups
    group.start()
    Handoff(group, other, ALL).run()
    index = len(other.log)
    other.flush()
    places = [row[2:4] for row in other.rows.scan("history", ("w",))]
    assert places[:2] == [(-1, 0), (-1, 0)]
    assert places[2:] == [(index, 0)]


def test_a_move_that_was_given_up_never_begins(groups):
    """What was proposed before the release, and comes after it, is refused in both groups."""
    group, other = groups
    handoff = Handoff(group, other, ALL)
    for one, late in ((group, handoff.freeze), (other, handoff.expect)):
        handoff.release(one)
        before = one.machine.digest()
        assert isinstance(late().notices[0], OperationRefused)
        assert one.machine.digest() == before
    assert group.machine.elsewhere("w") is None
    assert group.machine.placement(0) == Placement(SlotState.SERVED, 1)


def test_the_source_never_serves_again_what_it_gave_away(groups):
    """Neither a late release nor a late freeze changes anything, until a later move brings it."""
    group, other = groups
    group.ask(WriteVariable("v", b"1"))
    handoff = Handoff(group, other, ALL)
    handoff.run()
    assert group.machine.elsewhere("v") == Moved(2, 1)
    handoff.release(group)
    handoff.freeze()
    assert group.machine.elsewhere("v") == Moved(2, 1)
    other.ask(WriteVariable("v", b"2"))
    Handoff(other, group, ALL, number=2).run()
    assert group.machine.variable("v") == Variable(b"2", 2)
    assert group.ask(CompareAndSet("v", 2, b"3")) == Written(3)
    assert isinstance(other.ask(WriteVariable("v", b"4")), Moved)


def test_a_slot_is_in_one_move_at_a_time(groups):
    """Not before everything of the last one is deleted can it come back, and a release that comes
    in the middle of that brings nothing back.
    """
    group, other = groups
    write(group, MOVE_PAGE_ROWS_MAX + 1)
    handoff = Handoff(group, other, ALL)
    handoff.freeze()
    handoff.expect()
    handoff.copy()
    handoff.activate()
    group.apply(ForgetSlots(1))
    assert group.machine.moves[1].phase is MovePhase.FORGETTING
    assert isinstance(handoff.release(group).notices[0], OperationRefused)
    assert group.machine.elsewhere("v0") == Moved(2, 1)
    back = Handoff(other, group, ALL, number=2)
    assert isinstance(back.expect().notices[0], OperationRefused)
    handoff.forget()
    assert back.expect().notices == ()


@pytest.mark.parametrize("slots", [(), (SLOTS,), (-1,), (0, SLOTS)])
def test_slots_that_do_not_exist_are_refused(groups, slots):
    """An operation that makes no sense changes nothing, and stops nobody."""
    for one in groups:
        for operation in (FreezeSlots(1, slots, 1, 2), ExpectSlots(1, slots, 1, 2)):
            before = one.machine.digest()
            assert isinstance(one.apply(operation).notices[0], OperationRefused)
            assert one.machine.digest() == before
        one.apply(ReleaseMove(1, slots))
    page = ImportRows(1, Progress(), (), Progress(1))
    assert isinstance(groups[1].apply(page).notices[0], OperationRefused)


def test_deleting_is_done_in_portions(groups):
    """However long a history is, one entry deletes a bounded number of rows of it."""
    group, other = groups
    group.start()
    live_long(group, 2 * MOVE_PAGE_ROWS_MAX)
    handoff = Handoff(group, other, ALL)
    handoff.freeze()
    handoff.expect()
    handoff.copy()
    handoff.activate()
    group.flush()
    portions = 0
    while group.machine.moves:
        group.apply(ForgetSlots(1))
        gone = [write for write in group.flush() if write.values is None]
        assert len(gone) <= MOVE_PAGE_ROWS_MAX + 1
        portions += 1
    assert portions == 3
    assert group.rows.scan("history") == group.rows.scan("runs") == []
    assert len(other.history()) > 2 * MOVE_PAGE_ROWS_MAX


def test_rejections_move_too(groups):
    """A refusal that was recorded is the answer in the new group as well."""
    group, other = groups
    body = SignalRun("nobody", "", "n", b"")
    refused = group.ask(body)
    assert isinstance(refused, Rejected)
    Handoff(group, other, ALL).run()
    assert ask_again(other, 1, body) == refused
