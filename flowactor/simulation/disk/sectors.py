"""The content of one file, and what a power cut could take back of it, sector by sector."""

from random import Random
from typing import Final

from attrs import define, field

__all__ = ["SECTOR_BYTES", "SectorFile"]

SECTOR_BYTES: Final = 512
"""What a device writes whole or not at all."""


@define(eq=False)
class SectorFile:
    """A file that knows, of each sector that is not durable, what the device holds in its place.

    A write notes what it replaces in one piece: most are synced soon, and the note is thrown away.
    Only who wants to know sorts the notes by sector.

    Attributes:
        content: what a process reads.
        durable_bytes: the size that is durable for certain.
    """

    content: bytearray = field(factory=bytearray)
    durable_bytes: int = 0
    _replaced: list[tuple[int, bytes]] = field(factory=list)
    """(first sector, what was there) of each write since the last sync, oldest first."""
    _dirty: dict[int, bytes] = field(factory=dict)
    """The same by sector, as far as sorted: what the device holds."""
    _forsaken: dict[int, bytes] = field(factory=dict)
    """Sectors whose sync has failed: the kernel takes them for clean, so no later sync reaches them
    before they are written anew."""

    def copy(self) -> "SectorFile":
        """The same, from now on apart."""
        return SectorFile(
            self.content[:],
            self.durable_bytes,
            self._replaced.copy(),
            self._dirty.copy(),
            self._forsaken.copy(),
        )

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Replace, or append, or leave a gap of zeros."""
        content = self.content
        end = offset + len(data)
        if offset > len(content):
            content.extend(bytes(offset - len(content)))
        first = offset // SECTOR_BYTES
        stop = -(-end // SECTOR_BYTES)
        # As long as the sectors are, even where the file ends before them.
        before = bytes(content[first * SECTOR_BYTES : stop * SECTOR_BYTES])
        self._replaced.append((first, before.ljust((stop - first) * SECTOR_BYTES, b"\0")))
        content[offset:end] = data

    def truncate(self, size: int) -> None:
        """Cut or extend with zeros. The file system keeps a journal of sizes: this is durable."""
        content = self.content
        if size > len(content):
            content.extend(bytes(size - len(content)))
        del content[size:]
        self.durable_bytes = size
        last, kept = divmod(size, SECTOR_BYTES)
        for unsynced in (self._sorted(), self._forsaken):
            for sector in [sector for sector in unsynced if sector * SECTOR_BYTES >= size]:
                del unsynced[sector]
            if last in unsynced:
                unsynced[last] = unsynced[last][:kept].ljust(SECTOR_BYTES, b"\0")

    def sync(self) -> None:
        """Make durable what was written since the last sync, or since the last that failed."""
        if self._forsaken:
            for sector in self._sorted():
                self._forsaken.pop(sector, None)
        self._replaced.clear()
        self._dirty.clear()
        self.durable_bytes = len(self.content)

    def fail_sync(self) -> None:
        """A sync that reports an error. What it should have written is forgotten, not retried."""
        self._forsaken = self._sorted() | self._forsaken
        self._dirty = {}

    def is_durable(self, offset: int) -> bool:
        """Whether the byte there would survive a power cut for certain."""
        sector = offset // SECTOR_BYTES
        return sector not in self._sorted() and sector not in self._forsaken

    def cut_power(self, chance: Random) -> int:
        """Each sector that is not durable becomes what it was, or not; the count of those that did.

        A file that has grown ends after the last sector that was written, or keeps its new size.
        """
        odds, lost, end = chance.choice((0.0, 0.5, 0.99, 1.0)), 0, self.durable_bytes
        for sector, durable in (self._sorted() | self._forsaken).items():
            start = sector * SECTOR_BYTES
            stop = min(start + SECTOR_BYTES, len(self.content))
            if chance.random() < odds:
                end = max(end, stop)
            else:
                self.content[start:stop] = durable[: stop - start]
                lost += 1
        if chance.random() < 0.5:
            del self.content[end:]
        self._dirty.clear()
        self._forsaken.clear()
        self.durable_bytes = len(self.content)
        return lost

    def _sorted(self) -> dict[int, bytes]:
        """Sector -> what the device holds: of several notes the oldest."""
        dirty = self._dirty
        for first, before in self._replaced:
            for start in range(0, len(before), SECTOR_BYTES):
                dirty.setdefault(
                    first + start // SECTOR_BYTES, before[start : start + SECTOR_BYTES]
                )
        self._replaced.clear()
        return dirty
