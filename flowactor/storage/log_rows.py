"""How the log of all groups lies in SQLite: tables, rows, and the checksums that guard them."""

from functools import lru_cache
from struct import Struct
from struct import error as PackError  # noqa: N812  # a class, whatever its name
from typing import Any, Final, Self
from zlib import crc32

from attrs import astuple, define, frozen

from flowactor.codec import records
from flowactor.errors import MalformedDataError, StorageCorrupt
from flowactor.identity import GroupId, NodeId
from flowactor.raft import Configuration, Entry, EntryKind, HardState
from flowactor.storage.faults import KEEP

__all__ = [
    "HARD_STATE_BYTES",
    "HARD_STATE_ROW",
    "SCHEMA",
    "STATEMENT_ROWS_MAX",
    "Dropped",
    "Row",
    "Start",
    "Tail",
    "configuration_of",
    "entry_of",
    "entry_row",
    "hard_state_of",
    "hard_state_row",
    "insert",
]

STATEMENT_ROWS_MAX: Final = 64
"""Rows of one INSERT. More rows are several statements in a transaction."""
_INSERT: Final = "INSERT OR REPLACE INTO entry VALUES "
HARD_STATE_ROW: Final = 0
_HARD_STATE_KIND: Final = -1
Row = tuple[int, int, int, int, bytes, int]
"""group, index, term, kind, data, checksum."""

SCHEMA: Final = {
    "entry": """TABLE entry (
        grp INTEGER, idx INTEGER, term INTEGER NOT NULL, kind INTEGER NOT NULL,
        data BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (grp, idx)) WITHOUT ROWID""",
    # The newest configuration of a long log is found without reading it: ``EntryKind``.
    "entry_configuration": "INDEX entry_configuration ON entry (grp, idx) WHERE kind = 2",
    "start": """TABLE start (
        grp INTEGER PRIMARY KEY, idx INTEGER NOT NULL, term INTEGER NOT NULL,
        configuration_idx INTEGER NOT NULL, configuration BLOB NOT NULL,
        generation INTEGER NOT NULL, doomed_first INTEGER NOT NULL, doomed_last INTEGER NOT NULL,
        crc INTEGER NOT NULL)""",
    "dropped": """TABLE dropped (
        grp INTEGER PRIMARY KEY, generation INTEGER NOT NULL, term INTEGER NOT NULL,
        vote INTEGER NOT NULL, last_term INTEGER NOT NULL, last_idx INTEGER NOT NULL,
        crc INTEGER NOT NULL)""",
    # For people who look with other tools: neither hard states nor what is only not yet deleted.
    "log_entry": """VIEW log_entry AS SELECT entry.* FROM entry LEFT JOIN start USING (grp)
        WHERE entry.idx > coalesce(start.idx, 0)""",
}
assert EntryKind(2) is EntryKind.CONFIGURATION, "as the index says"

_ROW_HEAD: Final = Struct("<QQQb")
_VOTE_AND_COMMIT: Final = Struct("<QQ")
HARD_STATE_BYTES: Final = _VOTE_AND_COMMIT.size
_START_HEAD: Final = Struct("<8Q")
_DROPPED: Final = Struct("<6Q")


@frozen
class Start:
    """Where a group's log begins, and what it was founded with.

    Attributes:
        index, term: everything up to ``index`` is gone, and its last term was this.
        configuration_index, configuration: the newest up to there, encoded; empty if there is none.
        generation: which state file is the group's.
        doomed_first, doomed_last: rows that count no more and are still to be deleted; none if the
            last is below the first.
    """

    index: int = 0
    term: int = 0
    configuration_index: int = 0
    configuration: bytes = b""
    generation: int = 0
    doomed_first: int = 1
    doomed_last: int = 0

    @property
    def is_clear(self) -> bool:
        return self.doomed_last < self.doomed_first

    def row(self, group: GroupId) -> tuple[Any, ...]:
        return (group, *astuple(self), self._checksum(group))

    @classmethod
    def from_row(cls, row: tuple[Any, ...], where: str) -> Self:
        """Raises:
        StorageCorrupt: it is not what was written.
        """
        group, *fields, crc = row
        start = cls(*fields)
        try:
            sound = start._checksum(group) == crc
        except (TypeError, PackError):  # a value of another type, or out of range
            sound = False
        if not sound:
            raise StorageCorrupt(f"{where}: where group {group} begins is damaged; {KEEP}")
        return start

    def _checksum(self, group: int) -> int:
        index, term, configuration_index, configuration, *others = astuple(self)
        head = _START_HEAD.pack(group, index, term, configuration_index, *others, 0)
        return crc32(configuration, crc32(head))


