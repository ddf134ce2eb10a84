"""A device for tests: real files, but it records what reaches them, and fails when told to.

What was recorded can be turned into *crash images*: what the files hold if the power fails at some
point. Everything synced is there; of the rest every 512-byte sector is there or not, by chance.
"""

# ruff: noqa: N802  # the names of the methods are those of SQLite

import itertools
from contextlib import contextmanager
from pathlib import Path

import apsw
from attrs import Factory, define, frozen

SECTOR_BYTES = 512
_NUMBERS = itertools.count(1)


@frozen
class Wrote:
    file: str
    offset: int
    data: bytes


@frozen
class Truncated:
    file: str
    size: int


@frozen
class Synced:
    file: str


@frozen
class Deleted:
    file: str


@frozen
class Mark:
    """What the test has been promised at this point."""

    value: object


@define
class Device:
    """What to fail from now on, and what happened so far."""

    fail_sync: str = ""  # a file whose name ends so cannot be synced
    full: str = ""  # a file whose name ends so cannot grow
    readonly: str = ""  # a file whose name ends so belongs to somebody else
    happened: list = Factory(list)

    def mark(self, value):
        self.happened.append(Mark(value))


class _File(apsw.VFSFile):
    def __init__(self, device, name, flags):
        self._device = device
        self._name = Path(name.filename() if isinstance(name, apsw.URIFilename) else name).name
        super().__init__("", name, flags)
        if device.readonly and self._name.endswith(device.readonly):
            flags[1] |= apsw.SQLITE_OPEN_READONLY

    def xWrite(self, data, offset):
        device = self._device
        if (
            device.full
            and self._name.endswith(device.full)
            and offset + len(data) > self.xFileSize()
        ):
            raise apsw.exception_for(apsw.SQLITE_FULL)
        device.happened.append(Wrote(self._name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size):
        self._device.happened.append(Truncated(self._name, size))
        super().xTruncate(size)

    def xSync(self, flags):
        if self._device.fail_sync and self._name.endswith(self._device.fail_sync):
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
        # The real device is not asked: images are made from the record, and tests stay fast.
        self._device.happened.append(Synced(self._name))


class FaultyVFS(apsw.VFS):
    """Opens the files of SQLite's own VFS, with a ``Device`` in between."""

    def __init__(self, device):
        self.device = device
        self.vfs_name = f"faulty-{next(_NUMBERS)}"
        super().__init__(self.vfs_name, "")

    def xOpen(self, name, flags):
        return _File(self.device, name, flags)

    def xDelete(self, name, sync):
        self.device.happened.append(Deleted(Path(name).name))
        super().xDelete(name, sync)


@contextmanager
def faulty_vfs():
    """A registered device, as (device, name of its VFS)."""
    vfs = FaultyVFS(Device())
    try:
        yield vfs.device, vfs.vfs_name
    finally:
        vfs.unregister()


def crash_image(happened, length, random):
    """name -> bytes of every file, if the power fails after the first ``length`` happenings.

    ``random`` chooses what of the unsynced survives; None keeps all, as a killed process does.
    """
    synced, current = {}, {}
    unsynced = {}
    for event in happened[:length]:
        match event:
            case Wrote(file, offset, data):
                _write(current.setdefault(file, bytearray()), offset, data)
                unsynced.setdefault(file, []).append((offset, data))
            case Truncated(file, size):
                # Directory entries and sizes are taken to be journalled by the file system.
                for content in (current, synced):
                    content[file] = content.get(file, bytearray())[:size]
            case Synced(file):
                synced[file] = bytearray(current.get(file, b""))
                unsynced[file] = []
            case Deleted(file):
                for content in (current, synced, unsynced):
                    content.pop(file, None)
            case Mark():
                pass
    if random is None:
        return {name: bytes(content) for name, content in current.items()}
    chance = random.choice((0.0, 0.5, 0.99, 1.0))
    image = {name: bytearray(synced.get(name, b"")) for name in current}
    for name, writes in unsynced.items():
        for offset, data in writes:
            for start in _sectors(offset, len(data)):
                if random.random() < chance:
                    low, high = max(start, offset), min(start + SECTOR_BYTES, offset + len(data))
                    _write(image[name], low, data[low - offset : high - offset])
    return {name: bytes(content) for name, content in image.items()}


def _sectors(offset, size):
    return range(offset - offset % SECTOR_BYTES, offset + size, SECTOR_BYTES)


def _write(content, offset, data):
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data
