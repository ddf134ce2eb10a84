"""The planner: which nodes ought to be in which groups. Pure, deterministic, ties to the lowest id.

``plan`` answers with the first thing to do; done again on the result, it comes to an end:

=============  ===================================================================================
step           what it does
=============  ===================================================================================
``repair``     who leaves or died is replaced; who leaves goes even if nobody can take its place
``place``      a node without group fills the smallest group below its target, or takes a place
               from a node that serves in several, or founds a group
``split``      a group of the maximum gives its lowest nodes to a new one
``relieve``    a group above its target lets go a node that has another group
``rebalance``  a group below the minimum takes a node from the largest above the target
``consolidate``  a drained group without slots ends; of too many small groups one is drained
``reinforce``  a group below its target borrows the least busy node (``Settings.shared``)
``spread``     a place goes from the busiest to the least busy node (``Settings.shared``)
=============  ===================================================================================

Why it ends: ``repair``, ``place`` and ``split`` each use up what they look for, and no step brings
it back (sizes are below the maximum unless set from outside, since the target is). ``relieve``
stops at the target and leaves everybody a group, and ``reinforce`` begins below it. ``rebalance``
gives only to groups below the minimum, from groups above the target. ``consolidate`` drains a group
only if the others have room for its nodes, one at a time. ``spread`` makes the sum of squares of
loads smaller and changes no size.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from attrs import field, frozen

from flowactor.identity import GroupId, NodeId
from flowactor.management.settings import Settings

__all__ = [
    "Action",
    "Add",
    "Create",
    "Destroy",
    "Drain",
    "Remove",
    "Shape",
    "View",
    "consolidate",
    "least_busy",
    "place",
    "plan",
    "rebalance",
    "split",
]


@frozen
class Create:
    """Found a group of these nodes."""

    members: tuple[NodeId, ...]


@frozen
class Add:
    group: GroupId
    node: NodeId


@frozen
class Remove:
    group: GroupId
    nodes: tuple[NodeId, ...]


@frozen
class Drain:
    group: GroupId


@frozen
class Destroy:
    group: GroupId


Action = Create | Add | Remove | Drain | Destroy


def _in_order(nodes: Iterable[NodeId]) -> tuple[NodeId, ...]:
    return tuple(sorted(nodes))


@frozen
class Shape:
    """What the planner knows of a group. ``slots`` counts those it has and those that come or go.
    ``kept`` and ``placed``: see ``state.Group``.
    """

    members: tuple[NodeId, ...] = field(converter=_in_order)
    draining: bool = False
    slots: int = 0
    kept: bool = False
    placed: bool = False


def _by_id(groups: Mapping[GroupId, Shape]) -> Mapping[GroupId, Shape]:
    return MappingProxyType({key: groups[key] for key in sorted(groups)})


@frozen
class View:
    """What the planner looks at.

    Attributes:
        groups: all of them.
        available: nodes that may get a place: members that are alive.
        leaving: nodes that are to lose all their places.
        dead: nodes to be replaced where somebody can take their place.
    """

    groups: Mapping[GroupId, Shape] = field(converter=_by_id)
    available: frozenset[NodeId] = frozenset()
    settings: Settings = field(factory=Settings)
    leaving: frozenset[NodeId] = frozenset()
    dead: frozenset[NodeId] = frozenset()
    _loads: Mapping[NodeId, int] = field(init=False, eq=False)

    @_loads.default
    def _count(self) -> Mapping[NodeId, int]:
        return Counter(node for _, group in self.active() for node in group.members)

    def active(self) -> Iterator[tuple[GroupId, Shape]]:
        """Groups that do not drain, by id."""
        return ((key, group) for key, group in self.groups.items() if not group.draining)

    def open(self) -> Iterator[tuple[GroupId, Shape]]:
        """Active groups whose members are the planner's to choose, by id."""
        return ((key, group) for key, group in self.active() if not group.placed)

    def load(self, node: NodeId) -> int:
        """In how many active groups a node has a place."""
        return self._loads.get(node, 0)

    def homeless(self) -> list[NodeId]:
        """Available nodes in no group, not even one that drains, by id."""
        housed = {node for group in self.groups.values() for node in group.members}
        return sorted(self.available - housed)


def plan(view: View) -> tuple[Action, ...]:
    """The first thing to do, empty if the groups are as they ought to be."""
    settings = view.settings
    steps = [repair, _place_first, split, relieve, rebalance, consolidate]
    if settings.shared:
        steps += [reinforce, spread]
    if not settings.automatic:
        steps = [repair, end_drained]
    return next((actions for step in steps if (actions := step(view))), ())


def repair(view: View) -> tuple[Action, ...]:
    """Replace one member that leaves or died."""
    for key, group in view.active():
        for node in group.members:
            if node in view.leaving or node in view.dead:
                actions = _repair_one(view, key, group, node)
                if actions:
                    return actions
    return ()


