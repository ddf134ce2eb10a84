"""Where on a node's disk a wrong bit matters, and ought to be noticed.

Damage of a bit here shall end in ``StorageCorrupt``, or do no harm::

    log.db-wal   header | transaction | ... | transaction | the last one | stale
                 <-------------- chosen from -------------> <-- not chosen -->
    log.db       every byte that is not zero: what is unused in a page is zero

The last transaction of a WAL cannot be told from one that a power cut has torn, so nobody could
blame an engine that drops it (``flowactor.storage.wal_check``). What is not synced may be lost
anyway.
"""

import re
import struct
from collections.abc import Mapping
from typing import Final

from flowactor.simulation.disk.sectors import SectorFile
from flowactor.storage.file_names import LOG_FILE

__all__ = ["WAL_FILE", "guarded_place"]

WAL_FILE: Final = f"{LOG_FILE}-wal"
HEADER_BYTES: Final = 32
FRAME_HEADER_BYTES: Final = 24
_USED: Final = re.compile(rb"[^\0]")


def guarded_place(files: Mapping[str, SectorFile], place: float) -> tuple[str, int, int] | None:
    """Name, offset and bit that ``place`` (at least 0, less than 1) chooses; None if it cannot."""
    spans = [
        (name, size)
        for name, size in ((WAL_FILE, _guarded_wal_bytes(files)), (LOG_FILE, _size(files)))
        if size
    ]
    bits = int(place * 8 * sum(size for _, size in spans))
    for name, size in spans:
        if bits < 8 * size:
            offset = bits // 8
            if name == LOG_FILE:
                offset = _next_used(files[name].content, offset)
            return (name, offset, bits % 8) if files[name].is_durable(offset) else None
        bits -= 8 * size
    return None


def _size(files: Mapping[str, SectorFile]) -> int:
    return len(files[LOG_FILE].content) if LOG_FILE in files else 0


def _guarded_wal_bytes(files: Mapping[str, SectorFile]) -> int:
    """How many bytes of the WAL come before its last transaction."""
    if WAL_FILE not in files or len(files[WAL_FILE].content) < HEADER_BYTES:
        return 0
    content = files[WAL_FILE].content
    page_bytes: int = struct.unpack_from(">I", content, 8)[0]
    salts, frame_bytes = content[16:24], FRAME_HEADER_BYTES + page_bytes
    ends = [0, 0]
    for frame in range(HEADER_BYTES, len(content) - frame_bytes + 1, frame_bytes):
        if content[frame + 8 : frame + 16] != salts:
            break
        is_commit = content[frame + 4 : frame + 8] != bytes(4)
        if is_commit:
            ends.append(frame + frame_bytes)
    return ends[-2]


def _next_used(content: bytearray, offset: int) -> int:
    found = _USED.search(content, offset) or _USED.search(content)
    return found.start() if found else offset
