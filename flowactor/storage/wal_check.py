"""Tell a torn tail of a write-ahead log from damage inside it (rule *torn_tail_vs_corruption*).

SQLite replays its WAL up to the first frame whose checksum is wrong and drops the rest. After a
power cut that is right: only the last transaction was not synced. But when a bit rots further up,
the same rule silently drops transactions that were acknowledged. What SQLite dropped is therefore
looked at once more here::

    header | frame | frame | commit | frame | commit | frame | commit |
                            ^ SQLite stopped here      ^ but this follows a commit: damage

Every frame's checksum continues its predecessor's, and a transaction is written only after the one
before it was synced. So a frame that continues a *commit* frame beyond the stop proves that what
SQLite dropped had been durable. The very last transaction cannot be judged by this; the commit
index in the hard state, and the applied index of the state, are what is left to miss it by.

What makes a frame a commit is the size of the database in its header, other than 0. That may be
what is wrong. But sums can be run backwards: they and the page tell what the header must have been.

The layout is SQLite's documented file format, section 4.
"""

import struct
from collections.abc import Callable
from typing import Final

__all__ = ["Reader", "lost_commit"]

Reader = Callable[[int, int], bytes]
"""(offset, size in bytes) -> what is there."""
_Sums = tuple[int, int]

HEADER_BYTES: Final = 32
FRAME_HEADER_BYTES: Final = 24
PAGE_BYTES: Final = 4096
"""What flowactor's files use; only a header too damaged to say so makes us rely on it."""
SECTOR_BYTES: Final = 512
"""What a disk writes whole or not at all, if not more."""
_PARTED_BYTES_MIN, _PARTED_BYTES_MAX = 8, 16
"""A frame's header holds page number and size, then salts, then the checksum: 8 bytes each."""
_BIG_ENDIAN_MAGIC: Final = 0x377F0683


def lost_commit(read: Reader, size_bytes: int, frames_replayed: int) -> int | None:
    """The number (from 1) of a durable frame that SQLite has dropped; None if there is none.

    Args:
        read: reads the WAL file.
        size_bytes: of that file.
        frames_replayed: how many frames SQLite took from it.
    """
    if size_bytes < HEADER_BYTES + FRAME_HEADER_BYTES:
        return None
    header = read(0, HEADER_BYTES)
    magic: int
    page_bytes: int
    magic, _, page_bytes = struct.unpack_from(">III", header)
    order = ">" if magic == _BIG_ENDIAN_MAGIC else "<"
    if _checksum(header[:24], (0, 0), order) != struct.unpack_from(">II", header, 24):
        # The header is synced before the first frame is written, so a frame needs a good header.
        return 1 if size_bytes >= HEADER_BYTES + FRAME_HEADER_BYTES + PAGE_BYTES else None
    frame_bytes = FRAME_HEADER_BYTES + page_bytes
    salts = header[16:24]

    def start(number: int) -> int:
        return HEADER_BYTES + (number - 1) * frame_bytes

    def frame(number: int) -> bytes:
        return read(start(number), frame_bytes)

    before = header if frames_replayed == 0 else frame(frames_replayed)[:FRAME_HEADER_BYTES]
    sums: _Sums = struct.unpack_from(">II", before, len(before) - 8)
    for number in range(frames_replayed + 1, (size_bytes - HEADER_BYTES) // frame_bytes):
        this = frame(number)
        stored: _Sums = struct.unpack_from(">II", this, 16)
        following = frame(number + 1)
        may_be_old = _PARTED_BYTES_MIN <= -start(number) % SECTOR_BYTES <= _PARTED_BYTES_MAX
        if following[8:16] == salts and _is_commit(this, sums, stored, order, may_be_old):
            # The damage may be in the commit frame's checksum: what it should be also counts.
            proofs = (stored, _checksum(this[:8] + this[FRAME_HEADER_BYTES:], sums, order))
            content = following[:8] + following[FRAME_HEADER_BYTES:]
            claimed = struct.unpack_from(">II", following, 16)
            if any(_checksum(content, proof, order) == claimed for proof in proofs):
                return number
        sums = stored
    return None


def _is_commit(frame: bytes, sums: _Sums, stored: _Sums, order: str, may_be_old: bool) -> bool:
    """Whether the frame ended a transaction when it was written, as far as one can tell.

    ``may_be_old``: size and checksum are in two sectors, so a torn write may have left the size
    that was here before.
    """
    page, size = struct.unpack_from(">II", frame)
    page_meant, size_meant = _header_meant(frame[FRAME_HEADER_BYTES:], sums, stored, order)
    if size == 0:
        # One bit is missing from the size. If anything else differs, the page is not what it was.
        return page_meant == page and size_meant.bit_count() == 1
    return not (may_be_old and size_meant == 0)


def _header_meant(page: bytes, sums: _Sums, stored: _Sums, order: str) -> tuple[int, int]:
    """Page number and database size with which the sums lead to those stored in the frame."""
    first, second = stored
    words = struct.unpack(f"{order}{len(page) // 4}I", page)
    for even, odd in zip(words[-2::-2], words[::-2], strict=True):
        second = (second - odd - first) & 0xFFFFFFFF
        first = (first - even - second) & 0xFFFFFFFF
    even = (first - sums[0] - sums[1]) & 0xFFFFFFFF
    odd = (second - sums[1] - first) & 0xFFFFFFFF
    number, size = struct.unpack(">II", struct.pack(f"{order}II", even, odd))
    return number, size


def _checksum(content: bytes, sums: _Sums, order: str) -> _Sums:
    """SQLite's running checksum over 32-bit words, continued from ``sums``."""
    first, second = sums
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
