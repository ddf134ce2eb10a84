"""Many messages in one frame: a CBOR array of records that were encoded before, each only once."""

import types
from collections.abc import Sequence
from typing import Any, Final

from flowactor.codec import records
from flowactor.errors import MalformedDataError
from flowactor.limits import FRAME_BYTES_MAX, FRAME_BYTES_TARGET, FRAME_MESSAGES_MAX

__all__ = ["pack", "unpack"]

ARRAY: Final = 0x80
"""CBOR's major type 4, in the top three bits of a head; the rest tells where the count is."""
COUNT_BYTES: Final = {24: 1, 25: 2, 26: 4, 27: 8}


def pack(messages: Sequence[bytes], bytes_target: int = FRAME_BYTES_TARGET) -> list[bytes]:
    """Encoded records as frames, in order; a frame takes no more once it holds ``bytes_target``.

    Every message must itself be smaller than ``FRAME_BYTES_MAX``: the limits of payloads see to it.
    """
    frames: list[bytes] = []
    batch: list[bytes] = []
    size = 0
    for message in messages:
        if batch and (size + len(message) > bytes_target or len(batch) == FRAME_MESSAGES_MAX):
            frames.append(records.join(batch))
            batch, size = [], 0
        batch.append(message)
        size += len(message)
    if batch:
        frames.append(records.join(batch))
    return frames


def unpack(frame: bytes, kinds: type | types.UnionType | tuple[type, ...]) -> list[Any]:
    """The records in a frame, in order; each is an instance of ``kinds``.

    A lie about the count costs nothing: it is compared with what can be there before any decoding.

    Raises:
        MalformedDataError: anything else than that, or a limit exceeded.
    """
    if len(frame) > FRAME_BYTES_MAX:
        raise MalformedDataError(f"a frame of {len(frame)} bytes, the limit is {FRAME_BYTES_MAX}")
    _check_count(frame)
    items = []
    for plain in records.decode_plain(frame):
        item = records.from_plain(plain)
        if not isinstance(item, kinds):
            raise MalformedDataError(f"a {type(item).__name__} does not belong into this frame")
        items.append(item)
    return items


def _check_count(frame: bytes) -> None:
    head = frame[0] if frame else 0
    info = head & 0x1F
    if head & 0xE0 != ARRAY or (info >= 24 and info not in COUNT_BYTES):
        raise MalformedDataError("a frame that is no array of messages")
    count = info
    if info >= 24:
        count = int.from_bytes(frame[1 : 1 + COUNT_BYTES[info]])
    if count > FRAME_MESSAGES_MAX or count > len(frame):
        raise MalformedDataError(f"a frame of {len(frame)} bytes claims to hold {count} messages")
