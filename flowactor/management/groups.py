"""Execution groups: what operators and the planner do to them, and what their leaders report."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, assert_never

from attrs import evolve

from flowactor.identity import GroupId, NodeId, Slot
from flowactor.limits import NAME_BYTES_MAX, SLOTS, TEXT_BYTES_MAX
from flowactor.machine.replies import Done, Rejected
from flowactor.management import planner
from flowactor.management.operations import (
    AbortMove,
    AddMember,
    AdvanceMove,
    CreateGroup,
    DrainGroup,
    FoundCluster,
    MoveMember,
    MoveSlots,
    Placement,
    RemoveMember,
    ReportGroup,
    SetMetadata,
    SetPlacement,
    SplitGroup,
)
from flowactor.management.replies import Created
from flowactor.management.slots import (
    abort_move,
    advance_move,
    assign_slots,
    ready_groups,
    start_move,
)
from flowactor.management.state import (
    MANAGEMENT_GROUP,
    NOBODY,
    Group,
    GroupState,
    Liveness,
    Membership,
    Node,
    NodeState,
    Report,
    Topology,
)

__all__ = [
    "GroupBody",
    "advance",
    "change_group",
    "end_stillborn",
    "follow_plan",
    "found_cluster",
    "report",
    "set_members",
    "view_of",
]

METADATA_MAX: Final = 1000
PLAN_STEPS_MAX: Final = 1_000_000
"""A plan ends long before; a planner that does not must stop rather than hang every node."""

GroupBody = (
    CreateGroup
    | SplitGroup
    | DrainGroup
    | AddMember
    | RemoveMember
    | MoveMember
    | SetPlacement
    | SetMetadata
    | MoveSlots
    | AbortMove
)


# -- changes --------------------------------------------------------------------------------------


def set_members(topology: Topology, group: Group, members: Iterable[NodeId]) -> Group:
    """Change who ought to be in a group. A founder that goes is no founder any more."""
    chosen = tuple(sorted(members))
    gone = set(group.members) - set(chosen)
    changed = evolve(
        group,
        members=chosen,
        dismissed=tuple(sorted(gone.union(group.dismissed))),
        version=group.version + 1,
    )
    topology.groups[group.id] = changed
    return changed


def _found(
    topology: Topology, members: Iterable[NodeId], *, kept: bool = False, placed: bool = False
) -> GroupId:
    """A new group; the first one of all gets every slot."""
    topology.last_group += 1
    group, chosen = GroupId(topology.last_group), tuple(sorted(members))
    first = NOBODY in topology.slots
    topology.groups[group] = Group(group, chosen, chosen, kept=kept, placed=placed, first=first)
    if first:
        assign_slots(topology, range(SLOTS), group)
    return group


def found_cluster(topology: Topology, operation: FoundCluster) -> str:
    """Begin with these nodes and a group of all of them. Returns why not, or nothing."""
    if topology.nodes:
        return "the cluster is founded"
    for node, disk, address in operation.founders:
        topology.nodes[node] = Node(node, disk, address, NodeState.MEMBER)
        topology.last_node = max(topology.last_node, node)
    _found(topology, topology.nodes)
    return ""


def _drain(topology: Topology, group: Group) -> None:
    """Slots on their way to it turn back if they still can."""
    topology.groups[group.id] = evolve(group, state=GroupState.DRAINING)
    for move in topology.moves_in_order():
        if move.target == group.id and move.can_abort:
            abort_move(topology, move)


def end_stillborn(topology: Topology) -> None:
    """A group that lost a majority of its voters will never have a leader again, nor will one that
    never had a leader, and lost a majority of its founders. If it has no slots nobody misses it,
    none may come to it, and the planner finds other places for its members.
    """
    for group in topology.groups_in_order():
        report = topology.reports.get(group.id)
        voters = group.founders if report is None else report.configuration.voters
        left = sum(not topology.nodes[node].state.is_gone for node in voters)
        if 2 * left <= len(voters) and group.is_active and group.id not in topology.slots:
            _drain(topology, group)


# -- the plan -------------------------------------------------------------------------------------


def view_of(topology: Topology) -> planner.View:
    """What the planner sees."""
    busy = Counter(topology.slots)
    for move in topology.moves.values():
        busy[move.source] += 1
        busy[move.target] += 1
    present = [node for node in topology.nodes.values() if not node.state.is_gone]

    def those(test: Callable[[Node], bool]) -> frozenset[NodeId]:
        return frozenset(node.id for node in present if test(node))

    return planner.View(
        {
            key: planner.Shape(
                group.members, not group.is_active, busy[key], group.kept, group.placed
            )
            for key, group in topology.groups.items()
        },
        those(lambda node: node.is_available),
        topology.settings,
        those(lambda node: node.state is NodeState.LEAVING),
        those(lambda node: node.liveness is Liveness.DEAD),
    )


def follow_plan(topology: Topology) -> None:
    """Make the groups what the planner wants them to be."""
    for _ in range(PLAN_STEPS_MAX):
        actions = planner.plan(view_of(topology))
        if not actions:
            return
        for action in actions:
            _perform(topology, action)
    raise AssertionError("the planner does not come to an end")


def _perform(topology: Topology, action: planner.Action) -> None:
    match action:
        case planner.Create(members):
            _found(topology, members)
        case planner.Add(key, node):
            group = topology.groups[key]
            set_members(topology, group, (*group.members, node))
        case planner.Remove(key, nodes):
            group = topology.groups[key]
            set_members(topology, group, set(group.members) - set(nodes))
        case planner.Drain(key):
            _drain(topology, topology.groups[key])
        case planner.Destroy(key):
            del topology.groups[key]
            topology.reports.pop(key, None)
        case _:
            assert_never(action)


# -- reports --------------------------------------------------------------------------------------


def report(topology: Topology, operation: ReportGroup) -> str:
    """A leader's word on its group. Returns why it counts for nothing, or nothing."""
    key = operation.group
    if key != MANAGEMENT_GROUP and key not in topology.groups:
        return f"there is no group {key}, or no more"
    known = topology.reports.get(key)
    new = Report(
        key,
        operation.term,
        operation.index,
        operation.configuration_index,
        operation.version,
        Membership(tuple(sorted(operation.voters)), tuple(sorted(operation.learners))),
        operation.runs,
        operation.bytes,
    )
    if known is not None and (known == new or _is_behind(new, known)):
        return f"term {known.term} and index {known.index} of group {key} are known already"
    topology.reports[key] = new
    return ""


