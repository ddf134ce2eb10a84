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

from flowactor.codec.cbor import load_one
from flowactor.errors import InvalidInput, MalformedDataError

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

_DEPTH_MAX: Final = 64
"""Records nest a handful deep; more is an attack on the decoder's stack."""

_PLAIN: Final = frozenset({int, str, bytes, bool, float, types.NoneType})

_KNOWN_MAX: Final = 1000
"""Values remembered of a class that recurs."""
_BY_TAG: Final[dict[int, "_Layout"]] = {}
_BY_CLASS: Final[dict[type, "_Layout"]] = {}


@attrs.define
class _Layout:
    """How one record class maps to an array; what depends on type hints is worked out on first use.

    ``flat`` says, field by field, which types may stand in the array itself; ``accepted`` remembers
    the combinations seen, so that the check of a usual record is one lookup.
    """

    tag: int
    cls: type
    names: tuple[str, ...]
    required: int
    get: Callable[[Any], tuple[Any, ...]]
    known: dict[tuple[Any, ...], Any] | None = None
    resolved: bool = False
    downs: list[tuple[int, Convert]] = attrs.Factory(list)
    ups: list[tuple[int, Convert]] = attrs.Factory(list)
    flat: list[frozenset[type]] = attrs.Factory(list)
    accepted: set[tuple[type, ...]] = attrs.Factory(set)

    def resolve(self) -> None:
        hints = typing.get_type_hints(self.cls)
        for index, name in enumerate(self.names):
            shape = _shape(hints[name])
            self.flat.append(shape.flat)
            if shape.down is not None:
                self.downs.append((index, shape.down))
            if shape.up is not None:
                self.ups.append((index, shape.up))
        self.resolved = True

    def accept(self, kinds: tuple[type, ...]) -> None:
        """Check the types of an array, its tag among them.

        Raises:
            TypeError: too few or too many, or one does not fit its field.
        """
        count = len(kinds) - 1
        if not self.required <= count <= len(self.names):
            raise TypeError(f"it has {len(self.names)} fields, {count} are given")
        for name, allowed, kind in zip(self.names, self.flat, kinds[1:], strict=False):
            if kind not in allowed:
                raise TypeError(f"{name}: it cannot be of type {kind.__name__}")
        self.accepted.add(kinds)

    def convert(self, plain: tuple[Any, ...], converts: list[tuple[int, Convert]]) -> list[Any]:
        """The fields of an array, some of them turned into something else.

        Raises:
            TypeError: one does not fit its field.
        """
        fields = list(plain[1:])
        count = len(fields)
        for index, convert in converts:
            if index < count:
                try:
                    fields[index] = convert(fields[index])
                except (TypeError, ValueError) as error:
                    raise TypeError(f"{self.names[index]}: {error}") from error
        return fields


def record(tag: int, *, recurs: bool = False) -> Callable[[type[T]], type[T]]:
    """Register the attrs class below as a record with this tag (a positive integer, unique).

    ``recurs`` marks small settings that come again and again with the same values: what was read
    once is remembered, and shared.
    """

    def register(cls: type[T]) -> type[T]:
        fields = attrs.fields(cls)  # type: ignore[arg-type]  # the decorator sits on attrs classes
        names = tuple(field.name for field in fields)
        if tag in _BY_TAG and _BY_TAG[tag].cls.__qualname__ != cls.__qualname__:
            raise AssertionError(
                f"tag {tag} of {cls.__name__} belongs to {_BY_TAG[tag].cls.__name__}"
            )
        required = sum(field.default is attrs.NOTHING for field in fields)
        known: dict[tuple[Any, ...], Any] | None = {} if recurs else None
        layout = _Layout(tag, cls, names, required, _getter(names), known)
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


@attrs.frozen
class _Shape:
    """A field's type: what stands in the array, and how it is turned into that and back, where that
    is not the value itself. Both also check what the type of the whole does not tell.
    """

    flat: frozenset[type]
    down: Convert | None = None
    up: Convert | None = None


def _shape(hint: Any) -> _Shape:
    hint = getattr(hint, "__supertype__", hint)
    origin = typing.get_origin(hint)
    if hint in _PLAIN:
        return _Shape(frozenset({hint}))
    if origin is tuple:
        return _tuple_shape(typing.get_args(hint))
    if origin is typing.Union or isinstance(hint, types.UnionType):
        return _union_shape(typing.get_args(hint))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        members = hint
        return _Shape(
            frozenset({type(member.value) for member in members}),
            lambda value: members(value).value,
            members,
        )
    return _union_shape((hint,))


