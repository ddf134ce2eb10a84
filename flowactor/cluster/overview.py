"""The cluster as one node sees it: its nodes, and the groups that it has replicas of."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from flowactor.cluster.group import GroupActor
from flowactor.cluster.requests import ClusterView, GroupView, NodeView
from flowactor.identity import ClusterId, GroupId, NodeId
from flowactor.machine import Machine

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
        addresses, disks = self._nodes()
        nodes = tuple(
            self._node_view(node, address, disks.get(node, ""), machines)
            for node, address in sorted(addresses.items())
        )
        return ClusterView(
            self._cluster,
            self._node,
            self._version,
            nodes,
            tuple(map(_group_view, groups)),
            sum(len(machine.runs) for machine in machines),
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
    )
