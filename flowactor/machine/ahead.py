"""The rows of a group as of the last apply, though the store has not been given the latest."""

from collections.abc import Iterable, Sequence
from typing import Any

from flowactor.machine.tables import TABLES
from flowactor.ports import RowReader, RowWrite

__all__ = ["Ahead"]

_KEY_WIDTH = {table.name: len(table.key) for table in TABLES}


class Ahead:
    """A row reader in front of the group's own: what was added here hides what that one answers,
    until it is taken for the store. Most of the time nothing is.
    """

    def __init__(self, rows: RowReader) -> None:
        self._rows = rows
        self._waiting: dict[str, dict[tuple[Any, ...], RowWrite]] = {}

    def __bool__(self) -> bool:
        """Whether something waits to be taken."""
        return bool(self._waiting)

    def add(self, writes: Iterable[RowWrite]) -> None:
        """Answer with these from here on; the last of a key wins."""
        for write in writes:
            self._waiting.setdefault(write.table, {})[write.key] = write

    def take(self) -> list[RowWrite]:
        """All that was added, once each; the reader behind must answer with it from here on."""
        waiting, self._waiting = self._waiting, {}
        return [write for rows in waiting.values() for write in rows.values()]

    def get(self, table: str, key: Sequence[Any]) -> tuple[Any, ...] | None:
        """See ``ports.RowReader``."""
        write = self._waiting.get(table, {}).get(tuple(key))
        return self._rows.get(table, key) if write is None else write.values

    def scan(self, table: str, prefix: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """See ``ports.RowReader``."""
        rows = self._rows.scan(table, prefix)
        start, width = tuple(prefix), len(prefix)
        newer = [
            write for key, write in self._waiting.get(table, {}).items() if key[:width] == start
        ]
        if not newer:
            return rows
        cut = _KEY_WIDTH[table]
        merged: dict[tuple[Any, ...], tuple[Any, ...] | None] = {
            row[:cut]: row[cut:] for row in rows
        }
        merged.update((write.key, write.values) for write in newer)
        return [(*key, *values) for key, values in sorted(merged.items()) if values is not None]
