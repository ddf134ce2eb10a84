"""The codec of the engine's own facts: frozen attrs classes as compact, canonical CBOR arrays.

A class marked ``@record(tag)`` encodes as ``[tag, field, field, ...]`` in the order of its
definition, so equal records have equal bytes on every node (rule *canonical_bytes*). A record may
hold plain values (``None``, bool, int, float, str, bytes, enums, and tuples of those), other
records, unions of records, and tuples of records. Mappings and sets have no place in a record: a
tuple of pairs in a stated order says the same and has one encoding.

A tag is an address for ever. Fields may only be appended, and only with a default: a decoder
accepts fewer fields than it knows and refuses more, so a newer peer's fact is never half-read.
"""

import enum
import types
import typing
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final, TypeVar

import attrs
import cbor2

from flowactor.errors import MalformedDataError

__all__ = [
    "decode",
    "decode_plain",
    "encode",
    "encode_plain",
    "from_plain",
    "join",
    "record",
    "to_plain",
]

T = TypeVar("T")
Convert = Callable[[Any], Any]

_BY_TAG: Final[dict[int, "_Layout"]] = {}
_BY_CLASS: Final[dict[type, "_Layout"]] = {}


@attrs.define
class _Layout:
    """How one record class maps to an array; converters are resolved on first use."""

    tag: int
    cls: type
    names: tuple[str, ...]
    required: int
    get: Callable[[Any], tuple[Any, ...]]
    convert: list[tuple[int, Convert, Convert]] | None = None

    def resolve(self) -> list[tuple[int, Convert, Convert]]:
        if self.convert is None:
            hints = typing.get_type_hints(self.cls)
            pairs = [(index, _converters(hints[name])) for index, name in enumerate(self.names)]
            self.convert = [(index, *pair) for index, pair in pairs if pair is not None]
        return self.convert


def record(tag: int) -> Callable[[type[T]], type[T]]:
    """Register the attrs class below as a record with this tag (a positive integer, unique)."""

    def register(cls: type[T]) -> type[T]:
        fields = attrs.fields(cls)  # type: ignore[arg-type]  # the decorator sits on attrs classes
        names = tuple(field.name for field in fields)
        if tag in _BY_TAG and _BY_TAG[tag].cls.__qualname__ != cls.__qualname__:
            raise AssertionError(
                f"tag {tag} of {cls.__name__} belongs to {_BY_TAG[tag].cls.__name__}"
            )
        required = sum(field.default is attrs.NOTHING for field in fields)
        layout = _Layout(tag, cls, names, required, _getter(names))
        _BY_TAG[tag] = _BY_CLASS[cls] = layout
        return cls

    return register


def _getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if not names:
        return lambda _: ()
    if len(names) == 1:
        only = attrgetter(names[0])
        return lambda value: (only(value),)
    return attrgetter(*names)


def _converters(hint: Any) -> tuple[Convert, Convert] | None:
    """The (to plain, from plain) pair a field of this type needs, or None if it is plain
    already.
    """
    origin = typing.get_origin(hint)
    if origin is tuple:
        inner = typing.get_args(hint)
        if len(inner) == 2 and inner[1] is Ellipsis and (pair := _converters(inner[0])):
            down, up = pair
            return (lambda items: [down(x) for x in items]), (
                lambda items: tuple(up(x) for x in items)
            )
        return None
    if origin is typing.Union or isinstance(hint, types.UnionType):
        pairs = [pair for part in typing.get_args(hint) if (pair := _converters(part))]
        if not pairs:
            return None
        down, up = pairs[0] if len(pairs) == 1 else (to_plain, from_plain)
        return (
            lambda value: None if value is None else down(value),
            lambda value: None if value is None else up(value),
        )
    if isinstance(hint, type):
        if issubclass(hint, enum.Enum):
            return (lambda value: value.value), hint
        if hint in _BY_CLASS:
            return to_plain, from_plain
    return None


def to_plain(value: Any) -> tuple[Any, ...]:
    """The nested tuple that stands for a record.

    Raises:
        AssertionError: ``value`` is of no registered record class (a bug of flowactor's).
    """
    layout = _BY_CLASS.get(type(value))
    assert layout is not None, f"{type(value).__name__} is no record"
    values = layout.get(value)
    convert = layout.convert
    if convert is None:
        convert = layout.resolve()
    if not convert:
        return (layout.tag, *values)
    plain = list(values)
    for index, down, _ in convert:
        plain[index] = down(plain[index])
    return (layout.tag, *plain)


def from_plain(plain: Sequence[Any]) -> Any:
    """The record that a nested tuple stands for.

    Raises:
        MalformedDataError: not an array, an unknown tag, or a wrong number of fields.
    """
    layout = _BY_TAG.get(plain[0]) if type(plain) is tuple and plain else None
    if layout is None:
        raise MalformedDataError(
            f"no record has the tag {plain[:1]!r}" if isinstance(plain, tuple) else "not a record"
        )
    convert = layout.convert
    if convert is None:
        convert = layout.resolve()
    count = len(plain) - 1
    if not layout.required <= count <= len(layout.names):
        raise MalformedDataError(
            f"{layout.cls.__name__} has {len(layout.names)} fields, the data has {count}"
        )
    if not convert:
        return layout.cls(*plain[1:])
    values = list(plain[1:])
    index = 0
    try:
        for index, _, up in convert:
            if index < count:
                values[index] = up(values[index])
    except (TypeError, ValueError) as error:
        raise MalformedDataError(f"{layout.cls.__name__}.{layout.names[index]}: {error}") from error
    return layout.cls(*values)


def encode(value: Any) -> bytes:
    """The canonical bytes of a record."""
    return cbor2.dumps(to_plain(value))


def decode(data: bytes) -> Any:
    """The record in ``data``.

    Raises:
        MalformedDataError: the bytes are not exactly one well-formed record.
    """
    return from_plain(decode_plain(data))


def encode_plain(value: Any) -> bytes:
    """Canonical bytes of plain values; mappings are written in sorted order of their keys."""
    return cbor2.dumps(value, canonical=True)


def decode_plain(data: bytes) -> Any:
    """The plain value in ``data``; arrays come back as tuples, so the value is hashable and frozen.

    Raises:
        MalformedDataError: not CBOR, nested too deeply, or trailing bytes.
    """
    try:
        return cbor2.loads(data, immutable=True, max_depth=64)
    except Exception as error:
        # cbor2 raises its own errors, and ValueError, EOFError or RecursionError on hostile input.
        raise MalformedDataError(f"undecodable bytes: {error}") from error


def join(items: Sequence[bytes]) -> bytes:
    """One CBOR array of items that are encoded already, without decoding any of them."""
    count = len(items)
    if count < 24:
        head = bytes((0x80 | count,))
    elif count < 0x100:
        head = bytes((0x98, count))
    elif count < 0x10000:
        head = b"\x99" + count.to_bytes(2)
    else:
        head = b"\x9a" + count.to_bytes(4)
    return head + b"".join(items)
