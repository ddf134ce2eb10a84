"""Steps: attempts, back-off, and the end of trying. Stamps are seconds of log time."""

import pytest

from flowactor.codec import records
from flowactor.machine import OperationRefused, StepsDue, StepState
from flowactor.machine.commands import CancelStep, RetryRule, SetVariable
from flowactor.machine.events import Failure, StepCompleted, StepEnded
from flowactor.machine.history import AttemptFailed, AttemptStarted
from flowactor.machine.operations import Advance, ParkRun, ReassignRuns, ResumeRun
from flowactor.machine.steps import backoff_ns

KEY = ((), "s", 0)
MS = 1_000_000


def assert_refused(applied):
    (notice,) = applied.notices
    assert isinstance(notice, OperationRefused)
    assert notice.operation == "FailAttempt"


def test_retry_backoff_schedule_of_scenario_b4(group, make_step):
    """Policy 1 s, times 2, at most 5 s, 5 attempts: they start at 0, 1, 3, 7 and 12 s. (The twin of
    the group restarts before every entry: neither the count nor the wait is lost.)
    """
    group.start(at=0)
    group.advance(make_step(initial=1, coefficient=2, maximum=5, attempts=5))
    for attempt, due in ((2, 1), (3, 3), (4, 7), (5, 12)):
        group.fail(KEY)
        assert group.run().steps[KEY].state is StepState.BACKING_OFF
        assert group.machine.next_due_ns == due * 10**9
        assert group.apply(at=due - 1e-9).notices == ()
        assert group.apply(at=due).notices == (StepsDue("w", (KEY,)),)
        step = group.run().steps[KEY]
        assert (step.state, step.attempt, step.due_ns) == (StepState.RUNNING, attempt, 0)
    group.complete(KEY)
    assert group.run().steps == {}
    assert group.machine.next_due_ns is None


@pytest.mark.parametrize(
    ("rule", "waits_ms"),
    [
        (RetryRule(100 * MS, 2000, 0, 3), {1: 100, 2: 200}),  # A-X12
        (RetryRule(50 * MS, 2000, 400 * MS, 0), {1: 50, 2: 100, 3: 200, 4: 400, 5: 400}),  # A-X13
        (RetryRule(1000 * MS, 2000, 0, 0), {0: 1000, 1: 1000, 2: 2000, 3: 4000}),  # A-F3
        (RetryRule(500 * MS, 1500, 0, 0), {2: 750}),  # A-F3
        (RetryRule(100 * MS, 1000, 0, 0), {1: 100, 10**9: 100}),
        (RetryRule(100 * MS, 500, 0, 0), {2: 50, 3: 25, 10**9: 0}),
        (RetryRule(0, 2000, 0, 0), {1: 0, 10**9: 0}),
        (RetryRule(-5, -2000, -3, 0), {1: 0, 10**9: 0}),
        (RetryRule(1000 * MS, 2000, 0, 0), {10**9: 366 * 86_400_000}),
        (RetryRule(10**30, 2000, 10**30, 0), {1: 366 * 86_400_000}),
    ],
)
def test_backoff_tables(rule, waits_ms):
    """Exponential back-off of scenarios A-X12, A-X13 and A-F3; bounded for every rule there is."""
    assert {attempt: backoff_ns(rule, attempt) / MS for attempt in waits_ms} == waits_ms


def test_retries_exhausted_of_scenario_b5(group, make_step):
    """Three attempts, then the last error arrives in the inbox, and no retry is due."""
    group.start(at=0)
    group.advance(make_step(attempts=3))
    for number, at in ((1, 1), (2, 3)):
        group.fail(KEY, failure=Failure("E", f"error {number}"))
        group.apply(at=at)
    last = Failure("E", "error 3")
    group.fail(KEY, failure=last)
    assert group.run().steps == {}
    assert list(group.run().inbox.values()) == [StepEnded(KEY, 3, last)]
    assert group.machine.next_due_ns is None


@pytest.mark.parametrize(
    "failure",
    [
        Failure("shop.errors.Declined", "no"),
        Failure("builtins.ValueError", "no"),
        Failure("E", "no", retryable=False),
    ],
)
def test_non_retryable_of_scenario_b6(group, make_step, failure):
    """A listed type, by full name or class name, or a failure that says so itself: one attempt."""
    group.start()
    group.advance(make_step(non_retryable=("shop.errors.Declined", "ValueError")))
    group.fail(KEY, failure=failure)
    assert list(group.run().inbox.values()) == [StepEnded(KEY, 1, failure)]


def test_a_type_is_not_listed_by_a_part_of_its_name(group, make_step):
    """``ValueError`` on the list is neither ``MyValueError`` nor a module of that name."""
    group.start()
    group.advance(make_step(non_retryable=("ValueError", "errors")))
    group.fail(KEY, failure=Failure("errors.MyValueError", "no"))
    assert group.run().steps[KEY].state is StepState.BACKING_OFF


def test_only_the_running_attempt_fails(group, make_step):
    """Another epoch, attempt or step, and a second report of the same failure, change nothing."""
    group.start()
    group.advance(make_step())
    for wrong in ({"epoch": 2}, {"attempt": 0}, {"attempt": 2}, {"run_id": "x"}):
        assert_refused(group.fail(KEY, **wrong))
    assert_refused(group.fail(KEY, step=((), "other", 0)))
    group.fail(KEY)
    assert_refused(group.fail(KEY))
    assert group.run().steps[KEY].attempt == 1


