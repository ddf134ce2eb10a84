"""Steps: attempts and back-off. At least once executed, exactly once recorded.

An attempt ends in one of three ways: its ``StepCompleted`` is consumed by an ``Advance``; it fails
(here), which leads to a retry or to ``StepEnded`` in the inbox; or its owner is replaced, and the
next attempt starts at once. Each checks the attempt's number, so an outcome counts only once and a
late one of an earlier attempt not at all.
"""

from typing import Final

from flowactor.codec import records
from flowactor.identity import StepKey, describe_key
from flowactor.limits import NANOSECONDS, RETRY_WAIT_SECONDS_MAX
from flowactor.machine.commands import RetryRule
from flowactor.machine.events import Failure, StepEnded
from flowactor.machine.history import AttemptFailed, AttemptStarted
from flowactor.machine.ledger import Ledger
from flowactor.machine.operations import FailAttempt
from flowactor.machine.replies import RunStatus
from flowactor.machine.state import PendingStep, RunState, StepState
from flowactor.machine.timers import DueKind

__all__ = ["backoff_ns", "fail_attempt", "restart_steps", "retry"]

WAIT_NS_MAX: Final = RETRY_WAIT_SECONDS_MAX * NANOSECONDS


def backoff_ns(rule: RetryRule, attempt: int) -> int:
    """How long to wait after ``attempt`` (from 1) failed: initial * coefficient ** (attempt - 1),
    at most ``maximum_ns`` and ``RETRY_WAIT_SECONDS_MAX``, in integers: equal on every node.
    """
    ceiling = min(rule.maximum_ns, WAIT_NS_MAX) if rule.maximum_ns > 0 else WAIT_NS_MAX
    wait = max(rule.initial_ns, 0)
    for _ in range(attempt - 1):
        longer = wait * rule.coefficient_milli // 1000
        if longer == wait or wait >= ceiling:
            break
        wait = max(longer, 0)
    return min(wait, ceiling)


def fail_attempt(ledger: Ledger, operation: FailAttempt) -> None:
    """Retry the step, or end it."""
    run = ledger.open.get(operation.run_id)
    if run is None or run.status is not RunStatus.RUNNING or run.epoch != operation.epoch:
        epoch = "none" if run is None else f"{run.epoch} ({run.status.value})"
        reason = f"of epoch {operation.epoch}, the run's is {epoch}"
        ledger.refuse(operation.run_id, "FailAttempt", reason)
        return
    key = operation.step
    step = run.steps.get(key)
    if step is None or step.state is not StepState.RUNNING or step.attempt != operation.attempt:
        reason = f"attempt {operation.attempt} of {describe_key(key)} is not running"
        ledger.refuse(operation.run_id, "FailAttempt", reason)
        return
    failure = operation.failure
    step.last_failure = failure
    due_ns = ledger.clock_ns + backoff_ns(step.rule, step.attempt)
    if not _may_retry(step.rule, step.attempt, failure):
        _end(ledger, run, step, failure)
    elif step.deadline_ns and due_ns >= step.deadline_ns:
        _end(ledger, run, step, failure, _out_of_time(step))
    else:
        step.state = StepState.BACKING_OFF
        step.due_ns = due_ns
        ledger.put_step(run, step)
        ledger.due.add((due_ns, run.run_id, DueKind.RETRY, key))
        ledger.record(run, AttemptFailed(key, step.attempt, failure, due_ns))


def retry(ledger: Ledger, run: RunState, key: StepKey) -> None:
    """The back-off of a step is over; and the step too, if log time has leapt over its deadline."""
    step = run.steps[key]
    if step.deadline_ns and ledger.clock_ns >= step.deadline_ns:
        ended = StepEnded(key, step.attempt, _out_of_time(step))
        ledger.drop_step(run, key)
        ledger.arrive(run, ended)
        return
    step.state = StepState.RUNNING
    step.due_ns = 0
    _next_attempt(ledger, run, step)
    ledger.step_is_due(run, key)


def restart_steps(ledger: Ledger, run: RunState) -> None:
    """The run has a new owner: what may have run on the old one starts again, as a further attempt;
    what backs off waits on.
    """
    for key, step in sorted(run.steps.items()):
        if step.state is StepState.RUNNING and not ledger.begins_here(run, key):
            _next_attempt(ledger, run, step)


def _next_attempt(ledger: Ledger, run: RunState, step: PendingStep) -> None:
    step.attempt += 1
    ledger.begin_attempt(run, step)
    ledger.record(run, AttemptStarted(step.command.step, step.attempt))


def _may_retry(rule: RetryRule, attempt: int, failure: Failure) -> bool:
    """Types are listed by qualified name, or by class name alone."""
    named = (failure.error_type, failure.error_type.rpartition(".")[2])
    return (
        failure.retryable
        and not any(name in rule.non_retryable for name in named)
        and (rule.attempts_max == 0 or attempt < rule.attempts_max)
    )


def _end(
    ledger: Ledger,
    run: RunState,
    step: PendingStep,
    failure: Failure,
    outcome: Failure | None = None,
) -> None:
    """The attempt failed with ``failure`` and no other follows; the run's code gets ``outcome``."""
    key = step.command.step
    ledger.record(run, AttemptFailed(key, step.attempt, failure, 0))
    ledger.drop_step(run, key)
    ledger.arrive(run, StepEnded(key, step.attempt, outcome or failure))


def _out_of_time(step: PendingStep) -> Failure:
    name = describe_key(step.command.step)
    limit = step.command.schedule_to_close_ns / NANOSECONDS
    return Failure(
        "flowactor.errors.StepTimedOut",
        f"step {name} was not done within its schedule_to_close of {limit:g} s",
        records.encode_plain({"kind": "schedule_to_close"}),
        cause=step.last_failure,
        retryable=False,
    )
