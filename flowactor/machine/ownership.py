"""Who performs a run: the one node whose steps and advances count, under an epoch that only grows.

A run has an owner exactly while it is running. Candidates are voters that are alive (announced, and
not declared lost since), do not drain, and have registered the run's type and version; of those the
one with the fewest open runs is chosen, then the lowest id. A run without candidate is parked and
goes on by itself when there is one; one that its owner parked goes on by an operator's word only.
"""

from collections.abc import Iterator
from typing import Any

from flowactor.identity import NodeId, RunId
from flowactor.machine.history import OwnerAssigned, Parked, Resumed
from flowactor.machine.ledger import Ledger
from flowactor.machine.notices import NodeAnnounced, OwnerChanged, RunParked, RunResumed
from flowactor.machine.operations import AnnounceNode, DrainNode, ParkRun, ReassignRuns
from flowactor.machine.replies import RunStatus
from flowactor.machine.state import NodeState, Parking, RunState
from flowactor.machine.steps import restart_steps
from flowactor.ports import RowReader, RowWrite

__all__ = ["Ownership"]


class Ownership:
    """``voters`` are those that a new group has; not looked at where there are rows."""

    def __init__(self, ledger: Ledger, rows: RowReader, voters: tuple[NodeId, ...]) -> None:
        self._ledger = ledger
        self._stored = tuple(node for (node,) in rows.scan("voters"))
        self.voters = self._stored or tuple(sorted(voters))

    def registered(self) -> tuple[tuple[str, int], ...]:
        """Every (type, version) that any node has announced, sorted."""
        nodes = self._ledger.nodes.values()
        return tuple(sorted({workflow for node in nodes for workflow in node.workflows}))

    def is_known(self, workflow_type: str, version: int) -> bool:
        """Whether a node that may own runs has ever announced it, be it alive or not."""
        nodes = self._ledger.nodes
        return any(nodes[v].has(workflow_type, version) for v in self.voters if v in nodes)

    def choose(self, workflow_type: str, version: int, first: NodeId = NodeId(0)) -> NodeId:
        """The owner for a run: ``first`` if it can, else the least loaded node that can, else 0."""
        able = [node for node in self._candidates() if node.has(workflow_type, version)]
        if any(node.node == first for node in able):
            return first
        return min(((node.owned, node.node) for node in able), default=(0, NodeId(0)))[1]

    def _candidates(self) -> list[NodeState]:
        nodes = self._ledger.nodes
        known = [nodes[voter] for voter in self.voters if voter in nodes]
        return [node for node in known if node.alive and not node.draining]

    def announce(self, operation: AnnounceNode) -> None:
        """A node says what it has. A new incarnation of a node means that it restarted: whatever it
        was performing has to be started again.
        """
        known = self._ledger.nodes.get(operation.node)
        if known is not None and known.disk != operation.disk:
            reason = f"node {operation.node} came with another disk"
            self._ledger.refuse("", "AnnounceNode", reason, stale=False)
            return
        restarted = known is not None and known.incarnation != operation.incarnation
        node = NodeState(
            operation.node,
            operation.incarnation,
            operation.workflows,
            operation.disk,
            draining=known is not None and known.draining and not restarted,
            owned=0 if known is None else known.owned,
        )
        self._ledger.set_node(node)
        self._ledger.notices.append(NodeAnnounced(operation.node, operation.incarnation))
        for run in self._owned_by(operation.node):
            if not node.has(run.workflow_type, run.version):
                self._hand_over(run)
            elif restarted:
                self._assign(run, operation.node)
        self._continue_parked()

    def drain(self, operation: DrainNode) -> None:
        """A node is about to leave, or says that it is not. A run that nobody else can perform
        stays with it: the lease will tell when it is gone.
        """
        node = self._ledger.nodes.get(operation.node)
        if node is None or node.incarnation != operation.incarnation:
            self._ledger.refuse("", "DrainNode", f"node {operation.node} is not the one it was")
            return
        if node.draining is operation.draining:
            return
        node.draining = operation.draining
        self._ledger.set_node(node)
        if node.draining:
            for run in self._owned_by(node.node):
                if owner := self.choose(run.workflow_type, run.version):
                    self._assign(run, owner)
        else:
            self._continue_parked()

    def configure(self, voters: tuple[NodeId, ...]) -> None:
        """Only these may own runs from here on."""
        self.voters = tuple(sorted(voters))
        for run in self._in_order():
            if run.owner and run.owner not in self.voters:
                self._hand_over(run)
        self._continue_parked()

    def take_up(self, run: RunState) -> None:
        """A run was brought back, or has come from another group: it needs an owner."""
        if run.status is RunStatus.RUNNING:
            self._hand_over(run)
        elif run.parking is Parking.NO_NODE:
            self._try_to_continue(run)

    def reassign(self, operation: ReassignRuns, term: int) -> None:
        """The leader has declared a node lost; it may in its own term (*stale_epoch_refused*)."""
        if operation.term != term:
            reason = f"of term {operation.term}, the entry's is {term}"
            self._ledger.refuse("", "ReassignRuns", reason)
            return
        node = self._ledger.nodes.get(operation.node)
        if node is None or not node.alive:
            return
        node.alive = False
        self._ledger.set_node(node)
        for run in self._owned_by(operation.node):
            self._hand_over(run)

    def park(self, operation: ParkRun) -> None:
        """The owner gives up on a run until an operator resumes it."""
        run = self._ledger.open.get(operation.run_id)
        if run is None or run.status is not RunStatus.RUNNING or run.epoch != operation.epoch:
            reason = f"not running at epoch {operation.epoch}"
            self._ledger.refuse(operation.run_id, "ParkRun", reason)
            return
        self._park(run, Parking.BY_OWNER, operation.reason)

    def resume(self, run: RunState) -> bool:
        """An operator lets a parked run go on; returns whether that changed anything."""
        if run.parking is Parking.NOT:
            return False
        by_owner = run.parking is Parking.BY_OWNER
        continues = self._try_to_continue(run)
        if by_owner and not continues:
            self._park(run, Parking.NO_NODE, self.nobody_has(run.workflow_type, run.version))
        return by_owner or continues

    def nobody_has(self, workflow_type: str, version: int) -> str:
        """The reason of a run that waits for a node with its code."""
        return f"no live voter has registered {workflow_type!r} version {version}"

    def _in_order(self) -> list[RunState]:
        open_runs: dict[RunId, RunState] = self._ledger.open
        return [open_runs[run_id] for run_id in sorted(open_runs)]

    def _continue_parked(self) -> None:
        for run in self._in_order():
            if run.parking is Parking.NO_NODE:
                self._try_to_continue(run)

    def _owned_by(self, node: NodeId) -> list[RunState]:
        return [run for run in self._in_order() if run.owner == node]

    def _hand_over(self, run: RunState) -> None:
        """The owner can perform the run no more: choose another, or park it."""
        owner = self.choose(run.workflow_type, run.version)
        if owner:
            self._assign(run, owner)
        else:
            self._park(run, Parking.NO_NODE, self.nobody_has(run.workflow_type, run.version))

    def _assign(self, run: RunState, owner: NodeId) -> None:
        """A new term of office, also if the same node got it before."""
        self._ledger.set_owner(run, owner)
        run.epoch += 1
        self._ledger.record(run, OwnerAssigned(owner, run.epoch))
        self._ledger.notices.append(OwnerChanged(run.run_id, owner, run.epoch))
        restart_steps(self._ledger, run)

    def _park(self, run: RunState, parking: Parking, reason: str) -> None:
        self._ledger.set_owner(run, NodeId(0))
        self._ledger.suspend_retries(run)
        run.status = RunStatus.PARKED
        run.parking = parking
        run.reason = reason
        self._ledger.record(run, Parked(reason))
        self._ledger.notices.append(RunParked(run.run_id, reason))

    def _try_to_continue(self, run: RunState) -> bool:
        owner = self.choose(run.workflow_type, run.version)
        if not owner:
            return False
        run.status = RunStatus.RUNNING
        run.parking = Parking.NOT
        run.reason = ""
        self._ledger.record(run, Resumed())
        self._ledger.notices.append(RunResumed(run.run_id))
        self._assign(run, owner)
        self._ledger.expect_retries(run)
        return True

    # -- rows and digest --------------------------------------------------------------------------

    def take_writes(self) -> Iterator[RowWrite]:
        if self._stored != self.voters:
            for node in sorted({*self._stored} ^ {*self.voters}):
                yield RowWrite("voters", (node,), () if node in self.voters else None)
            self._stored = self.voters

    def digestible(self) -> list[Any]:
        """Plain values that are equal exactly if the voters are."""
        return list(self.voters)
