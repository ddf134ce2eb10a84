"""What an operator may set about the shape of the cluster: replicated, the same on every node."""

from collections.abc import Iterable
from typing import Any, Final

import attrs
from attrs import frozen

from flowactor.codec.records import record

__all__ = ["Settings", "change_settings"]

VALUE_MAX: Final = 1_000_000
"""No setting needs more; it keeps sums of them integers of SQLite's."""


@record(400)
@frozen
class Settings:
    """Sizes are numbers of nodes in a group.

    Attributes:
        group_size_target: a group is filled up to this.
        group_size_min: a group below this takes a node from one above the target.
        group_size_max: a group of this many nodes is split.
        split_size: so many nodes of it found the new group.
        drain_threshold_thousandths: with more groups for each replica than this, one is drained.
        group_count_min: the planner drains no group if only so many are active.
        shared: a node may serve in several groups, so that each can have its target of nodes.
        automatic: the planner places nodes; if not, only what leaves or dies is replaced.
        balanced: slots are kept even over the groups.
        slots_per_move: the most slots that balancing and draining freeze at once.
        replace_after_seconds: a node that was silent for so long is replaced; 0 is never.
        management_voters_max: the most voters of the management group.
    """

    group_size_target: int = 3
    group_size_min: int = 2
    group_size_max: int = 6
    split_size: int = 3
    drain_threshold_thousandths: int = 500
    group_count_min: int = 1
    shared: bool = True
    automatic: bool = True
    balanced: bool = True
    slots_per_move: int = 32
    replace_after_seconds: int = 300
    management_voters_max: int = 5

    def problem(self) -> str:
        """Why these settings cannot work together, empty if they can."""
        for field in attrs.fields(type(self)):
            if not 0 <= getattr(self, field.name) <= VALUE_MAX:
                return f"{field.name} must be from 0 to {VALUE_MAX}"
        if not 1 <= self.group_size_min <= self.group_size_target < self.group_size_max:
            # A group that is filled until it is split would be filled and split for ever.
            return "1 <= group_size_min <= group_size_target < group_size_max must hold"
        if not self.group_size_min <= self.split_size <= self.group_size_max - self.group_size_min:
            return "both parts of a split must have at least group_size_min nodes: set split_size"
        if self.group_count_min < 1 or self.slots_per_move < 1 or self.management_voters_max < 1:
            return "group_count_min, slots_per_move and management_voters_max must be at least 1"
        return ""


def change_settings(settings: Settings, changes: Iterable[tuple[str, int]]) -> Settings | str:
    """The settings with some of them changed by name (0 and 1 for no and yes), or why not."""
    kinds = {field.name: type(getattr(settings, field.name)) for field in attrs.fields(Settings)}
    changed: dict[str, Any] = {}
    for name, value in changes:
        if name not in kinds:
            return f"there is no setting {name!r:.80}; there are: {', '.join(kinds)}"
        if kinds[name] is bool and value not in (0, 1):
            return f"{name} is 0 (no) or 1 (yes), not {value}"
        changed[name] = kinds[name](value)
    result = attrs.evolve(settings, **changed)
    return result.problem() or result