def test_a_late_result_of_a_dead_attempt_is_ignored(group, make_step):
    """While it backs off, and when the next attempt runs, the first attempt's result is refused;
    the second attempt's is recorded once (scenario B7, invariant I22).
    """
    group.start(at=0)
    group.advance(make_step())
    group.fail(KEY)
    late = (StepCompleted(KEY, 1, b"late"),)
    group.advance(consumed=late)
    group.apply(at=1)
    group.advance(consumed=late)
    assert group.run().position == 1
    group.complete(KEY, SetVariable("done", b""))
    group.advance(consumed=(StepCompleted(KEY, 2, b"again"),))
    assert group.run().position == 2


def test_a_cancelled_step_is_forgotten(group, make_step):
    """Running or backing off, it is gone with its retry; its later failure changes nothing."""
    group.start(at=0)
    group.advance(make_step(), make_step("t"))
    group.fail(KEY)
    group.advance(CancelStep(KEY), CancelStep(((), "t", 0)))
    assert group.run().steps == {}
    assert group.machine.next_due_ns is None
    assert group.apply(at=10).notices == ()


def test_schedule_to_close_stops_retrying(group, make_step):
    """A retry that would start after the deadline is not waited for: the step has timed out, and
    the last error is the cause.
    """
    group.start(at=0)
    group.advance(make_step(initial=4, schedule_to_close=10))
    group.fail(KEY)
    group.apply(at=4)
    error = Failure("E", "still down")
    group.fail(KEY, at=5, failure=error)
    (ended,) = group.run().inbox.values()
    assert (ended.step, ended.attempts) == (KEY, 2)
    failure = ended.failure
    assert failure.error_type == "flowactor.errors.StepTimedOut"
    assert failure.message == "step s was not done within its schedule_to_close of 10 s"
    assert records.decode_plain(failure.details) == {"kind": "schedule_to_close"}
    assert (failure.cause, failure.retryable) == (error, False)


def test_schedule_to_close_that_passes_during_back_off_ends_the_step(group, make_step):
    """When log time leaps over both the retry and the deadline, no hopeless attempt is started."""
    group.start(at=0)
    group.advance(make_step(initial=4, schedule_to_close=10))
    group.fail(KEY)
    group.apply(at=10)
    assert group.run().steps == {}
    (ended,) = group.run().inbox.values()
    assert ended.attempts == 1
    assert ended.failure.error_type == "flowactor.errors.StepTimedOut"


def test_exhausted_retries_keep_their_own_error(group, make_step):
    """The last attempt's failure is not disguised as a time-out that happens to be near."""
    group.start(at=0)
    group.advance(make_step(initial=60, attempts=1, schedule_to_close=10))
    error = Failure("E", "no")
    group.fail(KEY, failure=error)
    (ended,) = group.run().inbox.values()
    assert ended.failure == error


def test_running_steps_of_a_dead_owner_start_again(group, make_step):
    """With the new owner the running attempt is one higher, also beyond the policy's limit, for
    nobody knows whether it ran; a back-off keeps its attempt and its time.
    """
    group.start(at=0)
    group.advance(make_step(attempts=1), make_step("t"))
    waiting = ((), "t", 0)
    group.fail(waiting)
    group.apply(ReassignRuns(1, 1))
    steps = group.run().steps
    assert (steps[KEY].attempt, steps[KEY].state) == (2, StepState.RUNNING)
    assert (steps[waiting].attempt, steps[waiting].state) == (1, StepState.BACKING_OFF)
    assert steps[waiting].due_ns == 10**9
    assert group.apply(at=1).notices == (StepsDue("w", (waiting,)),)
    group.fail(KEY)
    (ended,) = group.run().inbox.values()
    assert ended.attempts == 2


def test_an_attempt_that_begins_with_the_loss_of_its_owner_is_not_used_up(group, make_step):
    """Its retry falls due, or its code asks for it, in the entry that gives the run away: nobody
    has run it, so it is the new owner's. The next loss counts again.
    """
    group.start(at=0)
    group.advance(make_step())
    group.fail(KEY)
    applied = group.apply(ReassignRuns(1, 1), at=1)
    assert StepsDue("w", (KEY,)) in applied.notices
    step = group.run().steps[KEY]
    assert (group.run().epoch, step.attempt, step.state) == (2, 2, StepState.RUNNING)
    asked = Advance("w", 2, 1, 0, (), (make_step("t"),))
    group.apply(asked, ReassignRuns(2, 1))
    attempts = [step.attempt for step in group.run().steps.values()]
    assert (group.run().epoch, attempts) == (3, [3, 1])
    began = [fact for fact in group.history() if isinstance(fact, AttemptStarted)]
    assert began == [AttemptStarted(KEY, 2), AttemptStarted(KEY, 3)]


def test_no_retry_falls_due_while_a_run_is_parked(group, make_step):
    """Back-off that ends during the parking is over at once when the run goes on."""
    group.start(at=0)
    group.advance(make_step())
    group.fail(KEY)
    group.apply(ParkRun("w", 1, "look at this"))
    assert group.machine.next_due_ns is None
    assert group.apply(at=5).notices == ()
    group.ask(ResumeRun("w", ""))
    assert group.machine.next_due_ns is None
    assert group.run().steps[KEY].attempt == 2


def test_attempts_are_in_the_history(group, make_step):
    """Each failure with the time of its retry, each later start, and the end."""
    group.start(at=0)
    group.advance(make_step(attempts=2))
    error = Failure("E", "no")
    group.fail(KEY, failure=error)
    group.apply(at=1)
    group.fail(KEY, failure=error)
    assert group.history()[3:6] == [
        AttemptFailed(KEY, 1, error, 10**9),
        AttemptStarted(KEY, 2),
        AttemptFailed(KEY, 2, error, 0),
    ]
