"""What lives on an execution group at a node: its runs, who watches over their owners, its service
to clients.
"""

from functools import partial
from typing import Final

from flowactor.cluster.group.actor import ExecutionGroup
from flowactor.cluster.group.hosting import Replica
from flowactor.cluster.runs.inspection import Inspection
from flowactor.cluster.runs.instance import InstanceActor
from flowactor.cluster.runs.instances import Instances
from flowactor.cluster.runs.liveness import Liveness
from flowactor.cluster.runs.service import GroupService, Peers
from flowactor.cluster.runs.steps import StepRunner
from flowactor.cluster.runs.variables import VariableActors
from flowactor.identity import NodeId, RunId
from flowactor.observability.events import Observer
from flowactor.ports import Clock
from flowactor.workflow import App

__all__ = ["Execution"]


class Execution:
    """Makes the parts, and connects them to the replica.

    Args:
        replica: of the group; not started yet.
        app: what is registered here.
        disk: the node's data directory.
        incarnation: of the replica: no two that a node ever has of a group share it, so that one
            which lives through the past of another performs nothing of it again.
        peers: the other nodes.
        lease_seconds: how long a silent node keeps its runs.
    """

    def __init__(
        self,
        replica: Replica,
        *,
        app: App,
        node: NodeId,
        disk: str,
        incarnation: str,
        peers: Peers,
        lease_seconds: float,
        clock: Clock,
        observer: Observer,
    ) -> None:
        group = replica.group
        self.group: Final = group
        self.incarnation: Final = incarnation
        self.variables: Final = VariableActors(
            replica,
            lambda name: group.machine.variable(name),  # noqa: PLW0108  # of the machine by then
        )
        make = partial(
            _make_instance,
            group=group,
            app=app,
            node=node,
            incarnation=incarnation,
            steps=StepRunner(group.clock.now_ns, observer),
            clock=clock,
            observer=observer,
        )
        self.instances: Final = Instances(
            replica,
            node=node,
            group=group,
            make=make,
            variables=self.variables,
            observer=observer,
        )
        self.liveness: Final = Liveness(
            group,
            node=node,
            disk=disk,
            incarnation=incarnation,
            workflows=app.registered,
            lease_seconds=lease_seconds,
            clock=clock,
        )
        self.service: Final = GroupService(
            node=node,
            app=app,
            group=group,
            instances=self.instances,
            variables=self.variables,
            inspection=Inspection(group=group, instances=self.instances, states=replica.states),
            liveness=self.liveness,
            peers=peers,
        )
        wires = replica.wires
        wires.notices = self.instances.notify
        wires.tick = self._tick
        wires.is_busy = lambda: self.liveness.is_busy or self.instances.is_busy
        wires.leader = self._leader_changed
        wires.restored = self.instances.start_over
        self.instances.open_all()

    def _tick(self) -> None:
        self.liveness.tick()
        self.instances.tick()

    def _leader_changed(self) -> None:
        self.liveness.leader_changed()
        self.instances.repair()


def _make_instance(
    run_id: RunId,
    *,
    group: ExecutionGroup,
    app: App,
    node: NodeId,
    incarnation: str,
    steps: StepRunner,
    clock: Clock,
    observer: Observer,
) -> InstanceActor:
    """The actor of an open run, from the definition that the run was started with."""
    run = group.machine.runs[run_id]
    return InstanceActor(
        run_id,
        node=node,
        incarnation=incarnation,
        group=group,
        definition=app.find(run.workflow_type, run.version),
        steps=steps,
        clock=clock,
        observer=observer,
    )
