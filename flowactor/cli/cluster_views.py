"""How nodes and groups look to people (tables, lines) and to machines (JSON shapes)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from flowactor.cli.output import Output
from flowactor.cluster.protocol.requests import (
    ClusterView,
    GroupView,
    MoveView,
    NodeView,
    PlacementView,
)
from flowactor.management import Liveness, NodeState

__all__ = ["cluster", "groups", "members", "print_cluster", "print_groups", "print_members"]

Json = dict[str, Any]

FAULT_TOLERANT_VOTERS_MIN: Final = 3
"""A majority of fewer is all of them."""
MEMBER_COLUMNS: Final = ("node", "address", "state", "role", "pin", "groups", "runs", "workflows")
NOTHING: Final = "-"


# -- for machines ---------------------------------------------------------------------------------


def cluster(view: ClusterView) -> Json:
    return {
        "cluster": view.cluster,
        "answered_by": view.node,
        "version": view.version,
        "runs_open": view.runs_open,
        "nodes": [node(each) for each in view.nodes],
        "groups": [group(each) for each in view.groups],
        **groups(view),
        "settings": dict(view.settings),
    }


def members(view: ClusterView) -> Json:
    return {"nodes": [node(each) for each in view.nodes]}


def groups(view: ClusterView) -> Json:
    return {
        "placements": [placement(each) for each in view.placements],
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


def group(view: GroupView) -> Json:
    return {
        "group": view.group,
        "role": view.role,
        "term": view.term,
        "leader": view.leader,
        "last_index": view.last_index,
        "commit_index": view.commit_index,
        "applied_index": view.applied_index,
        "voters": list(view.voters),
        "learners": list(view.learners),
        "fault_tolerant": is_fault_tolerant(view.voters),
        "lags": {str(follower): lag for follower, lag in view.lags},
    }


def placement(view: PlacementView) -> Json:
    return {
        "group": view.group,
        "state": view.state,
        "members": list(view.members),
        "voters": list(view.voters),
        "learners": list(view.learners),
        "fault_tolerant": is_fault_tolerant(view.voters),
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


def is_fault_tolerant(voters: Sequence[int]) -> bool:
    """Whether any one of them can be missed."""
    return len(voters) >= FAULT_TOLERANT_VOTERS_MIN


# -- for people -----------------------------------------------------------------------------------


def print_cluster(output: Output, view: ClusterView) -> None:
    """All of it; ``lag`` is how many entries a follower is behind."""
    output.text(f"cluster {view.cluster}, flowactor {view.version}, as node {view.node} sees it")
    output.text(f"{view.runs_open} runs open in the groups of this node")
    print_members(output, view)
    columns = ("group", "role here", "leader", "term", "committed", "applied", "voters", "lag")
    output.table("groups", columns, map(group_row, view.groups))
    here = {each.group for each in view.groups}
    elsewhere = [each for each in view.placements if each.group not in here]
    if elsewhere:
        rows = [(each.group, ids(each.voters), each.runs) for each in elsewhere]
        output.table("groups without a replica here", ("group", "voters", "runs"), rows)
    print_moves(output, view)
    voters = {each.group: each.voters for each in elsewhere}
    voters |= {each.group: each.voters for each in view.groups}
    for line in warnings(voters.items()):
        output.text(line)


def print_members(output: Output, view: ClusterView) -> None:
    """The nodes."""
    output.table("nodes", MEMBER_COLUMNS, map(node_row, view.nodes))


def print_groups(output: Output, view: ClusterView) -> None:
    """The execution groups as they ought to be, and as their leaders reported."""
    columns = ("group", "state", "members", "voters", "learners", "slots", "runs")
    output.table("groups", columns, map(placement_row, view.placements))
    print_moves(output, view)
    for line in warnings((each.group, each.voters) for each in view.placements):
        output.text(line)


def print_moves(output: Output, view: ClusterView) -> None:
    if view.moves:
        columns = ("move", "from", "to", "slots", "phase")
        rows = [(m.move, m.source, m.target, m.slots, m.phase) for m in view.moves]
        output.table("moves", columns, rows)


def warnings(groups: Iterable[tuple[int, Sequence[int]]]) -> Iterator[str]:
    """A line for each group that stops when one node does."""
    for number, voters in sorted(groups):
        if not is_fault_tolerant(voters):
            count = f"{len(voters)} voter" + ("s" if len(voters) != 1 else "")
            yield (
                f"group {number} is not fault tolerant: it has {count}, and needs"
                f" {FAULT_TOLERANT_VOTERS_MIN} to go on when one is lost"
            )


def node_row(view: NodeView) -> Sequence[object]:
    return (
        view.node,
        view.address,
        node_state(view),
        view.role or NOTHING,
        view.pin or NOTHING,
        ids(view.groups),
        view.runs_owned,
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


def group_row(view: GroupView) -> Sequence[object]:
    lag = ", ".join(f"node {follower}: {entries}" for follower, entries in view.lags)
    leader = f"node {view.leader}" if view.leader else "none"
    numbers = (view.term, view.commit_index, view.applied_index)
    return view.group, view.role, leader, *numbers, ids(view.voters), lag or NOTHING


def placement_row(view: PlacementView) -> Sequence[object]:
    nodes = map(ids, (view.members, view.voters, view.learners))
    return view.group, view.state, *nodes, view.slots, view.runs


def ids(numbers: Iterable[int]) -> str:
    return " ".join(map(str, numbers)) or NOTHING
