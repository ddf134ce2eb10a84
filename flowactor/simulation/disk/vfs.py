"""SQLite's door to a simulated device: a VFS without a file system beneath it.

It has no shared memory, so a file has one connection, in ``locking_mode = EXCLUSIVE``.
"""

# ruff: noqa: N802  # the names of the methods are those of SQLite

from itertools import count
from random import Random
from typing import Any, Final

import apsw

from flowactor.ports import Clock
from flowactor.simulation.disk.device import Device, DeviceFull, SyncFailed
from flowactor.simulation.disk.sectors import SectorFile

__all__ = ["SimulatedVFS", "seed_sqlite"]

SECTOR_BYTES_SAID: Final = 4096
"""What SQLite is told on real disks: the sectors of the device are smaller, and unaligned."""
CHARACTERISTICS: Final = apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE | apsw.SQLITE_IOCAP_SUBPAGE_READ
"""As SQLite's own VFS says: a write leaves bytes beside it alone, even if the power fails."""
JULIAN_EPOCH_MS: Final = 210_866_760_000_000
"""1970-01-01 in milliseconds of Julian days."""
DAY_MS: Final = 86_400_000
MILLISECOND_NS: Final = 1_000_000


class _OpenFile:
    """One open file, as apsw asks for it: a class of its own base would call back into C."""

    __slots__ = ("_content", "_device", "_file", "_locks", "level")

    def __init__(
        self, device: Device, file: SectorFile, locks: "dict[SectorFile, _OpenFile]"
    ) -> None:
        self._device = device
        self._file = file
        self._content = file.content
        self._locks = locks
        self.level = apsw.SQLITE_LOCK_NONE

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self._content[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        try:
            self._device.write(self._file, data, offset)
        except DeviceFull:
            raise apsw.exception_for(apsw.SQLITE_FULL) from None

    def xTruncate(self, size: int) -> None:
        self._device.truncate(self._file, size)

    def xSync(self, _flags: int) -> None:
        try:
            self._device.sync(self._file)
        except SyncFailed:
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC) from None

    def xFileSize(self) -> int:
        return len(self._content)

    def xLock(self, level: int) -> None:
        if self._locks.setdefault(self._file, self) is not self:
            raise apsw.exception_for(apsw.SQLITE_BUSY)
        self.level = level

    def xUnlock(self, level: int) -> None:
        self.level = level
        if level == apsw.SQLITE_LOCK_NONE and self._locks.get(self._file) is self:
            del self._locks[self._file]

    def xCheckReservedLock(self) -> bool:
        # A journal is hot if nobody who may have made it is left; a reader's lock does not count.
        holder = self._locks.get(self._file)
        return holder is not None and holder.level >= apsw.SQLITE_LOCK_RESERVED

    def xFileControl(self, _operation: int, _pointer: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return SECTOR_BYTES_SAID

    def xDeviceCharacteristics(self) -> int:
        return CHARACTERISTICS

    def xClose(self) -> None:
        self.xUnlock(apsw.SQLITE_LOCK_NONE)


class SimulatedVFS(apsw.VFS):
    """Registered under ``vfs_name`` until ``unregister``, or until nobody has it any more.

    Args:
        device: where the files are.
        clock: what SQLite takes for the time.
    """

    def __init__(self, device: Device, clock: Clock) -> None:
        self._device: Final = device
        self._clock: Final = clock
        self._locks: Final[dict[SectorFile, _OpenFile]] = {}
        taken = apsw.vfs_names()
        names = (f"simulated-{number}" for number in count(1))
        self.vfs_name: Final = next(name for name in names if name not in taken)
        super().__init__(self.vfs_name, None)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> Any:
        if name is None:
            return _OpenFile(self._device, SectorFile(), self._locks)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path not in self._device.files and not flags[0] & apsw.SQLITE_OPEN_CREATE:
            raise apsw.exception_for(apsw.SQLITE_CANTOPEN)
        flags[1] = flags[0]
        return _OpenFile(self._device, self._device.open(path), self._locks)

    def xDelete(self, name: str, _sync_directory: bool) -> None:
        if name not in self._device.files:
            raise apsw.exception_for(apsw.SQLITE_IOERR_DELETE_NOENT)
        self._device.delete(name)

    def xAccess(self, name: str, _flags: int) -> bool:
        # As on real disks a file of no bytes is taken for one that is not there.
        return name in self._device.files and bool(self._device.files[name].content)

    def xFullPathname(self, name: str) -> str:
        return name

    def xSleep(self, microseconds: int) -> int:
        return microseconds

    def xCurrentTimeInt64(self) -> int:
        return JULIAN_EPOCH_MS + self._clock.now_ns() // MILLISECOND_NS

    def xCurrentTime(self) -> float:
        return self.xCurrentTimeInt64() / DAY_MS

    def xGetLastError(self) -> tuple[int, str]:
        return 0, ""


class _Chance(apsw.VFS):
    """Stands first among all VFSes for a moment: only the first is asked for entropy."""

    def __init__(self, seed: int) -> None:
        self._random: Final = Random(seed)
        super().__init__("simulated-chance", None, makedefault=True)

    def xRandomness(self, size: int) -> bytes:
        return self._random.randbytes(size)


def seed_sqlite(seed: int) -> None:
    """Seed SQLite's generator, from which the salts of a WAL come.

    There is one for the whole process, whatever VFS a connection has, and it outlives simulations.
    So it is seeded whenever a simulated process opens a file: what came before does not matter.
    """
    chance = _Chance(seed)
    try:
        apsw.randomness(0)
        apsw.randomness(1)
    finally:
        chance.unregister()
