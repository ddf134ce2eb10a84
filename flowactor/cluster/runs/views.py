"""Replicated state as clients see it: runs, steps and histories turned into view records."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from flowactor.cluster.protocol.requests import EventView, RunView, StepView
from flowactor.codec import records
from flowactor.codec.text import shortened
from flowactor.identity import GroupId, NodeId, RunId, describe_key
from flowactor.limits import PAGE_BYTES_MAX
from flowactor.machine import commands, events, history
from flowactor.machine.operations import Advance, InboxRef
from flowactor.machine.replies import RunStatus
from flowactor.machine.state import RunState, RunSummary

__all__ = ["HistoryRow", "event_bytes", "event_views", "run_view"]

_WHY_BYTES_MAX: Final = 4096
"""Of a text that says why, in views of many things at once."""


class HistoryRow(NamedTuple):
    """A row of a history: its number in the history, its place in the log, its encoded record."""

    number: int
    run_id: str
    workflow_id: str
    log_index: int
    ordinal: int
    stamp_ns: int
    node: int
    data: bytes


def run_view(summary: RunSummary, live: RunState | None = None, diverged: str = "") -> RunView:
    """A run; with ``live`` also what is pending in it."""
    shown, large = _variables(live) if live else ((), ())
    return RunView(
        workflow_id=summary.workflow_id,
        run_id=summary.run_id,
        workflow_type=summary.workflow_type,
        version=summary.version,
        status=summary.status,
        owner=summary.owner,
        epoch=summary.epoch,
        position=summary.position,
        started_ns=summary.started_ns,
        closed_ns=summary.closed_ns,
        reason=shortened(
            summary.reason or (summary.failure.message if summary.failure else ""),
            _WHY_BYTES_MAX,
        ),
        variables=shown,
        steps=tuple(_step_views(live)) if live else (),
        timers=tuple(
            (describe_key(key), due)
            for key, due in sorted(live.timers.items(), key=lambda t: (t[1], t[0]))
        )
        if live
        else (),
        inbox=len(live.inbox) if live else 0,
        diverged=diverged,
        large=large,
    )


def _variables(run: RunState) -> tuple[tuple[tuple[str, bytes], ...], tuple[tuple[str, int], ...]]:
    """The variables that a description has room for, and the sizes of the others."""
    shown: list[tuple[str, bytes]] = []
    large: list[tuple[str, int]] = []
    room = PAGE_BYTES_MAX
    for name, value in sorted(run.variables.items()):
        if len(value) <= room:
            room -= len(value)
            shown.append((name, value))
        else:
            large.append((name, len(value)))
    return tuple(shown), tuple(large)


def _step_views(run: RunState) -> Iterator[StepView]:
    for key, step in sorted(run.steps.items()):
        yield StepView(
            key=describe_key(key),
            name=step.command.name,
            attempt=step.attempt,
            state=step.state.value,
            due_ns=step.due_ns,
            last_failure=step.last_failure and _outline(step.last_failure),
        )


def _outline(failure: events.Failure) -> events.Failure:
    """What of a failure there is room for where many are shown together."""
    message = shortened(failure.message, _WHY_BYTES_MAX)
    return events.Failure(failure.error_type, message, retryable=failure.retryable)


def event_bytes(event: EventView) -> int:
    """What of a message an event takes, roughly."""
    return len(event.payload) + len(event.detail) + len(event.workflow_id)


def event_views(row: HistoryRow, group: GroupId) -> Iterator[EventView]:
    """The events in one history row of a group. Ordinals count up from the row's own: the facts of
    an activation are itself, then what it consumed, then its commands
    (``machine.history.Journal``).
    """
    for offset, (kind, detail, payload) in enumerate(_facts(records.decode(row.data))):
        if kind:
            yield EventView(
                group,
                row.log_index,
                row.ordinal + offset,
                row.stamp_ns,
                row.workflow_id,
                RunId(row.run_id),
                kind,
                detail,
                NodeId(row.node),
                payload,
            )


_Fact = tuple[str, str, bytes]
_NO_EVENT: _Fact = ("", "", b"")
"""Takes an ordinal, but tells people nothing that another event does not."""


def _facts(record: history.HistoryRecord) -> Iterator[_Fact]:
    match record:
        case history.Opened():
            yield "started", f"{record.workflow_type} v{record.version}", b""
        case history.Arrived():
            yield _arrival(record.event)
        case Advance():
            yield from _activation(record)
        case history.AttemptFailed():
            text = (
                f"{describe_key(record.step)} attempt {record.attempt}: {_failure(record.failure)}"
            )
            yield "attempt_failed", text, b""
        case history.AttemptStarted():
            yield "attempt_started", f"{describe_key(record.step)} attempt {record.attempt}", b""
        case history.OwnerAssigned():
            yield "owner_changed", f"node {record.owner}, epoch {record.epoch}", b""
        case history.Parked():
            yield "parked", record.reason, b""
        case history.Resumed():
            yield "resumed", "", b""
        case history.Closed():
            # The other endings are commands of the run's own last activation.
            by_itself = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)
            yield (
                _NO_EVENT
                if record.status in by_itself
                else (record.status.value, record.reason, b"")
            )


def _arrival(event: events.Event) -> _Fact:
    match event:
        case events.RunStarted():
            return "input", "", event.arguments
        case events.SignalReceived():
            return "signal_received", event.name, event.arguments
        case events.CancelRequested():
            return "cancel_requested", event.reason, b""
        case events.TimerFired():
            return "timer_fired", describe_key(event.timer), b""
        case events.StepEnded():
            text = f"{describe_key(event.step)} after {event.attempts}: {_failure(event.failure)}"
            return "step_failed", text, b""
        case events.StepCompleted():
            return "step_completed", describe_key(event.step), event.result


def _activation(advance: Advance) -> Iterator[_Fact]:
    yield _NO_EVENT
    for item in advance.consumed:
        yield _NO_EVENT if isinstance(item, InboxRef) else _arrival(item)
    yield from map(_command, advance.commands)


def _command(command: commands.Command) -> _Fact:
    match command:
        case commands.ScheduleStep():
            return "step_scheduled", describe_key(command.step), command.arguments
        case commands.CancelStep():
            return "step_cancelled", describe_key(command.step), b""
        case commands.ArmTimer():
            return "timer_armed", describe_key(command.timer), b""
        case commands.CancelTimer():
            return "timer_cancelled", describe_key(command.timer), b""
        case commands.SetVariable():
            return "variable_set", command.name, command.value
        case commands.CompleteRun():
            return "completed", "", command.result
        case commands.FailRun():
            return "failed", _failure(command.failure), b""
        case commands.RunEndedCancelled():
            return "cancelled", command.reason, b""


def _failure(failure: events.Failure) -> str:
    return f"{failure.error_type.rpartition('.')[2]}: {failure.message}"
