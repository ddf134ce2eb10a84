"""``Advance``: compare-and-set on epoch and position, whole or not at all."""

import pytest

from flowactor.codec import records
from flowactor.machine import Advanced, InboxGrew, OperationRefused, RunClosed
from flowactor.machine.commands import (
    ArmTimer,
    CancelStep,
    CancelTimer,
    CompleteRun,
    FailRun,
    RunEndedCancelled,
    SetVariable,
)
from flowactor.machine.events import Failure, RunStarted, SignalReceived, StepCompleted
from flowactor.machine.history import Closed
from flowactor.machine.operations import (
    Advance,
    CancelRun,
    ClientOperation,
    InboxRef,
    ParkRun,
    SignalRun,
    TerminateRun,
)
from flowactor.machine.replies import Done, RunStatus

KEY = ((), "s", 0)
OTHER = ((), "t", 0)


def assert_refused(group, **fields):
    """The operation changes no state, leaves no history, and says why."""
    before = group.machine.digest()
    applied = group.advance(**fields)
    assert group.machine.digest() == before
    (notice,) = applied.notices
    assert isinstance(notice, OperationRefused)
    assert notice.operation == "Advance"
    return notice.reason


def test_an_advance_consumes_performs_and_moves_on(group, make_step):
    """Inbox items go, steps, timers and variables come, the position counts, and the notice carries
    what was consumed.
    """
    group.start()
    timer = ((0,), "sleep", 0)
    commands = (make_step(), ArmTimer(timer, 10**12), SetVariable("status", b"1"))
    applied = group.advance(*commands)
    run = group.run()
    assert (run.position, run.inbox, run.timers) == (1, {}, {timer: 10**12})
    assert run.steps[KEY].attempt == 1
    assert run.variables == {"status": b"1"}
    (notice,) = applied.notices
    assert isinstance(notice, Advanced)
    assert (notice.position, notice.events) == (1, (RunStarted(b"input"),))
    assert notice.advance.commands == commands


def test_owner_epoch_compare_and_set(group, make_step):
    """Any other epoch or position than the run's own is refused, also the same advance again."""
    group.start()
    group.announce(1, ("T", 1), incarnation="second")
    assert group.run().epoch == 2
    for wrong in ({"epoch": 1}, {"epoch": 3}, {"position": 1}, {"position": -1}):
        assert "the run is at 2, 0" in assert_refused(group, **wrong)
    group.advance(make_step())
    assert "the run is at 2, 1" in assert_refused(group, position=0)


def test_a_refused_advance_refuses_all_after_it(group):
    """Of a pipeline whose first member is stale none applies: positions chain them."""
    group.start()
    pipeline = [
        Advance("w", epoch, position, 0, (), (SetVariable("x", b""),))
        for epoch, position in ((9, 0), (1, 1), (1, 2))
    ]
    applied = group.apply(*pipeline)
    assert [type(notice) for notice in applied.notices] == [OperationRefused] * 3
    assert group.run().position == 0


@pytest.mark.parametrize(
    "consumed",
    [
        (InboxRef(2),),
        (InboxRef(1), InboxRef(1)),
        (StepCompleted(OTHER, 1, b""),),
        (StepCompleted(KEY, 2, b""),),
        (StepCompleted(KEY, 1, b""), StepCompleted(KEY, 1, b"")),
        (InboxRef(1), StepCompleted(KEY, 0, b"")),
    ],
)
def test_what_is_not_there_cannot_be_consumed(group, make_step, consumed):
    """A missing or doubled item refuses the whole advance, including its valid parts."""
    group.start()
    group.advance(make_step(), consumed=())
    assert "not there" in assert_refused(group, consumed=consumed)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_pending_key_cannot_be_asked_for_again(group, make_step, at_once):
    """A step or timer that is pending is neither replaced nor doubled."""
    group.start()
    timer = ArmTimer(KEY, 10**12)
    if not at_once:
        group.advance(make_step(), timer)
    for command in (make_step(), timer):
        before = group.machine.digest()
        group.advance(*([command] * (1 + at_once)))
        assert group.machine.digest() == before


