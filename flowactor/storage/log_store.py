"""The durable log of all groups of a node, in one SQLite file.

One ``persist`` is one transaction and one fsync, whatever it holds: this is the group commit.
Everything here blocks; ``LogWriter`` runs it in a worker. Row 0 of a group is its hard state, so
that the common write (some entries, a new commit index) is a single statement: each further one
would let go of the interpreter's lock and wait for a busy event loop to give it back.

What a snapshot or a compaction makes superfluous is *doomed* in one small transaction, and deleted
in slices, so that nobody's commit waits for long.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from typing import Any, Final, Self

import apsw
from attrs import evolve, frozen

from flowactor.codec import records
from flowactor.errors import (
    StorageCorrupt,
    StorageError,
    StorageFull,
    StoragePoisoned,
    StorageRefused,
)
from flowactor.identity import GroupId
from flowactor.ports import Disk
from flowactor.raft import Configuration, Entry, HardState, Restored, Snapshot, Write
from flowactor.raft.log import size_bytes
from flowactor.storage.connecting import connected, transaction
from flowactor.storage.faults import KEEP, translated
from flowactor.storage.file_names import LOG_FILE, state_file
from flowactor.storage.log_check import refuse_hidden_rows
from flowactor.storage.log_plan import Plan
from flowactor.storage.log_rows import (
    SCHEMA,
    STATEMENT_ROWS_MAX,
    Dropped,
    Start,
    Tail,
    configuration_of,
    entry_of,
    hard_state_of,
    hard_state_row,
    insert,
)
from flowactor.storage.wal_check import lost_commit

__all__ = ["LogSize", "LogStore"]

CHECKPOINT_PAGES: Final = 1000
"""The WAL is copied into the main file when it holds this many pages (4 MiB). Measured: a
checkpoint takes 2-8 ms, once in 500 to 1000 commits. A larger WAL makes it rarer and longer by the
same factor, and a WAL that is overwritten sooner syncs faster than one that still grows."""
SLICE_ROWS: Final = 1000
SLICE_BYTES: Final = 1024 * 1024
"""Entries that are deleted in one transaction, at least one: a millisecond or two."""

_ASCENDING: Final = "SELECT * FROM entry WHERE grp = ? AND idx BETWEEN ? AND ? ORDER BY idx"
_DESCENDING: Final = _ASCENDING + " DESC"
_SIZE: Final = """SELECT coalesce(sum(length(data)), 0) FROM entry
    WHERE grp = ? AND idx BETWEEN ? AND ?"""
_NEWEST_CONFIGURATION: Final = """SELECT * FROM entry INDEXED BY entry_configuration
    WHERE grp = ? AND kind = 2 AND idx > ? AND idx <= ? ORDER BY idx DESC LIMIT 1"""
_DELETE: Final = "DELETE FROM entry WHERE grp = ? AND idx BETWEEN ? AND ?"
_PUT_START: Final = "INSERT OR REPLACE INTO start VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_LAST_OF_ALL: Final = (1 << 63) - 1


@frozen
class LogSize:
    """Attributes:
    first_index, last_index: of the entries that count; the first is beyond the last if none do.
    data_bytes: the data of all entries that are in the file.
    """

    first_index: int
    last_index: int
    data_bytes: int


class LogStore:
    """The log of all groups, in ``log.db``. Make it with ``open``; one thread uses it at a time.

    After a failed write or sync every further call raises ``StoragePoisoned`` (rule
    *first_failed_sync_poisons*). After ``StorageFull`` nothing has changed, and the same call may
    be made again.
    """

    def __init__(
        self, disk: Disk, connection: apsw.Connection, found: dict[GroupId, int], where: str
    ) -> None:
        self._disk: Final = disk
        self._connection: Final = connection
        self._where: Final = where
        self._found: Final = found
        """Groups that have anything here -> bytes of data when that was first known."""
        self._tails: Final[dict[GroupId, Tail]] = {}
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
                found = refuse_hidden_rows(connection, where)
        except BaseException:
            connection.close()
            raise
        return cls(disk, connection, found, where)

    # -- groups -----------------------------------------------------------------------------------

    def groups(self) -> list[GroupId]:
        """The groups that have anything here, in order."""
        return sorted(self._found)

    def generations(self) -> dict[GroupId, int]:
        """Which ``state_file`` is that of each group; for one that was dropped, would be. Groups
        whose record is damaged are left out: ``recover`` says so.
        """
        generations = {}
        with translated(self._where):
            dropped: list[Any] = self._connection.execute("SELECT grp FROM dropped").fetchall()
        for group in sorted({*self._found, *(GroupId(grp) for (grp,) in dropped)}):
            try:
                generations[group] = self._tail(group).start.generation
            except StorageCorrupt:
                continue
        return generations

    def generation(self, group: GroupId) -> int:
        """Which ``state_file`` is that of the group.

        Raises:
            StorageCorrupt: its record is damaged.
        """
        return self._tail(group).start.generation

    def found(self, group: GroupId, configuration: Configuration) -> None:
        """Durably give a new group its founding configuration. Twice is once.

        Raises:
            StorageRefused: the group is here already, with another one or without.
            StorageFull, StoragePoisoned: as ``persist``.
        """
        encoded = records.encode(configuration)
        tail = self._tail(group)
        if group in self._found:
            if (tail.start.configuration_index, tail.start.configuration) == (0, encoded):
                return
            raise StorageRefused(
                f"{self._where} holds group {group} already, and it was not founded with"
                f" {configuration}"
            )
        start, hard_state = evolve(tail.start, configuration=encoded), tail.hard_state
        with self._guarded(), transaction(self._connection):
            self._connection.execute(_PUT_START, start.row(group))
            self._connection.execute(insert(1), hard_state_row(group, hard_state))
        self._tails[group] = evolve(tail, start=start)
        self._found[group] = 0

    def drop(self, group: GroupId) -> None:
        """Forget a group but for what it promised (``Dropped``), in one transaction; it may be
        founded anew. A long log is better compacted before. The state file goes with
        ``remove_leftovers``.

        Raises:
            StorageFull, StoragePoisoned: as ``persist``.
        """
        if group not in self._found:
            return
        tail = self._tail(group)
        hard_state, last = tail.hard_state, (tail.start.term, tail.start.index)
        with translated(self._where):
            for entry in self._entries(group, tail.last_index, tail.last_index):
                last = (entry.term, entry.index)
        last = max(last, tail.deleted)
        # The one after this generation may be half received.
        dropped = Dropped(tail.start.generation + 2, hard_state.term, hard_state.vote, *last)
        with self._guarded(), transaction(self._connection):
            self._connection.execute("DELETE FROM entry WHERE grp = ?", (group,))
            self._connection.execute("DELETE FROM start WHERE grp = ?", (group,))
            self._connection.execute(
                "INSERT OR REPLACE INTO dropped VALUES (?, ?, ?, ?, ?, ?, ?)", dropped.row(group)
            )
        del self._tails[group], self._found[group]

    # -- logs -------------------------------------------------------------------------------------

    def recover(self, group: GroupId, applied: int, cache_bytes_max: int) -> Restored:
        """What a group starts from: its hard state, every entry above ``applied``, and below that
        as many as fit ``cache_bytes_max``. Reads only, so doing it twice is doing it once.

        Raises:
            StorageCorrupt: names the group, and the entry that is damaged or missing.
        """
        with translated(self._where):
            tail = self._tail(group)
            newest_first: list[Entry] = []
            previous_term, spare = tail.start.term, cache_bytes_max
            for entry in self._entries(group, 1, tail.last_index, descending=True):
                if entry.index <= applied:
                    spare -= size_bytes(entry)
                    if spare < 0:
                        previous_term = entry.term
                        break
                newest_first.append(entry)
            previous_index = tail.last_index - len(newest_first)
            configuration_index, encoded = self._configuration_at(group, previous_index)
            configuration = configuration_of(encoded, f"{self._where}, group {group}")
        try:
            return Restored(
                hard_state=tail.hard_state,
                first_index=previous_index + 1,
                entries=tuple(reversed(newest_first)),
                previous_index=previous_index,
                previous_term=previous_term,
                applied=applied,
                configuration=configuration,
                configuration_index=configuration_index,
                deleted=tail.deleted,
            )
        except StorageCorrupt as error:
            raise StorageCorrupt(f"{self._where}, group {group}: {error}; {KEEP}") from error

    def read(
        self, group: GroupId, first: int, last: int, bytes_max: int
    ) -> tuple[int, tuple[Entry, ...]]:
        """The term just before ``first``, and the entries from there to at most ``last``: at least
        one, then as many as fit ``bytes_max``, counted as the core counts them. No entries if
        ``first`` was compacted away.

        Raises:
            StorageCorrupt: names the group, and the entry that is damaged or missing.
        """
        with translated(self._where):
            tail = self._tail(group)
            last = min(last, tail.last_index)
            if not tail.start.index < first <= last:
                return 0, ()
            previous_term = tail.start.term
            chosen: list[Entry] = []
            for entry in self._entries(group, max(first - 1, tail.start.index + 1), last):
                if entry.index < first:
                    previous_term = entry.term
                    continue
                bytes_max -= size_bytes(entry)
                if chosen and bytes_max < 0:
                    break
                chosen.append(entry)
            return previous_term, tuple(chosen)

    def snapshot_at(self, group: GroupId, index: int) -> Snapshot | None:
        """What stands for the entries up to ``index``: the term there, and the newest configuration
        up to there. None if the log does not reach there any more, or not yet.

        Raises:
            StorageCorrupt: names the group, and the entry that is damaged or missing.
        """
        with translated(self._where):
            tail = self._tail(group)
            if not tail.start.index <= index <= tail.last_index:
                return None
            term = tail.start.term
            for entry in self._entries(group, index, index):
                term = entry.term
            configuration_index, encoded = self._configuration_at(group, index)
        configuration = configuration_of(encoded, f"{self._where}, group {group}")
        return Snapshot(index, term, configuration, configuration_index)

    def size(self, group: GroupId) -> LogSize:
        """How much there is of a group that was recovered, founded or written to; any thread may
        ask.
        """
        tail = self._tails.get(group) or Tail(HardState(), Start(), 0, 0)
        return LogSize(tail.start.index + 1, tail.last_index, tail.data_bytes)

    def persist(self, writes: Sequence[tuple[GroupId, Write]]) -> None:
        """Make all of these durable in one transaction with one fsync; of one group, in order.

        A ``Write.snapshot`` takes the place of the group's log, and ``state_file(group, generation
        + 1)``, which must be complete and synced, that of its state. What was there before is still
        to be deleted by ``compact``.

        Raises:
            StorageFull: nothing happened; free space and call again.
            StoragePoisoned: whether it happened is unknown, and this store has ended.
            StorageCorrupt: the file is damaged, and this store has ended.
            AssertionError: a write does not continue its group's log, or takes back a promise.
        """
        plan = Plan(self._tail)
        for group, write in writes:
            plan.add(group, write)
        for group, start in plan.starts.items():
            name = state_file(group, start.generation)
            assert self._disk.exists(name), f"group {group}: {name} was not received"
        with self._guarded():
            self._commit(plan)
        self._tails.update(plan.tails)
        for group, _ in plan.rows:
            self._found.setdefault(group, 0)

    def compact(self, group: GroupId, index: int) -> bool:
        """Go one step towards a log without the entries up to and including ``index``: applied, and
        durable as state. The first step makes them count no more, each deletes some of them.

        Returns: whether there is more to delete.

        Raises: as ``persist``.
        """
        tail = self._tail(group)
        assert index <= tail.last_index, f"group {group}: compaction beyond the end of the log"
        before = start = tail.start
        # What a snapshot has doomed need not adjoin what comes now; it is deleted first then.
        if index > start.index and (start.is_clear or start.doomed_last == start.index):
            start = self._moved(group, start, index)
        last, slice_bytes = self._slice(group, start)
        if (last, start) == (start.doomed_first - 1, before):
            return False
        first, start = start.doomed_first, evolve(start, doomed_first=last + 1)
        with self._guarded(), transaction(self._connection):
            self._connection.execute(_PUT_START, start.row(group))
            self._connection.execute(_DELETE, (group, first, last))
        self._tails[group] = evolve(tail, start=start, data_bytes=tail.data_bytes - slice_bytes)
        return not start.is_clear or index > start.index

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

    def _commit(self, plan: Plan) -> None:
        rows = list(plan.rows.values())
        if not plan.cuts and not plan.starts and len(rows) <= STATEMENT_ROWS_MAX:
            if rows:
                self._connection.execute(insert(len(rows)), list(chain.from_iterable(rows)))
            return
        with transaction(self._connection):
            for group, index in plan.cuts.items():
                doomed = (group, index, _LAST_OF_ALL)
                plan.tails[group].data_bytes -= self._size_of(*doomed)
                self._connection.execute(_DELETE, doomed)
            for group, start in plan.starts.items():
                self._connection.execute(_PUT_START, start.row(group))
            for at in range(0, len(rows), STATEMENT_ROWS_MAX):
                some = rows[at : at + STATEMENT_ROWS_MAX]
                self._connection.execute(insert(len(some)), list(chain.from_iterable(some)))

    def _moved(self, group: GroupId, start: Start, index: int) -> Start:
        """Where the log begins when everything up to ``index`` is doomed."""
        (last_dropped,) = self._entries(group, index, index)
        configuration_index, encoded = self._configuration_at(group, index)
        return evolve(
            start,
            index=index,
            term=last_dropped.term,
            configuration_index=configuration_index,
            configuration=encoded,
            doomed_first=start.index + 1 if start.is_clear else start.doomed_first,
            doomed_last=index,
        )

    def _slice(self, group: GroupId, start: Start) -> tuple[int, int]:
        """The last of the doomed entries to delete at once, and the bytes of them."""
        first = start.doomed_first
        last = min(start.doomed_last, first + SLICE_ROWS - 1)
        with translated(self._where):
            while (size := self._size_of(group, first, last)) > SLICE_BYTES and last > first:
                last = (first + last) // 2
        return last, size

    def _size_of(self, group: GroupId, first: int, last: int) -> int:
        """The bytes of data of these entries."""
        rows: list[Any] = self._connection.execute(_SIZE, (group, first, last)).fetchall()
        ((size,),) = rows
        return int(size)

    def _configuration_at(self, group: GroupId, index: int) -> tuple[int, bytes]:
        """The newest configuration at or below ``index``: where it came from, and itself."""
        start = self._tail(group).start
        between = (group, start.index, index)
        rows: list[Any] = self._connection.execute(_NEWEST_CONFIGURATION, between).fetchall()
        for row in rows:
            entry = entry_of(row, self._where)
            return entry.index, entry.data
        return start.configuration_index, start.configuration

    def _tail(self, group: GroupId) -> Tail:
        tail = self._tails.get(group)
        if tail is None:
            with translated(self._where):
                tail = self._tails[group] = self._load_tail(group)
        return tail

    def _load_tail(self, group: GroupId) -> Tail:
        def ask(sql: str) -> list[Any]:
            return self._connection.execute(sql, (group,)).fetchall()

        hard_state, start, deleted = HardState(), Start(), (0, 0)
        for row in ask("SELECT * FROM dropped WHERE grp = ?"):
            dropped = Dropped.from_row(row, self._where)
            start, hard_state = Start(generation=dropped.generation), dropped.hard_state
            deleted = (dropped.last_term, dropped.last_index)
        for row in ask("SELECT * FROM entry WHERE grp = ? AND idx = 0"):
            hard_state = hard_state_of(row, self._where)
        for row in ask("SELECT * FROM start WHERE grp = ?"):
            start = Start.from_row(row, self._where)
        ((last_index,),) = ask("SELECT max(idx) FROM entry WHERE grp = ?")
        last_index = max(last_index or 0, start.index)
        return Tail(hard_state, start, last_index, self._found.get(group, 0), deleted)

    def _entries(
        self, group: GroupId, first: int, last: int, *, descending: bool = False
    ) -> Iterator[Entry]:
        """Verified entries of a range, without gaps as far as they are asked for."""
        first = max(first, self._tail(group).start.index + 1)
        expected, step = (last, -1) if descending else (first, 1)
        sql = _DESCENDING if descending else _ASCENDING
        cursor: Any = self._connection.execute(sql, (group, first, last))
        # An unfinished statement would hold the WAL open, so the cursor is closed in any case.
        with closing(cursor):
            for row in cursor:
                if row[1] != expected:
                    break
                yield entry_of(row, self._where)
                expected += step
        if first <= expected <= last:
            raise StorageCorrupt(
                f"{self._where}: entry {expected} of group {group} is missing; {KEEP}"
            )


def _create_or_check(connection: apsw.Connection, where: str) -> None:
    found: list[Any] = connection.execute("SELECT name, sql FROM sqlite_schema").fetchall()
    if not found:
        with transaction(connection):
            for definition in SCHEMA.values():
                connection.execute(f"CREATE {definition}")
    elif dict(found) != {name: f"CREATE {definition}" for name, definition in SCHEMA.items()}:
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
