"""Whether a group could go on without a node for good: who is gone never votes again.

Group 0 knows the members of the others from reports, and those may be late: a leader that died just
after it had changed the members reports nothing any more, and without a majority nobody else does.
So whoever is silent counts as a voter if it may have become one, and of those that answer only who
is one whatever became of the change. Where the two differ a change is under way; it ends soon, or
waits for those that are silent.
"""

from collections.abc import Iterable, Iterator

from attrs import frozen

from flowactor.identity import GroupId, NodeId
from flowactor.management.state import (
    MANAGEMENT_GROUP,
    Liveness,
    Topology,
)

__all__ = ["Need", "need_of"]


@frozen
class Need:
    """A group that would have no majority without a node.

    Attributes:
        slots: how many would be lost with it.
        voters: those that it has, as far as anybody knows, and those that it may have by now.
        answering: those of them that would be left.
        silent: those that are not gone, and could end this by being started; the node is one.
    """

    group: GroupId
    slots: int
    voters: tuple[NodeId, ...]
    answering: tuple[NodeId, ...]
    silent: tuple[NodeId, ...]

    def __str__(self) -> str:
        what = "the management group, and with it the cluster,"
        if self.group != MANAGEMENT_GROUP:
            what = f"group {self.group}, with {self.slots} slots and what is in them,"
        left = f"only {_names(self.answering)}" if self.answering else "none"
        return (
            f"{what} would be lost: of its voters {_names(self.voters)} {left} would be left, which"
            " is no majority"
        )


def need_of(topology: Topology, node: NodeId) -> Need | None:
    """The first group that something depends on and that needs this node, which is silent, to have
    a majority ever again; None if all can go on without it.
    """
    for group, voters, planned, possible in _groups(topology):
        if node not in possible:
            continue
        sure = planned & voters
        answering = sorted(other for other in sure if other != node and _answers(topology, other))
        missing = sorted(
            other for other in possible if other == node or not _answers(topology, other)
        )
        if len(answering) <= len(missing):
            return Need(
                group,
                topology.slots.count(group),
                tuple(sorted({*answering, *missing})),
                tuple(answering),
                tuple(other for other in missing if not topology.nodes[other].state.is_gone),
            )
    return None


Nodes = frozenset[NodeId]


def _groups(topology: Topology) -> Iterator[tuple[GroupId, Nodes, Nodes, Nodes]]:
    """The groups that something depends on: who votes in them as of their reports, who ought to,
    and who might.
    """
    management = topology.reports.get(MANAGEMENT_GROUP)
    if management is not None:
        planned = frozenset(node.id for node in topology.nodes.values() if node.voter)
        voters = frozenset(management.configuration.voters)
        yield MANAGEMENT_GROUP, voters, planned, voters | planned
    for group in topology.groups_in_order():
        if group.id in topology.slots or topology.moves_of(group.id):
            actual = topology.actual_members(group)
            # Of those that left long ago nobody has to be told any more.
            possible = actual.members.union(
                node.id
                for node in topology.nodes.values()
                if not node.state.is_gone and topology.may_be_in(group, node.id)
            )
            yield group.id, frozenset(actual.voters), frozenset(group.members), possible


def _answers(topology: Topology, node: NodeId) -> bool:
    known = topology.nodes[node]
    return known.liveness is Liveness.ALIVE and not known.state.is_gone


def _names(nodes: Iterable[NodeId]) -> str:
    return ", ".join(map(str, nodes))