def test_a_key_is_free_again_within_the_advance_that_ends_it(group, make_step):
    """Consuming or cancelling comes before asking anew, in the order of the advance."""
    group.start()
    timer = ArmTimer(KEY, 10**12)
    group.advance(make_step(), make_step("t"), timer)
    again = (make_step(), CancelStep(OTHER), make_step("t"), CancelTimer(KEY), timer)
    group.advance(*again, consumed=(StepCompleted(KEY, 1, b""),))
    assert group.run().position == 2
    assert [pending.attempt for pending in group.run().steps.values()] == [1, 1]


def test_nothing_follows_the_end(group):
    """An advance that goes on after its own end is refused."""
    group.start()
    before = group.machine.digest()
    group.advance(CompleteRun(b""), SetVariable("x", b""))
    assert group.machine.digest() == before


def test_cancelling_what_is_gone_does_nothing(group):
    """Cancelling a step or timer that has just ended is no error."""
    group.start()
    group.advance(CancelStep(KEY), CancelTimer(KEY))
    assert group.run().position == 1


@pytest.mark.parametrize(
    ("command", "status", "outcome"),
    [
        (CompleteRun(b"done"), RunStatus.COMPLETED, (b"done", None, "")),
        (FailRun(Failure("E", "no")), RunStatus.FAILED, (None, Failure("E", "no"), "")),
        (RunEndedCancelled("enough"), RunStatus.CANCELLED, (None, None, "enough")),
    ],
)
def test_errors_are_values(group, command, status, outcome):
    """Success, failure and cancellation are different recorded facts, before and after a flush."""
    group.start()
    applied = group.advance(command, at=3)
    assert applied.notices[-1] == RunClosed("w", status)
    for _ in range(2):
        found = group.machine.find("w", "")
        assert (found.status, found.closed_ns) == (status, 3_000_000_000)
        assert (found.result, found.failure, found.reason) == outcome
        group.flush()
    assert group.history()[-1] == Closed(status, outcome[2])


@pytest.mark.parametrize(
    "end", [CompleteRun(b"done"), FailRun(Failure("E", "no")), RunEndedCancelled(""), None]
)
def test_terminal_is_absorbing(group, make_step, end):
    """Whatever is asked of a closed run, it stays what it came to: a cancelled one never completes.
    Steps, timers and inbox are gone from state and rows.
    """
    group.start(timeout=100)
    group.advance(make_step(), ArmTimer(KEY, 5 * 10**9))
    group.ask(SignalRun("w", "", "note", b""))
    group.flush()
    if end is None:
        assert group.ask(TerminateRun("w", "", "over")) == Done()
    else:
        group.advance(end, consumed=())
    closed = group.machine.find("w", "")
    assert group.machine.next_due_ns is None
    for position in (1, 2):
        group.advance(CompleteRun(b"late"), position=position, consumed=())
    group.apply(ParkRun("w", 1, "late"), at=1000)
    for body in (CancelRun("w", "", ""), TerminateRun("w", "", ""), SignalRun("w", "", "n", b"")):
        assert group.ask(body).code == "AlreadyClosed"
    assert group.machine.find("w", "") == closed
    group.flush()
    for table in ("inbox", "steps", "timers", "open_runs"):
        assert group.rows.scan(table) == []


def test_variables_of_a_closed_run_stay_readable(group):
    """The same key in two runs is separate, and outlives them (scenario A-R7)."""
    group.start("a")
    group.start("b")
    group.advance(SetVariable("key", b"100"), name="a")
    group.advance(SetVariable("key", b"200"), CompleteRun(b""), name="b")
    for _ in range(2):
        assert group.machine.run_variables("a") == {"key": b"100"}
        assert group.machine.run_variables("b") == {"key": b"200"}
        group.flush()
    assert group.machine.run_variables("c") == {}


def test_a_thousand_checkpoints_are_one_row(group):
    """A variable that was set in every activation since the last flush is written once."""
    group.start()
    for number in range(20):
        group.advance(SetVariable("n", bytes([number])))
    writes = [write for write in group.flush() if write.table == "run_variables"]
    assert [write.values for write in writes] == [(bytes([19]),)]


