"""The judge of idle leaders: one that has nothing under way leaves nothing undone (I26, I36).

What a leader forgets to do is seldom seen in the end, for whatever comes next does it on the way:
the next entry brings a stamp that fires all timers, the next commit a look at who is silent. So
this looks at each tick of a leader whose log is at rest.
"""

from collections.abc import Iterator
from typing import Final

from attrs import define

from flowactor.cluster.group.actor import ExecutionGroup
from flowactor.limits import OWNER_LEASE_SECONDS, RESEND_SECONDS, TICK_SECONDS
from flowactor.simulation.failure import CheckFailed

__all__ = ["IdleChecker"]

PATIENCE_TICKS: Final = round(2 * RESEND_SECONDS / TICK_SECONDS)
LEASE_TICKS: Final = OWNER_LEASE_SECONDS / TICK_SECONDS


@define
class _Rest:
    """A leader whose log has not moved. ``undone``: what it could do -> for how many ticks."""

    term: int
    applied: int
    undone: dict[str, int]


class IdleChecker:
    """Counts for how long each leader leaves what it has to do."""

    def __init__(self) -> None:
        self._rests: Final[dict[int, _Rest]] = {}

    def ticked(self, node: int, group: ExecutionGroup) -> None:
        """A leader counted one more tick.

        Raises:
            CheckFailed: it did not do for long what nothing keeps it from.
        """
        status = group.progress()
        if status.last_index != group.applied:
            self._rests.pop(node, None)
            return
        before = self._rests.get(node)
        if before is None or (before.term, before.applied) != (status.term, group.applied):
            before = _Rest(status.term, group.applied, {})
        undone = {what: before.undone.get(what, 0) + 1 for what in _undone(group)}
        self._rests[node] = _Rest(status.term, group.applied, undone)
        for what, ticks in undone.items():
            if ticks > PATIENCE_TICKS:
                name, _, told = what.partition(" ")
                raise CheckFailed(name, f"leader {node} is idle for {ticks} ticks, and {told}")


def _undone(group: ExecutionGroup) -> Iterator[str]:
    """What this leader should do now: the invariant, and what is wrong as long as it does not."""
    due_ns = group.machine.next_due_ns
    if due_ns is not None and due_ns <= group.clock.now_ns():
        yield "I26 a timer is due"
    silence = {peer: status.ticks_silent for peer, status in group.progress().peers}
    for node, state in sorted(group.machine.nodes.items()):
        if state.alive and silence.get(node, 0) >= LEASE_TICKS:
            yield f"I36 node {node}, which is silent, keeps its runs"
