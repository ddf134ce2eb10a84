"""The committed past of a run, as its interpreter replays it: read from history rows."""

from flowactor.cluster.group.actor import ExecutionGroup
from flowactor.cluster.runs.outside import outside_trio
from flowactor.codec import records
from flowactor.identity import RunId
from flowactor.machine import RunSummary
from flowactor.workflow import Activated, RunInfo, WorkflowDefinition, activations, replay

__all__ = ["past_of", "query_past"]


def past_of(group: ExecutionGroup, run_id: RunId) -> list[Activated]:
    """All activations of a run, open or closed, that this node has applied; oldest first."""
    group.hand_over_rows()
    rows = group.state.scan("history", (run_id,))
    return list(activations(records.decode(row[-1]) for row in rows))


def query_past(
    group: ExecutionGroup,
    run: RunSummary,
    definition: WorkflowDefinition,
    name: str,
    arguments: bytes,
) -> bytes:
    """The answer of a query of a run that nobody here follows, as it is closed, or parked and cold:
    its history is replayed for the occasion. Raises as ``Interpreter.query``.
    """
    info = RunInfo(run.workflow_id, run.run_id, run.workflow_type, run.version, run.started_ns)
    past = past_of(group, run.run_id)
    return replay(definition, info, past, outside_trio).query(name, arguments)
