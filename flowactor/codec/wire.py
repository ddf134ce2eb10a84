"""What stands for what: user types and their form on the wire.

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

import dataclasses
import datetime as dt
import decimal
import enum
import re
import sys
import types
import typing
import uuid
from collections import abc
from collections.abc import Callable
from typing import Any, Final

import attrs
import cattrs
from cbor2 import CBORTag

OBJECT_TAG: Final = 27
"""Registered for "object with a type name and arguments"."""


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


def expected(what: str, value: Any) -> Misfit:
    """The complaint about a value of the wrong type."""
    is_object = isinstance(value, CBORTag) and isinstance(value.value, tuple)
    shown = f"an object {value.value[0]!r}" if is_object else f"{value!r:.80}"
    return Misfit(f"expected {what}, got {shown}")


def inside(segment: str, error: Exception) -> Misfit:
    """The same trouble, seen from one level further out."""
    inner = first_misfit(error)
    return Misfit(inner.text, segment + inner.path, unencodable=inner.unencodable)


def first_misfit(error: BaseException) -> Misfit:
    """What cattrs reports as a tree of groups, as one path and one sentence."""
    if isinstance(error, Misfit):
        return error
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        extra = ", ".join(map(repr, sorted(error.extra_fields)))
        return Misfit(f"{type_name(error.cl)} has no field {extra}")
    if isinstance(error, cattrs.BaseValidationError):
        first = error.exceptions[0]
        inner = first_misfit(first)
        for note in getattr(first, "__notes__", ()):
            if isinstance(note, cattrs.AttributeValidationNote):
                return Misfit(inner.text, f".{note.name}{inner.path}")
            if isinstance(note, cattrs.IterableValidationNote):
                return Misfit(inner.text, f"[{note.index}]{inner.path}")
        return inner
    if isinstance(error, KeyError):
        return Misfit(f"the field {error.args[0]!r} is missing")
    return Misfit(str(error) or type(error).__name__)


_DURATION: Final = re.compile(r"(-?)(\d+)(?:\.(\d{1,6}))?s")


def _duration_text(value: dt.timedelta) -> str:
    total = value // dt.timedelta(microseconds=1)
    seconds, fraction = divmod(abs(total), 1_000_000)
    tail = f".{fraction:06}".rstrip("0") if fraction else ""
    return f"{'-' if total < 0 else ''}{seconds}{tail}s"


def _duration(text: str) -> dt.timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(text)
    sign, seconds, fraction = match.groups()
    total = int(seconds) * 1_000_000 + int((fraction or "").ljust(6, "0"))
    return dt.timedelta(microseconds=-total if sign else total)


TEXTS: Final[dict[type, tuple[str, Callable[[Any], str], Callable[[str], Any]]]] = {
    dt.datetime: ("datetime", dt.datetime.isoformat, dt.datetime.fromisoformat),
    dt.date: ("date", dt.date.isoformat, dt.date.fromisoformat),
    dt.time: ("time", dt.time.isoformat, dt.time.fromisoformat),
    dt.timedelta: ("timedelta", _duration_text, _duration),
    decimal.Decimal: ("Decimal", str, decimal.Decimal),
    uuid.UUID: ("UUID", str, uuid.UUID),
}
"""Types that travel as text: (tag name, to text, from text)."""

BUILTIN: Final = (str, int, float, bool, bytes, types.NoneType)
SEQUENCES: Final = (list, abc.Sequence, abc.MutableSequence, abc.Iterable, abc.Collection)
MAPPINGS: Final = (dict, abc.Mapping, abc.MutableMapping)
SETS: Final = (set, frozenset, abc.Set, abc.MutableSet)
TAGGED: Final[dict[str, Any]] = {
    "tuple": tuple[Any, ...],
    "set": set[Any],
    "frozenset": frozenset[Any],
    **{name: cls for cls, (name, _, _) in TEXTS.items()},
}


def bare(hint: Any) -> Any:
    """The hint without ``Annotated``, ``NewType`` and ``Final`` around it; a bound for a
    TypeVar.
    """
    while True:
        if isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif typing.get_origin(hint) is typing.Annotated:
            hint = hint.__origin__
        elif isinstance(hint, typing.TypeVar):
            hint = hint.__bound__ or Any
        else:
            return hint


def origin_of(hint: Any) -> Any:
    return typing.get_origin(hint) or hint


def is_any(hint: Any) -> bool:
    return hint is Any or hint is object or isinstance(hint, typing.TypeVar)


def is_union(hint: Any) -> bool:
    return origin_of(hint) is typing.Union or isinstance(hint, types.UnionType)


def is_fielded(hint: Any) -> bool:
    origin = origin_of(hint)
    return isinstance(origin, type) and (attrs.has(origin) or dataclasses.is_dataclass(origin))


def is_tuple(hint: Any) -> bool:
    return origin_of(hint) in (tuple, typing.Tuple)  # noqa: UP006  # the old alias is a hint people use


def is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, enum.Enum)


def argument(hint: Any, index: int) -> Any:
    arguments = typing.get_args(hint)
    return arguments[index] if index < len(arguments) else Any


def tag_of(hint: Any) -> str | None:
    """The type name that stands for a hint in a union, or None if its wire form speaks for
    itself.
    """
    hint = bare(hint)
    origin = origin_of(hint)
    if origin in TEXTS:
        return TEXTS[origin][0]
    if origin in (tuple, set, frozenset):
        return str(origin.__name__)
    if is_fielded(hint) or is_enum(hint):
        return type_name(origin)
    return None


def same_name(tag: Any, name: str) -> bool:
    """A type is the same when its module was run as ``__main__``, or has moved."""
    return tag == name or (
        isinstance(tag, str) and tag.rpartition(".")[2] == name.rpartition(".")[2]
    )


def members_of(hint: Any) -> tuple[list[Any], bool]:
    members = [bare(member) for member in typing.get_args(hint)]
    rest = [member for member in members if member is not types.NoneType]
    return rest, len(rest) < len(members)


def describe(hint: Any) -> str:
    if isinstance(hint, type) and not typing.get_args(hint):
        return type_name(hint)
    return re.sub(
        r"\btyping\.|\bNoneType\b", lambda m: "None" if m[0] == "NoneType" else "", str(hint)
    )


def object_in(tag: CBORTag) -> tuple[str, Any]:
    if tag.tag != OBJECT_TAG or not isinstance(tag.value, list | tuple) or len(tag.value) != 2:
        raise Misfit(f"unknown kind of value: CBOR tag {tag.tag}")
    name, plain = tag.value
    if not isinstance(name, str):
        raise Misfit("an object whose type has no name")
    return name, plain


def untagged(value: Any, name: str) -> Any:
    """What is inside, if a writer that knew no hint wrapped a value of this type in its name."""
    if isinstance(value, CBORTag):
        found, plain = object_in(value)
        if same_name(found, name):
            return plain
    return value


def class_named(name: str) -> type:
    """The attrs class, dataclass or enum of that name in a module that is imported already."""
    found = find_imported(name)
    if isinstance(found, type) and (is_fielded(found) or is_enum(found)):
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
