"""The events of core depth, gathered into slots of time."""

from collections.abc import Callable
from typing import Any, Final

from flowactor.simulation.agenda import Agenda

__all__ = ["SLOT_NS", "Heap"]

SLOT_NS: Final = 50_000
"""What falls into one slot happens at one moment, in the order in which it was asked for. So what
reaches a node together is handled together, as by an event loop that drains its mailboxes."""


class Heap(Agenda):
    """``Agenda``: a list for each slot that has something in it.

    Args:
        agenda: of the run; it is asked for one action a slot.
        settle: called after each slot.

    Attributes:
        happened: how many actions were called.
    """

    def __init__(self, agenda: Agenda, settle: Callable[[], None]) -> None:
        self.happened = 0
        self._agenda: Final = agenda
        self._settle: Final = settle
        self._slots: Final[dict[int, list[tuple[Callable[..., None], tuple[Any, ...]]]]] = {}

    @property
    def now_ns(self) -> int:
        """See ``Agenda``."""
        return self._agenda.now_ns

    def at(self, due_ns: int, action: Callable[[], None]) -> None:
        """See ``Agenda``; never early, at most a slot late."""
        self.post(due_ns, action)

    def post(self, due_ns: int, action: Callable[..., None], *arguments: Any) -> None:
        """``at``, with arguments for the action."""
        slot = -(-max(due_ns, self._agenda.now_ns) // SLOT_NS)
        actions = self._slots.get(slot)
        if actions is None:
            self._slots[slot] = [(action, arguments)]
            self._agenda.at(slot * SLOT_NS, lambda: self._play(slot))
        else:
            actions.append((action, arguments))

    def _play(self, slot: int) -> None:
        """Let everything of this slot happen, also what these actions ask for now."""
        actions = self._slots[slot]
        for action, arguments in actions:  # it may grow meanwhile
            action(*arguments)
        del self._slots[slot]
        self.happened += len(actions)
        self._settle()
