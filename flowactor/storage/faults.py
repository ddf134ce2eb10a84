"""What SQLite says went wrong, sorted into flowactor's errors in one place."""

from types import TracebackType
from typing import Final

import apsw

from flowactor.errors import (
    StorageCorrupt,
    StorageError,
    StorageFull,
    StoragePoisoned,
    StorageRefused,
)

__all__ = ["KEEP", "storage_error", "translated"]

KEEP: Final = (
    "keep the directory, it holds what this node has promised, and see docs/operations.md, The disk"
)
"""What to do about damage. Never to start anew with an empty directory: that forgets votes."""

_READ_FAULTS: Final = frozenset(
    {
        apsw.SQLITE_IOERR_READ,
        apsw.SQLITE_IOERR_SHORT_READ,
        apsw.SQLITE_IOERR_CORRUPTFS,
        apsw.SQLITE_IOERR_DATA,
    }
)
"""Errors that left nothing half-written: the file cannot be trusted, the process can."""


def storage_error(error: BaseException, where: str) -> StorageError | None:
    """The error of ours that ``error`` means for the file ``where``; None if it means none.

    A failed write or sync poisons (rule *first_failed_sync_poisons*): the kernel may have dropped
    what it could not write, and a second sync would report success without it.
    """
    match error:
        case apsw.FullError():
            return StorageFull(
                f"{where}: no space left on the device; nothing acknowledged was lost."
                " Free some space; a node that runs goes on by itself"
            )
        case apsw.CorruptError() | apsw.NotADBError() | UnicodeDecodeError():
            return StorageCorrupt(f"{where} is damaged ({error}): {KEEP}")
        case apsw.IOError():
            if getattr(error, "extendedresult", 0) in _READ_FAULTS:
                return StorageCorrupt(f"{where} cannot be read ({error}): {KEEP}")
            return StoragePoisoned(
                f"{where}: a write or sync failed ({error}); this process acknowledges nothing"
                " more. Check the disk, then start the node again"
            )
        case apsw.BusyError() | apsw.LockedError():
            return StorageRefused(
                f"{where} is in use by another process: stop that one, or choose another directory"
            )
        case apsw.CantOpenError() | apsw.ReadOnlyError() | apsw.PermissionsError():
            return StorageError(
                f"{where} cannot be opened for writing ({error}): check that the directory exists"
                " and belongs to this user"
            )
        case _:
            return None


class translated:  # noqa: N801  # reads as a phrase: ``with translated("log.db"):``
    """Within this context errors of SQLite about the file ``where`` are raised as ``StorageError``.

    A class and not a generator: it is entered on every group commit, and costs half of one.
    """

    def __init__(self, where: str) -> None:
        self._where: Final = where

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and (known := storage_error(error, self._where)):
            raise known from error
