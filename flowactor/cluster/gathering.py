"""What the replicas of several nodes say of the same groups, put together."""

from collections.abc import Collection, Iterable

from attrs import evolve

from flowactor.cluster.protocol.views import GroupView, PlacementView, ReplicasView
from flowactor.identity import GroupId, NodeId

__all__ = ["as_known", "gather", "heard", "workflows_of"]


def gather(own: ReplicasView, known: Iterable[ReplicasView]) -> tuple[GroupView, ...]:
    """Every group that is in ``known``, by id, as whoever knows it best has it; what the replica of
    ``own`` has applied, and its role, stay its own.
    """
    by_group: dict[GroupId, list[GroupView]] = {}
    for view in known:
        for group in view.groups:
            by_group.setdefault(group.group, []).append(group)
    here = {group.group: group for group in own.groups}
    return tuple(_merge(here.get(key), by_group[key]) for key in sorted(by_group))


def _merge(own: GroupView | None, views: Iterable[GroupView]) -> GroupView:
    best = max(views, key=_knowledge)
    if own is None:
        return evolve(best, role="")
    return evolve(
        best,
        role=own.role,
        last_index=own.last_index,
        commit_index=own.commit_index,
        applied_index=own.applied_index,
    )


def _knowledge(view: GroupView) -> tuple[bool, bool, int, bool, int]:
    """More is better: who knows a leader, the newest, and is that itself."""
    return bool(view.voters), bool(view.leader), view.term, view.by_leader, view.commit_index


def heard(known: Iterable[ReplicasView]) -> set[GroupId]:
    """The groups that somebody knows: a replica that was just made does not know who votes."""
    return {group.group for view in known for group in view.groups if group.voters}


def workflows_of(node: NodeId, known: Iterable[ReplicasView]) -> list[tuple[str, int]]:
    """What the node has registered in any group."""
    return sorted({each for view in known for each in dict(view.workflows).get(node, ())})


def as_known(placement: PlacementView, groups: Collection[GroupView]) -> PlacementView:
    """The placement with what the group itself says, instead of what its leader once reported."""
    for group in groups:
        if group.group == placement.group and group.voters:
            return evolve(placement, voters=group.voters, learners=group.learners, runs=group.runs)
    return placement
