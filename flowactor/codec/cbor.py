"""Reading exactly one CBOR item.

``cbor2.loads`` ignores what follows the item. Data with a tail would have many encodings, and a
torn or doubled message would pass, so both codecs read through here.
"""

import io
from typing import Any, Final

import cbor2

__all__ = ["load_one"]

_PAIR: Final = b"\x82"
_MARK: Final = b"one item"
_MARK_BYTES: Final = cbor2.dumps(_MARK)


def load_one(data: bytes, *, depth_max: int, immutable: bool = False) -> Any:
    """The one item in ``data``, nested no deeper than ``depth_max``.

    Raises:
        Exception: of many types (``cbor2`` raises its own, and ``ValueError``, ``EOFError`` or
            ``RecursionError`` on hostile input); callers turn all into their typed error.
    """
    if data.endswith(_MARK_BYTES):
        return _load_slowly(data, depth_max, immutable=immutable)
    # The item as the first half of a pair whose second half is known: three times faster than
    # asking a file object how far the decoder came.
    item, mark = cbor2.loads(
        _PAIR + data + _MARK_BYTES,
        max_depth=depth_max + 1,
        allow_duplicate_keys=False,
        immutable=immutable,
    )
    if mark != _MARK:
        raise ValueError("bytes follow the end of the item")
    return item


def _load_slowly(data: bytes, depth_max: int, *, immutable: bool) -> Any:
    file = io.BytesIO(data)
    item = cbor2.load(file, max_depth=depth_max, allow_duplicate_keys=False, immutable=immutable)
    if file.tell() != len(data):
        raise ValueError("bytes follow the end of the item")
    return item
