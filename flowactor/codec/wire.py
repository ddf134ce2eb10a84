"""Between user values and what CBOR can say: one cattrs converter, strict both ways.

The wire form of a value, which other languages can read without knowing Python:

=====================================  =======================================================
None, bool, int, float, str, bytes      themselves
list, and any sequence hint             array
dict                                    map
attrs class, dataclass                  map of field name to value
tuple, set, frozenset                   array (a set's is sorted by its elements' bytes)
datetime, date, time                    ISO 8601 text
timedelta                               decimal seconds, as in ``"90.5s"``
Decimal, UUID                           text
Enum                                    its value
=====================================  =======================================================

Where the hint alone does not say which type is meant - under ``Any``, in a union of several types,
for a subclass of the class in the hint - everything below ``dict`` in the table is wrapped in CBOR
tag 27 ("object with a type name"): ``27([name, wire form])``.
"""

import binascii
import dataclasses
import datetime
import decimal
import enum
import re
import sys
import types
import typing
import uuid
from collections import abc
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import cattrs
import cbor2
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn
from cbor2 import CBORTag, frozendict

__all__ = ["OBJECT_TAG", "Misfit", "from_json_form", "find_imported", "from_json_form", "from_wire", "locate", "to_json_form", "to_wire", "type_name"]

OBJECT_TAG: Final = 27
_TYPE_KEY: Final = "$type"
"""How tag 27 is spelt in JSON: ``{"$type": name, ...fields}`` or ``{"$type": name, "$value": x}``."""

Down = Callable[[Any], Any]
Up = Callable[[Any, Any], Any]


