"""The judge of the management group: what its log says of nodes, groups and slots, on every node.

Its state is small and its log is quiet, so the whole state is compared at every entry. The rules
are those of ``docs/design/management.md``.
"""

from collections.abc import Callable, Iterator
from typing import Final

from flowactor.cluster.group.driven import Outcome
from flowactor.identity import GroupId, NodeId
from flowactor.management import (
    MANAGEMENT_GROUP,
    Management,
    MoveId,
    NodeState,
    Phase,
    Topology,
)
from flowactor.raft import Configuration, Entry
from flowactor.simulation.checks.members import is_quorum
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.marks import Marks

__all__ = ["TopologyChecker"]


class TopologyChecker:
    """Invariants of the management machine, over all nodes.

    Args:
        marks: counts what was ever reached.
        members: the newest committed configuration of a group, None of one that never began.

    Attributes:
        topology: as of the newest entry that any node has applied; None before there is one. To
            read at once: the node that applied it goes on with it.
    """

    def __init__(self, marks: Marks, members: Callable[[GroupId], Configuration | None]) -> None:
        self.topology: Topology | None = None
        self._marks: Final = marks
        self._members: Final = members
        self._applied = 0
        self._outcomes: Final[dict[int, Outcome]] = {}
        self._digests: Final[dict[int, bytes]] = {}
        self._disks: Final[dict[NodeId, str]] = {}
        self._gone: Final[dict[NodeId, NodeState]] = {}
        self._ended: Final[set[GroupId]] = set()
        self._known: Final[set[GroupId]] = set()
        self._last = (0, 0, 0)
        self._tables: Final[dict[int, tuple[GroupId, ...]]] = {}
        self._phases: Final[dict[MoveId, Phase]] = {}

    def applied(self, node: int, entry: Entry, outcome: Outcome, machine: Management) -> None:
        """A node applied a committed entry."""
        index = entry.index
        if self._outcomes.setdefault(index, outcome) != outcome:
            raise CheckFailed("I9", f"node {node} applied entry {index} with another outcome")
        self.compare_state(node, index, machine)
        if index > self._applied:
            self._applied, self.topology = index, machine.topology
            self._look(machine.topology)

    def compare_state(self, node: int, index: int, machine: Management) -> None:
        """I9: equal applied index, equal state."""
        digest = machine.digest()
        if self._digests.setdefault(index, digest) != digest:
            raise CheckFailed("I9", f"node {node} has another cluster at index {index}")

    # -- rules ------------------------------------------------------------------------------------

    def _look(self, topology: Topology) -> None:
        for broken in (
            *self._slots_without_group(topology),
            *self._majorities_given_up(topology),
            *self._ids_again(topology),
            *_members_that_are_gone(topology),
            *_moves_that_cross(topology),
        ):
            raise CheckFailed("topology", f"after entry {self._applied} {broken}")
        for move in topology.moves.values():
            before = self._phases.get(move.id)
            self._phases[move.id] = move.phase
            if before is not move.phase and move.phase in _TURNS:
                self._marks[_TURNS[move.phase]] += 1

    def _slots_without_group(self, topology: Topology) -> Iterator[str]:
        table = tuple(topology.slots)
        if topology.groups and not set(table) <= set(topology.groups):
            yield "there are slots of no group that is there"
        if self._tables.setdefault(topology.slots_version, table) != table:
            yield f"version {topology.slots_version} of the table is another table"

    def _majorities_given_up(self, topology: Topology) -> Iterator[str]:
        """Nobody is declared gone while a group with slots, or this one, would never again have a
        majority for it: the disk may well be there.
        """
        there = {node.id for node in topology.nodes.values() if not node.state.is_gone}
        for node in sorted(topology.nodes.keys() - there - self._gone.keys()):
            for group in (MANAGEMENT_GROUP, *sorted(set(topology.slots) - {MANAGEMENT_GROUP})):
                members = self._members(group)
                if (
                    members is not None
                    and node in (*members.voters, *members.outgoing)
                    and not is_quorum(there, members)
                ):
                    yield f"node {node} is gone, and with it the majority of group {group}"

    def _ids_again(self, topology: Topology) -> Iterator[str]:
        """No id is used again: not one of a node with another disk, nor of one that is gone, nor of
        a group that ended.
        """
        last = (topology.last_node, topology.last_group, topology.last_move)
        if any(now < before for now, before in zip(last, self._last, strict=True)):
            yield f"ids are counted from {last} again, they were at {self._last}"
        self._last = last
        for node in topology.nodes.values():
            if self._disks.setdefault(node.id, node.disk) != node.disk:
                yield f"node {node.id} is another data directory"
            if node.id > topology.last_node:
                yield f"node {node.id} has an id that was never given"
            if self._gone.get(node.id, node.state) is not node.state:
                yield f"node {node.id} was {self._gone[node.id].value}, and is back"
            if node.state.is_gone and node.id not in self._gone:
                self._gone[node.id] = node.state
                self._marks[f"node {node.state.value}"] += 1
        for group in sorted(topology.groups):
            if group in self._ended or group > topology.last_group:
                yield f"group {group} has an id that ended, or was never given"
        ended = self._known.difference(topology.groups, self._ended)
        self._marks["group ended"] += len(ended)
        self._marks["group founded"] += len(topology.groups.keys() - self._known)
        self._ended.update(ended)
        self._known.update(topology.groups)


_TURNS: Final = {
    Phase.FREEZE: "slots frozen",
    Phase.ACTIVATE: "slots moved",
    Phase.THAW: "move given up",
}
"""What it comes to, for the marks, that a move enters a phase."""


def _members_that_are_gone(topology: Topology) -> Iterator[str]:
    present = {node.id for node in topology.nodes.values() if not node.state.is_gone}
    for group in topology.groups.values():
        if not present.issuperset(group.members):
            yield f"group {group.id} is to have members that are gone"
    if not topology.reports.keys() <= {MANAGEMENT_GROUP, *topology.groups}:
        yield "there are reports of groups that are not there"
    if any(node.voter and node.id not in present for node in topology.nodes.values()):
        yield "a node that is gone is to vote"


def _moves_that_cross(topology: Topology) -> Iterator[str]:
    moving: set[int] = set()
    for move in topology.moves.values():
        if not {move.source, move.target} <= set(topology.groups):
            yield f"move {move.id} is from or to a group that is not there"
        if move.phase is Phase.DISCARD:
            continue
        if not moving.isdisjoint(move.slots):
            yield f"a slot of move {move.id} takes part in another"
        moving.update(move.slots)
        after = move.phase in (Phase.ACTIVATE, Phase.FORGET)
        home = move.target if after else move.source
        if any(topology.slots[slot] != home for slot in move.slots):
            yield f"the slots of move {move.id} are not where it has them"
