"""How facts of runs look to people (rows, lines) and to machines (JSON shapes)."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from flowactor.cli.output import Output
from flowactor.cluster.protocol.requests import Ended, EventView, RunView, StepView
from flowactor.codec import payloads
from flowactor.errors import StepFailed
from flowactor.limits import NANOSECONDS
from flowactor.machine.events import Failure
from flowactor.machine.replies import RunStatus, Started
from flowactor.workflow import decode_failure

__all__ = [
    "EVENT_COLUMNS",
    "RUN_COLUMNS",
    "ended",
    "ended_text",
    "event",
    "event_line",
    "event_row",
    "one_line",
    "payload",
    "print_run",
    "run",
    "run_in_full",
    "run_row",
    "started",
]

Json = dict[str, Any]

RUN_COLUMNS: Final = ("id", "type", "status", "owner", "started", "closed")
EVENT_COLUMNS: Final = ("time", "node", "event", "detail")
PAYLOAD_CHARACTERS_MAX: Final = 60
"""Of a value in a line for people; JSON output is never cut."""


def time(stamp_ns: int) -> str | None:
    """ISO 8601 in UTC, or None for a time that has not come yet."""
    if not stamp_ns:
        return None
    return datetime.fromtimestamp(stamp_ns / NANOSECONDS, UTC).isoformat(timespec="milliseconds")


def clock(stamp_ns: int) -> str:
    """The time of day, in UTC, for people."""
    if not stamp_ns:
        return "-"
    return f"{datetime.fromtimestamp(stamp_ns / NANOSECONDS, UTC):%H:%M:%S.%f}"[:-3]


def payload(data: bytes) -> Any:
    """A payload as JSON can say it; None if there is none."""
    return payloads.payload_to_json(data) if data else None


def started(reply: Started) -> Json:
    return {
        "id": reply.workflow_id,
        "run_id": reply.run_id,
        "version": reply.version,
        "created": reply.created,
    }


def failure(value: Failure | None) -> Json | None:
    if value is None:
        return None
    return {
        "type": value.error_type,
        "message": value.message,
        "notes": list(value.notes),
        "cause": failure(value.cause),
    }


def ended(workflow_id: str, view: Ended) -> Json:
    return {
        "id": workflow_id,
        "run_id": view.run_id,
        "status": view.status.value,
        "result": payload(view.result),
        "failure": failure(view.failure),
        "reason": view.reason,
    }


def ended_text(workflow_id: str, view: Ended) -> str:
    """Why a run did not complete, for people; a failure with its causes below it."""
    lines = [f"{workflow_id} {view.status.value}" + (f": {view.reason}" if view.reason else "")]
    cause = view.failure
    while cause is not None:
        lead = "  " if len(lines) == 1 else "  caused by "
        lines.append(f"{lead}{failure_line(cause)}")
        lines += [f"    {note}" for note in cause.notes]
        lines += [f"    {text}" for text in members(decode_failure(cause))]
        cause = cause.cause
    return "\n".join(lines)


def members(error: BaseException) -> Iterator[str]:
    """What a group of exceptions holds, one line each: its own text does not tell."""
    if not isinstance(error, BaseExceptionGroup):
        return
    for number, member in enumerate(error.exceptions, 1):
        known = f"{type(member).__module__}.{type(member).__qualname__}"
        name = member.error_type if isinstance(member, StepFailed) else known
        text = member.message if isinstance(member, BaseExceptionGroup) else member
        yield f"{number}: {name.removeprefix('builtins.')}: {text}"
        yield from (f"   {line}" for line in members(member))


def failure_line(value: Failure) -> str:
    """As Python prints an exception: built-in types go by their bare names."""
    return f"{value.error_type.removeprefix('builtins.')}: {value.message}"


def run(view: RunView) -> Json:
    return {
        "id": view.workflow_id,
        "run_id": view.run_id,
        "type": view.workflow_type,
        "version": view.version,
        "status": view.status.value,
        "owner": view.owner,
        "epoch": view.epoch,
        "position": view.position,
        "started": time(view.started_ns),
        "closed": time(view.closed_ns),
        "reason": view.reason,
    }


def run_in_full(view: RunView) -> Json:
    return run(view) | {
        "variables": {name: payload(value) for name, value in view.variables},
        "large_variables": dict(view.large),
        "steps": [step(pending) for pending in view.steps],
        "timers": [{"timer": name, "due": time(due_ns)} for name, due_ns in view.timers],
        "inbox": view.inbox,
        "diverged": view.diverged,
    }


def step(view: StepView) -> Json:
    return {
        "step": view.key,
        "name": view.name,
        "attempt": view.attempt,
        "state": view.state,
        "due": time(view.due_ns),
        "last_failure": failure(view.last_failure),
    }


def event(view: EventView) -> Json:
    return {
        "group": view.group,
        "index": view.index,
        "ordinal": view.ordinal,
        "time": time(view.stamp_ns),
        "id": view.workflow_id,
        "run_id": view.run_id,
        "event": view.kind,
        "detail": view.detail,
        "node": view.node,
        "value": payload(view.payload),
    }


def run_row(view: RunView) -> Sequence[object]:
    return (
        view.workflow_id,
        f"{view.workflow_type} v{view.version}",
        view.status.value,
        owner(view),
        clock(view.started_ns),
        clock(view.closed_ns),
    )


def owner(view: RunView) -> str:
    return f"node {view.owner}" if view.owner and view.status is RunStatus.RUNNING else "-"


def shortened(data: bytes) -> str:
    text = repr(payload(data))
    return text if len(text) <= PAYLOAD_CHARACTERS_MAX else text[: PAYLOAD_CHARACTERS_MAX - 1] + "…"


def one_line(text: str) -> str:
    """A text of several lines, such as why a run was parked, as part of a line."""
    return " ".join(text.split())


def event_row(view: EventView) -> Sequence[object]:
    words = [one_line(view.detail), f"= {shortened(view.payload)}" if view.payload else ""]
    return clock(view.stamp_ns), view.node or "-", view.kind, " ".join(filter(None, words))


def event_line(view: EventView) -> str:
    when, node, kind, detail = event_row(view)
    return f"{when}  node {node}  {view.workflow_id}  {kind}  {detail}".rstrip()


def print_run(output: Output, view: RunView) -> None:
    """All about one run, but for its history."""
    output.text(f"{view.workflow_id}  {view.workflow_type} v{view.version}  run {view.run_id}")
    output.text(f"status    {view.status.value}")
    if view.reason:
        output.text(f"reason    {view.reason}")
    output.text(f"owner     {owner(view)}, epoch {view.epoch}, position {view.position}")
    closed = f", closed {time(view.closed_ns)}" if view.closed_ns else ""
    output.text(f"started   {time(view.started_ns)}{closed}")
    if view.inbox:
        output.text(f"inbox     {view.inbox} waiting")
    if view.diverged and view.diverged != view.reason:
        output.text(f"diverged on the answering node: {view.diverged}")
    if view.variables or view.large:
        rows = [(name, shortened(value)) for name, value in view.variables]
        rows += [(name, f"({size} bytes)") for name, size in view.large]
        output.table("variables", ("name", "value"), rows)
    if view.steps:
        columns = ("step", "attempt", "state", "due", "last failure")
        output.table("pending steps", columns, map(step_row, view.steps))
    if view.timers:
        rows = [(name, clock(due_ns)) for name, due_ns in view.timers]
        output.table("timers", ("timer", "due"), rows)


def step_row(view: StepView) -> Sequence[object]:
    last = view.last_failure
    why = "-" if last is None else failure_line(last)
    return view.key, view.attempt, view.state, clock(view.due_ns), why
