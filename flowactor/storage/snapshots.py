"""A copy of a group's state, made while it is written to, for others to read in chunks.

SQLite's online backup copies some pages at a time from the connection that writes. What a flush
changes between two steps is written to the copy as well where it was copied already, so the copy is
the state as of the last flush before its end, and of no moment between two entries.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final
from zlib import crc32

import apsw
from attrs import frozen

from flowactor.errors import StorageCorrupt, WorldError
from flowactor.ports import Disk, File, Worker
from flowactor.storage.faults import KEEP, translated
from flowactor.storage.file_names import remove_database
from flowactor.storage.jobs import Work, ask

__all__ = [
    "DIGEST_BYTES",
    "Chunk",
    "Image",
    "SnapshotFile",
    "applied_index_of",
    "copied",
    "digest_of",
]

STEP_PAGES: Final = 256
"""Copied in one go (1 MiB): a millisecond, in which no flush begins."""
SLICE_BYTES: Final = 1024 * 1024
"""Read or written in one go, likewise."""
DIGEST_BYTES: Final = 32


@frozen
class Image:
    """What tells one copy of a state from another: equal images have equal bytes.

    Attributes:
        index: the log index that it is the state at.
        size_bytes: of the file.
        digest: BLAKE2b of all of it, of ``DIGEST_BYTES``.
    """

    index: int
    size_bytes: int
    digest: bytes


@frozen
class Chunk:
    """``data`` of a file from ``offset`` on, with its CRC-32; none at the end of the file."""

    offset: int
    data: bytes
    checksum: int


class SnapshotFile:
    """A complete copy. Any number of receivers may read it at their own pace: nothing is kept in
    memory. It is of no use to another process, which deletes it (``remove_leftovers``).

    Attributes:
        name: of the file.
        image: what the receivers shall end up with.
    """

    def __init__(self, disk: Disk, name: str, image: Image, file: File, worker: Worker) -> None:
        self.name: Final = name
        self.image: Final = image
        self._disk: Final = disk
        self._file: Final = file
        self._worker: Final = worker
        self._discarded = False

    def read_chunk(
        self, offset: int, bytes_max: int, done: Callable[[Chunk | WorldError], None]
    ) -> None:
        """Read at most ``bytes_max`` from ``offset`` on, then call ``done`` on the event loop."""
        assert not self._discarded, f"{self.name} was discarded"
        ask(self._worker, lambda: self._read(offset, bytes_max), done)

    def discard(self) -> None:
        """Delete it, after what was asked for so far, and before the worker is closed. Twice is
        once.
        """
        if not self._discarded:
            self._discarded = True
            ask(self._worker, self._delete, _ignore)

    def _read(self, offset: int, bytes_max: int) -> Chunk:
        data = self._file.read(offset, bytes_max)
        return Chunk(offset, data, crc32(data))

    def _delete(self) -> None:
        self._file.close()
        self._disk.remove(self.name)


def copied(disk: Disk, name: str, source: apsw.Connection, worker: Worker) -> Work[SnapshotFile]:
    """Copy the state that ``source`` writes to the new file ``name``. What fails leaves no file.

    Raises:
        StorageFull: no space is left for a copy.
        StorageCorrupt: the state cannot be read.
        StoragePoisoned: the copy cannot be written; the state itself is none the worse for it.
    """
    remove_database(disk, name)
    where = f"{disk.describe()}/{name}"
    file = None
    try:
        target: apsw.Connection = disk.connect(name)
        try:
            with translated(where):
                # Nobody needs the copy after a crash.
                for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = OFF", "synchronous = 0"):
                    target.execute(f"PRAGMA {pragma}").fetchall()
                with target.backup("main", source, "main") as backup:
                    while not backup.step(STEP_PAGES):
                        yield
                index = applied_index_of(target, where)
        finally:
            target.close()
        file = disk.open(name)
        size_bytes = file.size_bytes()
        digest = yield from digest_of(file, size_bytes)
    except BaseException:
        if file is not None:
            file.close()
        remove_database(disk, name)
        raise
    return SnapshotFile(disk, name, Image(index, size_bytes, digest), file, worker)


def digest_of(file: File, size_bytes: int) -> Work[bytes]:
    """The digest of the first ``size_bytes`` of a file."""
    digest = blake2b(digest_size=DIGEST_BYTES)
    for offset in range(0, size_bytes, SLICE_BYTES):
        yield
        digest.update(file.read(offset, min(SLICE_BYTES, size_bytes - offset)))
    return digest.digest()


def applied_index_of(connection: apsw.Connection, where: str) -> int:
    """The index that a state file says it is the state at.

    Raises:
        StorageCorrupt: it does not say.
    """
    found: list[Any] = connection.execute("SELECT idx FROM applied_index").fetchall()
    match found:
        case [(int(index),)]:
            return index
    raise StorageCorrupt(f"{where} does not say which index it is the state at: {KEEP}")


def _ignore(_outcome: object) -> None:
    """What cannot be deleted now will be at the next start."""
