"""The committed past of a run, as its interpreter replays it: read from history rows."""

from flowactor.cluster.group import GroupActor
from flowactor.codec import records
from flowactor.identity import RunId
from flowactor.workflow import Activated, activations

__all__ = ["past_of"]


def past_of(group: GroupActor, run_id: RunId) -> list[Activated]:
    """All activations of a run, open or closed, that this node has applied; oldest first."""
    group.hand_over_rows()
    rows = group.state.scan("history", (run_id,))
    return list(activations(records.decode(row[-1]) for row in rows))
