"""What the management group knows: nodes, execution groups, the slot table, moves under way.

Facts are frozen and replaced whole; ``Topology`` holds them. Only the machine changes it, everybody
else reads. Mappings are filled in log order on a machine that was there, and in key order on one
restored from rows: sort before emitting.
"""

import enum
from typing import NewType

from attrs import Factory, define, frozen

from flowactor.identity import GroupId, NodeId, Slot
from flowactor.limits import SLOTS
from flowactor.management.settings import Settings

__all__ = [
    "MANAGEMENT_GROUP",
    "NOBODY",
    "Group",
    "GroupState",
    "Liveness",
    "Membership",
    "Move",
    "MoveId",
    "Node",
    "NodeState",
    "Phase",
    "Pin",
    "Report",
    "Topology",
]

MANAGEMENT_GROUP = GroupId(0)
NOBODY = GroupId(0)
"""The group of a slot before there is any group."""

MoveId = NewType("MoveId", int)
"""Counts from 1, never used again: it fences everything that is said about a move."""


class NodeState(enum.Enum):
    """``JOINING``: has an id, has not said yet that it is up. ``LEAVING``: its replicas are being
    replaced. The other three are for good: left gracefully, removed by an operator, or come back
    with an empty disk, which is another node.
    """

    JOINING = "joining"
    MEMBER = "member"
    LEAVING = "leaving"
    LEFT = "left"
    REMOVED = "removed"
    LOST = "lost"

    @property
    def is_gone(self) -> bool:
        return self in (NodeState.LEFT, NodeState.REMOVED, NodeState.LOST)


class Liveness(enum.Enum):
    """As the leader of the management group hears the node. ``SUSPECT``: silent for a lease.
    ``DEAD``: suspect for so long that it is replaced where it can be.
    """

    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"


class Pin(enum.Enum):
    """What an operator wants a node to be in the management group."""

    NONE = "none"
    VOTER = "voter"
    LEARNER = "learner"


class GroupState(enum.Enum):
    """A group that ended is no more in the state; its id is never used again."""

    ACTIVE = "active"
    DRAINING = "draining"


class Phase(enum.Enum):
    r"""What has to happen next in a move. The slot table changes on the way into ``ACTIVATE``: from
    then on there is no way back, and before it the target cannot serve.

    ::

        FREEZE -> COPY -> ACTIVATE -> FORGET -> done
             \    |
              `---+--> THAW -> DISCARD -> done
    """

    FREEZE = "freeze"
    """The source is to freeze the slots: it serves them no more."""
    COPY = "copy"
    """Frozen: the source is to send what is in them, the target to import it."""
    ACTIVATE = "activate"
    """Copied, and the table says so: the target is to serve them."""
    FORGET = "forget"
    """Served by the target: the source is to delete what it has of them."""
    THAW = "thaw"
    """Given up: the source is to serve them again."""
    DISCARD = "discard"
    """Given up, and served by the source: the target is to delete what came."""


@frozen
class Membership:
    """Who is, or ought to be, in a Raft group, and as what; both sorted."""

    voters: tuple[NodeId, ...] = ()
    learners: tuple[NodeId, ...] = ()

    @property
    def members(self) -> frozenset[NodeId]:
        return frozenset(self.voters + self.learners)


@frozen
class Node:
    """A node that was admitted. Its id is known by ``disk``, its data directory, for ever.

    ``liveness_epoch`` counts the changes of liveness, ``announcements`` how often it said what it
    is, ``suspected_ns`` is log time. ``voter``: it ought to vote in the management group.
    """

    id: NodeId
    disk: str
    address: str
    state: NodeState = NodeState.JOINING
    liveness: Liveness = Liveness.ALIVE
    liveness_epoch: int = 0
    suspected_ns: int = 0
    announcements: int = 0
    incarnation: str = ""
    feature_level: int = 1
    pin: Pin = Pin.NONE
    voter: bool = False
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def is_available(self) -> bool:
        """Whether it may get replicas."""
        return self.state is NodeState.MEMBER and self.liveness is Liveness.ALIVE


