"""The rows of the management group: what a store keeps, and what people may query with SQL.

The state is small, so rows are made from all of it, and those that differ from what was handed out
last are written. Lists of ids are texts like ``1-3 7``.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import attrs

from flowactor.errors import StorageRefused
from flowactor.identity import GroupId, NodeId, Slot
from flowactor.limits import SCHEMA_VERSION
from flowactor.machine.tables import TABLES as MACHINE_TABLES
from flowactor.management.settings import Settings
from flowactor.management.state import (
    Group,
    GroupState,
    Liveness,
    Membership,
    Move,
    MoveId,
    Node,
    NodeState,
    Phase,
    Pin,
    Report,
    Topology,
)
from flowactor.ports import RowReader, Table

__all__ = ["TABLES", "Row", "read_clock_ns", "read_topology", "rows_of"]

META_KEY: Final = ("management",)

Row = tuple[str, tuple[Any, ...], tuple[Any, ...]]
"""Table, key columns, value columns."""

TABLES: Final[tuple[Table, ...]] = (
    Table(
        "meta",
        (("name", "TEXT"),),
        (
            ("schema", "INTEGER"),
            ("clock_ns", "INTEGER"),
            ("last_node", "INTEGER"),
            ("last_group", "INTEGER"),
            ("last_move", "INTEGER"),
            ("slots_version", "INTEGER"),
            ("feature_level", "INTEGER"),
        ),
    ),
    Table("settings", (("name", "TEXT"),), (("value", "INTEGER"),)),
    Table(
        "nodes",
        (("node", "INTEGER"),),
        (
            ("disk", "TEXT"),
            ("address", "TEXT"),
            ("state", "TEXT"),
            ("liveness", "TEXT"),
            ("liveness_epoch", "INTEGER"),
            ("suspected_ns", "INTEGER"),
            ("announcements", "INTEGER"),
            ("incarnation", "TEXT"),
            ("feature_level", "INTEGER"),
            ("pin", "TEXT"),
            ("voter", "INTEGER"),
        ),
    ),
    Table("node_labels", (("node", "INTEGER"), ("name", "TEXT")), (("value", "TEXT"),)),
    Table(
        "execution_groups",
        (("group_id", "INTEGER"),),
        (
            ("state", "TEXT"),
            ("members", "TEXT"),
            ("founders", "TEXT"),
            ("dismissed", "TEXT"),
            ("version", "INTEGER"),
            ("kept", "INTEGER"),
            ("placed", "INTEGER"),
            ("first", "INTEGER"),
        ),
    ),
    Table("group_metadata", (("group_id", "INTEGER"), ("name", "TEXT")), (("value", "TEXT"),)),
    Table(
        "reports",
        (("group_id", "INTEGER"),),
        (
            ("term", "INTEGER"),
            ("log_index", "INTEGER"),
            ("configuration_index", "INTEGER"),
            ("version", "INTEGER"),
            ("voters", "TEXT"),
            ("learners", "TEXT"),
            ("runs", "INTEGER"),
            ("bytes", "INTEGER"),
        ),
    ),
    Table(
        "slots",
        (("first", "INTEGER"),),
        (("last", "INTEGER"), ("group_id", "INTEGER"), ("version", "INTEGER")),
    ),
    Table(
        "moves",
        (("move", "INTEGER"),),
        (
            ("source", "INTEGER"),
            ("target", "INTEGER"),
            ("slots", "TEXT"),
            ("phase", "TEXT"),
            ("started_ns", "INTEGER"),
        ),
    ),
    *(table for table in MACHINE_TABLES if table.name in ("sessions", "session_replies")),
)


def rows_of(topology: Topology, clock_ns: int) -> Iterator[Row]:
    """Every row of the state but those of sessions, tables and keys in order."""
    yield (
        "meta",
        META_KEY,
        (
            SCHEMA_VERSION,
            clock_ns,
            topology.last_node,
            topology.last_group,
            topology.last_move,
            topology.slots_version,
            topology.feature_level,
        ),
    )
    for name, value in sorted(attrs.asdict(topology.settings).items()):
        yield ("settings", (name,), (int(value),))
    for node in topology.nodes_in_order():
        yield ("nodes", (node.id,), _node_values(node))
    for node in topology.nodes_in_order():
        for name, value in node.labels:
            yield ("node_labels", (node.id, name), (value,))
    for group in topology.groups_in_order():
        yield ("execution_groups", (group.id,), _group_values(group))
    for group in topology.groups_in_order():
        for name, value in group.metadata:
            yield ("group_metadata", (group.id, name), (value,))
    for _, report in sorted(topology.reports.items()):
        yield ("reports", (report.group,), _report_values(report))
    for first, *values in _slot_ranges(topology):
        yield ("slots", (first,), tuple(values))
    for move in topology.moves_in_order():
        yield ("moves", (move.id,), _move_values(move))


def read_clock_ns(rows: RowReader) -> int:
    """Log time as of the rows."""
    clock_ns: int = _read_meta(rows)[1]
    return clock_ns


def _read_meta(rows: RowReader) -> Sequence[int]:
    meta = rows.get("meta", META_KEY) or (SCHEMA_VERSION, 0, 0, 0, 0, 0, 1)
    if meta[0] != SCHEMA_VERSION:
        raise StorageRefused(
            f"the state is of schema {meta[0]}, this version knows {SCHEMA_VERSION}"
        )
    return meta


def read_topology(rows: RowReader) -> Topology:
    """The state that ``rows_of`` made rows of; an empty one of no rows.

    Raises:
        StorageRefused: the rows are of a schema that this version does not know.
    """
    _, _, last_node, last_group, last_move, slots_version, feature_level = _read_meta(rows)
    topology = Topology(
        settings=_read_settings(rows),
        last_node=last_node,
        last_group=last_group,
        last_move=last_move,
        slots_version=slots_version,
        feature_level=feature_level,
    )
    for row in rows.scan("nodes"):
        node = _node_from_row(row, _read_pairs(rows, "node_labels", row[0]))
        topology.nodes[node.id] = node
    for row in rows.scan("execution_groups"):
        group = _group_from_row(row, _read_pairs(rows, "group_metadata", row[0]))
        topology.groups[group.id] = group
    for row in rows.scan("reports"):
        report = _report_from_row(row)
        topology.reports[report.group] = report
    for row in rows.scan("moves"):
        move = _move_from_row(row)
        topology.moves[move.id] = move
    for first, last, owner, version in rows.scan("slots"):
        for slot in range(first, last + 1):
            topology.slots[slot] = GroupId(owner)
            topology.slot_versions[slot] = version
    return topology


def _slot_ranges(topology: Topology) -> Iterator[tuple[int, int, GroupId, int]]:
    """Slots side by side that came to their group together: (first, last, group, version)."""
    first = 0
    table = zip(topology.slots, topology.slot_versions, strict=True)
    for (owner, version), equal in groupby(table):
        last = first + sum(1 for _ in equal) - 1
        yield first, last, owner, version
        first = last + 1


def _read_settings(rows: RowReader) -> Settings:
    stored = dict(rows.scan("settings"))
    known = Settings()
    kinds = {field.name: type(getattr(known, field.name)) for field in attrs.fields(Settings)}
    return Settings(**{name: kinds[name](value) for name, value in stored.items()})


def _read_pairs(rows: RowReader, table: str, key: int) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for _, name, value in rows.scan(table, (key,)))


def _node_values(node: Node) -> tuple[Any, ...]:
    return (
        node.disk,
        node.address,
        node.state.value,
        node.liveness.value,
        node.liveness_epoch,
        node.suspected_ns,
        node.announcements,
        node.incarnation,
        node.feature_level,
        node.pin.value,
        int(node.voter),
    )


def _node_from_row(row: tuple[Any, ...], labels: tuple[tuple[str, str], ...]) -> Node:
    node, disk, address, state, liveness, epoch, suspected_ns, announcements = row[:8]
    incarnation, feature_level, pin, voter = row[8:]
    return Node(
        NodeId(node),
        disk,
        address,
        NodeState(state),
        Liveness(liveness),
        epoch,
        suspected_ns,
        announcements,
        incarnation,
        feature_level,
        Pin(pin),
        bool(voter),
        labels,
    )


def _group_values(group: Group) -> tuple[Any, ...]:
    return (
        group.state.value,
        _pack(group.members),
        _pack(group.founders),
        _pack(group.dismissed),
        group.version,
        int(group.kept),
        int(group.placed),
        int(group.first),
    )


def _group_from_row(row: tuple[Any, ...], metadata: tuple[tuple[str, str], ...]) -> Group:
    group, state, members, founders, dismissed, version, kept, placed, first = row
    return Group(
        GroupId(group),
        _nodes(members),
        _nodes(founders),
        GroupState(state),
        _nodes(dismissed),
        version,
        kept=bool(kept),
        placed=bool(placed),
        first=bool(first),
        metadata=metadata,
    )


def _report_values(report: Report) -> tuple[Any, ...]:
    return (
        report.term,
        report.index,
        report.configuration_index,
        report.version,
        _pack(report.configuration.voters),
        _pack(report.configuration.learners),
        report.runs,
        report.bytes,
    )


def _report_from_row(row: tuple[Any, ...]) -> Report:
    group, term, index, configuration_index, version, voters, learners, runs, size = row
    members = Membership(_nodes(voters), _nodes(learners))
    return Report(GroupId(group), term, index, configuration_index, version, members, runs, size)


def _move_values(move: Move) -> tuple[Any, ...]:
    return (move.source, move.target, _pack(move.slots), move.phase.value, move.started_ns)


def _move_from_row(row: tuple[Any, ...]) -> Move:
    move, source, target, slots, phase, started_ns = row
    return Move(
        MoveId(move),
        GroupId(source),
        GroupId(target),
        tuple(Slot(slot) for slot in _unpack(slots)),
        Phase(phase),
        started_ns,
    )


def _pack(numbers: Iterable[int]) -> str:
    """Sorted numbers as ranges: ``1-3 7``."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return " ".join(f"{low}" if low == high else f"{low}-{high}" for low, high in ranges)


def _unpack(text: str) -> Iterator[int]:
    for part in text.split():
        low, _, high = part.partition("-")
        yield from range(int(low), int(high or low) + 1)


def _nodes(text: str) -> tuple[NodeId, ...]:
    return tuple(NodeId(number) for number in _unpack(text))
