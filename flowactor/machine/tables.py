"""The rows of replicated state: what a store keeps, and what people may query with SQL.

Names of things are columns, so that runs can be listed and searched; what only the machine reads
is a blob. A step or timer key is its canonical bytes. ``open_runs`` exists so that a restart finds
what was running (rule *started_runs_found_by_scanning_state*) without reading every run there was.
"""

from typing import Any, Final

from flowactor.codec import records
from flowactor.identity import NodeId, RunId, StepKey, TimerKey
from flowactor.machine.events import Event, Failure
from flowactor.machine.replies import RunStatus
from flowactor.machine.state import NodeState, Parking, PendingStep, RunState, RunSummary, StepState
from flowactor.ports import Table

__all__ = [
    "LISTED",
    "META_KEY",
    "TABLES",
    "attach",
    "event_values",
    "history_length",
    "node_from_row",
    "node_values",
    "pack_key",
    "run_from_values",
    "run_values",
    "step_from_values",
    "step_values",
    "summary_from_values",
    "unpack_key",
]

META_KEY: Final = ("machine",)

LISTED: Final = """(
    SELECT state FROM slots WHERE first <= runs.slot ORDER BY first DESC LIMIT 1
) IN ('served', 'leaving')"""
"""The condition, in SQL, for a row of ``runs`` to be shown: it is neither incomplete yet nor about
to be deleted.
"""

RUN_COLUMNS: Final = (
    ("workflow_id", "TEXT"),
    ("type", "TEXT"),
    ("version", "INTEGER"),
    ("status", "TEXT"),
    ("owner", "INTEGER"),
    ("epoch", "INTEGER"),
    ("position", "INTEGER"),
    ("started_ns", "INTEGER"),
    ("closed_ns", "INTEGER"),
    ("reason", "TEXT"),
    ("input_digest", "BLOB"),
    ("result", "BLOB"),
    ("failure", "BLOB"),
    ("now_ns", "INTEGER"),
    ("deadline_ns", "INTEGER"),
    ("parking", "TEXT"),
    ("cancel_requested", "INTEGER"),
    ("inbox_last", "INTEGER"),
    ("history_length", "INTEGER"),
    ("floor_ns", "INTEGER"),
    ("slot", "INTEGER"),
)

TABLES: Final[tuple[Table, ...]] = (
    Table(
        "meta",
        (("name", "TEXT"),),
        (("schema", "INTEGER"), ("clock_ns", "INTEGER"), ("chain", "BLOB")),
    ),
    Table(
        "nodes",
        (("node", "INTEGER"),),
        (
            ("incarnation", "TEXT"),
            ("alive", "INTEGER"),
            ("workflows", "BLOB"),
            ("disk", "TEXT"),
            ("draining", "INTEGER"),
        ),
    ),
    Table("voters", (("node", "INTEGER"),), ()),
    Table(
        "slots",
        (("first", "INTEGER"),),
        (("last", "INTEGER"), ("state", "TEXT"), ("move", "INTEGER"), ("group_id", "INTEGER")),
    ),
    Table(
        "moves",
        (("move", "INTEGER"),),
        (
            ("phase", "TEXT"),
            ("source", "INTEGER"),
            ("target", "INTEGER"),
            ("slots", "BLOB"),
            ("clock_ns", "INTEGER"),
            ("progress", "BLOB"),
        ),
    ),
    Table("sessions", (("session", "TEXT"),), (("last_ns", "INTEGER"), ("floor", "INTEGER"))),
    Table("session_replies", (("session", "TEXT"), ("sequence", "INTEGER")), (("reply", "BLOB"),)),
    Table(
        "variables",
        (("slot", "INTEGER"), ("name", "TEXT")),
        (("value", "BLOB"), ("version", "INTEGER")),
    ),
    Table("workflows", (("slot", "INTEGER"), ("workflow_id", "TEXT")), (("run_id", "TEXT"),)),
    Table("open_runs", (("slot", "INTEGER"), ("run_id", "TEXT")), (("workflow_id", "TEXT"),)),
    Table("runs", (("run_id", "TEXT"),), RUN_COLUMNS, (("started_ns",), ("status", "started_ns"))),
    Table(
        "inbox", (("run_id", "TEXT"), ("number", "INTEGER")), (("kind", "TEXT"), ("event", "BLOB"))
    ),
    Table(
        "steps",
        (("run_id", "TEXT"), ("step", "BLOB")),
        (
            ("name", "TEXT"),
            ("attempt", "INTEGER"),
            ("state", "TEXT"),
            ("scheduled_ns", "INTEGER"),
            ("due_ns", "INTEGER"),
            ("command", "BLOB"),
            ("failure", "BLOB"),
        ),
    ),
    Table("timers", (("run_id", "TEXT"), ("timer", "BLOB")), (("due_ns", "INTEGER"),)),
    Table("run_variables", (("run_id", "TEXT"), ("name", "TEXT")), (("value", "BLOB"),)),
    Table(
        "history",
        (("run_id", "TEXT"), ("number", "INTEGER")),
        (
            ("log_index", "INTEGER"),
            ("ordinal", "INTEGER"),
            ("stamp_ns", "INTEGER"),
            ("kind", "TEXT"),
            ("node", "INTEGER"),
            ("data", "BLOB"),
        ),
        (("log_index", "ordinal"),),
    ),
)