@frozen
class Group:
    """An execution group: who ought to be in it.

    Attributes:
        members: sorted; what the reconciler works towards.
        founders: the voters of the founding configuration, for ever the same.
        dismissed: those that ought to be in it no more, or were out of it in between. As founders
            they may not come back, for then they would vote without their memory; and until a
            leader has reported that it knows, they may still be in it.
        version: counts the changes of ``members``.
        kept: an operator made or split it, so the planner does not drain it; an operator may.
        placed: an operator chose its members, so the planner only replaces who leaves or dies.
        first: it was founded with all slots; every other group is founded with none.
        metadata: (name, value) pairs of an operator's, sorted.
    """

    id: GroupId
    members: tuple[NodeId, ...]
    founders: tuple[NodeId, ...]
    state: GroupState = GroupState.ACTIVE
    dismissed: tuple[NodeId, ...] = ()
    version: int = 1
    kept: bool = False
    placed: bool = False
    first: bool = False
    metadata: tuple[tuple[str, str], ...] = ()

    @property
    def is_active(self) -> bool:
        return self.state is GroupState.ACTIVE


@frozen
class Report:
    """What a group's leader last said. ``configuration`` is the newest committed one, at
    ``configuration_index``; ``version`` is that of the members the leader knew it ought to have.
    """

    group: GroupId
    term: int
    index: int
    configuration_index: int
    version: int
    configuration: Membership
    runs: int = 0
    bytes: int = 0


@frozen
class Move:
    """Slots on their way from one group to another."""

    id: MoveId
    source: GroupId
    target: GroupId
    slots: tuple[Slot, ...]
    phase: Phase
    started_ns: int

    @property
    def can_abort(self) -> bool:
        return self.phase in (Phase.FREEZE, Phase.COPY)


@define
class Topology:
    """Everything; size O(nodes x groups), and one entry for each slot.

    ``last_node``, ``last_group``, ``last_move`` are the highest ids ever given. ``slots_version``
    counts the changes of the slot table, ``slot_versions`` says when each slot last changed.
    """

    nodes: dict[NodeId, Node] = Factory(dict)
    groups: dict[GroupId, Group] = Factory(dict)
    reports: dict[GroupId, Report] = Factory(dict)
    moves: dict[MoveId, Move] = Factory(dict)
    slots: list[GroupId] = Factory(lambda: [NOBODY] * SLOTS)
    slot_versions: list[int] = Factory(lambda: [0] * SLOTS)
    settings: Settings = Factory(Settings)
    last_node: int = 0
    last_group: int = 0
    last_move: int = 0
    slots_version: int = 0
    feature_level: int = 1

    def nodes_in_order(self) -> list[Node]:
        return [self.nodes[node] for node in sorted(self.nodes)]

    def groups_in_order(self) -> list[Group]:
        return [self.groups[group] for group in sorted(self.groups)]

    def moves_in_order(self) -> list[Move]:
        return [self.moves[move] for move in sorted(self.moves)]

    def node_of_disk(self, disk: str) -> Node | None:
        """The node that this data directory is, present or gone."""
        return next((node for node in self.nodes_in_order() if node.disk == disk), None)

    def group_of(self, slot: Slot) -> GroupId:
        """Which group serves the slot, or is about to; ``NOBODY`` before there is any."""
        return self.slots[slot]

    def slots_of(self, group: GroupId) -> tuple[Slot, ...]:
        return tuple(Slot(slot) for slot, owner in enumerate(self.slots) if owner == group)

    def moving_slots(self) -> frozenset[Slot]:
        """Those that cannot begin another move now."""
        return frozenset(
            slot
            for move in self.moves.values()
            if move.phase is not Phase.DISCARD
            for slot in move.slots
        )

    def moves_of(self, group: GroupId) -> list[Move]:
        """Those that come to the group or go from it, in order."""
        return [move for move in self.moves_in_order() if group in (move.source, move.target)]

    def actual_members(self, group: Group) -> Membership:
        """Who is in a group, as its leader last said, or else as it was founded."""
        report = self.reports.get(group.id)
        return Membership(group.founders) if report is None else report.configuration

    def may_be_in(self, group: Group, node: NodeId) -> bool:
        """Whether the node is in the group, or ought to be, or may be without that anybody has
        reported it: that ought to have been, and who leads may not know that it is over.
        """
        report = self.reports.get(group.id)
        known = 1 if report is None else report.version
        inside = self.actual_members(group).members.union(group.members)
        return node in inside or (node in group.dismissed and known < group.version)

    def has_ended(self, group: GroupId) -> bool:
        """Whether there was such a group and is no more; False of a group yet to come, which a
        node that applies the log again may have heard of before.
        """
        return group not in self.groups and MANAGEMENT_GROUP < group <= self.last_group
