"""The cluster as one node sees it: its nodes, and the groups that it has, or was told of."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

import attrs
from attrs import evolve

from flowactor.cluster.gathering import as_known, gather, heard, workflows_of
from flowactor.cluster.group.actor import GroupActor
from flowactor.cluster.protocol.views import (
    ClusterView,
    GroupView,
    MoveView,
    NodeView,
    PlacementView,
    ReplicasView,
)
from flowactor.identity import ClusterId, GroupId, NodeId
from flowactor.machine import Machine
from flowactor.machine.state import NodeState
from flowactor.management import MANAGEMENT_GROUP, Group, Move, Pin, Topology
from flowactor.raft import Configuration, Role

__all__ = ["Overview"]


class Overview:
    """Answers ``DescribeReplicas`` and, with what others answered to that, ``DescribeCluster``.

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

    def replicas(self) -> ReplicasView:
        """What the replicas of this node know."""
        groups = [group for _, group in sorted(self._groups().items())]
        workflows: dict[NodeId, set[tuple[str, int]]] = {}
        for group in groups:
            for node, state in _members_of(group):
                workflows.setdefault(node, set()).update(state.workflows)
        return ReplicasView(
            self._node,
            tuple(map(_group_view, groups)),
            tuple((node, tuple(sorted(known))) for node, known in sorted(workflows.items())),
        )

    def cluster(self, told: Iterable[ReplicasView] | None = None) -> ClusterView:
        """How the cluster looks from this node.

        Args:
            told: by others, which were asked; None if nobody was: then the groups are those with a
                replica here, and nothing counts as missing.
        """
        own = self.replicas()
        management = self._groups()[MANAGEMENT_GROUP]
        topology: Topology = management.machine.topology
        known = [own] if told is None else [own, *told]
        groups = own.groups if told is None else gather(own, known)
        unheard = set() if told is None else topology.groups.keys() - heard(known)
        roles = _roles(management.progress().configuration)
        addresses, disks = self._nodes()
        nodes = tuple(
            _with_topology(
                NodeView(
                    node,
                    address,
                    reachable=node == self._node or self._connected(node),
                    workflows=tuple(f"{name} v{at}" for name, at in workflows_of(node, known)),
                    runs_owned=_owned(topology, node, groups, unheard),
                    disk=disks.get(node, ""),
                ),
                topology,
                roles,
            )
            for node, address in sorted(addresses.items())
        )
        return ClusterView(
            self._cluster,
            self._node,
            self._version,
            nodes,
            groups,
            None if unheard else sum(group.runs for group in groups),
            tuple(
                as_known(_placement_view(topology, group), groups)
                for group in topology.groups_in_order()
            ),
            tuple(map(_move_view, topology.moves_in_order())),
            tuple((name, int(value)) for name, value in attrs.asdict(topology.settings).items()),
        )


def _members_of(group: GroupActor[Any]) -> list[tuple[NodeId, NodeState]]:
    machine = group.machine
    return sorted(machine.nodes.items()) if isinstance(machine, Machine) else []


def _owned(
    topology: Topology, node: NodeId, groups: Iterable[GroupView], unheard: Collection[GroupId]
) -> int | None:
    for group in unheard:
        report = topology.reports.get(group)
        voters = () if report is None else report.configuration.voters
        if node in (*topology.groups[group].members, *voters):
            return None
    return sum(count for group in groups for owner, count in group.owned if owner == node)


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
        len(group.machine.runs) if isinstance(group.machine, Machine) else 0,
        tuple((node, state.owned) for node, state in _members_of(group) if state.owned),
        by_leader=status.role is Role.LEADER,
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
