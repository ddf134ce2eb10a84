"""What somebody has done to the groups of a cluster while it runs: facts with a time.

Nobody who draws or writes an order knows which groups there will be then. So a group goes by its
place among those that are active at that moment, counted on from the first again after the last.
Whoever gives an order tries again, until faults end, if it cannot be followed yet.
"""

from collections.abc import Callable, Sequence
from typing import assert_never

from attrs import frozen

from flowactor.identity import GroupId, NodeId, Slot
from flowactor.limits import SLOTS
from flowactor.management import Topology
from flowactor.management.operations import (
    AbortMove,
    AddMember,
    ChangeSettings,
    CreateGroup,
    DrainGroup,
    ManagementBody,
    MoveSlots,
    RemoveMember,
    SplitGroup,
)
from flowactor.management.slots import ready_groups

__all__ = [
    "Abort",
    "Dismiss",
    "Drain",
    "Enlist",
    "Found",
    "Order",
    "Shift",
    "Split",
    "Tune",
    "request_of",
]


@frozen
class Split:
    """A new group is to stand beside this one, and slots follow."""

    group: int
    at: float


@frozen
class Drain:
    """A group is to give all its slots away, and to end."""

    group: int
    at: float


@frozen
class Found:
    """A new group of the nodes that are on these machines then."""

    nodes: tuple[int, ...]
    at: float


@frozen
class Shift:
    """Slots move to a group from wherever they are: of each ``every`` the one with number
    ``first``.
    """

    group: int
    at: float
    every: int = 2
    first: int = 0


@frozen
class Abort:
    """The oldest move that can be given up is."""

    at: float


@frozen
class Enlist:
    """The node on this machine is to serve in a group, too."""

    node: int
    group: int
    at: float


@frozen
class Dismiss:
    """The node on this machine is to serve in a group no more."""

    node: int
    group: int
    at: float


@frozen
class Tune:
    """Settings of the cluster, by name (see ``flowactor.management.Settings``)."""

    settings: tuple[tuple[str, int], ...]
    at: float


Order = Split | Drain | Found | Shift | Abort | Enlist | Dismiss | Tune


def request_of(
    order: Order, topology: Topology, node_of: Callable[[int], int]
) -> ManagementBody | None:
    """What the management group is to be asked for now; None if there is nothing (yet) to ask for.

    Args:
        order: to be given.
        topology: as it is.
        node_of: the node that is on a machine; 0 if none ever was.
    """
    groups = [group.id for group in topology.groups_in_order() if group.is_active]
    if not groups:
        return None
    match order:
        case Split(group=place):
            return SplitGroup(_at(groups, place))
        case Drain(group=place):
            return DrainGroup(_at(groups, place))
        case Found(nodes=nodes):
            return CreateGroup(tuple(NodeId(node_of(node)) for node in nodes))
        case Shift():
            return _shift(order, topology, _at(groups, order.group))
        case Abort():
            moves = [move.id for move in topology.moves_in_order() if move.can_abort]
            return AbortMove(moves[0]) if moves else None
        case Enlist(node=node, group=place):
            return AddMember(_at(groups, place), NodeId(node_of(node)))
        case Dismiss(node=node, group=place):
            return RemoveMember(_at(groups, place), NodeId(node_of(node)))
        case Tune(settings=settings):
            return ChangeSettings(settings)
        case _:
            assert_never(order)


def _at(groups: Sequence[GroupId], place: int) -> GroupId:
    return groups[place % len(groups)]


def _shift(order: Shift, topology: Topology, target: GroupId) -> MoveSlots | None:
    if target not in ready_groups(topology):
        return None
    moving = topology.moving_slots()
    slots = tuple(
        Slot(slot)
        for slot in range(order.first, SLOTS, order.every)
        if topology.slots[slot] != target and slot not in moving
    )
    return MoveSlots(slots, target) if slots else None
