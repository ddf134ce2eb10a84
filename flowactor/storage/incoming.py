"""The state that a leader sends, as it arrives: checked chunk by chunk, and resumed after a crash.

It is written to where it will be needed, the state file of the group's next generation. A *receipt*
beside it says whose copy it is and lists the chunks with their checksums::

    image | chunk: offset, size, CRC-32, check | chunk ...

Whoever resumes reads the chunks back and goes on after the last that is what the receipt says, in
order: so it does not matter what a crash left of either file. What is read back is written again,
because a sync that failed in another process may have left pages that only look as if they were on
the disk (``connecting``).
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from struct import Struct
from typing import Any, Final, TypeVar
from zlib import crc32

from flowactor.errors import MalformedDataError, StorageCorrupt, StoragePoisoned, WorldError
from flowactor.identity import GroupId
from flowactor.ports import Disk, File, Worker
from flowactor.storage.connecting import connected
from flowactor.storage.faults import translated
from flowactor.storage.file_names import receipt_file, remove_database, state_file
from flowactor.storage.jobs import Slices, Work, ask
from flowactor.storage.snapshots import DIGEST_BYTES, Image, applied_index_of, digest_of

__all__ = ["IncomingSnapshot"]

SYNC_BYTES: Final = 8 * 1024 * 1024
"""What a power cut may cost of a transfer. More often, and syncs would be most of its time."""

_IMAGE: Final = Struct(f"<QQ{DIGEST_BYTES}s")
_CHUNK: Final = Struct("<QII")
_CHECK: Final = Struct("<I")
_HEADER_BYTES: Final = _IMAGE.size + _CHECK.size
_RECORD_BYTES: Final = _CHUNK.size + _CHECK.size
T = TypeVar("T")


class IncomingSnapshot:
    """What is received of a group's state. Called on the event loop; each ``done`` is called there
    once, and what blocks runs in ``worker``.

    ``begin``; once that is done, ``write_chunk`` until everything has arrived; then ``finish``;
    once that is done, ``Write.snapshot`` makes it the group's state. Chunks may follow each other
    without waiting. If nothing is under way, another ``begin`` starts anew.

    Args:
        disk: where.
        group: whose state it is to be.
        generation: the one after ``LogStore.generation``.
        worker: runs what blocks.
    """

    def __init__(self, disk: Disk, group: GroupId, generation: int, worker: Worker) -> None:
        assert generation > 0, "generation 0 began with an empty log"
        self._disk: Final = disk
        self._name: Final = state_file(group, generation)
        self._receipt_name: Final = receipt_file(group, generation)
        self._where: Final = f"{disk.describe()}/{self._name}"
        self._worker: Final = worker
        # What follows belongs to the worker.
        self._image: Image | None = None
        self._state: File | None = None
        self._receipt: File | None = None
        self._offset = self._chunks = self._unsynced_bytes = 0
        self._poison: StoragePoisoned | None = None

    def begin(self, image: Image, done: Callable[[int | WorldError], None]) -> None:
        """Receive this copy: ``done`` is told the offset to go on from, 0 if nothing of it is here.
        What is here of another copy is deleted.

        Errors: ``StorageFull``, ``StoragePoisoned``, ``StorageCorrupt``.
        """
        self._run(self._begin(image), done)

    def write_chunk(
        self, offset: int, data: bytes, checksum: int, done: Callable[[int | WorldError], None]
    ) -> None:
        """Take a chunk, with its CRC-32: ``done`` is told the offset that is wanted next.

        A chunk that is damaged, or is not the next one, changes nothing. So whatever happens to
        chunks on their way, the sender only has to send what is wanted.

        Errors: ``StorageFull`` (nothing changed, the same chunk may be sent again),
        ``StoragePoisoned``.
        """
        self._ask(lambda: self._write(offset, data, checksum), done)

    def finish(self, done: Callable[[WorldError | None], None]) -> None:
        """Make everything durable, when all of it has arrived, and check that it is the state it
        claims to be.

        Errors: ``MalformedDataError`` (it is not, and was deleted), ``StorageFull`` (nothing is
        lost: ``begin`` again, and go on from the end), ``StoragePoisoned``.
        """
        self._run(self._finish(), done)

    def discard(self, done: Callable[[WorldError | None], None]) -> None:
        """Delete what has arrived. Not after the ``Write.snapshot`` that made it the state."""
        self._ask(self._discard, done)

    def close(self) -> None:
        """Keep what has arrived for another time. Blocks; call it after the worker was closed."""
        for file in (self._state, self._receipt):
            if file is not None:
                file.close()
        self._state = self._receipt = self._image = None

    # -- in the worker ----------------------------------------------------------------------------

    def _run(self, work: Work[T], done: Callable[[Any], None]) -> None:
        def guarded() -> Work[T]:
            with self._guarded():
                return (yield from work)

        Slices(self._worker, guarded(), done).begin()

    def _ask(self, job: Callable[[], T], done: Callable[[Any], None]) -> None:
        def guarded() -> T:
            with self._guarded():
                return job()

        ask(self._worker, guarded, done)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """After the first failed sync nothing more is acknowledged."""
        if self._poison is not None:
            raise StoragePoisoned(
                f"{self._where} has failed before: {self._poison}"
            ) from self._poison
        try:
            yield
        except StoragePoisoned as error:
            self._poison = error
            raise

    def _begin(self, image: Image) -> Work[int]:
        self.close()
        self._offset = self._chunks = self._unsynced_bytes = 0
        header = _checked(_IMAGE.pack(image.index, image.size_bytes, image.digest))
        receipt = self._receipt = self._disk.open(self._receipt_name)
        if receipt.read(0, _HEADER_BYTES) == header:
            state = self._state = self._disk.open(self._name)
            yield from self._resume(receipt, state)
        else:
            self._discard()
            receipt = self._receipt = self._disk.open(self._receipt_name)
            self._state = self._disk.open(self._name)
            receipt.write(0, header)
        self._image = image
        return self._offset

    def _resume(self, receipt: File, state: File) -> Work[None]:
        while True:
            record = receipt.read(_HEADER_BYTES + self._chunks * _RECORD_BYTES, _RECORD_BYTES)
            if len(record) < _RECORD_BYTES or _checked(record[: _CHUNK.size]) != record:
                return
            offset, size_bytes, checksum = _CHUNK.unpack(record[: _CHUNK.size])
            data = state.read(offset, size_bytes)
            if offset != self._offset or len(data) < size_bytes or crc32(data) != checksum:
                return
            state.write(offset, data)
            self._count(data)
            yield

    def _write(self, offset: int, data: bytes, checksum: int) -> int:
        image, receipt, state = self._begun()
        fits = offset == self._offset and 0 < len(data) <= image.size_bytes - offset
        if fits and crc32(data) == checksum:
            state.write(offset, data)
            record = _checked(_CHUNK.pack(offset, len(data), checksum))
            receipt.write(_HEADER_BYTES + self._chunks * _RECORD_BYTES, record)
            self._count(data)
            if self._unsynced_bytes >= SYNC_BYTES:
                state.sync()
                receipt.sync()
                self._unsynced_bytes = 0
        return self._offset

    def _begun(self) -> tuple[Image, File, File]:
        image, receipt, state = self._image, self._receipt, self._state
        assert image is not None, "begin first"
        assert receipt is not None, "begin first"
        assert state is not None, "begin first"
        return image, receipt, state

    def _count(self, data: bytes) -> None:
        self._offset += len(data)
        self._unsynced_bytes += len(data)
        self._chunks += 1

    def _finish(self) -> Work[None]:
        image, receipt, state = self._begun()
        assert self._offset == image.size_bytes, "finish when everything has arrived"
        state.sync()
        receipt.sync()
        try:
            yield from self._verify(image, state)
        except MalformedDataError:
            self._discard()
            raise

    def _verify(self, image: Image, state: File) -> Work[None]:
        digest = yield from digest_of(state, image.size_bytes)
        if digest != image.digest or state.size_bytes() != image.size_bytes:
            raise MalformedDataError(f"{self._where} is not the copy that was announced")
        self.close()
        index = self._look_inside()
        if index != image.index:
            raise MalformedDataError(
                f"{self._where} is the state at {index}, {image.index} was announced"
            )

    def _look_inside(self) -> int:
        try:
            with closing(connected(self._disk, self._name)) as connection, translated(self._where):
                connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
                return applied_index_of(connection, self._where)
        except StorageCorrupt as error:
            raise MalformedDataError(f"{self._where} is not the state of a group") from error

    def _discard(self) -> None:
        self.close()
        self._offset = self._chunks = self._unsynced_bytes = 0
        # First what says that the other is worth keeping.
        self._disk.remove(self._receipt_name)
        remove_database(self._disk, self._name)


def _checked(data: bytes) -> bytes:
    return data + _CHECK.pack(crc32(data))
