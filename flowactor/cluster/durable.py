"""What a group needs of storage: its log, and the rows of its applied state, as it uses them.

``flowactor.storage`` implements both on SQLite; the simulator's core depth has models of them.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from flowactor.errors import StorageError
from flowactor.identity import GroupId
from flowactor.ports import RowReader, RowWrite
from flowactor.raft import Entry, LoadEntries, Write

__all__ = ["Log", "State"]


class Log(Protocol):
    """The durable log of all groups."""

    def submit(self, group: GroupId, write: Write, done: Callable[[], None]) -> None:
        """Make ``write`` durable, then call ``done`` on the event loop; in order per group."""

    def load(
        self,
        group: GroupId,
        request: LoadEntries,
        done: Callable[[tuple[int, tuple[Entry, ...]] | StorageError], None],
    ) -> None:
        """Read entries back, then call ``done`` with (previous term, entries) on the event loop."""


class State(RowReader, Protocol):
    """The applied state of one group, written behind its log."""

    @property
    def applied_index(self) -> int:
        """The log index that the stored rows are the state at."""

    def write(self, rows: Sequence[RowWrite], applied_index: int) -> None:
        """Take the rows that changed up to ``applied_index``: from here on reads find them."""

    def flush(self, done: Callable[[], None]) -> None:
        """Store what ``write`` was given so far, then call ``done``."""
