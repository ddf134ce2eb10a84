"""Open a file with SQLite, once what SQLite will read beside it is known to be on the disk.

A failed sync makes liars of file and kernel: what could not be written is still shown to every
process, and counts as clean, so no later sync writes it. A process that ends at its first failed
sync is safe itself; the next one on the same machine is not. It finds those pages in the WAL,
"syncs" them without a write, and copies them into the main file. Then the power fails, the WAL is
what it really was, and SQLite replays it over a main file that is newer::

    process 1   WAL  A B c   (c: the sync failed)    main file  -
    process 2   WAL  A B c   "synced", copied        main file  A B c
    power cut   WAL  A B     replayed                main file  A B with parts of c

Likewise a rollback journal may look finished (its header is zeroed to commit) and come back.

So whatever lies beside a file is written again with its own bytes, and synced, before it is read.
Then it is dirty, and the sync means it. The main file needs none of this: what a failed sync of it
left behind is still in the WAL or the journal, and is copied from there again.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from operator import gt
from typing import Final

import apsw

from flowactor.errors import StorageCorrupt
from flowactor.ports import Disk
from flowactor.storage.faults import KEEP, translated

__all__ = ["connected", "transaction"]

CHUNK_BYTES: Final = 1 << 16
"""How much is rewritten at a time: SQLite's own VFS takes less than 128 KiB in one call."""

_BESIDE: Final = {
    "-journal": apsw.SQLITE_OPEN_MAIN_JOURNAL,
    "-wal": apsw.SQLITE_OPEN_WAL,
}
_HEADER: Final = struct.Struct(">18x2B24xI")
"""At the begin of a file of SQLite's: versions of the format for writing, reading, the schema."""
_VERSIONS_MAX: Final = (2, 2, 4)
"""The highest there are, all of them for decades."""


def connected(disk: Disk, name: str) -> apsw.Connection:
    """``disk.connect(name)``, with journal and WAL durable as they are read.

    After a clean end there is nothing to rewrite. If the power fails meanwhile, each sector holds
    what it did or what it shall, as in any write that was not synced yet.

    Raises:
        StoragePoisoned: they cannot be made durable; nothing was read, nothing is lost.
        StorageCorrupt: they cannot be read, or the file has no header of ours.
        StorageError: the file, or one of them, cannot be opened for writing.
    """
    connection: apsw.Connection = disk.connect(name)
    try:
        _refuse_other_versions(connection, f"{disk.describe()}/{name}")
        for suffix, kind in _BESIDE.items():
            if disk.exists(name + suffix):
                with translated(f"{disk.describe()}/{name}{suffix}"):
                    _rewrite(connection.open_vfs, connection.filename + suffix, kind)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """All of it is written, or nothing. In place of APSW's own, which hides what went wrong behind
    its attempt to roll back: after most errors SQLite has done so by itself.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _refuse_other_versions(connection: apsw.Connection, where: str) -> None:
    """SQLite takes a wrong bit here for the format of the future: read-only, or an error in SQL."""
    with translated(where):
        _, header = connection.read("main", 0, 0, _HEADER.size)
    versions = _HEADER.unpack(header)
    if any(map(gt, versions, _VERSIONS_MAX)):
        raise StorageCorrupt(f"{where} is damaged (file format {versions}): {KEEP}")


def _rewrite(vfs: str, path: str, kind: int) -> None:
    flags = [kind | apsw.SQLITE_OPEN_READWRITE, 0]
    file = apsw.VFSFile(vfs, path, flags)
    try:
        if flags[1] & apsw.SQLITE_OPEN_READONLY:
            raise apsw.exception_for(apsw.SQLITE_READONLY)
        size = file.xFileSize()
        for start in range(0, size, CHUNK_BYTES):
            file.xWrite(file.xRead(min(CHUNK_BYTES, size - start), start), start)
        if size:
            file.xSync(apsw.SQLITE_SYNC_NORMAL)
    finally:
        file.xClose()
