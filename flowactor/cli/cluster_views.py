"""How nodes and groups look to people (tables, lines) and to machines (JSON shapes)."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from flowactor.cli.output import Output
from flowactor.cli.standing import Standing, standings, warnings
from flowactor.cluster.protocol.views import (
    ClusterView,
    GroupView,
    MoveView,
    NodeView,
    PlacementView,
)
from flowactor.management import Liveness, NodeState

__all__ = ["cluster", "groups", "members", "print_cluster", "print_groups", "print_members"]

Json = dict[str, Any]

MEMBER_COLUMNS: Final = ("node", "address", "state", "role", "pin", "groups", "runs", "workflows")
GROUP_COLUMNS: Final = (
    "group",
    "role here",
    "leader",
    "term",
    "committed",
    "applied",
    "voters",
    "lag",
)
NOTHING: Final = "-"
UNKNOWN: Final = "?"
"""Nobody who knows it has answered."""


# -- for machines ---------------------------------------------------------------------------------


def cluster(view: ClusterView) -> Json:
    return {
        "cluster": view.cluster,
        "answered_by": view.node,
        "version": view.version,
        "runs_open": view.runs_open,
        "nodes": [node(each) for each in view.nodes],
        "groups": list(told_groups(view)),
        **groups(view),
        "settings": dict(view.settings),
    }


def members(view: ClusterView) -> Json:
    return {"nodes": [node(each) for each in view.nodes]}


def groups(view: ClusterView) -> Json:
    stand = standings(view)
    return {
        "placements": [placement(each, stand[each.group]) for each in view.placements],
        "moves": [move(each) for each in view.moves],
    }


def node(view: NodeView) -> Json:
    return {
        "node": view.node,
        "address": view.address,
        "reachable": view.reachable,
        "state": view.state,
        "liveness": view.liveness,
        "role": view.role,
        "pin": view.pin,
        "groups": list(view.groups),
        "runs_owned": view.runs_owned,
        "workflows": list(view.workflows),
    }


def told_groups(view: ClusterView) -> Iterable[Json]:
    """By id; with nulls for what nobody told of a group that is there."""
    told: dict[int, GroupView] = {each.group: each for each in view.groups}
    for number, standing in standings(view).items():
        known = told.get(number)
        yield unknown_group(standing) if known is None else group(known, standing)


def group(view: GroupView, standing: Standing) -> Json:
    return {
        "group": view.group,
        "role": view.role,
        "term": view.term,
        "leader": view.leader,
        "last_index": view.last_index,
        "commit_index": view.commit_index,
        "applied_index": view.applied_index,
        "voters": list(standing.voters),
        "learners": list(view.learners),
        **safety(standing),
        "lags": {str(node): lag for node, lag in view.lags} if view.by_leader else None,
    }


def unknown_group(standing: Standing) -> Json:
    untold = dict.fromkeys(("term", "leader", "last_index", "commit_index", "applied_index"))
    voters = {"voters": list(standing.voters), "learners": None}
    return {
        "group": standing.group,
        "role": "",
        **untold,
        **voters,
        **safety(standing),
        "lags": None,
    }


def safety(standing: Standing) -> Json:
    return {
        "has_majority": standing.has_majority,
        "fault_tolerant": standing.is_fault_tolerant,
        "removed": list(standing.removed),
        "silent": list(standing.silent),
    }


def placement(view: PlacementView, standing: Standing) -> Json:
    return {
        "group": view.group,
        "state": view.state,
        "members": list(view.members),
        "voters": list(standing.voters),
        "learners": list(view.learners),
        **safety(standing),
        "slots": view.slots,
        "runs": view.runs,
    }


def move(view: MoveView) -> Json:
    return {
        "move": view.move,
        "from": view.source,
        "to": view.target,
        "slots": view.slots,
        "phase": view.phase,
    }


# -- for people -----------------------------------------------------------------------------------


def print_cluster(output: Output, view: ClusterView) -> None:
    """All of it; ``lag`` is how many entries a follower is behind."""
    output.text(f"cluster {view.cluster}, flowactor {view.version}, as node {view.node} sees it")
    output.text(f"{or_unknown(view.runs_open)} runs open")
    print_members(output, view)
    told: dict[int, GroupView] = {each.group: each for each in view.groups}
    rows = [group_row(told.get(each.group), each) for each in standings(view).values()]
    output.table("groups", GROUP_COLUMNS, rows)
    print_moves(output, view)
    print_warnings(output, view)


def print_members(output: Output, view: ClusterView) -> None:
    """The nodes."""
    output.table("nodes", MEMBER_COLUMNS, map(node_row, view.nodes))


def print_groups(output: Output, view: ClusterView) -> None:
    """The execution groups as they ought to be, and as their leaders reported."""
    columns = ("group", "state", "members", "voters", "learners", "slots", "runs")
    output.table("groups", columns, map(placement_row, view.placements))
    print_moves(output, view)
    print_warnings(output, view)


def print_moves(output: Output, view: ClusterView) -> None:
    if view.moves:
        columns = ("move", "from", "to", "slots", "phase")
        rows = [(m.move, m.source, m.target, m.slots, m.phase) for m in view.moves]
        output.table("moves", columns, rows)


def print_warnings(output: Output, view: ClusterView) -> None:
    for line in warnings(view):
        output.text(line)


def node_row(view: NodeView) -> Sequence[object]:
    return (
        view.node,
        view.address,
        node_state(view),
        view.role or NOTHING,
        view.pin or NOTHING,
        ids(view.groups),
        or_unknown(view.runs_owned),
        ", ".join(view.workflows) or NOTHING,
    )


def node_state(view: NodeView) -> str:
    """``up`` if there is nothing to say against it."""
    words = []
    if view.state not in {"", NodeState.MEMBER.value}:
        words.append(view.state)
    if view.liveness not in {"", Liveness.ALIVE.value}:
        words.append(view.liveness)
    elif not view.reachable:
        words.append("unreachable")
    return ", ".join(words) or "up"


def group_row(view: GroupView | None, standing: Standing) -> Sequence[object]:
    if view is None:
        untold = [UNKNOWN] * 4
        return standing.group, NOTHING, *untold, ids(standing.voters), UNKNOWN
    leader = f"node {view.leader}" if view.leader else "none"
    numbers = (view.term, view.commit_index, view.applied_index)
    role = view.role or NOTHING
    return view.group, role, leader, *numbers, ids(standing.voters), lag(view)


def lag(view: GroupView) -> str:
    if not view.by_leader:
        return UNKNOWN
    return ", ".join(f"node {node}: {entries}" for node, entries in view.lags) or NOTHING


def or_unknown(number: int | None) -> object:
    return UNKNOWN if number is None else number


def placement_row(view: PlacementView) -> Sequence[object]:
    nodes = map(ids, (view.members, view.voters, view.learners))
    return view.group, view.state, *nodes, view.slots, view.runs


def ids(numbers: Iterable[int]) -> str:
    return " ".join(map(str, numbers)) or NOTHING
