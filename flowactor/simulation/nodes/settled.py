"""What has to be so once the cluster is at rest: every group is as the management group wants it,
no configuration is joint (I35), slots are where the table has them, and who was taken out is gone.
"""

from collections.abc import Collection
from typing import Final

from flowactor.identity import GroupId, NodeId
from flowactor.management import MANAGEMENT_GROUP, Membership, NodeState, Topology
from flowactor.management.roles import desired_management_configuration
from flowactor.raft import Configuration
from flowactor.simulation.checks.judge import Judge
from flowactor.simulation.failure import CheckFailed

__all__ = ["unsettled"]

_GOING: Final = (NodeState.JOINING, NodeState.LEAVING)


def unsettled(
    judge: Judge, sound: Collection[NodeId], removed: Collection[NodeId]
) -> CheckFailed | None:
    """Why the cluster is not what it ought to be, if it is not, and nothing hinders it.

    Args:
        judge: knows what is committed.
        sound: the nodes that have to work.
        removed: those whose removal was acknowledged.
    """
    topology = judge.topology.topology
    if topology is None or not judge.of(MANAGEMENT_GROUP).consensus.is_able(sound):
        return None  # nobody can say what it ought to be
    for group in sorted(judge.groups):
        if judge.groups[group].consensus.members.is_joint and _is_there(topology, group):
            return CheckFailed("I35", f"group {group} is still between two configurations")
    present = [node for node in topology.nodes_in_order() if not node.state.is_gone]
    if not {node.id for node in present} <= set(sound):
        return None  # who is lost for good may hold up what concerns it
    for node in present:
        if node.state in _GOING or node.id in removed:
            return CheckFailed("plan", f"node {node.id} is still {node.state.value}")
    if topology.moves:
        return CheckFailed("plan", f"move {min(topology.moves)} of slots is still under way")
    wanted = {group.id: Membership(group.members) for group in topology.groups_in_order()}
    wanted[MANAGEMENT_GROUP] = desired_management_configuration(topology)
    for group, members in wanted.items():
        actual = judge.of(group).consensus.members
        if _membership(actual) != members:
            return CheckFailed(
                "plan",
                f"group {group} has voters {_names(actual.voters)} and learners"
                f" {_names(actual.learners)}, and should have {_names(members.voters)} and"
                f" {_names(members.learners)}",
            )
    for key in sorted(topology.groups):
        if wrong := judge.slots.misplaced(key, topology.slots_of(key)):
            return CheckFailed("slots", wrong)
    return None


def _is_there(topology: Topology, group: GroupId) -> bool:
    return group == MANAGEMENT_GROUP or group in topology.groups


def _membership(configuration: Configuration) -> Membership:
    return Membership(tuple(sorted(configuration.voters)), tuple(sorted(configuration.learners)))


def _names(nodes: Collection[NodeId]) -> str:
    return ", ".join(map(str, nodes)) or "none"