@frozen
class Dropped:
    """A group that is no longer here. ``generation`` is the next that its state may have.

    What was promised stays, in case the node comes back to the group: it must not vote twice in one
    term, nor for anybody who lacks what it has acknowledged, up to the end of its log.
    """

    generation: int
    term: int
    vote: NodeId
    last_term: int
    last_index: int

    @property
    def hard_state(self) -> HardState:
        return HardState(self.term, self.vote, 0)

    def row(self, group: GroupId) -> tuple[int, ...]:
        facts = (group, *astuple(self))
        return (*facts, crc32(_DROPPED.pack(*facts)))

    @classmethod
    def from_row(cls, row: tuple[Any, ...], where: str) -> Self:
        """Raises:
        StorageCorrupt: it is not what was written.
        """
        group, *facts, crc = row
        try:
            sound = crc32(_DROPPED.pack(group, *facts)) == crc
        except PackError:
            sound = False
        if not sound:
            raise StorageCorrupt(f"{where}: what is left of group {group} is damaged; {KEEP}")
        return cls(*facts)


@define
class Tail:
    """What is durable of one group, as far as the next write must fit it; ``data_bytes`` counts
    the data of all its entries, also of those to be deleted. ``deleted`` is where a log of the
    group ended that was here before: (term, index).
    """

    hard_state: HardState
    start: Start
    last_index: int
    data_bytes: int
    deleted: tuple[int, int] = (0, 0)


def entry_row(group: GroupId, entry: Entry) -> Row:
    key = (group, entry.index, entry.term, int(entry.kind), entry.data)
    return (*key, _checksum(*key))


def entry_of(row: Row, where: str) -> Entry:
    """Raises:
    StorageCorrupt: it is not what was written.
    """
    _verify(row, where)
    return Entry(row[2], row[1], EntryKind(row[3]), row[4])


def hard_state_row(group: GroupId, state: HardState) -> Row:
    data = _VOTE_AND_COMMIT.pack(state.vote, state.commit)
    key = (group, HARD_STATE_ROW, state.term, _HARD_STATE_KIND, data)
    return (*key, _checksum(*key))


def hard_state_of(row: Row, where: str) -> HardState:
    """Raises:
    StorageCorrupt: it is not what was written.
    """
    _verify(row, where)
    vote, commit = _VOTE_AND_COMMIT.unpack(row[4])
    return HardState(row[2], NodeId(vote), commit)


def configuration_of(encoded: bytes, where: str) -> Configuration:
    """Raises:
    StorageCorrupt: these bytes are no configuration.
    """
    if not encoded:
        return Configuration()
    try:
        found = records.decode(encoded)
    except MalformedDataError as error:
        raise StorageCorrupt(f"{where}: a configuration is damaged ({error}); {KEEP}") from error
    if not isinstance(found, Configuration):
        raise StorageCorrupt(f"{where}: a configuration is none; {KEEP}")
    return found


@lru_cache(maxsize=STATEMENT_ROWS_MAX)
def insert(rows: int) -> str:
    """Write this many rows of entries and hard states."""
    return _INSERT + ",".join(["(?,?,?,?,?,?)"] * rows)


def _checksum(group: int, index: int, term: int, kind: int, data: bytes) -> int:
    return crc32(data, crc32(_ROW_HEAD.pack(group, index, term, kind)))


def _verify(row: Row, where: str) -> None:
    group, index, term, kind, data, crc = row
    try:
        sound = _checksum(group, index, term, kind, data) == crc
    except (TypeError, PackError):  # a value of another type, or out of range
        sound = False
    if not sound:
        what = f"entry {index}" if index else "the hard state"
        raise StorageCorrupt(f"{where}: {what} of group {group} is damaged; {KEEP}")
