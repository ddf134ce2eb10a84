"""The content of one file, and what a power cut could take back of it, sector by sector."""

from itertools import chain
from random import Random
from typing import Final

from attrs import define, field

__all__ = ["SECTOR_BYTES", "SectorFile"]

SECTOR_BYTES: Final = 512
"""What a device writes whole or not at all."""


@define(eq=False)
class SectorFile:
    """Attributes:
    content: what a process reads.
    dirty: sector -> what it holds durably (short at the end of the file); the next sync clears it.
    forsaken: as ``dirty``, of sectors whose sync has failed: the kernel takes them for clean, so no
        later sync reaches them before they are written anew.
    durable_bytes: the size that is durable for certain.
    """

    content: bytearray = field(factory=bytearray)
    dirty: dict[int, bytes] = field(factory=dict)
    forsaken: dict[int, bytes] = field(factory=dict)
    durable_bytes: int = 0

    def copy(self) -> "SectorFile":
        """The same, from now on apart."""
        return SectorFile(
            self.content[:], self.dirty.copy(), self.forsaken.copy(), self.durable_bytes
        )

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Replace, or append, or leave a gap of zeros."""
        content, dirty = self.content, self.dirty
        end = offset + len(data)
        if offset > len(content):
            content.extend(bytes(offset - len(content)))
        for sector in range(offset // SECTOR_BYTES, -(-end // SECTOR_BYTES)):
            if sector not in dirty:
                if sector in self.forsaken:
                    dirty[sector] = self.forsaken.pop(sector)
                else:
                    start = sector * SECTOR_BYTES
                    dirty[sector] = bytes(content[start : start + SECTOR_BYTES])
        content[offset:end] = data

    def truncate(self, size: int) -> None:
        """Cut or extend with zeros. The file system keeps a journal of sizes: this is durable."""
        content = self.content
        if size > len(content):
            content.extend(bytes(size - len(content)))
        del content[size:]
        self.durable_bytes = size
        for unsynced in (self.dirty, self.forsaken):
            for sector in [sector for sector in unsynced if sector * SECTOR_BYTES >= size]:
                del unsynced[sector]
            last = size // SECTOR_BYTES
            if last in unsynced:
                unsynced[last] = unsynced[last][: size % SECTOR_BYTES]

    def sync(self) -> None:
        """Make durable what was written since the last sync, or since the last that failed."""
        self.dirty.clear()
        self.durable_bytes = len(self.content)

    def fail_sync(self) -> None:
        """A sync that reports an error. What it should have written is forgotten, not retried."""
        self.forsaken |= self.dirty
        self.dirty.clear()

    def cut_power(self, random: Random) -> int:
        """Each sector that is not durable becomes what it was, or not; the count of those that did.

        A file that has grown ends after the last sector that was written, or keeps its new size.
        """
        odds, lost, end = random.choice((0.0, 0.5, 0.99, 1.0)), 0, self.durable_bytes
        for sector, durable in chain(self.dirty.items(), self.forsaken.items()):
            start = sector * SECTOR_BYTES
            stop = min(start + SECTOR_BYTES, len(self.content))
            if random.random() < odds:
                end = max(end, stop)
            else:
                self.content[start:stop] = durable.ljust(stop - start, b"\0")
                lost += 1
        if random.random() < 0.5:
            del self.content[end:]
        self.dirty.clear()
        self.forsaken.clear()
        self.durable_bytes = len(self.content)
        return lost
