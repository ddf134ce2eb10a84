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
    magic, _, page_bytes = struct.unpack_from(">III", header)
    order = ">" if magic == _BIG_ENDIAN_MAGIC else "<"
    if _checksum(header[:24], (0, 0), order) != struct.unpack_from(">II", header, 24):
        # The header is synced before the first frame is written, so a frame needs a good header.
        return 1 if size_bytes >= HEADER_BYTES + FRAME_HEADER_BYTES + PAGE_BYTES else None
    frame_bytes = FRAME_HEADER_BYTES + page_bytes
    salts = header[16:24]

    def frame(number: int) -> bytes:
        return read(HEADER_BYTES + (number - 1) * frame_bytes, frame_bytes)

    before = header if frames_replayed == 0 else frame(frames_replayed)[:FRAME_HEADER_BYTES]
    sums: _Sums = struct.unpack_from(">II", before, len(before) - 8)
    for number in range(frames_replayed + 1, (size_bytes - HEADER_BYTES) // frame_bytes):
        this = frame(number)
        stored: _Sums = struct.unpack_from(">II", this, 16)
        is_commit = this[4:8] != bytes(4)
        following = frame(number + 1)
        if is_commit and following[8:16] == salts:
            # The damage may be in the commit frame's checksum: what it should be also counts.
            proofs = (stored, _checksum(this[:8] + this[FRAME_HEADER_BYTES:], sums, order))
            content = following[:8] + following[FRAME_HEADER_BYTES:]
            claimed = struct.unpack_from(">II", following, 16)
            if any(_checksum(content, proof, order) == claimed for proof in proofs):
                return number
        sums = stored
    return None


def _checksum(content: bytes, sums: _Sums, order: str) -> _Sums:
    """SQLite's running checksum over 32-bit words, continued from ``sums``."""
    first, second = sums
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
