"""Who votes in the management group, and the way from one membership to another, step by step."""

from collections.abc import Iterable

from flowactor.identity import NodeId
from flowactor.management.state import Liveness, Membership, Node, NodeState, Pin, Topology

__all__ = ["choose_voters", "desired_management_configuration", "next_membership"]


def choose_voters(nodes: Iterable[Node], voters_max: int) -> frozenset[NodeId]:
    """The voters that the management group ought to have: as many as there are members, up to
    ``voters_max``, but an odd number. Who is pinned comes first, then who is not dead, then who is
    one already (so that the set is stable), then who is alive, then the lowest id.
    """
    members = [node for node in nodes if node.state is NodeState.MEMBER]
    # Somebody has to vote, even if all who might are gone but those who were not to.
    able = [node for node in members if node.pin is not Pin.LEARNER] or members
    count = min(len(able), voters_max)
    pinned = sum(node.pin is Pin.VOTER for node in able)
    count = max(count - (count % 2 == 0), pinned, 0)
    able.sort(
        key=lambda node: (
            node.pin is not Pin.VOTER,
            node.liveness is Liveness.DEAD,
            not node.voter,
            node.liveness is not Liveness.ALIVE,
            node.id,
        )
    )
    return frozenset(node.id for node in able[:count])


def desired_management_configuration(topology: Topology) -> Membership:
    """Voters as the state has them, everybody else who is not gone a learner. No voters while no
    node has announced itself: then the founding configuration is to stay as it is.
    """
    present = [node for node in topology.nodes_in_order() if not node.state.is_gone]
    return Membership(
        tuple(node.id for node in present if node.voter),
        tuple(node.id for node in present if not node.voter),
    )


def next_membership(
    desired: Membership,
    actual: Membership,
    reachable: frozenset[NodeId],
    caught_up: frozenset[NodeId],
    *,
    patient: bool = False,
) -> Membership | None:
    """The next configuration on the way to the desired one, one node away from the actual one, or
    None if there is none now.

    Learners come first, are promoted when they have caught up, and only then voters that are too
    many go. No step leaves fewer reachable voters than a majority.

    Args:
        desired: what ought to be; with no voters, nothing is done.
        actual: committed, not joint, and no change of it under way.
        reachable: nodes that the leader hears from, itself included.
        caught_up: members whose log is as long as the leader's, but for what is under way.
        patient: let a learner go only when it has heard everything, or cannot hear.
    """
    if not desired.voters:
        return None
    for node in sorted((desired.members - actual.members) & reachable):
        return _sorted(actual.voters, (*actual.learners, node))
    waiting = sorted(set(actual.learners) & set(desired.voters) & reachable)
    for node in waiting:
        grown = (*actual.voters, node)
        if node in caught_up and _has_quorum(grown, reachable):
            return _sorted(grown, _without(actual.learners, node))
    for node in sorted(set(actual.learners) - desired.members):
        if not patient or node in caught_up or node not in reachable:
            return _sorted(actual.voters, _without(actual.learners, node))
    return None if waiting else _shrink(desired, actual, reachable)


def _shrink(
    desired: Membership, actual: Membership, reachable: frozenset[NodeId]
) -> Membership | None:
    """Let one voter go that is one too many, those that nobody hears from first."""
    surplus = set(actual.voters) - set(desired.voters)
    for node in sorted(surplus, key=lambda node: (node in reachable, node)):
        rest = _without(actual.voters, node)
        if _has_quorum(rest, reachable):
            demoted = (node,) if node in desired.learners else ()
            return _sorted(rest, actual.learners + demoted)
    return None


def _without(nodes: tuple[NodeId, ...], node: NodeId) -> tuple[NodeId, ...]:
    return tuple(other for other in nodes if other != node)


def _sorted(voters: Iterable[NodeId], learners: Iterable[NodeId]) -> Membership:
    return Membership(tuple(sorted(voters)), tuple(sorted(learners)))


def _has_quorum(voters: tuple[NodeId, ...], reachable: frozenset[NodeId]) -> bool:
    return bool(voters) and 2 * len(reachable.intersection(voters)) > len(voters)