def _union_shape(members: tuple[Any, ...]) -> _Shape:
    records = [member for member in members if member in _BY_CLASS]
    plain = frozenset(member for member in members if member in _PLAIN)
    assert len(records) + len(plain) == len(members), f"no field of a record can be {members}"
    if not records:
        return _Shape(plain)
    tags = frozenset(_BY_CLASS[cls].tag for cls in records)

    def down(value: Any) -> Any:
        if type(value) in plain:
            return value
        if type(value) not in records:
            raise TypeError(f"no {type(value).__name__} belongs here")
        return to_plain(value)

    def up(value: Any) -> Any:
        if type(value) is not tuple:
            return value
        if not value or value[0] not in tags:
            raise TypeError(f"no record with the tag {value[:1]!r} belongs here")
        return from_plain(value)

    return _Shape(plain | {tuple}, down, up)


def _tuple_shape(arguments: tuple[Any, ...]) -> _Shape:
    """Tuples of one type, or of a fixed number of types. Arrays come back as tuples, so plain ones
    are only checked.
    """
    variadic = arguments[-1] is Ellipsis
    shapes = [_shape(argument) for argument in (arguments[:1] if variadic else arguments)]
    # Plain values are checked in the same way in both directions, and changed in neither.
    plain = all(shape.down is shape.up for shape in shapes)
    assert variadic or plain, "only plain fixed tuples occur"
    first = shapes[0]
    item_down, item_up = first.down, first.up
    checks = [(shape.flat, shape.up) for shape in shapes]

    def check_all(value: Any) -> Any:
        if not first.flat.issuperset(map(type, value)):
            raise TypeError("an element is of another type")
        return value if item_up is None else tuple(map(item_up, value))

    def check_each(value: Any) -> Any:
        if len(value) != len(checks):
            raise TypeError(f"{len(value)} elements instead of {len(checks)}")
        for item, (flat, up) in zip(value, checks, strict=True):
            if type(item) not in flat:
                raise TypeError("an element is of another type")
            if up is not None:
                up(item)
        return value

    check = check_all if variadic else check_each
    return _Shape(
        frozenset({tuple}),
        check if plain or item_down is None else lambda items: tuple(map(item_down, items)),
        check,
    )


def to_plain(value: Any) -> tuple[Any, ...]:
    """The nested tuple that stands for a record.

    Raises:
        AssertionError: ``value`` is of no registered record class (a bug of flowactor's).
        InvalidInput: a field holds a value of another type than it says. Nobody could decode that,
            and an entry that nobody can decode would stop every node that applies it.
    """
    layout = _BY_CLASS.get(type(value))
    assert layout is not None, f"{type(value).__name__} is no record"
    if not layout.resolved:
        layout.resolve()
    plain = (layout.tag, *layout.get(value))
    try:
        if layout.downs:
            plain = (layout.tag, *layout.convert(plain, layout.downs))
        kinds = tuple(map(type, plain))
        if kinds not in layout.accepted:
            layout.accept(kinds)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{layout.cls.__name__}: {error}") from error
    return plain


def from_plain(plain: Sequence[Any]) -> Any:
    """The record that a nested tuple stands for.

    Raises:
        MalformedDataError: not an array, an unknown tag, a wrong number of fields, or a field of
            another type: whatever a hostile peer sends, what comes out is a sound record.
    """
    if type(plain) is not tuple or not plain or type(plain[0]) is not int:
        raise MalformedDataError(f"not a record: {plain!r:.80}")
    layout = _BY_TAG.get(plain[0])
    if layout is None:
        raise MalformedDataError(f"no record has the tag {plain[0]!r:.40}")
    if not layout.resolved:
        layout.resolve()
    if layout.known is not None:
        return _recall(layout, layout.known, plain)
    return _build(layout, plain)


def _recall(layout: _Layout, known: dict[tuple[Any, ...], Any], plain: tuple[Any, ...]) -> Any:
    value = known.get(plain)
    if value is None:
        if len(known) >= _KNOWN_MAX:
            known.clear()
        value = known[plain] = _build(layout, plain)
    return value


def _build(layout: _Layout, plain: tuple[Any, ...]) -> Any:
    kinds = tuple(map(type, plain))
    try:
        if kinds not in layout.accepted:
            layout.accept(kinds)
        if not layout.ups:
            return layout.cls(*plain[1:])
        return layout.cls(*layout.convert(plain, layout.ups))
    except (TypeError, ValueError) as error:
        raise MalformedDataError(f"{layout.cls.__name__}: {error}") from error


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
        return load_one(data, depth_max=_DEPTH_MAX, immutable=True)
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
