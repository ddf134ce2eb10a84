"""The applied state of one group as rows of a SQLite file, written behind its log.

``write`` only changes memory: the rows wait in an overlay that every read looks at first. ``flush``
hands the overlay to the worker, which writes it with the applied index in one transaction (rule
*applied_index_atomic*). So the file always is the state at exactly one index, a crash loses
nothing that the log does not hold, and a row that changes often reaches the disk once per flush.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, count
from typing import Any, Final

import apsw

from flowactor.errors import (
    StorageCorrupt,
    StorageError,
    StorageFull,
    StoragePoisoned,
    WorldError,
)
from flowactor.identity import GroupId
from flowactor.ports import Disk, RowWrite, Table, Worker
from flowactor.storage.connecting import connected, transaction
from flowactor.storage.faults import KEEP, translated
from flowactor.storage.file_names import copy_file, remove_database, state_file
from flowactor.storage.jobs import Slices, ask
from flowactor.storage.snapshots import SnapshotFile, applied_index_of, copied
from flowactor.storage.table_sql import TableSql, create

__all__ = ["StateStore"]

CHECKPOINT_PAGES: Final = 1000
"""As of the log: the WAL is copied into the main file beyond this (4 MiB)."""
STATEMENT_ROWS: Final = 32
"""Rows of one statement: each lets go of the interpreter's lock and must get it back."""

BUSY_MILLISECONDS: Final = 5000
"""How long to wait for another process that looks at the file with a tool of its own."""

_APPLIED_INDEX: Final = "CREATE TABLE applied_index (idx INTEGER NOT NULL) STRICT"
_Row = tuple[Any, ...]
_Overlay = dict[str, dict[_Row, _Row | None]]
"""table -> key -> values, or None for a deleted row."""
_Flushed = Callable[[], None]


def _ignore() -> None:
    pass


