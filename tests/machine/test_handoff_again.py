"""A move in which things happen twice, late, or not at all, and one that is given up."""

import attrs
import pytest

from flowactor.codec import records
from flowactor.limits import MOVE_PAGE_BYTES_MAX, MOVE_PAGE_ROWS_MAX, SLOTS
from flowactor.machine import (
    MovePhase,
    MoveWentOn,
    OperationRefused,
    OwnerChanged,
    Placement,
    RunArrived,
    SlotState,
)
from flowactor.machine.commands import ArmTimer
from flowactor.machine.handoff import (
    ActivateSlots,
    ExpectSlots,
    ForgetSlots,
    FreezeSlots,
    ImportRows,
    Progress,
    ReleaseMove,
)
from flowactor.machine.operations import (
    CompareAndSet,
    SignalRun,
    WriteVariable,
)
from flowactor.machine.replies import Moved, Rejected, Written
from flowactor.machine.state import Variable
from tests.machine.handing import (
    ALL,
    SECOND,
    TIMER,
    Handoff,
    ask_again,
    live_long,
    names,
    state_of,
    write,
)

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
    assert applied.notices == (RunArrived("w", 2), OwnerChanged("w", 1, 3), MoveWentOn(1))
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
    assert back.expect().notices == (MoveWentOn(2),)


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