def _is_behind(new: Report, known: Report) -> bool:
    return (
        new.term < known.term
        or new.index < known.index
        or new.configuration_index < known.configuration_index
        or new.version < known.version
    )


def advance(topology: Topology, operation: AdvanceMove) -> str:
    """What a phase of a move asked for is done. Returns why that counts for nothing, or nothing."""
    move = topology.moves.get(operation.move)
    if move is None:
        return f"there is no move {operation.move}, or no more"
    if move.phase is not operation.phase:
        return f"move {move.id} is in phase {move.phase.value}, not {operation.phase.value}"
    advance_move(topology, move)
    return ""


# -- operators ------------------------------------------------------------------------------------


def change_group(topology: Topology, body: GroupBody, clock_ns: int) -> Done | Created | Rejected:
    """An operator's command on groups, or why it cannot be done."""
    match body:
        case CreateGroup(members):
            return _create(topology, members)
        case MoveSlots():
            return _move_slots(topology, body, clock_ns)
        case AbortMove():
            return _abort(topology, body)
    group = topology.groups.get(body.group)
    if group is None:
        state = "ended" if topology.has_ended(body.group) else "unknown"
        return Rejected("NotFound", f"group {body.group} is {state}; `groups list` names them")
    if not group.is_active:
        return Rejected("AlreadyClosed", f"group {group.id} drains: wait until it has ended")
    match body:
        case SplitGroup():
            return _split(topology, group)
        case DrainGroup():
            return _drain_by_hand(topology, group)
        case AddMember() | RemoveMember() | MoveMember():
            return _change_members(topology, group, body)
        case SetPlacement(placement=placement):
            placed = placement is Placement.OPERATOR
            topology.groups[group.id] = evolve(group, placed=placed)
            return Done(changed=group.placed != placed)
        case SetMetadata():
            return _set_metadata(topology, group, body)
        case _:
            assert_never(body)


def _cannot_serve(topology: Topology, node: NodeId) -> Rejected | None:
    known = topology.nodes.get(node)
    if known is None or known.state.is_gone:
        return Rejected("NotFound", f"there is no node {node}; `members list` names them")
    if not known.is_available:
        state = f"{known.state.value}, {known.liveness.value}"
        return Rejected("InvalidInput", f"node {node} is {state}: choose a member that is alive")
    return None


def _create(topology: Topology, members: tuple[NodeId, ...]) -> Created | Rejected:
    size_max = topology.settings.group_size_max
    if not 1 <= len(set(members)) == len(members) <= size_max:
        message = f"a group has 1 to {size_max} different nodes, not {len(members)}"
        return Rejected("InvalidInput", message)
    for node in members:
        if problem := _cannot_serve(topology, node):
            return problem
    return Created(_found(topology, members, kept=True, placed=True))


