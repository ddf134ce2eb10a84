"""The judge of slots: no two groups serve one, and in the end all are where the table has them."""

from collections.abc import Iterable
from typing import Final

from flowactor.identity import GroupId, Slot
from flowactor.limits import SLOTS
from flowactor.machine import Machine, Move, SlotState
from flowactor.simulation.failure import CheckFailed

__all__ = ["SlotsChecker"]


class SlotsChecker:
    """What each group of runs serves, by the newest entry that any node has applied.

    What one group does for a move is seen before what the other does because of it; so to look at
    the newest of each is to look at all at once.
    """

    def __init__(self) -> None:
        self._newest: Final[dict[GroupId, int]] = {}
        self._moves: Final[dict[GroupId, dict[int, Move]]] = {}
        self._served: Final[dict[GroupId, frozenset[Slot]]] = {}

    def applied(self, group: GroupId, index: int, machine: Machine) -> None:
        """A node has applied an entry."""
        if index <= self._newest.get(group, 0):
            return
        self._newest[group] = index
        moves = dict(machine.moves)
        if self._moves.get(group) == moves:
            return  # what is served changes with the moves under way
        self._moves[group] = moves
        served = self._served[group] = frozenset(
            slot
            for slot in map(Slot, range(SLOTS))
            if machine.placement(slot).state is SlotState.SERVED
        )
        for other, theirs in self._served.items():
            if other != group and (twice := served & theirs):
                both = f"groups {min(group, other)} and {max(group, other)}"
                raise CheckFailed("slots", f"slot {min(twice)} is served by {both}")

    def misplaced(self, group: GroupId, slots: Iterable[Slot]) -> str:
        """What is wrong if a group ought to serve exactly these, in words."""
        wanted, served = frozenset(slots), self._served.get(group, frozenset())
        if missing := wanted - served:
            return f"group {group} does not serve slot {min(missing)}, and ought to"
        if more := served - wanted:
            return f"group {group} serves slot {min(more)}, and ought not to"
        return ""
