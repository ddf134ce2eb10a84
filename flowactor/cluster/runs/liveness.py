"""What silence demands: a node announces itself, and the leader gives away the runs of the dead.

Silence is counted in the leader's own ticks, so no two clocks are ever compared. On an idle cluster
heartbeats keep the count honest; in a quiet group, which has neither, the vigil of nodes says who
has been silent for how long (rules *leader_waits_a_lease_before_reassigning* and
*failure_detected_on_idle_cluster*). A wrong verdict is safe: epochs fence the old owner.
"""

from typing import Final

from flowactor.actors import Promise
from flowactor.cluster.group.actor import ExecutionGroup
from flowactor.codec.records import encode
from flowactor.identity import NodeId
from flowactor.limits import NANOSECONDS, RESEND_SECONDS, TICK_SECONDS
from flowactor.machine.operations import AnnounceNode, ReassignRuns
from flowactor.ports import Clock

__all__ = ["Liveness"]


class Liveness:
    """Called on every tick of its group.

    Args:
        node: this one; ``disk``: its data directory.
        incarnation: of this process, so that the cluster notices a restart.
        workflows: what is registered here, as sorted (type, version) pairs.
        lease_seconds: how long a node may be silent and keep its runs.
        clock: spaces out repeated proposals.
    """

    def __init__(
        self,
        group: ExecutionGroup,
        *,
        node: NodeId,
        disk: str,
        incarnation: str,
        workflows: tuple[tuple[str, int], ...],
        lease_seconds: float,
        clock: Clock,
    ) -> None:
        self._group: Final = group
        self._node: Final = node
        self._announcement: Final = AnnounceNode(node, incarnation, workflows, disk)
        self._lease_ticks: Final = lease_seconds / TICK_SECONDS
        self._clock: Final = clock
        self._announced: Final[Promise[None]] = Promise()
        self._proposed_ns: Final[dict[NodeId, int]] = {}

    def tick(self) -> None:
        """Propose what is due."""
        if not self._group.leader:
            return
        if self._is_known:
            self._announced.set(None)
        else:
            self._propose(self._node, encode(self._announcement))
        if self._group.is_leader:
            for peer in self._silent_peers():
                self._propose(peer, encode(ReassignRuns(peer, self._group.status.term)))

    @property
    def is_busy(self) -> bool:
        """Whether something is due, or will be by the mere passing of ticks."""
        if not self._is_known or not self._announced.done:
            return True
        return self._group.is_leader and bool(self._silent_peers())

    @property
    def _is_known(self) -> bool:
        """Whether the cluster knows this process."""
        known = self._group.machine.nodes.get(self._node)
        return (
            known is not None
            and known.alive
            and known.incarnation == self._announcement.incarnation
        )

    @property
    def is_announced(self) -> bool:
        """Whether the cluster knows what is registered in this process."""
        return self._announced.done

    async def announced(self) -> None:
        """Return once the cluster knows what is registered in this process."""
        await self._announced.wait()

    def leader_changed(self) -> None:
        """What was proposed to the old leader may be lost: propose anew, at once."""
        self._proposed_ns.clear()
        self.tick()

    def _silent_peers(self) -> list[NodeId]:
        """Nodes that are believed alive, and were not heard from for a lease."""
        silence = {peer: status.ticks_silent for peer, status in self._group.progress().peers}
        return [
            node
            for node, state in sorted(self._group.machine.nodes.items())
            if state.alive and silence.get(node, 0) >= self._lease_ticks
        ]

    def _propose(self, about: NodeId, operation: bytes) -> None:
        now = self._clock.monotonic_ns()
        last = self._proposed_ns.get(about)
        if last is None or now - last >= RESEND_SECONDS * NANOSECONDS:
            self._proposed_ns[about] = now
            self._group.propose(operation)