class StateStore:
    """``ports.RowReader`` and write-behind store of one group. Opens its file, or makes it.

    Reads and ``write`` belong to the event loop and never wait for the worker: they use a second
    connection, which a WAL does not block. Where a file can have only one (``Disk.exclusive``) the
    worker must run its jobs inline.

    Args:
        disk: where the file is.
        group: whose state it is.
        tables: what the machine declares; missing ones are made, columns must agree.
        worker: runs the transactions.
        on_failure: told on the event loop: once when the store has failed for good
            (``StoragePoisoned``, ``StorageCorrupt``), once each time the disk gets full
            (``StorageFull``; the rows stay in memory and every later ``flush`` tries again).
        generation: which of the group's state files, as ``LogStore.generation`` says.

    Raises:
        StorageRefused: a table has other columns than declared.
        StorageCorrupt: the file is damaged.
        StorageError: it cannot be opened.
    """

    def __init__(
        self,
        disk: Disk,
        group: GroupId,
        tables: Sequence[Table],
        worker: Worker,
        *,
        on_failure: Callable[[StorageError], None],
        generation: int = 0,
    ) -> None:
        name = self._name = state_file(group, generation)
        self._disk: Final = disk
        self._where: Final = f"{disk.describe()}/{name}"
        self._copy_names: Final = (copy_file(group, generation, number) for number in count(1))
        self._copying: Slices[SnapshotFile] | None = None
        self._worker: Final = worker
        self._on_failure: Final = on_failure
        self._sql: Final[Mapping[str, TableSql]] = {table.name: TableSql(table) for table in tables}
        self._writer: Final[apsw.Connection] = connected(disk, name)
        self._reader = self._writer
        try:
            with translated(self._where):
                everything_synced = self._prepare(disk.exclusive())
                self._applied_index = self._make(tables)
                if not disk.exclusive():
                    self._reader = disk.connect(name, readonly=True)
                    self._reader.set_busy_timeout(BUSY_MILLISECONDS)
        except BaseException:
            self._writer.close()
            raise
        self._flushing_index = self._written_index = self._applied_index
        # What a crashed process left unsynced is durable once it was copied from the WAL.
        self._durable_index = self._applied_index if everything_synced else 0
        self._waiting: _Overlay = {name: {} for name in self._sql}
        self._flushing: _Overlay = {name: {} for name in self._sql}
        self._busy = False
        self._done_now: list[_Flushed] = []
        self._done_next: list[_Flushed] = []
        self._full = False
        self._discarded = False
        self._failure: StorageError | None = None

    # -- what is stored ---------------------------------------------------------------------------

    @property
    def applied_index(self) -> int:
        """The log index that the rows in the file are the state at; at open, where to apply from.

        A power cut may take it back, as far as ``durable_index``.
        """
        return self._applied_index

    @property
    def durable_index(self) -> int:
        """What a power cut leaves of ``applied_index``: the log is needed above this."""
        return self._durable_index

    @property
    def dirty(self) -> bool:
        """Whether ``flush`` has something to do, or is doing it."""
        return self._written_index > self._applied_index or any(self._waiting.values())

    def get(self, table: str, key: Sequence[Any]) -> _Row | None:
        """See ``ports.RowReader``."""
        full_key = tuple(key)
        for overlay in (self._waiting[table], self._flushing[table]):
            if full_key in overlay:
                return overlay[full_key]
        sql = self._sql[table]
        for row in self.select(sql.get, full_key):
            return row[sql.key_width :]
        return None

    def scan(self, table: str, prefix: Sequence[Any] = ()) -> list[_Row]:
        """See ``ports.RowReader``. Costs the size of the overlay beside that of the answer."""
        sql, start, width = self._sql[table], tuple(prefix), len(prefix)
        rows = self.select(sql.scan(width), start)
        newer: dict[_Row, _Row | None] = {}
        for overlay in (self._flushing[table], self._waiting[table]):
            newer.update((key, values) for key, values in overlay.items() if key[:width] == start)
        if not newer:
            return rows
        merged: dict[_Row, _Row | None] = {
            row[: sql.key_width]: row[sql.key_width :] for row in rows
        }
        merged.update(newer)
        return [(*key, *values) for key, values in sorted(merged.items()) if values is not None]

    def select(self, sql: str, parameters: Sequence[Any] = ()) -> list[_Row]:
        """The rows a SELECT gives over what is flushed: the state at ``applied_index`` or a little
        later, never between two entries.

        Raises:
            StorageCorrupt: the file is damaged.
        """
        with translated(self._where):
            rows: list[Any] = self._reader.execute(sql, parameters).fetchall()
            return rows

    # -- writing behind ---------------------------------------------------------------------------

    def write(self, rows: Sequence[RowWrite], applied_index: int) -> None:
        """Take the rows that changed up to ``applied_index``; the last of a key wins.

        Every entry up to there must be durable in this node's log, or a crash could leave a state
        that is ahead of it.
        """
        assert applied_index >= self._written_index, "the applied index never goes back"
        self._written_index = applied_index
        waiting = self._waiting
        for row in rows:
            waiting[row.table][row.key] = row.values

    def flush(self, done: Callable[[], None] = _ignore) -> None:
        """Write what ``write`` was given so far; ``done`` is called when it is in the file.

        One flush is under way at a time; whoever asks meanwhile shares the next. After a failure
        ``done`` is not called: ``on_failure`` is.
        """
        if self._failure is not None or self._discarded:
            return
        if not self.dirty:
            done()
            return
        self._done_next.append(done)
        if not self._busy:
            self._begin()

    def checkpoint(self) -> None:
        """Make durable what is in the file, in the background; else that is done once enough of it
        has gathered. ``durable_index`` tells when it is done.
        """
        if self._failure is None and not self._discarded:
            self._begin_checkpoint()

    def close(self) -> None:
        """Flush and close, unless it was discarded. Blocks; call it on the event loop after the
        worker was closed.

        A full disk is told to ``on_failure`` as ever, and is no error: the log still has what finds
        no space.

        Raises:
            StorageError: the last rows could not be written; the log still has them.
        """
        if self._discarded:
            return
        assert not self._busy, "close the worker first"
        if self._copying is not None:
            self._copying.end()
        try:
            if self._failure is None:
                if self.dirty:
                    self._take()
                    self._write_out()
                with translated(self._where):
                    self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except StorageFull as error:
            self._failed(error)
        finally:
            self._reader.close()
            self._writer.close()

    # -- copies and successors --------------------------------------------------------------------

    @property
    def is_copying(self) -> bool:
        """Whether a ``snapshot`` is being made."""
        return self._copying is not None

    def snapshot(self, done: Callable[[SnapshotFile | WorldError], None]) -> None:
        """Copy the state as it is flushed, in small steps while writing goes on; ``done`` is called
        on the event loop with the copy, whose index lies between ``applied_index`` now and then.

        One at a time. What goes wrong (``StorageFull``, ``StorageCorrupt``, ``StoragePoisoned``)
        concerns the copy alone. It is as large as the state, and its reader's to ``discard``.
        """
        assert not self.is_copying, "one copy at a time"

        def finished(outcome: SnapshotFile | WorldError) -> None:
            self._copying = None
            done(outcome)

        work = copied(self._disk, next(self._copy_names), self._writer, self._worker)
        self._copying = Slices(self._worker, work, finished)
        self._copying.begin()

    def cancel_snapshot(self) -> None:
        """Give up the copy under way, if there is one: its ``done`` is not called. Before the
        worker is closed, which else waits for all of it.
        """
        if self._copying is not None:
            self._copying.cancel()
            self._copying = None

    def discard(self, done: Callable[[StorageError | None], None]) -> None:
        """Give up this state, which another generation has replaced, and delete its file: nothing
        may be read or written any more. ``done`` is called on the event loop.
        """
        self._discarded = True
        copying, self._copying = self._copying, None
        if copying is not None:
            copying.cancel()
        if self._reader is not self._writer:
            self._reader.close()
        ask(self._worker, lambda: self._delete(copying), done)

    # -- on the event loop ------------------------------------------------------------------------

    def _take(self) -> None:
        """Move the waiting rows in front of the worker; reads still find them."""
        self._flushing, self._waiting = self._waiting, self._flushing
        self._flushing_index = self._written_index

    def _begin(self) -> None:
        self._busy = True
        self._done_now, self._done_next = self._done_next, []
        self._take()
        self._worker.submit(self._write_out, self._written_out)

    def _written_out(self, outcome: bool | BaseException) -> None:
        self._busy = False
        if self._discarded:
            return
        if isinstance(outcome, BaseException):
            if isinstance(outcome, StorageFull):
                self._put_back()
            self._failed(outcome)
            return
        self._full = False
        self._applied_index = self._flushing_index
        for rows in self._flushing.values():
            rows.clear()
        finished, self._done_now = self._done_now, []
        for done in finished:
            done()
        if outcome:
            self._begin_checkpoint()
        if self._done_next and not self._busy:
            self._begin()

    def _begin_checkpoint(self) -> None:
        index = self._applied_index
        self._worker.submit(self._checkpoint, lambda result: self._checkpointed(result, index))

    def _checkpointed(self, outcome: bool | BaseException, index: int) -> None:
        if isinstance(outcome, BaseException):
            self._failed(outcome)
        elif outcome:
            self._durable_index = index

    def _put_back(self) -> None:
        """The rows taken wait again. What came meanwhile is newer."""
        for table, rows in self._flushing.items():
            self._waiting[table] = rows | self._waiting[table]
            self._flushing[table] = {}
        self._done_next = self._done_now + self._done_next
        self._done_now = []

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, StorageFull):
            if not self._full:
                self._full = True
                self._on_failure(error)
        elif self._failure is None:
            if not isinstance(error, StorageError):
                bug = f"{self._where} refused what the machine gave it: {error}; this is a bug"
                error, cause = StoragePoisoned(bug), error
                error.__cause__ = cause
            self._failure = error
            self._on_failure(error)

    # -- in the worker ----------------------------------------------------------------------------

    def _delete(self, copying: Slices[SnapshotFile] | None) -> None:
        if copying is not None:
            copying.end()
        with translated(self._where):
            self._writer.close()
        remove_database(self._disk, self._name)

    def _write_out(self) -> bool:
        """Write the rows taken and their index; whether a checkpoint is due."""
        with translated(self._where), transaction(self._writer):
            for table, rows in self._flushing.items():
                if rows:
                    self._put(self._sql[table], rows)
            self._writer.execute("UPDATE applied_index SET idx = ?", (self._flushing_index,))
        written, _ = self._writer.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)
        return written >= CHECKPOINT_PAGES

    def _put(self, sql: TableSql, rows: Mapping[_Row, _Row | None]) -> None:
        kept = [(*key, *values) for key, values in rows.items() if values is not None]
        for some in _chunks(kept):
            self._writer.execute(sql.put(len(some)), list(chain.from_iterable(some)))
        gone = [key for key, values in rows.items() if values is None]
        for some in _chunks(gone):
            self._writer.execute(sql.delete(len(some)), list(chain.from_iterable(some)))

    def _checkpoint(self) -> bool:
        """Sync and copy the WAL; whether all of it, which a reader may prevent for now.

        The sync is what makes flushed rows survive a power cut; a failed one is not swallowed
        (rule *first_failed_sync_poisons*), as it would be in SQLite's own automatic checkpoint.
        """
        with translated(self._where):
            frames, copied = self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            if frames == copied:
                self._writer.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE, True)
        return frames == copied

    def _prepare(self, exclusive: bool) -> bool:
        """Set the connection up; whether all that was flushed is now synced."""
        connection = self._writer
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        pragmas = ["page_size = 4096", "journal_mode = WAL", "synchronous = NORMAL"]
        pragmas += ["wal_autocheckpoint = 0", "cell_size_check = ON", "temp_store = MEMORY"]
        if exclusive:
            pragmas.insert(0, "locking_mode = EXCLUSIVE")
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").fetchall()
        return self._checkpoint()

    def _make(self, tables: Sequence[Table]) -> int:
        """Make the tables that are missing, check the others; the applied index."""
        connection = self._writer
        with transaction(self._writer):
            sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'table'"
            rows: list[Any] = connection.execute(sql).fetchall()
            schema = dict(rows)
            if not schema:
                connection.execute(_APPLIED_INDEX)
                connection.execute("INSERT INTO applied_index VALUES (0)")
            elif schema.get("applied_index") != _APPLIED_INDEX:
                raise StorageCorrupt(f"{self._where} does not hold the tables of a state: {KEEP}")
            for table in tables:
                assert table.name != "applied_index", "the name applied_index is taken"
                create(connection, table, self._where)
        return applied_index_of(connection, self._where)


def _chunks(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    for start in range(0, len(rows), STATEMENT_ROWS):
        yield rows[start : start + STATEMENT_ROWS]
