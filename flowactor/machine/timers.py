"""What falls due, in the order (due, run, kind, key): the same whatever was armed when."""

import enum
from heapq import heapify, heappop, heappush

from flowactor.identity import RunId, StepKey

__all__ = ["Due", "DueKind", "DueQueue"]


class DueKind(enum.IntEnum):
    """At the same moment in one run a time-out comes first, for nothing happens after it."""

    RUN_TIMEOUT = 0
    TIMER = 1
    RETRY = 2


Due = tuple[int, RunId, DueKind, StepKey | tuple[()]]
"""(due_ns, run, kind, key of the timer or step; empty for a run time-out)."""


class DueQueue:
    """A heap with lazy deletion. Entries that were taken back leave it when they reach the top, or
    when they outnumber the others: arming and cancelling for ever must not grow it.
    """

    def __init__(self) -> None:
        self._live: set[Due] = set()
        self._heap: list[Due] = []

    def __len__(self) -> int:
        return len(self._live)

    def add(self, entry: Due) -> None:
        if entry not in self._live:
            self._live.add(entry)
            heappush(self._heap, entry)

    def discard(self, entry: Due) -> None:
        self._live.discard(entry)
        if len(self._heap) > 2 * len(self._live) + 64:
            self._heap = list(self._live)
            heapify(
                self._heap
            )  # entries are unique and totally ordered: any heap of them pops alike

    @property
    def next_ns(self) -> int | None:
        """When the next entry falls due."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def pop(self, now_ns: int) -> Due | None:
        """Take the first entry that is due at ``now_ns``, if there is one."""
        if not self._heap:
            return None
        self._drop_stale()
        if not self._heap or self._heap[0][0] > now_ns:
            return None
        entry = heappop(self._heap)
        self._live.discard(entry)
        return entry

    def _drop_stale(self) -> None:
        while self._heap and self._heap[0] not in self._live:
            heappop(self._heap)