def test_time_of_a_run_never_goes_back(group):
    """An earlier ``now_ns`` is lifted to the run's own time, in notice and history alike."""
    group.start(at=5)
    group.advance(now_ns=9 * 10**9)
    applied = group.advance(now_ns=7 * 10**9)
    assert group.run().now_ns == 9 * 10**9
    assert applied.notices[0].advance.now_ns == 9 * 10**9
    activated = [fact for fact in group.history() if isinstance(fact, Advance)]
    assert [fact.now_ns for fact in activated] == [9 * 10**9, 9 * 10**9]


def test_structured_keys(group, make_step):
    """Scenario A-R28: ids ``a`` and ``a:b`` with keys ``b:c`` and ``c`` are different things;
    ending one leaves the other untouched.
    """
    group.start("a")
    group.start("a:b")
    group.advance(make_step("b:c"), SetVariable("b:c", b"1"), name="a")
    group.advance(make_step("c"), SetVariable("c", b"2"), name="a:b")
    group.flush()
    untouched = records.encode_plain(group.rows.scan("steps", ("a:b",)))
    group.advance(CompleteRun(b""), name="a")
    group.flush()
    assert list(group.machine.runs) == ["a:b"]
    assert group.run("a:b").variables == {"c": b"2"}
    assert records.encode_plain(group.rows.scan("steps", ("a:b",))) == untouched
    assert group.rows.scan("steps", ("a",)) == []


def test_signals_before_and_after_the_first_activation_keep_their_order(group):
    """Scenarios C1 and C2: signals are numbered as they come, and buffered until consumed."""
    group.start()
    for number in range(3):
        assert group.ask(SignalRun("w", "", "note", bytes([number]))) == Done()
    applied = group.advance()
    assert applied.notices[0].events[1:] == tuple(
        SignalReceived("note", bytes([number])) for number in range(3)
    )
    assert group.run().inbox_last == 4


def test_signal_to_closed_of_scenario_c5(group):
    """A closed run says so, an unknown one is not found; neither is changed."""
    group.start()
    group.advance(CompleteRun(b""))
    for _ in range(2):
        assert group.ask(SignalRun("w", "", "n", b"")).code == "AlreadyClosed"
        assert group.ask(SignalRun("w", "other", "n", b"")).code == "NotFound"
        assert group.ask(SignalRun("nobody", "", "n", b"")).code == "NotFound"
        group.flush()


def test_an_inbox_is_bounded(monkeypatch, group):
    """Beyond the limit a signal is refused with ``Overloaded``; consuming makes room again."""
    monkeypatch.setattr("flowactor.machine.lifecycle.INBOX_ITEMS_MAX", 3)
    group.start()
    signal = SignalRun("w", "", "n", b"")
    assert [type(group.ask(signal)).__name__ for _ in range(3)] == ["Done", "Done", "Rejected"]
    assert group.ask(signal).code == "Overloaded"
    group.advance()
    assert group.ask(signal) == Done()


def test_cancel_is_asked_once(group):
    """The second request makes no difference, and the run's own code decides how it ends."""
    group.start()
    assert group.ask(CancelRun("w", "", "enough")) == Done()
    assert group.ask(CancelRun("w", "", "really")) == Done(changed=False)
    applied = group.advance(CompleteRun(b"anyway"))
    assert len(applied.notices[0].events) == 2
    assert group.machine.find("w", "").status is RunStatus.COMPLETED


def test_hints_of_one_entry_come_once(group):
    """Many signals in one batch are one ``InboxGrew``, and none if the run has closed meanwhile."""
    group.start()
    signal = SignalRun("w", "", "n", b"")
    applied = group.apply(*[ClientOperation("s", n, 1, signal) for n in (10, 11)])
    assert applied.notices == (InboxGrew("w"),)
    end = TerminateRun("w", "", "")
    applied = group.apply(
        *[ClientOperation("s", n, 1, body) for n, body in ((12, signal), (13, end))]
    )
    assert applied.notices == (RunClosed("w", RunStatus.TERMINATED),)