def pack_key(key: StepKey | TimerKey) -> bytes:
    return records.encode_plain(key)


def unpack_key(data: bytes) -> StepKey:
    key: StepKey = records.decode_plain(data)
    return key


def run_values(run: RunState) -> tuple[Any, ...]:
    """The value columns of ``runs``."""
    return (
        run.workflow_id,
        run.workflow_type,
        run.version,
        run.status.value,
        run.owner,
        run.epoch,
        run.position,
        run.started_ns,
        run.closed_ns,
        run.reason,
        run.input_digest,
        run.result,
        _pack_failure(run.failure),
        run.now_ns,
        run.deadline_ns,
        run.parking.value,
        int(run.cancel_requested),
        run.inbox_last,
        run.history_length,
        run.floor_ns,
        run.slot,
    )


def run_from_values(run_id: RunId, values: tuple[Any, ...]) -> RunState:
    """The run without what other tables hold of it."""
    workflow_id, workflow_type, version, status, owner, epoch, position = values[:7]
    started_ns, closed_ns, reason, input_digest, result, failure = values[7:13]
    now_ns, deadline_ns, parking, cancel_requested, inbox_last = values[13:18]
    history_length, floor_ns, _ = values[18:]
    return RunState(
        workflow_id=workflow_id,
        run_id=run_id,
        workflow_type=workflow_type,
        version=version,
        input_digest=input_digest,
        started_ns=started_ns,
        now_ns=now_ns,
        deadline_ns=deadline_ns,
        status=RunStatus(status),
        parking=Parking(parking),
        owner=NodeId(owner),
        epoch=epoch,
        position=position,
        cancel_requested=bool(cancel_requested),
        reason=reason,
        inbox_last=inbox_last,
        history_length=history_length,
        floor_ns=floor_ns,
        closed_ns=closed_ns,
        result=result,
        failure=_unpack_failure(failure),
    )


def history_length(values: tuple[Any, ...]) -> int:
    """Of the value columns of ``runs``: how many rows the history has."""
    length: int = values[18]
    return length


def summary_from_values(run_id: RunId, values: tuple[Any, ...]) -> RunSummary:
    return run_from_values(run_id, values).summary()


def event_values(event: Event) -> tuple[Any, ...]:
    """The value columns of ``inbox``."""
    return (type(event).__name__, records.encode(event))


def attach(run: RunState, table: str, row: tuple[Any, ...]) -> None:
    """Give an open run what a row of another table holds of it."""
    match table, row:
        case "inbox", (_, number, _, event):
            run.inbox[number] = records.decode(event)
        case "steps", (_, key, *values):
            run.steps[unpack_key(key)] = step_from_values(tuple(values))
        case "timers", (_, key, due_ns):
            run.timers[unpack_key(key)] = due_ns
        case "run_variables", (_, name, value):
            run.variables[name] = value
        case _:
            raise AssertionError(f"no row of {table} belongs to an open run")


def step_values(step: PendingStep) -> tuple[Any, ...]:
    """The value columns of ``steps``."""
    return (
        step.command.name,
        step.attempt,
        step.state.value,
        step.scheduled_ns,
        step.due_ns,
        records.encode(step.command),
        _pack_failure(step.last_failure),
    )


def step_from_values(values: tuple[Any, ...]) -> PendingStep:
    _, attempt, state, scheduled_ns, due_ns, command, failure = values
    return PendingStep(
        records.decode(command),
        attempt,
        StepState(state),
        scheduled_ns,
        due_ns,
        _unpack_failure(failure),
    )


def node_values(node: NodeState) -> tuple[Any, ...]:
    """The value columns of ``nodes``; how many runs it owns is counted from the runs."""
    workflows = records.encode_plain(node.workflows)
    return (node.incarnation, int(node.alive), workflows, node.disk, int(node.draining))


def node_from_row(row: tuple[Any, ...]) -> NodeState:
    node, incarnation, alive, workflows, disk, draining = row
    return NodeState(
        NodeId(node),
        incarnation,
        records.decode_plain(workflows),
        disk,
        alive=bool(alive),
        draining=bool(draining),
    )


def _pack_failure(failure: Failure | None) -> bytes | None:
    return None if failure is None else records.encode(failure)


def _unpack_failure(data: bytes | None) -> Failure | None:
    if data is None:
        return None
    failure: Failure = records.decode(data)
    return failure