def _repair_one(view: View, key: GroupId, group: Shape, node: NodeId) -> tuple[Action, ...]:
    candidates = view.available if view.settings.shared else view.homeless()
    substitute = least_busy(view, set(candidates) - set(group.members))
    if substitute is not None:
        return (Add(key, substitute), Remove(key, (node,)))
    if node in view.dead and node not in view.leaving:
        return ()  # it may come back, and without it the group is no safer
    if any(other not in view.leaving and other not in view.dead for other in group.members):
        return (Remove(key, (node,)),)
    others = (other for other_key, other in view.active() if other_key != key)
    if any(set(other.members) & view.available for other in others):
        return (Drain(key),)
    return ()


def least_busy(view: View, nodes: Iterable[NodeId]) -> NodeId | None:
    """The node with the fewest places, then the lowest id."""
    return min(nodes, key=lambda node: (view.load(node), node), default=None)


def _place_first(view: View) -> tuple[Action, ...]:
    homeless = view.homeless()
    return place(view, homeless[0]) if homeless else ()


def place(view: View, node: NodeId) -> tuple[Action, ...]:
    """Give a node without group a place."""
    smallest = min(view.open(), key=lambda item: (len(item[1].members), item[0]), default=None)
    if smallest is not None and len(smallest[1].members) < view.settings.group_size_target:
        return (Add(smallest[0], node),)
    if view.settings.shared and (actions := _take_over(view, node)):
        return actions
    return (Create((node,)),)


def _take_over(view: View, node: NodeId) -> tuple[Action, ...]:
    """A place of the busiest node that has at least two more than this one."""
    lightest = view.load(node) + 2
    busy = sorted({other for _, group in view.open() for other in group.members})
    for other in sorted(busy, key=lambda other: (-view.load(other), other)):
        if view.load(other) < lightest:
            break
        for key, group in view.open():
            if other in group.members and node not in group.members:
                return (Add(key, node), Remove(key, (other,)))
    return ()


def split(view: View) -> tuple[Action, ...]:
    """Two actions for each group that has grown to the maximum."""
    actions: list[Action] = []
    for key, group in view.open():
        if len(group.members) >= view.settings.group_size_max:
            movers = group.members[: view.settings.split_size]
            actions += [Create(movers), Remove(key, movers)]
    return tuple(actions)


def relieve(view: View) -> tuple[Action, ...]:
    """Let the busiest of several groups go from one that is above its target."""
    for key, group in view.open():
        if len(group.members) > view.settings.group_size_target:
            busiest = min(group.members, key=lambda node: (-view.load(node), node))
            if view.load(busiest) > 1:
                return (Remove(key, (busiest,)),)
    return ()


def rebalance(view: View) -> tuple[Action, ...]:
    """A group below the minimum gets a node of the largest group above the target; ``relieve``
    then takes it out of that.
    """
    donors = [
        (-len(group.members), key, group.members)
        for key, group in view.open()
        if len(group.members) > view.settings.group_size_target
    ]
    for key, group in view.open():
        if len(group.members) < view.settings.group_size_min:
            for _, _, members in sorted(donors):
                node = next((node for node in members if node not in group.members), None)
                if node is not None:
                    return (Add(key, node),)
    return ()


def consolidate(view: View) -> tuple[Action, ...]:
    """End what is drained; drain the smallest group if there are too many for their nodes."""
    ended = end_drained(view)
    if ended or any(group.draining for group in view.groups.values()):
        return ended
    groups = [item for item in view.open() if not item[1].kept]
    settings = view.settings
    replicas = sum(len(group.members) for _, group in groups)
    if (
        sum(1 for _ in view.active()) <= settings.group_count_min
        or len(groups) * 1000 <= settings.drain_threshold_thousandths * replicas
    ):
        return ()
    size, smallest = min((len(group.members), key) for key, group in groups)
    target = settings.group_size_target
    room = sum(max(0, target - len(group.members)) for key, group in view.open() if key != smallest)
    # Without room its nodes would only found another group.
    return (Drain(smallest),) if room >= size else ()


def end_drained(view: View) -> tuple[Action, ...]:
    """End the groups that have been drained of their last slot."""
    return tuple(
        Destroy(key) for key, group in view.groups.items() if group.draining and not group.slots
    )


def reinforce(view: View) -> tuple[Action, ...]:
    """Fill one group from nodes that have a group already."""
    for key, group in view.open():
        if len(group.members) < view.settings.group_size_target:
            node = least_busy(view, view.available.difference(group.members))
            if node is not None:
                return (Add(key, node),)
    return ()


def spread(view: View) -> tuple[Action, ...]:
    """Even out how many places nodes have."""
    node = least_busy(view, view.available)
    return () if node is None else _take_over(view, node)
