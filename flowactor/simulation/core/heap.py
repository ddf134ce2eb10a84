"""The events of core depth, gathered into slots of time."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from flowactor.simulation.agenda import Agenda
from flowactor.simulation.runtime import Timeline

__all__ = ["SLOTS_NS", "Heap"]

SLOTS_NS: Final = (50_000, 200_000, 1_000_000)
"""What falls into one slot happens at one moment, in the order in which it was asked for. So what
reaches a node together is handled together, as by an event loop that drains its mailboxes: at once
by an idle one, in heaps by a busy one. A run draws which it is."""


_Actions = list[tuple[Callable[..., None], tuple[Any, ...]]]


class Heap(Agenda):
    """``Agenda``: a list for each slot that has something in it.

    Args:
        timeline: of the run; it is asked for one action a slot.
        settle: called after each slot.
        slot_ns: how long one is.

    Attributes:
        time: the timeline, for those who only ask what time it is, and do so all the time.
        happened: how many actions were called.
    """

    def __init__(
        self, timeline: Timeline, settle: Callable[[], None], slot_ns: int = SLOTS_NS[0]
    ) -> None:
        self.happened = 0
        self.time: Final = timeline
        self._settle: Final = settle
        self._slot_ns: Final = slot_ns
        self._slots: Final[dict[int, _Actions]] = {}

    @property
    def now_ns(self) -> int:
        """See ``Agenda``."""
        return self.time.now_ns

    def at(self, due_ns: int, action: Callable[[], None]) -> None:
        """See ``Agenda``; never early, at most a slot late."""
        self.post(due_ns, action)

    def post(self, due_ns: int, action: Callable[..., None], *arguments: Any) -> None:
        """``at``, with arguments for the action."""
        time = self.time
        slot = -(-max(due_ns, time.now_ns) // self._slot_ns)
        actions = self._slots.get(slot)
        if actions is None:
            actions = self._slots[slot] = []
            time.at(slot * self._slot_ns, partial(self._play, slot, actions))
        actions.append((action, arguments))

    def skip(self, nanoseconds: int) -> None:
        """See ``Timeline.skip``. What is gathered already stays together."""
        self._slots.clear()
        self.time.skip(nanoseconds)

    def _play(self, slot: int, actions: _Actions) -> None:
        """Let everything of this slot happen, also what these actions ask for now."""
        for action, arguments in actions:  # it may grow meanwhile
            action(*arguments)
        if self._slots.get(slot) is actions:
            del self._slots[slot]
        self.happened += len(actions)
        self._settle()
