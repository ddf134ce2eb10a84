"""The block device of one machine: files by name, and everything that can go wrong with them."""

from collections.abc import Callable
from hashlib import blake2b
from random import Random
from typing import Final

from attrs import define, evolve

from flowactor.simulation.disk.damage import WAL_FILE, guarded_place
from flowactor.simulation.disk.pace import Pace
from flowactor.simulation.disk.sectors import SECTOR_BYTES, SectorFile

__all__ = ["Device", "DeviceFull", "Statistics", "SyncFailed"]

STRIKE_DOUBLINGS: Final = (4, 4, 10)
"""A crash in the midst of work strikes after less than 2 ** (one of these) operations of the
device, few of them as likely as many: within a group commit mostly, sometimes in a checkpoint."""


class DeviceFull(OSError):
    """There is no room for a file to grow."""


class SyncFailed(OSError):
    """What was to be synced may or may not be durable."""


@define
class Statistics:
    """What a device did, over all lives of its machine.

    Attributes:
        writes, bytes_written, syncs: as asked for by processes that lived.
        syncs_failed: syncs that reported an error.
        power_cuts, sectors_lost: by power cuts, the sectors that they took back.
        damaged: bits flipped and sectors misdirected.
    """

    writes: int = 0
    bytes_written: int = 0
    syncs: int = 0
    syncs_failed: int = 0
    power_cuts: int = 0
    sectors_lost: int = 0
    damaged: int = 0


