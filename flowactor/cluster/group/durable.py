"""What a group needs of storage: its log, and the rows of its applied state, as it uses them.

``flowactor.storage`` implements all of it on SQLite; the simulator's core depth has models.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from flowactor.errors import StorageError, WorldError
from flowactor.identity import GroupId
from flowactor.ports import RowReader, RowWrite
from flowactor.raft import Entry, LoadEntries, Snapshot, Write
from flowactor.storage import Chunk, Image, LogSize

__all__ = ["Copy", "Incoming", "Later", "Log", "State", "States"]

Later = Callable[[Callable[[], None]], None]
"""Has an action done in the group's next turn."""


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

    def snapshot_at(
        self, group: GroupId, index: int, done: Callable[[Snapshot | StorageError | None], None]
    ) -> None:
        """Call ``done`` with what stands for all entries up to ``index``; None if the log does not
        reach there any more.
        """

    def compact(self, group: GroupId, index: int) -> None:
        """Delete entries up to ``index``, by and by."""

    def size(self, group: GroupId) -> LogSize:
        """How much there is of a group's log."""


class State(RowReader, Protocol):
    """The applied state of one group, written behind its log."""

    @property
    def applied_index(self) -> int:
        """The log index that the stored rows are the state at."""

    @property
    def durable_index(self) -> int:
        """What a power cut leaves of ``applied_index``: the log is needed above this."""

    def write(self, rows: Sequence[RowWrite], applied_index: int) -> None:
        """Take the rows that changed up to ``applied_index``: from here on reads find them."""

    def flush(self, done: Callable[[], None]) -> None:
        """Store what ``write`` was given so far, then call ``done``."""

    def checkpoint(self) -> None:
        """Have ``durable_index`` follow what is stored, in the background."""


class Copy(Protocol):
    """A complete copy of a state, to be sent."""

    @property
    def image(self) -> Image:
        """What the receivers shall end up with."""

    def read_chunk(
        self, offset: int, bytes_max: int, done: Callable[[Chunk | WorldError], None]
    ) -> None:
        """Read at most ``bytes_max`` from ``offset`` on, then call ``done`` on the event loop."""


class Incoming(Protocol):
    """What is received of a state; see ``storage.IncomingSnapshot``."""

    def begin(self, image: Image, done: Callable[[int | WorldError], None]) -> None:
        """Receive this copy: ``done`` is told the offset to go on from."""

    def write_chunk(
        self, offset: int, data: bytes, checksum: int, done: Callable[[int | WorldError], None]
    ) -> None:
        """Take a chunk: ``done`` is told the offset that is wanted next."""

    def finish(self, done: Callable[[WorldError | None], None]) -> None:
        """When all of it has arrived: make it durable, and check it."""


class States(Protocol):
    """The state of one group on one disk, and what comes to take its place."""

    @property
    def current(self) -> State:
        """What the group works with."""

    def copy(self, done: Callable[[Copy | WorldError], None]) -> None:
        """Copy the state as it is stored, then call ``done`` on the event loop. One at a time."""

    def drop_copy(self) -> None:
        """Give up the copy, or the making of it: nobody needs it any more."""

    def incoming(self) -> Incoming:
        """Where the state that is to follow this one is received."""

    def replace(self) -> State:
        """What was received is the state now, by a durable ``Write.snapshot``: open it, and give up
        the one before.
        """