class Misfit(ValueError):
    """A value that does not fit; ``path`` says where in the whole (``.order.amount``, ``[3]``).

    ``unencodable`` is true if no hint at all could store it.
    """

    def __init__(self, text: str, path: str = "", *, unencodable: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.path = path
        self.unencodable = unencodable


def type_name(cls: Any) -> str:
    """``module.QualifiedName``; the module of builtins is left out."""
    module = getattr(cls, "__module__", "builtins")
    name = getattr(cls, "__qualname__", None) or str(cls)
    return name if module == "builtins" else f"{module}.{name}"


def _expected(what: str, value: Any) -> Misfit:
    shown = f"an object {value.value[0]!r}" if isinstance(value, CBORTag) and value.value else f"{value!r:.80}"
    return Misfit(f"expected {what}, got {shown}")


def _inside(segment: str, error: Exception) -> Misfit:
    """The same trouble, seen from one level further out."""
    inner = _first_misfit(error)
    return Misfit(inner.text, segment + inner.path, unencodable=inner.unencodable)


def _first_misfit(error: BaseException) -> Misfit:
    """What cattrs reports as a tree of groups, as one path and one sentence."""
    if isinstance(error, Misfit):
        return error
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        extra = ", ".join(map(repr, sorted(error.extra_fields)))
        return Misfit(f"{type_name(error.cl)} has no field {extra}")
    if isinstance(error, cattrs.BaseValidationError):
        first = error.exceptions[0]
        inner = _first_misfit(first)
        for note in getattr(first, "__notes__", ()):
            if isinstance(note, cattrs.AttributeValidationNote):
                return Misfit(inner.text, f".{note.name}{inner.path}")
            if isinstance(note, cattrs.IterableValidationNote):
                return Misfit(inner.text, f"[{note.index}]{inner.path}")
        return inner
    if isinstance(error, KeyError):
        return Misfit(f"the field {error.args[0]!r} is missing")
    return Misfit(str(error) or type(error).__name__)


# -- leaves -------------------------------------------------------------------------------------

_DURATION: Final = re.compile(r"(-?)(\d+)(?:\.(\d{1,6}))?s")


def _duration_text(value: datetime.timedelta) -> str:
    total = value // datetime.timedelta(microseconds=1)
    seconds, fraction = divmod(abs(total), 1_000_000)
    tail = f".{fraction:06}".rstrip("0") if fraction else ""
    return f"{'-' if total < 0 else ''}{seconds}{tail}s"


def _duration(text: str) -> datetime.timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(text)
    sign, seconds, fraction = match.groups()
    total = int(seconds) * 1_000_000 + int((fraction or "").ljust(6, "0"))
    return datetime.timedelta(microseconds=-total if sign else total)


_TEXTS: Final[dict[type, tuple[str, Callable[[Any], str], Callable[[str], Any]]]] = {
    datetime.datetime: ("datetime", datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    datetime.date: ("date", datetime.date.isoformat, datetime.date.fromisoformat),
    datetime.time: ("time", datetime.time.isoformat, datetime.time.fromisoformat),
    datetime.timedelta: ("timedelta", _duration_text, _duration),
    decimal.Decimal: ("Decimal", str, decimal.Decimal),
    uuid.UUID: ("UUID", str, uuid.UUID),
}
"""Types that travel as text: (tag name, to text, from text)."""

_BUILTIN: Final = (str, int, float, bool, bytes, types.NoneType)
_SEQUENCES: Final = (list, abc.Sequence, abc.MutableSequence, abc.Iterable, abc.Collection)
_MAPPINGS: Final = (dict, abc.Mapping, abc.MutableMapping)
_SETS: Final = (set, frozenset, abc.Set, abc.MutableSet)
_TAGGED: Final[dict[str, Any]] = {
    "tuple": tuple[Any, ...],
    "set": set[Any],
    "frozenset": frozenset[Any],
    **{name: cls for cls, (name, _, _) in _TEXTS.items()},
}


def _builtin_down(cls: type) -> Down:
    def down(value: Any) -> Any:
        kind = type(value)
        if kind is cls:
            return value
        if isinstance(value, enum.Enum) and isinstance(value, cls):
            return _any_down(value.value)
        if isinstance(value, cls) and kind is not bool:
            return cls(value)
        if cls is float and kind is int:
            return float(value)
        raise _unstorable(value) or _expected(_describe(cls), value)

    return down


def _builtin_up(cls: type) -> Up:
    def up(value: Any, target: Any) -> Any:
        if type(value) is not cls:
            if cls is not float or type(value) is not int:
                raise _expected(_describe(cls), value)
            value = float(value)
        return value if target is cls else target(value)

    return up


def _base64_up(value: Any, _: Any) -> bytes:
    if type(value) is not str:
        raise _expected("bytes as base64 text", value)
    return _from_base64(value)


def _from_base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise _expected("bytes as base64 text", text) from None


def _text_down(cls: type) -> Down:
    name, write, _ = _TEXTS[cls]

    def down(value: Any) -> Any:
        if type(value) is cls or (isinstance(value, cls) and cls is not datetime.date):
            return write(value)
        raise _unstorable(value) or _expected(name, value)

    return down


def _text_up(cls: type) -> Up:
    name, _, read = _TEXTS[cls]

    def up(value: Any, _: Any) -> Any:
        if type(value) is cls:
            return value  # another language wrote it with CBOR's own tag
        if type(value) is str:
            try:
                return read(value)
            except (ValueError, ArithmeticError):
                pass
        raise _expected(name, value)

    return up


# -- which hint is what -------------------------------------------------------------------------


def _bare(hint: Any) -> Any:
    """The hint without ``Annotated``, ``NewType`` and ``Final`` around it; a bound for a TypeVar."""
    while True:
        if isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif typing.get_origin(hint) is typing.Annotated:
            hint = hint.__origin__
        elif isinstance(hint, typing.TypeVar):
            hint = hint.__bound__ or Any
        else:
            return hint


def _origin(hint: Any) -> Any:
    return typing.get_origin(hint) or hint


def _is_any(hint: Any) -> bool:
    return hint is Any or hint is object or isinstance(hint, typing.TypeVar)


def _is_union(hint: Any) -> bool:
    return _origin(hint) is typing.Union or isinstance(hint, types.UnionType)


def _is_fielded(hint: Any) -> bool:
    origin = _origin(hint)
    return isinstance(origin, type) and (attrs.has(origin) or dataclasses.is_dataclass(origin))


def _is_tuple(hint: Any) -> bool:
    return _origin(hint) in (tuple, typing.Tuple)  # noqa: UP006  # the old alias is a hint people use


def _is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, enum.Enum)


def _argument(hint: Any, index: int) -> Any:
    arguments = typing.get_args(hint)
    return arguments[index] if index < len(arguments) else Any


def _tag_of(hint: Any) -> str | None:
    """The type name that stands for a hint in a union, or None if its wire form speaks for itself."""
    hint = _bare(hint)
    origin = _origin(hint)
    if origin in _TEXTS:
        return _TEXTS[origin][0]
    if origin in (tuple, set, frozenset):
        return str(origin.__name__)
    if _is_fielded(hint) or _is_enum(hint):
        return type_name(origin)
    return None


def _same_name(tag: Any, name: str) -> bool:
    """A type is the same when its module was run as ``__main__``, or has moved."""
    return tag == name or (isinstance(tag, str) and tag.rpartition(".")[2] == name.rpartition(".")[2])


# -- down: to the wire --------------------------------------------------------------------------


def _unstorable(value: Any) -> Misfit | None:
    """The complaint about a value that no hint could store, or None for an innocent one."""
    kind = type(value)
    known = isinstance(value, (*_BUILTIN, *_TEXTS, list, tuple, dict, set, frozenset, enum.Enum))
    if known or _is_fielded(kind):
        return None
    return Misfit(f"a value of type {type_name(kind)} cannot be stored", unencodable=True)


def _named(cls: type, plain: Any) -> CBORTag:
    if "<locals>" in cls.__qualname__:
        raise Misfit(
            f"{type_name(cls)} is defined inside a function, where no other process can find it: "
            "define it at the top of a module, or name it in a type hint",
            unencodable=True,
        )
    return CBORTag(OBJECT_TAG, (type_name(cls), plain))


def _any_down(value: Any) -> Any:
    kind = type(value)
    if kind in _BUILTIN:
        return value
    if kind is list:
        return [_any_down(item) for item in value]
    if isinstance(value, dict):
        return {_freeze(_any_down(key)): _any_down(item) for key, item in value.items()}
    if isinstance(value, enum.Enum):
        return _named(kind, _any_down(value.value))
    if isinstance(value, (tuple, set, frozenset)):
        base = next(base for base in (tuple, set, frozenset) if isinstance(value, base))
        items = [_any_down(item) for item in value]
        return CBORTag(OBJECT_TAG, (base.__name__, items if base is tuple else _sorted(items)))
    if kind in _TEXTS:
        name, write, _ = _TEXTS[kind]
        return CBORTag(OBJECT_TAG, (name, write(value)))
    if _is_fielded(kind):
        return _named(kind, _DOWN.get_unstructure_hook(kind)(value))
    for base in (*_BUILTIN[:3], bytes, list):
        if isinstance(value, base):
            return _any_down(base(value))
    raise _unstorable(value) or _expected("a value that can be stored", value)


def _freeze(plain: Any) -> Any:
    """The same wire form, hashable, so that it can be a key."""
    if isinstance(plain, list | tuple):
        return tuple(map(_freeze, plain))
    if isinstance(plain, dict):
        return frozendict({key: _freeze(item) for key, item in plain.items()})
    if isinstance(plain, CBORTag):
        return CBORTag(plain.tag, _freeze(plain.value))
    return plain


def _sorted(items: list[Any]) -> list[Any]:
    """Set elements in the order of their bytes: iteration order depends on the hash seed."""
    return sorted(items, key=lambda item: cbor2.dumps(item, canonical=True))


def _fielded_down(hint: Any, converter: cattrs.Converter) -> Down:
    cls = _origin(hint)
    write = make_dict_unstructure_fn(hint, converter)

    def down(value: Any) -> Any:
        kind = type(value)
        if kind is cls:
            return write(value)
        if isinstance(value, cls) and _is_fielded(kind):
            return _named(kind, converter.get_unstructure_hook(kind)(value))
        raise _unstorable(value) or _expected(type_name(cls), value)

    return down


def _enum_down(cls: Any) -> Down:
    def down(value: Any) -> Any:
        if type(value) is not cls:
            raise _unstorable(value) or _expected(type_name(cls), value)
        return _any_down(value.value)

    return down


def _each_down(hint: Any, accepted: tuple[type, ...], *, ordered: bool) -> Down:
    element = _argument(hint, 0)
    hook: Down | None = None

    def down(value: Any) -> Any:
        nonlocal hook
        if not isinstance(value, accepted):
            raise _unstorable(value) or _expected(_describe(hint), value)
        if hook is None:
            hook = to_wire(element)
        items = [hook(item) for item in value]
        return items if ordered else _sorted(items)

    return down


def _sequence_down(hint: Any, _: Any) -> Down:
    accepted = (list,) if _origin(hint) is list else (list, tuple)
    return _each_down(hint, accepted, ordered=True)


def _set_down(hint: Any, _: Any) -> Down:
    origin = _origin(hint)
    accepted = (origin,) if origin in (set, frozenset) else (set, frozenset)
    return _each_down(hint, accepted, ordered=False)


def _tuple_down(hint: Any, _: Any) -> Down:
    elements = typing.get_args(hint)
    if not elements or elements[-1] is Ellipsis:
        return _each_down(hint, (tuple,), ordered=True)
    hooks: list[Down] = []

    def down(value: Any) -> Any:
        if not isinstance(value, tuple) or len(value) != len(elements):
            raise _unstorable(value) or _expected(_describe(hint), value)
        if not hooks:
            hooks.extend(map(to_wire, elements))
        return [hook(item) for hook, item in zip(hooks, value, strict=True)]

    return down


def _mapping_down(hint: Any, _: Any) -> Down:
    hooks: list[Down] = []

    def down(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _unstorable(value) or _expected(_describe(hint), value)
        if not hooks:
            hooks.extend((to_wire(_argument(hint, 0)), to_wire(_argument(hint, 1))))
        key_hook, hook = hooks
        return {_freeze(key_hook(key)): hook(item) for key, item in value.items()}

    return down


def _members(hint: Any) -> tuple[list[Any], bool]:
    members = [_bare(member) for member in typing.get_args(hint)]
    rest = [member for member in members if member is not types.NoneType]
    return rest, len(rest) < len(members)


def _union_down(hint: Any, _: Any) -> Down:
    members, optional = _members(hint)
    tags = [_tag_of(member) if len(members) > 1 else None for member in members]
    hooks: list[Down] = []

    def down(value: Any) -> Any:
        if value is None and optional:
            return None
        if not hooks:
            hooks.extend(map(to_wire, members))
        if len(hooks) == 1:
            return hooks[0](value)
        kind = type(value)
        order = sorted(range(len(members)), key=lambda index: _origin(members[index]) is not kind)
        for index in order:
            try:
                plain = hooks[index](value)
            except Misfit:
                continue
            tag = tags[index]
            if tag is None or isinstance(plain, CBORTag):
                return plain
            return CBORTag(OBJECT_TAG, (tag, plain))
        raise _unstorable(value) or _expected(_describe(hint), value)

    return down


# -- up: from the wire --------------------------------------------------------------------------


def _items(value: Any, hint: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise _expected(_describe(hint), value)
    return value


def _describe(hint: Any) -> str:
    if isinstance(hint, type) and not typing.get_args(hint):
        return type_name(hint)
    return re.sub(r"\btyping\.|\bNoneType\b", lambda m: "None" if m[0] == "NoneType" else "", str(hint))


class _Reader:
    """The hooks that need to know whether the wire form came from CBOR or from JSON."""

    def __init__(self, *, json: bool) -> None:
        self.json = json
        converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
        self.converter = converter
        register = converter.register_structure_hook_factory
        register(_is_fielded, self.fielded)
        register(lambda hint: _origin(hint) in _SEQUENCES, self.sequence)
        register(lambda hint: _origin(hint) in _SETS, self.sequence)
        register(_is_tuple, self.tuple)
        register(lambda hint: _origin(hint) in _MAPPINGS, self.mapping)
        register(_is_enum, self.enum)
        register(_is_union, self.union)
        register(_is_any, lambda _: self.any)
        for cls in _BUILTIN:
            converter.register_structure_hook(cls, _builtin_up(cls))
        if json:
            converter.register_structure_hook(bytes, _base64_up)
        for cls in _TEXTS:
            converter.register_structure_hook(cls, _text_up(cls))

    def hook(self, hint: Any) -> Up:
        return self.converter.get_structure_hook(_bare(hint))

    def any(self, value: Any, _: Any = None) -> Any:
        kind = type(value)
        if kind in _BUILTIN or kind in _TEXTS:
            return value
        if isinstance(value, list | tuple):
            return [self.any(item) for item in value]
        if isinstance(value, Mapping):
            return {self.any(key): self.any(item) for key, item in value.items()}
        if isinstance(value, CBORTag) and value.tag == OBJECT_TAG:
            name, plain = _object(value)
            hint = _TAGGED.get(name) or _class_named(name)
            return self.hook(hint)(plain, hint)
        raise _expected("a value of a known kind", value)

    def fielded(self, hint: Any) -> Up:
        cls = _origin(hint)
        read = make_dict_structure_fn(
            hint, self.converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True
        )

        def up(value: Any, _: Any) -> Any:
            if isinstance(value, CBORTag):
                name, value = _object(value)
                if not _same_name(name, type_name(cls)):
                    found = _class_named(name)
                    if not issubclass(found, cls):
                        raise Misfit(f"expected {type_name(cls)}, got an object {name!r}")
                    return self.hook(found)(value, found)
            if not isinstance(value, Mapping):
                raise _expected(type_name(cls), value)
            return read(dict(value), hint)

        return up

    def enum(self, cls: Any) -> Up:
        def up(value: Any, _: Any) -> Any:
            raw = self.any(value)
            try:
                return cls(raw)
            except (ValueError, TypeError):
                known = ", ".join(repr(member.value) for member in cls)
                raise Misfit(f"expected one of {known}, got {raw!r:.80}") from None

        return up

    def sequence(self, hint: Any) -> Up:
        element = _bare(_argument(hint, 0))
        origin = _origin(hint)
        build = origin if origin in (set, frozenset) else set if origin in _SETS else list
        hook: Up | None = None

        def up(value: Any, _: Any) -> Any:
            nonlocal hook
            if hook is None:
                hook = self.hook(element)
            result = []
            for index, item in enumerate(_items(value, hint)):
                try:
                    result.append(hook(item, element))
                except Exception as error:
                    raise _inside(f"[{index}]", error) from None
            return result if build is list else build(result)

        return up

    def tuple(self, hint: Any) -> Up:
        elements = typing.get_args(hint)
        if not elements or elements[-1] is Ellipsis:
            read = self.sequence(list[_argument(hint, 0)])  # type: ignore[misc]
            return lambda value, _: tuple(read(_items(value, hint), None))

        def up(value: Any, _: Any) -> Any:
            if len(_items(value, hint)) != len(elements):
                raise Misfit(f"expected {len(elements)} elements, got {len(value)}")
            result = []
            for index, (item, element) in enumerate(zip(value, elements, strict=True)):
                try:
                    result.append(self.hook(element)(item, _bare(element)))
                except Exception as error:
                    raise _inside(f"[{index}]", error) from None
            return tuple(result)

        return up

    def mapping(self, hint: Any) -> Up:
        key_hint, value_hint = _bare(_argument(hint, 0)), _bare(_argument(hint, 1))

        def up(value: Any, _: Any) -> Any:
            if not isinstance(value, Mapping):
                raise _expected(_describe(hint), value)
            result = {}
            for key, item in value.items():
                try:
                    result[self.key(key, key_hint)] = self.hook(value_hint)(item, value_hint)
                except Exception as error:
                    raise _inside(f"[{key!r}]", error) from None
            return result

        return up

    def key(self, key: Any, hint: Any) -> Any:
        """JSON has text keys only, so there a number may be spelt as text."""
        if self.json and hint in (int, float, bool):
            try:
                return {"true": True, "false": False}[key] if hint is bool else hint(key)
            except (ValueError, KeyError):
                raise _expected(hint.__name__, key) from None
        return self.hook(hint)(key, hint)

    def union(self, hint: Any) -> Up:
        members, optional = _members(hint)
        tags = [_tag_of(member) for member in members]
        single = len(members) == 1

        def up(value: Any, _: Any) -> Any:
            if value is None and optional:
                return None
            if single:
                return self.hook(members[0])(value, members[0])
            fits = range(len(members))
            if isinstance(value, CBORTag):
                name, plain = _object(value)
                fits = [i for i in fits if tags[i] is not None and _same_name(name, tags[i])]  # type: ignore[assignment,arg-type]
                value = plain if fits else value
                fits = fits or range(len(members))
            elif not self.json:
                fits = [i for i in fits if tags[i] is None]  # type: ignore[assignment]
            return self.first_fit(value, [members[i] for i in fits], hint)

        return up

    def first_fit(self, value: Any, members: list[Any], hint: Any) -> Any:
        members = sorted(members, key=lambda member: _origin(member) is not type(value))
        complaint: Misfit | None = None
        for member in members:
            try:
                return self.hook(member)(value, member)
            except Exception as error:
                complaint = _first_misfit(error)
        if complaint is not None and len(members) == 1:
            raise complaint
        raise _expected(_describe(hint), value)


def _object(tag: CBORTag) -> tuple[str, Any]:
    if tag.tag != OBJECT_TAG or not isinstance(tag.value, list | tuple) or len(tag.value) != 2:
        raise Misfit(f"unknown kind of value: CBOR tag {tag.tag}")
    name, plain = tag.value
    if not isinstance(name, str):
        raise Misfit("an object whose type has no name")
    return name, plain


def _class_named(name: str) -> type:
    """The attrs class, dataclass or enum of that name in a module that is imported already."""
    found = find_imported(name)
    if isinstance(found, type) and (_is_fielded(found) or _is_enum(found)):
        return found
    raise Misfit(f"the type {name!r} is not known in this process")


def find_imported(name: str) -> object | None:
    """What ``module.Qualified.Name`` stands for, without importing anything for it."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        found: Any = sys.modules.get(".".join(parts[:cut]))
        if found is None:
            continue
        for part in parts[cut:]:
            found = getattr(found, part, None)
        if found is not None:
            return typing.cast("object", found)
    return None


# -- the two converters and the doors -----------------------------------------------------------


def _make_writer() -> cattrs.Converter:
    converter = cattrs.Converter()
    register = converter.register_unstructure_hook_factory
    register(_is_fielded, _fielded_down)
    register(lambda hint: _origin(hint) in _SEQUENCES, _sequence_down)
    register(lambda hint: _origin(hint) in _SETS, _set_down)
    register(_is_tuple, _tuple_down)
    register(lambda hint: _origin(hint) in _MAPPINGS, _mapping_down)
    register(_is_enum, _enum_down)
    register(_is_union, _union_down)
    register(_is_any, lambda _: _any_down)
    for cls in _BUILTIN:
        converter.register_unstructure_hook(cls, _builtin_down(cls))
    for cls in _TEXTS:
        converter.register_unstructure_hook(cls, _text_down(cls))
    return converter


_DOWN: Final = _make_writer()
_UP: Final = _Reader(json=False)
_UP_JSON: Final = _Reader(json=True)


def to_wire(hint: Any) -> Down:
    """The function that turns a value of this type into its wire form.

    It raises ``Misfit`` (without a path: ask ``locate``) for values that do not fit the hint.
    """
    return _DOWN.get_unstructure_hook(_bare(hint))


def from_wire(plain: Any, hint: Any, *, json: bool = False) -> Any:
    """The value of type ``hint`` that ``plain`` stands for.

    Raises:
        Misfit: with the path from the root of ``plain``.
    """
    try:
        return (_UP_JSON if json else _UP).hook(hint)(plain, _bare(hint))
    except Exception as error:
        # User code runs in here too: validators, converters and __init__ of attrs classes.
        raise _first_misfit(error) from error


def locate(value: Any, hint: Any, error: Misfit) -> Misfit:
    """``error`` with the path of the part of ``value`` that causes it: the slow second look, taken
    only when something is wrong, so that writing needs no book-keeping of paths.
    """
    for segment, part, part_hint in _parts(value, _bare(hint)):
        try:
            to_wire(part_hint)(part)
        except Misfit as inner:
            return _inside(segment, locate(part, part_hint, inner))
    return error


def _parts(value: Any, hint: Any) -> list[tuple[str, Any, Any]]:
    kind = type(value)
    if _is_fielded(kind):
        hints = typing.get_type_hints(kind)
        names = [f.name for f in (attrs.fields(kind) if attrs.has(kind) else dataclasses.fields(kind))]
        return [(f".{name}", getattr(value, name), hints.get(name, Any)) for name in names]
    if isinstance(value, dict):
        inner = _argument(hint, 1) if _origin(hint) in _MAPPINGS else Any
        return [(f"[{key!r}]", item, inner) for key, item in value.items()]
    if isinstance(value, list | tuple):
        hints_of = typing.get_args(hint) if _is_tuple(hint) and len(typing.get_args(hint)) == len(value) else ()
        inner = _argument(hint, 0) if _origin(hint) in (*_SEQUENCES, tuple) else Any
        return [(f"[{i}]", x, hints_of[i] if hints_of else inner) for i, x in enumerate(value)]
    return []


def from_json_form(value: Any) -> Any:
    """JSON as wire form: ``{"$type": name, ...}`` is an object with a type name."""
    if isinstance(value, list):
        return [from_json_form(item) for item in value]
    if isinstance(value, dict):
        inner = {key: from_json_form(item) for key, item in value.items() if key != _TYPE_KEY}
        if _TYPE_KEY not in value:
            return inner
        plain = inner["$value"] if set(inner) == {"$value"} else inner
        return CBORTag(OBJECT_TAG, (value[_TYPE_KEY], plain))
    return value


def to_json_form(plain: Any) -> Any:
    """The wire form as JSON can say it, for people: see ``from_json_form``; bytes become base64."""
    if isinstance(plain, bytes):
        return binascii.b2a_base64(plain, newline=False).decode("ascii")
    if isinstance(plain, list | tuple):
        return [to_json_form(item) for item in plain]
    if isinstance(plain, Mapping):
        return {_json_key(key): to_json_form(item) for key, item in plain.items()}
    if isinstance(plain, CBORTag):
        name, inner = _object(plain)
        body = to_json_form(inner)
        return {_TYPE_KEY: name, **body} if isinstance(body, dict) else {_TYPE_KEY: name, "$value": body}
    if isinstance(plain, tuple(_TEXTS)):
        return next(write(plain) for cls, (_, write, _) in _TEXTS.items() if isinstance(plain, cls))
    return plain if isinstance(plain, _BUILTIN) else str(plain)


def _json_key(key: Any) -> str:
    if isinstance(key, str):
        return key
    shown = to_json_form(key)
    return str(shown).lower() if isinstance(shown, bool) else str(shown)
