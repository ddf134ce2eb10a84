"""The cluster as one node sees it: its nodes, and the groups that it has replicas of."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
from attrs import evolve

from flowactor.cluster.group.actor import GroupActor
from flowactor.cluster.protocol.requests import (
    ClusterView,
    GroupView,
    MoveView,
    NodeView,
    PlacementView,
)
from flowactor.identity import ClusterId, GroupId, NodeId
from flowactor.machine import Machine
from flowactor.management import MANAGEMENT_GROUP, Group, Move, Pin, Topology
from flowactor.raft import Configuration

__all__ = ["Overview"]


class Overview:
    """Answers ``DescribeCluster``.

    Args:
        version: of flowactor.
        nodes: addresses and data directories of all that are known now.
        connected: whether there is a link to a node now.
        groups: that have a replica here, by their id.
    """

    def __init__(
        self,
        *,
        cluster: ClusterId,
        node: NodeId,
        version: str,
        nodes: Callable[[], tuple[Mapping[NodeId, str], Mapping[NodeId, str]]],
        connected: Callable[[NodeId], bool],
        groups: Callable[[], Mapping[GroupId, GroupActor[Any]]],
    ) -> None:
        self._cluster: Final = cluster
        self._node: Final = node
        self._version: Final = version
        self._nodes: Final = nodes
        self._connected: Final = connected
        self._groups: Final = groups

    def cluster(self) -> ClusterView:
        """How the cluster looks from this node."""
        groups = [group for _, group in sorted(self._groups().items())]
        machines = [group.machine for group in groups if isinstance(group.machine, Machine)]
        management = self._groups()[MANAGEMENT_GROUP]
        topology: Topology = management.machine.topology
        roles = _roles(management.progress().configuration)
        addresses, disks = self._nodes()
        nodes = tuple(
            _with_topology(
                self._node_view(node, address, disks.get(node, ""), machines), topology, roles
            )
            for node, address in sorted(addresses.items())
        )
        return ClusterView(
            self._cluster,
            self._node,
            self._version,
            nodes,
            tuple(map(_group_view, groups)),
            sum(len(machine.runs) for machine in machines),
            tuple(_placement_view(topology, group) for group in topology.groups_in_order()),
            tuple(map(_move_view, topology.moves_in_order())),
            tuple((name, int(value)) for name, value in attrs.asdict(topology.settings).items()),
        )

    def _node_view(
        self, node: NodeId, address: str, disk: str, machines: list[Machine]
    ) -> NodeView:
        known = [machine.nodes[node] for machine in machines if node in machine.nodes]
        workflows = sorted({workflow for state in known for workflow in state.workflows})
        return NodeView(
            node,
            address,
            reachable=node == self._node or self._connected(node),
            workflows=tuple(f"{name} v{version}" for name, version in workflows),
            runs_owned=sum(state.owned for state in known),
            disk=disk,
        )


def _roles(configuration: Configuration) -> Mapping[NodeId, str]:
    """What each node is in a group."""
    voters = dict.fromkeys((*configuration.voters, *configuration.outgoing), "voter")
    return {**dict.fromkeys(configuration.learners, "learner"), **voters}


def _with_topology(view: NodeView, topology: Topology, roles: Mapping[NodeId, str]) -> NodeView:
    known = topology.nodes.get(view.node)
    if known is None:
        return view
    return evolve(
        view,
        state=known.state.value,
        liveness=known.liveness.value,
        role=roles.get(view.node, ""),
        pin="" if known.pin is Pin.NONE else known.pin.value,
        groups=tuple(g.id for g in topology.groups_in_order() if view.node in g.members),
    )


def _group_view(group: GroupActor[Any]) -> GroupView:
    status = group.progress()
    return GroupView(
        group.group,
        status.role.value,
        status.term,
        status.leader,
        status.last_index,
        status.commit_index,
        group.applied,
        tuple(sorted({*status.configuration.voters, *status.configuration.outgoing})),
        tuple(
            (peer, max(0, status.last_index - known.match_index)) for peer, known in status.peers
        ),
        tuple(sorted(status.configuration.learners)),
    )


def _placement_view(topology: Topology, group: Group) -> PlacementView:
    report = topology.reports.get(group.id)
    return PlacementView(
        group.id,
        group.state.value,
        group.members,
        () if report is None else report.configuration.voters,
        () if report is None else report.configuration.learners,
        topology.slots.count(group.id),
        0 if report is None else report.runs,
    )


def _move_view(move: Move) -> MoveView:
    return MoveView(move.id, move.source, move.target, len(move.slots), move.phase.value)
