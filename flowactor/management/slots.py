"""The slot table and its moves: a fenced hand-off, one phase after the other.

A slot belongs to exactly one group at every version of the table. A move goes through its phases by
reports of facts that are committed in the log of the group that did them, so a report is true
whoever sends it; it counts in its own phase only, so a late or repeated one changes nothing. The
table changes when everything has been copied, in the same apply that makes the move irrevocable.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from attrs import evolve

from flowactor.identity import GroupId, Slot
from flowactor.limits import NANOSECONDS
from flowactor.management.state import Move, MoveId, Phase, Topology

__all__ = [
    "abort_move",
    "advance_move",
    "assign_slots",
    "balance",
    "next_overdue_ns",
    "overdue_moves",
    "ready_groups",
    "start_move",
]

FAULT_TOLERANT_VOTERS: Final = 3
OVERDUE_SECONDS: Final = 10
"""Many times what a move takes that nothing hinders."""
NEXT: Final = {
    Phase.FREEZE: Phase.COPY,
    Phase.COPY: Phase.ACTIVATE,
    Phase.ACTIVATE: Phase.FORGET,
    Phase.THAW: Phase.DISCARD,
}
"""A phase that is not here is a last one."""


def assign_slots(topology: Topology, slots: Iterable[int], group: GroupId) -> None:
    """Change the table, as one new version of it."""
    topology.slots_version += 1
    for slot in slots:
        topology.slots[slot] = group
        topology.slot_versions[slot] = topology.slots_version


def start_move(
    topology: Topology, slots: Sequence[Slot], source: GroupId, target: GroupId, clock_ns: int
) -> MoveId:
    """Begin a move. All the slots are the source's, and none of them moves already."""
    topology.last_move += 1
    move = MoveId(topology.last_move)
    topology.moves[move] = Move(move, source, target, tuple(sorted(slots)), Phase.FREEZE, clock_ns)
    return move


def advance_move(topology: Topology, move: Move) -> None:
    """What the phase of the move asked for is done."""
    if move.phase not in NEXT:
        del topology.moves[move.id]
        return
    topology.moves[move.id] = evolve(move, phase=NEXT[move.phase])
    if move.phase is Phase.COPY:
        assign_slots(topology, move.slots, move.target)


def abort_move(topology: Topology, move: Move) -> None:
    """Give up a move: its source serves again, and only then its target cleans up, for it may be
    the target's trouble that the move is given up for.
    """
    assert move.can_abort
    topology.moves[move.id] = evolve(move, phase=Phase.THAW)


def ready_groups(topology: Topology) -> frozenset[GroupId]:
    """The groups that may get slots: they are active, have a leader that reports, and can bear the
    loss of a node, or as much as the best of them can.
    """
    voters = {
        group: len(report.configuration.voters)
        for group, report in topology.reports.items()
        if group in topology.groups and topology.groups[group].is_active
    }
    needed = min(FAULT_TOLERANT_VOTERS, max(voters.values(), default=0))
    return frozenset(group for group, count in voters.items() if count >= max(1, needed))


def overdue_moves(topology: Topology, clock_ns: int) -> frozenset[MoveId]:
    """The moves that take so long that something must be in their way."""
    return frozenset(
        move.id
        for move in topology.moves.values()
        if move.started_ns + OVERDUE_SECONDS * NANOSECONDS <= clock_ns
    )


def next_overdue_ns(topology: Topology, clock_ns: int) -> int | None:
    """When, in log time, the next move is overdue; None if there is none that is not yet."""
    due = (move.started_ns + OVERDUE_SECONDS * NANOSECONDS for move in topology.moves.values())
    return min((at_ns for at_ns in due if at_ns > clock_ns), default=None)


def balance(topology: Topology, clock_ns: int) -> None:
    """Start the moves that empty groups that drain, and keep the others even. A group gives in one
    move at a time, and takes in one.
    """
    while True:
        begun = _next_draining(topology) or _next_uneven(topology, clock_ns)
        if begun is None:
            return
        start_move(topology, *begun, clock_ns)


Begun = tuple[tuple[Slot, ...], GroupId, GroupId]


def _expected(topology: Topology) -> dict[GroupId, int]:
    """How many slots each group has once all moves are done."""
    owned = Counter(topology.slots)
    counts = {group: owned[group] for group in sorted(topology.groups)}
    for move in topology.moves.values():
        if move.can_abort:
            counts[move.source] -= len(move.slots)
            counts[move.target] += len(move.slots)
    return counts


def _lightest(topology: Topology, counts: dict[GroupId, int]) -> GroupId | None:
    """The group to get slots next."""
    taking = {move.target for move in topology.moves.values()}
    able = ready_groups(topology) - taking
    return min(able, key=lambda key: (counts[key], key), default=None)


def _lot(topology: Topology, source: GroupId, count: int) -> tuple[Slot, ...]:
    moving = topology.moving_slots()
    still = [slot for slot in topology.slots_of(source) if slot not in moving]
    return tuple(still[: min(count, topology.settings.slots_per_move)])


def _next_draining(topology: Topology) -> Begun | None:
    giving = {move.source for move in topology.moves.values()}
    target = _lightest(topology, _expected(topology))
    for group in topology.groups_in_order():
        if target is not None and not group.is_active and group.id not in giving:
            lot = _lot(topology, group.id, len(topology.slots))
            if lot:
                return lot, group.id, target
    return None


def _next_uneven(topology: Topology, clock_ns: int) -> Begun | None:
    """From whom to whom next, if anybody has more than its share and somebody less: others neither
    give nor take, so that slots do not go by way of a third group. Who is stuck in a move has
    no part in that, or all others would wait for it.
    """
    if not topology.settings.balanced:
        return None
    counts = _expected(topology)
    target = _lightest(topology, counts)
    giving = {move.source for move in topology.moves.values()}
    active = [group.id for group in topology.groups_in_order() if group.is_active]
    able = [group for group in active if group not in giving]
    if target is None or not able:
        return None
    source = min(able, key=lambda key: (-counts[key], key))
    overdue = [topology.moves[move] for move in overdue_moves(topology, clock_ns)]
    stuck = {group for move in overdue for group in (move.source, move.target)}
    sharing = ((ready_groups(topology) | giving) - stuck | {source}) & set(active)
    total = sum(counts[group] for group in sharing)
    if counts[source] * len(sharing) <= total or counts[target] * len(sharing) >= total:
        return None
    # What a group that drains gives away evens out the others: only what that leaves counts then.
    drains = len(active) < len(topology.groups)
    tolerated = topology.settings.slots_per_move if drains else 1
    if counts[source] - counts[target] <= tolerated:
        return None
    share = total // len(sharing)
    lot = _lot(topology, source, min(counts[source] - share, max(share - counts[target], 1)))
    return (lot, source, target) if lot else None
