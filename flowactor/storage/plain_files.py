"""The plain bytes of a file: through the operating system, or through a VFS of SQLite's.

Through a VFS a simulated or faulty device answers, and the code above is the same. On a real disk
it will not do: ``apsw`` keeps the interpreter's lock while a VFS syncs, so the event loop would
stand still for as long (measured: 76 of 85 ms, against 20 ms on a loaded machine without it).
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from flowactor.errors import StorageCorrupt, StorageError, StorageFull, StoragePoisoned
from flowactor.storage.faults import KEEP, storage_error, translated

__all__ = ["SystemFile", "VfsFile"]

PIECE_BYTES: Final = 1 << 16
"""How much is asked of a VFS at a time: SQLite's own takes less than 128 KiB in one call."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class SystemFile:
    """``ports.File`` of the operating system.

    Raises:
        StorageError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        self._directory_synced = False
        try:
            self._descriptor: Final = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            cannot_open = apsw.CantOpenError(error.strerror or "")
            raise storage_error(cannot_open, str(path)) or StorageError(str(path)) from error

    def read(self, offset: int, size_bytes: int) -> bytes:
        """See ``ports.File``."""
        parts = []
        with self._reading():
            while size_bytes and (part := os.pread(self._descriptor, size_bytes, offset)):
                parts.append(part)
                offset += len(part)
                size_bytes -= len(part)
        return b"".join(parts)

    def write(self, offset: int, data: bytes) -> None:
        """See ``ports.File``."""
        left = memoryview(data)
        with self._writing():
            while left:
                written = os.pwrite(self._descriptor, left, offset)
                offset += written
                left = left[written:]

    def sync(self) -> None:
        """See ``ports.File``."""
        try:
            os.fdatasync(self._descriptor)
            if not self._directory_synced:
                directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(directory)
                finally:
                    os.close(directory)
                self._directory_synced = True
        except OSError as error:
            # Also for want of space: what was not written is forgotten.
            raise self._poisoned(error) from error

    def size_bytes(self) -> int:
        """See ``ports.File``."""
        with self._reading():
            return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """See ``ports.File``."""
        os.close(self._descriptor)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageCorrupt(f"{self._path} cannot be read ({error}): {KEEP}") from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise StorageFull(
                    f"{self._path}: no space left on the device; nothing acknowledged was lost."
                    " Free some space"
                ) from error
            raise self._poisoned(error) from error

    def _poisoned(self, error: OSError) -> StoragePoisoned:
        return StoragePoisoned(
            f"{self._path}: a write or sync failed ({error}); this process acknowledges nothing"
            " more. Check the disk, then start the node again"
        )


class VfsFile:
    """``ports.File`` through a registered VFS.

    Args:
        vfs: its name.
        path: as the VFS knows the file.
        where: the same for people.

    Raises:
        StorageError: it cannot be opened.
    """

    def __init__(self, vfs: str, path: str, where: str) -> None:
        self._where: Final = where
        # A journal that belongs to no database: nobody locks it, its first sync syncs its name too.
        kind = apsw.SQLITE_OPEN_SUPER_JOURNAL
        flags = [kind | apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE, 0]
        with translated(where):
            self._file: Final = apsw.VFSFile(vfs, path, flags)

    def read(self, offset: int, size_bytes: int) -> bytes:
        """See ``ports.File``."""
        with translated(self._where):
            end = min(offset + size_bytes, self._file.xFileSize())
            return b"".join(
                self._file.xRead(min(PIECE_BYTES, end - start), start)
                for start in range(offset, end, PIECE_BYTES)
            )

    def write(self, offset: int, data: bytes) -> None:
        """See ``ports.File``."""
        with translated(self._where):
            for start in range(0, len(data), PIECE_BYTES):
                self._file.xWrite(data[start : start + PIECE_BYTES], offset + start)

    def sync(self) -> None:
        """See ``ports.File``."""
        with translated(self._where):
            self._file.xSync(apsw.SQLITE_SYNC_NORMAL)

    def size_bytes(self) -> int:
        """See ``ports.File``."""
        with translated(self._where):
            return self._file.xFileSize()

    def close(self) -> None:
        """See ``ports.File``."""
        self._file.xClose()
