"""``Advance``: one activation, applied whole or not at all (``design.md``, D7).

It is valid at exactly one epoch and position (rule *owner_epoch_compare_and_set*), if everything it
consumes is there and everything it asks for can be done. First all of it is checked, then all done.
"""

from typing import assert_never

import attrs

from flowactor.identity import StepKey, TimerKey, describe_key
from flowactor.machine.commands import (
    ArmTimer,
    CancelStep,
    CancelTimer,
    Command,
    CompleteRun,
    FailRun,
    RunEndedCancelled,
    ScheduleStep,
    SetVariable,
)
from flowactor.machine.events import Event, StepCompleted
from flowactor.machine.ledger import Ledger
from flowactor.machine.notices import Advanced
from flowactor.machine.operations import Advance, Consumed, InboxRef
from flowactor.machine.replies import RunStatus
from flowactor.machine.state import PendingStep, RunState, StepState

__all__ = ["apply_advance"]

Terminal = CompleteRun | FailRun | RunEndedCancelled


def apply_advance(ledger: Ledger, advance: Advance, kept: bytes | None) -> None:
    """Move the run by one activation, or refuse and change nothing. ``kept`` is the advance as it
    was encoded, if that was kept.
    """
    run = ledger.open.get(advance.run_id)
    if run is None:
        ledger.refuse(advance.run_id, "Advance", "the run is not open")
        return
    if stale := _stale(run, advance):
        ledger.refuse(advance.run_id, "Advance", stale)
        return
    if reason := _unavailable(run, advance) or _impossible(run, advance):
        ledger.refuse(advance.run_id, "Advance", reason, stale=False)
        return
    if advance.now_ns < run.now_ns:
        advance, kept = attrs.evolve(advance, now_ns=run.now_ns), None
    run.now_ns = advance.now_ns
    run.position += 1
    events = tuple([_consume(ledger, run, item) for item in advance.consumed])
    ledger.record(run, advance, 1 + len(events) + len(advance.commands), kept)
    ledger.notices.append(Advanced(run.run_id, run.position, advance, events))
    for command in advance.commands:
        _perform(ledger, run, command)


def _stale(run: RunState, advance: Advance) -> str:
    if run.status is not RunStatus.RUNNING:
        return f"the run is {run.status.value}"
    if (advance.epoch, advance.position) != (run.epoch, run.position):
        return (
            f"made at epoch {advance.epoch}, position {advance.position};"
            f" the run is at {run.epoch}, {run.position}"
        )
    return ""


def _unavailable(run: RunState, advance: Advance) -> str:
    """What it consumes that is not there to be consumed, in words."""
    taken: set[int | StepKey] = set()
    for item in advance.consumed:
        name: int | StepKey
        match item:
            case InboxRef(number):
                name = number
                there = number in run.inbox
            case StepCompleted():
                name = item.step
                step = run.steps.get(item.step)
                there = (
                    step is not None
                    and step.state is StepState.RUNNING
                    and step.attempt == item.attempt
                )
            case _:
                assert_never(item)
        if not there or name in taken:
            return f"{item!r:.120} is not there to be consumed"
        taken.add(name)
    return ""


def _impossible(run: RunState, advance: Advance) -> str:
    """What it asks for that cannot be done, in words."""
    if any(isinstance(command, Terminal) for command in advance.commands[:-1]):
        return "it asks for something after its end"
    pending: dict[StepKey, bool] = {
        item.step: False for item in advance.consumed if isinstance(item, StepCompleted)
    }
    armed: dict[TimerKey, bool] = {}
    for command in advance.commands:
        match command:
            case ScheduleStep(key):
                if pending.get(key, key in run.steps):
                    return f"step {describe_key(key)} is pending already"
                pending[key] = True
            case ArmTimer(key):
                if armed.get(key, key in run.timers):
                    return f"timer {describe_key(key)} is armed already"
                armed[key] = True
            case CancelStep(key):
                pending[key] = False
            case CancelTimer(key):
                armed[key] = False
            case _:
                pass  # everything else can be done at any time
    return ""


def _consume(ledger: Ledger, run: RunState, item: Consumed) -> Event:
    if isinstance(item, InboxRef):
        return ledger.take_from_inbox(run, item.number)
    ledger.drop_step(run, item.step)
    return item


def _perform(ledger: Ledger, run: RunState, command: Command) -> None:
    match command:
        case ScheduleStep():
            ledger.begin_attempt(run, PendingStep(command, 1, StepState.RUNNING, ledger.clock_ns))
        case SetVariable(name, value):
            ledger.set_variable(run, name, value)
        case ArmTimer(key, due_ns):
            ledger.arm(run, key, due_ns)
        case CancelTimer(key):
            ledger.disarm(run, key)
        case CancelStep(key):
            ledger.drop_step(run, key)
        case CompleteRun(result):
            ledger.close_run(run, RunStatus.COMPLETED, result=result)
        case FailRun(failure):
            ledger.close_run(run, RunStatus.FAILED, failure=failure)
        case RunEndedCancelled(reason):
            ledger.close_run(run, RunStatus.CANCELLED, reason=reason)
        case _:
            assert_never(command)
