"""The data directory of a node on a real disk."""

from pathlib import Path
from typing import Final

import apsw

from flowactor.errors import StorageError, StorageRefused
from flowactor.ports import File, Worker
from flowactor.storage.faults import translated
from flowactor.storage.plain_files import SystemFile, VfsFile
from flowactor.storage.workers import ThreadWorker

__all__ = ["DirectoryDisk"]

LOCK_FILE: Final = "lock"
STATEMENTS_CACHED: Final = 256
"""Inserts are prepared per number of rows; all of them stay prepared."""


class DirectoryDisk:
    """``ports.Disk`` in the directory ``path``: made if need be, locked until ``close``.

    Args:
        path: where to keep everything; belongs to one node.
        vfs: name of a registered ``apsw.VFS`` to open files through, for tests. A VFS in Python has
            no shared memory, so each of its files has one connection.

    Raises:
        StorageRefused: another process (or another object of this one) has the directory open.
        StorageError: it cannot be made or written to.
    """

    def __init__(self, path: Path | str, vfs: str | None = None) -> None:
        self._path: Final = Path(path).absolute()
        self._vfs: Final = vfs
        try:
            self._path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot make the data directory {self._path} ({error.strerror}):"
                " choose another one, or correct its permissions"
            ) from error
        # The lock is SQLite's own, on a file of no bytes: it works wherever the data files do, and
        # the operating system drops it when the process dies.
        with translated(f"the data directory {self._path}"):
            self._lock: Final = apsw.Connection(str(self._path / LOCK_FILE))
            try:
                self._lock.execute("PRAGMA journal_mode = MEMORY").fetchall()
                self._lock.execute("BEGIN EXCLUSIVE")
            except apsw.BusyError as error:
                self._lock.close()
                raise StorageRefused(
                    f"the data directory {self._path} is in use by another node process:"
                    " stop that one first, or choose another directory"
                ) from error

    def connect(self, name: str, *, readonly: bool = False) -> apsw.Connection:
        """See ``ports.Disk``. Nothing is read or locked before the first statement."""
        flags = apsw.SQLITE_OPEN_READONLY
        if not readonly:
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        path = str(self._path / name)
        with translated(path):
            return apsw.Connection(path, flags, self._vfs, STATEMENTS_CACHED)

    def open(self, name: str) -> File:
        """See ``ports.Disk``."""
        path = self._path / name
        return SystemFile(path) if self._vfs is None else VfsFile(self._vfs, str(path), str(path))

    def exists(self, name: str) -> bool:
        """Whether the directory holds a file of this name."""
        return (self._path / name).exists()

    def names(self) -> list[str]:
        """See ``ports.Disk``."""
        return sorted(path.name for path in self._path.iterdir() if path.is_file())

    def remove(self, name: str) -> None:
        """See ``ports.Disk``."""
        try:
            (self._path / name).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot delete {self._path / name} ({error.strerror})") from error

    def exclusive(self) -> bool:
        """See ``ports.Disk``."""
        return self._vfs is not None

    def worker(self, name: str) -> Worker:
        """A thread of its own; call it inside a Trio run."""
        return ThreadWorker(name)

    def describe(self) -> str:
        """The absolute path."""
        return str(self._path)

    def close(self) -> None:
        """Let others open the directory. Call it last."""
        self._lock.close()
