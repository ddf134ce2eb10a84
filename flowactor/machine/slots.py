"""Which slots a group serves: checked when an operation is applied, so that no stale router can
start a run in two groups, or change a variable that has moved.
"""

import enum
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final

from attrs import frozen

from flowactor.identity import GroupId, Slot, slot_of
from flowactor.limits import SLOTS
from flowactor.machine.replies import Moved
from flowactor.ports import RowReader, RowWrite

__all__ = ["ALL_SLOTS", "NOBODY", "Placement", "SlotState", "Slots"]

NOBODY: Final = GroupId(0)
ALL_SLOTS: Final = tuple(map(Slot, range(SLOTS)))


class SlotState(enum.Enum):
    """``LEAVING`` slots are frozen, ``ARRIVING`` ones not complete; their rows are here, and nobody
    serves them now. Rows of slots that are ``AWAY`` are gone, or about to be.
    """

    SERVED = "served"
    LEAVING = "leaving"
    ARRIVING = "arriving"
    AWAY = "away"


_SHOWN: Final = (SlotState.SERVED, SlotState.LEAVING)


@frozen
class Placement:
    """What a group knows of a slot. ``move`` is the last move that concerned it, ``group`` who
    served it after that, or will; 0 is unknown, or this group itself.
    """

    state: SlotState
    move: int = 0
    group: GroupId = NOBODY


class Slots:
    """The placement of every slot. Rows are ranges of slots with the same placement.

    Args:
        founding: the slots that a new group serves; not looked at where there are rows.
    """

    whole: bool
    """Whether every slot is served here, as is usual: then nobody has to ask for one."""

    def __init__(self, rows: RowReader, founding: Iterable[Slot]) -> None:
        self._placements = [Placement(SlotState.AWAY)] * SLOTS
        stored = {Slot(first): tuple(values) for first, *values in rows.scan("slots")}
        for first, (last, state, move, group) in stored.items():
            known = Placement(SlotState(state), move, GroupId(group))
            self._placements[first : last + 1] = [known] * (last + 1 - first)
        if not stored:
            self._fill(founding, Placement(SlotState.SERVED))
        self._stored = stored
        self._survey()

    def __getitem__(self, slot: Slot) -> Placement:
        return self._placements[slot]

    def put(self, slots: Iterable[Slot], placement: Placement) -> None:
        """These slots stand so from here on."""
        self._fill(slots, placement)
        self._survey()

    def elsewhere(self, name: str) -> Moved | None:
        """None if the slot of this workflow id or variable is served here, else where to ask."""
        if self.whole:
            return None
        known = self._placements[slot_of(name)]
        if known.state is SlotState.SERVED:
            return None
        return Moved(known.group, known.move, under_way=known.state is not SlotState.AWAY)

    def shows(self, name: str) -> bool:
        """Whether all there is of this workflow id or variable is here, be it served or frozen."""
        return self.whole or self._placements[slot_of(name)].state in _SHOWN

    def _fill(self, slots: Iterable[int], placement: Placement) -> None:
        for slot in slots:
            self._placements[slot] = placement

    def _survey(self) -> None:
        self._ranges: dict[Slot, tuple[Any, ...]] = {}
        first = 0
        for known, equal in groupby(self._placements):
            last = first + len(list(equal)) - 1
            self._ranges[Slot(first)] = (last, known.state.value, known.move, known.group)
            first = last + 1
        self.whole = all(state == SlotState.SERVED.value for _, state, *_ in self._ranges.values())

    def take_writes(self) -> Iterator[RowWrite]:
        if self._stored == self._ranges:
            return
        for first in sorted(self._stored.keys() | self._ranges.keys()):
            values = self._ranges.get(first)
            if self._stored.get(first) != values:
                yield RowWrite("slots", (first,), values)
        self._stored = self._ranges

    def digestible(self) -> list[Any]:
        """Plain values that are equal exactly if the placements are."""
        return list(self._ranges.items())