class Device:
    """What one life of a machine finds and leaves; ``after_crash`` makes that of the next.

    Sectors of 512 bytes are written whole or not at all. A sector that was written several times
    since its last sync survives a power cut in its last form or in the synced one. That a file
    exists, and what it was truncated to, is journalled by the file system, and so durable at once.

    Args:
        random: decides what power cuts take, and every latency.

    Attributes:
        full: nothing may grow; what exists can be overwritten.
        failing_syncs: how many of the next syncs fail; a negative number: all of them.
        pace: how long jobs take.
        in_use: a process has it open.
    """

    def __init__(self, random: Random) -> None:
        self.files: Final[dict[str, SectorFile]] = {}
        self.full = False
        self.failing_syncs = 0
        self.pace = Pace(random)
        self.statistics = Statistics()
        self.in_use = False
        self._random = random
        self._misdirected_place: float | None = None
        self._operations_until_strike = 0
        self._struck: Device | None = None

    # -- what processes do ------------------------------------------------------------------------

    def open(self, name: str) -> SectorFile:
        """The file of this name, made if need be. Who has it may use it after its deletion."""
        file = self.files.get(name)
        if file is None:
            file = self.files[name] = SectorFile()
            self._operated()
        return file

    def write(self, file: SectorFile, data: bytes | memoryview, offset: int) -> None:
        """Write; durable after the next ``sync``, perhaps before.

        Raises:
            DeviceFull: the file would have to grow.
        """
        if self.full and offset + len(data) > len(file.content):
            raise DeviceFull
        if self._misdirected_place is not None and len(data) >= 2 * SECTOR_BYTES:
            self._misdirect(file, data, offset, self._misdirected_place)
        else:
            file.write(data, offset)
        self.statistics.writes += 1
        self.statistics.bytes_written += len(data)
        self._operated()

    def truncate(self, file: SectorFile, size: int) -> None:
        """Cut the file to ``size`` bytes, or extend it with zeros."""
        file.truncate(size)
        self._operated()

    def sync(self, file: SectorFile) -> None:
        """Make durable what was written to the file.

        Raises:
            SyncFailed: and no later sync makes up for it.
        """
        self.statistics.syncs += 1
        if self.failing_syncs:
            self.failing_syncs -= self.failing_syncs > 0
            self.statistics.syncs_failed += 1
            file.fail_sync()
            raise SyncFailed
        file.sync()
        self._operated()

    def delete(self, name: str) -> None:
        """Remove a file that exists."""
        del self.files[name]
        self._operated()

    # -- what happens to them ---------------------------------------------------------------------

    def after_crash(self, *, power_cut: bool, dying: Callable[[], None] | None = None) -> "Device":
        """The device as the next life of the machine finds it; faults and statistics go with it.

        This one is left to the process that dies: whatever that still does works, and is lost.

        Args:
            power_cut: what is not synced survives or not, sector by sector; else all of it does.
            dying: does what was under way. The crash strikes somewhere in its midst.
        """
        doublings = self._random.random() * self._random.choice(STRIKE_DOUBLINGS)
        strike = int(2**doublings) - 1
        if dying is not None and strike:
            self._operations_until_strike = strike
            dying()
            self._operations_until_strike = 0
        survivor, self._struck = self._struck or self.copy(self._random), None
        self.full, self.failing_syncs, self._misdirected_place = False, 0, None
        random, self._random = self._random, Random(0)
        if power_cut:
            survivor.statistics.power_cuts += 1
            for file in survivor.files.values():
                survivor.statistics.sectors_lost += file.cut_power(random)
        return survivor

    def flip_bit(self, place: float) -> tuple[str, int] | None:
        """Change one bit of the log that was synced; ``place`` (at least 0, less than 1) chooses.

        Where no engine could notice, nothing is changed: see ``damage``. Returns the file and the
        offset of the byte, or None if it was not changed.
        """
        found = guarded_place(self.files, place)
        if found is not None:
            name, offset, bit = found
            self.files[name].content[offset] ^= 1 << bit
            self.statistics.damaged += 1
            return name, offset
        return None

    def misdirect_next_write(self, place: float) -> None:
        """One sector of the next page that is written to the log's WAL lands where another was,
        which ``place`` chooses as for ``flip_bit``. Where it belongs is what was there before.
        """
        self._misdirected_place = place

    def seed(self) -> int:
        """64 bits of the machine's chance, for whatever else needs some."""
        return self._random.getrandbits(64)

    # -- for those who look on --------------------------------------------------------------------

    def copy(self, random: Random) -> "Device":
        """The same, in nobody's use and from now on apart, with a fate drawn from ``random``."""
        copy = Device(random)
        copy.files.update((name, file.copy()) for name, file in self.files.items())
        copy.full, copy.failing_syncs, copy.pace = self.full, self.failing_syncs, self.pace
        copy.statistics = evolve(self.statistics)
        copy._misdirected_place = self._misdirected_place
        return copy

    def digest(self) -> str:
        """Of the names and contents of all files, 32 hexadecimal digits."""
        digest = blake2b(digest_size=16)
        for name, file in sorted(self.files.items()):
            digest.update(b"%s\0%d\0" % (name.encode(), len(file.content)))
            digest.update(file.content)
        return digest.hexdigest()

    # -- inside -----------------------------------------------------------------------------------

    def _operated(self) -> None:
        if self._operations_until_strike:
            self._operations_until_strike -= 1
            if not self._operations_until_strike:
                self._struck = self.copy(self._random)

    def _misdirect(
        self, file: SectorFile, data: bytes | memoryview, offset: int, place: float
    ) -> None:
        target = guarded_place(self.files, place)
        if target is None or file is not self.files.get(WAL_FILE):
            file.write(data, offset)
            return
        start = -(-offset // SECTOR_BYTES) * SECTOR_BYTES
        before = bytes(file.content[start : start + SECTOR_BYTES]).ljust(SECTOR_BYTES, b"\0")
        sector = data[start - offset :][:SECTOR_BYTES]
        file.write(data, offset)
        file.write(before, start)
        # The last sector that ends at the place or before: none beyond it may suffer.
        name, place_chosen, _ = target
        elsewhere = (max(place_chosen + 1, SECTOR_BYTES) // SECTOR_BYTES - 1) * SECTOR_BYTES
        self.files[name].write(sector, elsewhere)
        self._misdirected_place = None
        self.statistics.damaged += 1
