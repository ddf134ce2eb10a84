"""Spans that overlap, side by side: the first row that is free at a span's beginning takes it."""

from typing import Final

__all__ = ["Rows"]


class Rows:
    """The rows of one lane, filled in the order of time.

    Args:
        most: how many there may be; what finds none free shares the last.
    """

    def __init__(self, most: int) -> None:
        self._most: Final = most
        self._free_from: Final[list[int | None]] = []

    def __len__(self) -> int:
        return len(self._free_from)

    def take(self, at_ns: int) -> int:
        """A row for something that begins now; ``leave`` says when it ends."""
        for row, free in enumerate(self._free_from):
            if free is not None and free <= at_ns:
                self._free_from[row] = None
                return row
        if len(self._free_from) < self._most:
            self._free_from.append(None)
            return len(self._free_from) - 1
        return self._most - 1

    def leave(self, row: int, at_ns: int) -> None:
        """What was in this row has ended."""
        self._free_from[row] = at_ns