def _split(topology: Topology, group: Group) -> Created | Rejected:
    view = view_of(topology)
    chosen: set[NodeId] = set()
    while len(chosen) < topology.settings.group_size_target:
        node = planner.least_busy(view, view.available - chosen)
        if node is None:
            break
        chosen.add(node)
    if not chosen:
        message = f"no node is alive to take a part of group {group.id}: add one first"
        return Rejected("InvalidInput", message)
    # Whoever asks for two groups wants both: else the planner might drain the old one for the new.
    topology.groups[group.id] = evolve(group, kept=True)
    return Created(_found(topology, chosen, kept=True))


def _drain_by_hand(topology: Topology, group: Group) -> Done | Rejected:
    if sum(other.is_active for other in topology.groups.values()) == 1:
        message = f"group {group.id} is the only one that can have slots: create another first"
        return Rejected("InvalidInput", message)
    _drain(topology, group)
    return Done()


def _change_members(
    topology: Topology, group: Group, body: AddMember | RemoveMember | MoveMember
) -> Done | Rejected:
    members = set(group.members)
    if not isinstance(body, AddMember):
        if body.node not in members:
            return Rejected("NotFound", f"node {body.node} is not in group {group.id}")
        members.remove(body.node)
    if not isinstance(body, RemoveMember):
        newcomer = body.node if isinstance(body, AddMember) else body.successor
        if newcomer not in group.members and (problem := _cannot_serve(topology, newcomer)):
            return problem
        members.add(newcomer)
    if not 1 <= len(members) <= topology.settings.group_size_max:
        message = (
            f"a group has 1 to {topology.settings.group_size_max} nodes: "
            "drain it to end it, raise group_size_max to let it grow"
        )
        return Rejected("InvalidInput", message)
    changed = members != set(group.members)
    if changed:
        set_members(topology, evolve(group, placed=True), members)
    return Done(changed=changed)


def _set_metadata(topology: Topology, group: Group, body: SetMetadata) -> Done | Rejected:
    if not body.name or len(body.name.encode()) > NAME_BYTES_MAX:
        return Rejected("InvalidInput", f"a name has 1 to {NAME_BYTES_MAX} bytes")
    if body.value is not None and len(body.value.encode()) > TEXT_BYTES_MAX:
        return Rejected("InvalidInput", f"a value has at most {TEXT_BYTES_MAX} bytes")
    entries = dict(group.metadata)
    if body.value is None:
        entries.pop(body.name, None)
    else:
        entries[body.name] = body.value
    if len(entries) > METADATA_MAX:
        return Rejected("InvalidInput", f"a group has at most {METADATA_MAX} names: delete some")
    changed = evolve(group, metadata=tuple(sorted(entries.items())))
    topology.groups[group.id] = changed
    return Done(changed=changed != group)


def _move_slots(topology: Topology, body: MoveSlots, clock_ns: int) -> Done | Rejected:
    target = topology.groups.get(body.target)
    if target is None or not target.is_active:
        message = f"there is no active group {body.target}; `groups list` names them"
        return Rejected("NotFound", message)
    if not body.slots or not all(0 <= slot < SLOTS for slot in body.slots):
        return Rejected("InvalidInput", f"name slots from 0 to {SLOTS - 1}")
    if target.id not in ready_groups(topology):
        message = f"group {target.id} has no leader, or too few voters yet: try again later"
        # Not "Unavailable": that is asked again, and the same request keeps its first answer.
        return Rejected("InvalidInput", message)
    if moving := sorted(topology.moving_slots().intersection(body.slots)):
        message = f"slot {moving[0]} is on its way already: wait, or abort its move"
        return Rejected("AlreadyExists", message)
    by_source: dict[GroupId, list[Slot]] = {}
    for slot in sorted(set(body.slots)):
        source = topology.group_of(slot)
        if source != target.id:
            by_source.setdefault(source, []).append(slot)
    for source in sorted(by_source):
        start_move(topology, by_source[source], source, target.id, clock_ns)
    return Done(changed=bool(by_source))


def _abort(topology: Topology, body: AbortMove) -> Done | Rejected:
    move = topology.moves.get(body.move)
    if move is None:
        return Rejected("NotFound", f"there is no move {body.move}, or no more")
    if not move.can_abort:
        message = f"the slots of move {move.id} are in group {move.target} already: move them back"
        return Rejected("AlreadyClosed", message)
    abort_move(topology, move)
    return Done()
