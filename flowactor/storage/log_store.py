"""The durable log of all groups of a node, in one SQLite file.

One ``persist`` is one transaction and one fsync, whatever it holds: this is the group commit.
Everything here blocks; ``LogWriter`` runs it in a worker. Row 0 of a group is its hard state, so
that the common write (some entries, a new commit index) is a single statement: each further one
would let go of the interpreter's lock and wait for a busy event loop to give it back.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from itertools import chain
from struct import Struct
from struct import error as PackError  # noqa: N812  # a class, whatever its name
from typing import Any, Final, Self
from zlib import crc32

import apsw
from attrs import define, evolve

from flowactor.errors import StorageCorrupt, StorageError, StorageFull, StoragePoisoned
from flowactor.identity import GroupId, NodeId
from flowactor.ports import Disk
from flowactor.raft import Entry, EntryKind, HardState, Restored, Write
from flowactor.storage.connecting import connected
from flowactor.storage.faults import KEEP, translated
from flowactor.storage.log_check import refuse_hidden_rows
from flowactor.storage.wal_check import lost_commit

__all__ = ["LOG_FILE", "LogStore"]

LOG_FILE: Final = "log.db"
CHECKPOINT_PAGES: Final = 1000
"""The WAL is copied into the main file when it holds this many pages (4 MiB). Measured: a
checkpoint takes 2-8 ms, once in 500 to 1000 commits. A larger WAL makes it rarer and longer by the
same factor, and a WAL that is overwritten sooner syncs faster than one that still grows."""
STATEMENT_ROWS_MAX: Final = 64
"""Rows of one INSERT. More rows are several statements in a transaction."""

_HARD_STATE_ROW: Final = 0
_HARD_STATE_KIND: Final = -1
_Row = tuple[int, int, int, int, bytes, int]
"""group, index, term, kind, data, checksum."""

_INSERT: Final = "INSERT OR REPLACE INTO entry VALUES "
_ASCENDING: Final = "SELECT * FROM entry WHERE grp = ? AND idx BETWEEN ? AND ? ORDER BY idx"
_DESCENDING: Final = _ASCENDING + " DESC"

_ROW_HEAD: Final = Struct("<QQQb")
_VOTE_AND_COMMIT: Final = Struct("<QQ")

_SCHEMA: Final = {
    "entry": """TABLE entry (
        grp INTEGER, idx INTEGER, term INTEGER NOT NULL, kind INTEGER NOT NULL,
        data BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (grp, idx)) WITHOUT ROWID""",
    # Where a compacted log begins: everything up to idx is gone, and its last term was this.
    "start": """TABLE start (
        grp INTEGER PRIMARY KEY, idx INTEGER NOT NULL, term INTEGER NOT NULL,
        crc INTEGER NOT NULL)""",
    # For people who look with other tools: row 0 is no entry.
    "log_entry": "VIEW log_entry AS SELECT * FROM entry WHERE idx > 0",
}


def _checksum(group: int, index: int, term: int, kind: int, data: bytes) -> int:
    return crc32(data, crc32(_ROW_HEAD.pack(group, index, term, kind)))


@lru_cache(maxsize=STATEMENT_ROWS_MAX)
def _insert(rows: int) -> str:
    return _INSERT + ",".join(["(?,?,?,?,?,?)"] * rows)


@define
class _Tail:
    """What is durable of one group, as far as the next write must fit it."""

    hard_state: HardState
    start_index: int
    start_term: int
    last_index: int


class LogStore:
    """The log of all groups, in ``log.db``. Make it with ``open``; one thread uses it at a time.

    After a failed write or sync every further call raises ``StoragePoisoned`` (rule
    *first_failed_sync_poisons*). After ``StorageFull`` nothing has changed, and the same call may
    be made again.
    """

    def __init__(self, connection: apsw.Connection, where: str) -> None:
        self._connection: Final = connection
        self._where: Final = where
        self._tails: Final[dict[GroupId, _Tail]] = {}
        self._poison: StorageError | None = None

    @classmethod
    def open(cls, disk: Disk) -> Self:
        """Open or make the log, and recover it to the last durable write.

        Raises:
            StorageCorrupt: the file is damaged, other than by an interrupted last write.
            StorageError: it cannot be opened.
        """
        where = f"{disk.describe()}/{LOG_FILE}"
        connection = connected(disk, LOG_FILE)
        try:
            with translated(where):
                # What a failed sync leaves behind must not be copied into the main file on exit.
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                for pragma in (
                    "locking_mode = EXCLUSIVE",
                    "page_size = 4096",
                    "journal_mode = WAL",
                    "synchronous = FULL",
                    # SQLite's own checkpoints swallow a failed sync, ours do not.
                    "wal_autocheckpoint = 0",
                    "cell_size_check = ON",
                    # Undo of single statements belongs to memory: no file appears beside the log.
                    "temp_store = MEMORY",
                ):
                    connection.execute(f"PRAGMA {pragma}").fetchall()
                frames, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                _refuse_lost_commit(connection, max(frames, 0), where)
                _create_or_check(connection, where)
                refuse_hidden_rows(connection, where)
        except BaseException:
            connection.close()
            raise
        return cls(connection, where)

    def recover(self, group: GroupId, applied: int, cache_bytes_max: int) -> Restored:
        """What a group starts from: its hard state, every entry above ``applied``, and below that
        as many as fit ``cache_bytes_max``. Reads only, so doing it twice is doing it once.

        Raises:
            StorageCorrupt: names the group, and the entry that is damaged or missing.
        """
        with translated(self._where):
            tail = self._tail(group)
            newest_first: list[Entry] = []
            previous_term, spare = tail.start_term, cache_bytes_max
            for entry in self._entries(group, 1, tail.last_index, descending=True):
                if entry.index <= applied:
                    spare -= len(entry.data)
                    if spare < 0:
                        previous_term = entry.term
                        break
                newest_first.append(entry)
        try:
            return Restored(
                hard_state=tail.hard_state,
                first_index=tail.last_index - len(newest_first) + 1,
                entries=tuple(reversed(newest_first)),
                previous_index=tail.last_index - len(newest_first),
                previous_term=previous_term,
                applied=applied,
            )
        except StorageCorrupt as error:
            raise StorageCorrupt(f"{self._where}, group {group}: {error}; {KEEP}") from error

    def read(
        self, group: GroupId, first: int, last: int, bytes_max: int
    ) -> tuple[int, tuple[Entry, ...]]:
        """The term just before ``first``, and the entries from there to at most ``last``: at least
        one, then as many as ``bytes_max`` of data hold. No entries if ``first`` was compacted away.

        Raises:
            StorageCorrupt: names the group, and the entry that is damaged or missing.
        """
        with translated(self._where):
            tail = self._tail(group)
            last = min(last, tail.last_index)
            if not tail.start_index < first <= last:
                return 0, ()
            previous_term = tail.start_term
            chosen: list[Entry] = []
            for entry in self._entries(group, max(first - 1, tail.start_index + 1), last):
                if entry.index < first:
                    previous_term = entry.term
                    continue
                bytes_max -= len(entry.data)
                if chosen and bytes_max < 0:
                    break
                chosen.append(entry)
            return previous_term, tuple(chosen)

    def persist(self, writes: Sequence[tuple[GroupId, Write]]) -> None:
        """Make all of these durable in one transaction with one fsync; of one group, in order.

        Raises:
            StorageFull: nothing happened; free space and call again.
            StoragePoisoned: whether it happened is unknown, and this store has ended.
            StorageCorrupt: the file is damaged, and this store has ended.
            AssertionError: a write does not continue its group's log, or takes back a promise.
        """
        plan = _Plan(self._tail)
        for group, write in writes:
            plan.add(group, write)
        with self._guarded():
            self._commit(plan.cuts, list(plan.rows.values()))
        self._tails.update(plan.tails)

    def compact(self, group: GroupId, index: int) -> None:
        """Delete the entries up to and including ``index``: applied, and durable as state.

        Raises: as ``persist``.
        """
        tail = self._tail(group)
        if index <= tail.start_index:
            return
        assert index <= tail.last_index, f"group {group}: compaction beyond the end of the log"
        (last_dropped,) = self._entries(group, index, index)
        term = last_dropped.term
        with self._guarded(), self._transaction():
            self._connection.execute(
                "INSERT OR REPLACE INTO start VALUES (?, ?, ?, ?)",
                (group, index, term, _checksum(group, index, term, 0, b"")),
            )
            self._connection.execute(
                "DELETE FROM entry WHERE grp = ? AND idx BETWEEN 1 AND ?", (group, index)
            )
        tail.start_index, tail.start_term = index, term

    def checkpoint_due(self) -> bool:
        """Whether the WAL has grown enough for ``checkpoint``."""
        written, _ = self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)
        return written >= CHECKPOINT_PAGES

    def checkpoint(self) -> None:
        """Copy the WAL into the main file, so that it can be overwritten. Raises as ``persist``."""
        with self._guarded():
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE, True)

    def close(self) -> None:
        """Leave a short WAL and close. Whatever fails here has been durable before.

        Raises:
            StorageFull: the WAL stays long; the next to open the log copies it.
            StoragePoisoned: a sync failed; as above, nothing is lost.
        """
        try:
            if self._poison is None:
                with translated(self._where):
                    self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            self._connection.close()

    # -- inside -----------------------------------------------------------------------------------

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        if self._poison is not None:
            raise StoragePoisoned(
                f"{self._where} has failed before: {self._poison}"
            ) from self._poison
        try:
            with translated(self._where):
                yield
        except StorageFull:
            raise
        except StorageError as error:
            self._poison = error
            raise

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        finally:
            # After most errors SQLite has rolled back by itself.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _commit(self, cuts: dict[GroupId, int], rows: list[_Row]) -> None:
        if not cuts and len(rows) <= STATEMENT_ROWS_MAX:
            if rows:
                self._connection.execute(_insert(len(rows)), list(chain.from_iterable(rows)))
            return
        with self._transaction():
            for group, index in cuts.items():
                self._connection.execute(
                    "DELETE FROM entry WHERE grp = ? AND idx >= ?", (group, index)
                )
            for at in range(0, len(rows), STATEMENT_ROWS_MAX):
                some = rows[at : at + STATEMENT_ROWS_MAX]
                self._connection.execute(_insert(len(some)), list(chain.from_iterable(some)))

    def _tail(self, group: GroupId) -> _Tail:
        tail = self._tails.get(group)
        if tail is None:
            with translated(self._where):
                tail = self._tails[group] = self._load_tail(group)
        return tail

    def _load_tail(self, group: GroupId) -> _Tail:
        def ask(sql: str) -> list[Any]:
            return self._connection.execute(sql, (group,)).fetchall()

        hard_state, start_index, start_term = HardState(), 0, 0
        for row in ask("SELECT * FROM entry WHERE grp = ? AND idx = 0"):
            self._verify(row)
            vote, commit = _VOTE_AND_COMMIT.unpack(row[4])
            hard_state = HardState(row[2], NodeId(vote), commit)
        for _, index, term, crc in ask("SELECT * FROM start WHERE grp = ?"):
            self._verify((group, index, term, 0, b"", crc))
            start_index, start_term = index, term
        ((last_index,),) = ask("SELECT max(idx) FROM entry WHERE grp = ?")
        return _Tail(hard_state, start_index, start_term, max(last_index or 0, start_index))

    def _entries(
        self, group: GroupId, first: int, last: int, *, descending: bool = False
    ) -> Iterator[Entry]:
        """Verified entries of a range, without gaps as far as they are asked for."""
        first = max(first, self._tail(group).start_index + 1)
        expected, step = (last, -1) if descending else (first, 1)
        sql = _DESCENDING if descending else _ASCENDING
        cursor: Any = self._connection.execute(sql, (group, first, last))
        # An unfinished statement would hold the WAL open, so the cursor is closed in any case.
        with closing(cursor):
            for row in cursor:
                if row[1] != expected:
                    break
                self._verify(row)
                yield Entry(row[2], row[1], EntryKind(row[3]), row[4])
                expected += step
        if first <= expected <= last:
            raise StorageCorrupt(
                f"{self._where}: entry {expected} of group {group} is missing; {KEEP}"
            )

    def _verify(self, row: _Row) -> None:
        group, index, term, kind, data, crc = row
        try:
            sound = _checksum(group, index, term, kind, data) == crc
        except (TypeError, PackError):  # a value of another type, or out of range
            sound = False
        if not sound:
            what = f"entry {index}" if index else "the hard state"
            raise StorageCorrupt(f"{self._where}: {what} of group {group} is damaged; {KEEP}")


class _Plan:
    """What one ``persist`` will do, checked against what is durable before anything is touched."""

    def __init__(self, tail_of: Callable[[GroupId], _Tail]) -> None:
        self.tails: Final[dict[GroupId, _Tail]] = {}
        self.rows: Final[dict[tuple[GroupId, int], _Row]] = {}
        self.cuts: Final[dict[GroupId, int]] = {}
        self._tail_of: Final = tail_of

    def add(self, group: GroupId, write: Write) -> None:
        tail = self.tails.get(group)
        if tail is None:
            tail = self.tails[group] = evolve(self._tail_of(group))
        if write.truncate_from:
            self._cut(group, tail, write.truncate_from)
        if (state := write.hard_state) is not None:
            self._promise(group, tail, state)
        term_max, index = tail.hard_state.term, tail.last_index
        for entry in write.entries:
            index += 1
            term, kind, data = entry.term, int(entry.kind), entry.data
            assert entry.index == index, f"group {group}: entry {entry.index} where {index} is next"
            assert term <= term_max, f"group {group}: entry {index} is of a term not yet durable"
            row = (group, index, term, kind, data, _checksum(group, index, term, kind, data))
            self.rows[group, index] = row
        tail.last_index = index
        assert tail.hard_state.commit <= index, f"group {group}: commit beyond the end of the log"

    def _cut(self, group: GroupId, tail: _Tail, index: int) -> None:
        kept = max(tail.hard_state.commit, tail.start_index)
        assert kept < index, f"group {group}: cut at {index}, but {kept} is committed"
        for doomed in range(index, tail.last_index + 1):
            self.rows.pop((group, doomed), None)
        if index <= self._tail_of(group).last_index:
            self.cuts[group] = min(index, self.cuts.get(group, index))
        tail.last_index = min(tail.last_index, index - 1)

    def _promise(self, group: GroupId, tail: _Tail, state: HardState) -> None:
        before = tail.hard_state
        assert state.term >= before.term, f"group {group}: term {state.term} after {before.term}"
        assert state.commit >= before.commit, f"group {group}: the commit index went back"
        assert state.term > before.term or before.vote in (0, state.vote), (
            f"group {group}: a second vote in term {state.term}"
        )
        tail.hard_state = state
        data = _VOTE_AND_COMMIT.pack(state.vote, state.commit)
        key = (group, _HARD_STATE_ROW, state.term, _HARD_STATE_KIND, data)
        self.rows[group, _HARD_STATE_ROW] = (*key, _checksum(*key))


def _create_or_check(connection: apsw.Connection, where: str) -> None:
    found: list[Any] = connection.execute("SELECT name, sql FROM sqlite_schema").fetchall()
    if not found:
        with connection:
            for definition in _SCHEMA.values():
                connection.execute(f"CREATE {definition}")
    elif dict(found) != {name: f"CREATE {definition}" for name, definition in _SCHEMA.items()}:
        raise StorageCorrupt(f"{where} does not hold the tables of a log; {KEEP}")


def _refuse_lost_commit(connection: apsw.Connection, frames_replayed: int, where: str) -> None:
    flags = [apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READONLY, 0]
    file = apsw.VFSFile(connection.open_vfs, connection.filename_wal, flags)
    try:
        frame = lost_commit(
            lambda offset, size: file.xRead(size, offset), file.xFileSize(), frames_replayed
        )
    finally:
        file.xClose()
    if frame is not None:
        raise StorageCorrupt(
            f"{where}-wal: frame {frame} is damaged, and writes that were acknowledged follow it;"
            f" {KEEP}"
        )
