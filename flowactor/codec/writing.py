"""User values to their wire form: cattrs with hooks that check what they are given."""

import dataclasses
import datetime as dt
import enum
import typing
from collections.abc import Callable
from typing import Any, Final

import attrs
import cattrs
import cbor2
from cattrs.gen import make_dict_unstructure_fn
from cbor2 import CBORTag, frozendict

from flowactor.codec.wire import (
    BUILTIN,
    MAPPINGS,
    OBJECT_TAG,
    SEQUENCES,
    SETS,
    TEXTS,
    Misfit,
    argument,
    bare,
    describe,
    expected,
    inside,
    is_any,
    is_enum,
    is_fielded,
    is_tuple,
    is_union,
    members_of,
    origin_of,
    tag_of,
    type_name,
)

__all__ = ["locate", "to_wire"]

Down = Callable[[Any], Any]

_STORABLE: Final = "an attrs class, a dataclass, an enum or builtins"
_BASES: Final[tuple[Callable[[Any], Any], ...]] = (str, int, float, bytes, list)
"""What a subclass is written as, where no hint says more."""


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
        raise _unstorable(value) or expected(describe(cls), value)

    return down


def _text_down(cls: type) -> Down:
    name, write, _ = TEXTS[cls]

    def down(value: Any) -> Any:
        if type(value) is cls or (isinstance(value, cls) and cls is not dt.date):
            return write(value)
        raise _unstorable(value) or expected(name, value)

    return down


def _unstorable(value: Any) -> Misfit | None:
    """The complaint about a value that no hint could store, or None for an innocent one."""
    kind = type(value)
    known = isinstance(value, (*BUILTIN, *TEXTS, list, tuple, dict, set, frozenset, enum.Enum))
    if known or is_fielded(kind):
        return None
    text = f"a value of type {type_name(kind)} cannot be stored"
    return Misfit(f"{text}: use {_STORABLE}", unencodable=True)


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
    if kind in BUILTIN:
        return value
    if kind is list:
        return [_any_down(item) for item in value]
    if isinstance(value, dict):
        return {_freeze(_any_down(key)): _any_down(item) for key, item in value.items()}
    if isinstance(value, enum.Enum):
        return _named(kind, _any_down(value.value))
    if isinstance(value, (tuple, set, frozenset)):
        kind = tuple if isinstance(value, tuple) else set if isinstance(value, set) else frozenset
        items = [_any_down(item) for item in value]
        return CBORTag(OBJECT_TAG, (kind.__name__, items if kind is tuple else _sorted(items)))
    if kind in TEXTS:
        name, write, _ = TEXTS[kind]
        return CBORTag(OBJECT_TAG, (name, write(value)))
    if is_fielded(kind):
        return _named(kind, _DOWN.get_unstructure_hook(kind)(value))
    for base in _BASES:
        if isinstance(value, base):  # type: ignore[arg-type]  # all are classes
            return _any_down(base(value))
    raise _unstorable(value) or expected("a value that can be stored", value)


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
    cls = origin_of(hint)
    write = make_dict_unstructure_fn(hint, converter)

    def down(value: Any) -> Any:
        kind = type(value)
        if kind is cls:
            return write(value)
        if isinstance(value, cls) and is_fielded(kind):
            return _named(kind, converter.get_unstructure_hook(kind)(value))
        raise _unstorable(value) or expected(type_name(cls), value)

    return down


def _enum_down(cls: Any) -> Down:
    def down(value: Any) -> Any:
        if type(value) is not cls:
            raise _unstorable(value) or expected(type_name(cls), value)
        return _any_down(value.value)

    return down


def _each_down(hint: Any, accepted: Any, *, ordered: bool) -> Down:
    element = argument(hint, 0)
    hook: Down | None = None

    def down(value: Any) -> Any:
        nonlocal hook
        if not isinstance(value, accepted):
            raise _unstorable(value) or expected(describe(hint), value)
        if hook is None:
            hook = to_wire(element)
        items = list(map(hook, value))
        return items if ordered else _sorted(items)

    return down


def _sequence_down(hint: Any, _: Any) -> Down:
    accepted = (list,) if origin_of(hint) is list else (list, tuple)
    return _each_down(hint, accepted, ordered=True)


def _set_down(hint: Any, _: Any) -> Down:
    origin = origin_of(hint)
    accepted = (origin,) if origin in (set, frozenset) else (set, frozenset)
    return _each_down(hint, accepted, ordered=False)


def _tuple_down(hint: Any, _: Any) -> Down:
    elements = typing.get_args(hint)
    if not elements or elements[-1] is Ellipsis:
        return _each_down(hint, (tuple,), ordered=True)
    hooks: list[Down] = []

    def down(value: Any) -> Any:
        if not isinstance(value, tuple) or len(value) != len(elements):
            raise _unstorable(value) or expected(describe(hint), value)
        if not hooks:
            hooks.extend(map(to_wire, elements))
        return [hook(item) for hook, item in zip(hooks, value, strict=True)]

    return down


def _mapping_down(hint: Any, _: Any) -> Down:
    hooks: list[Down] = []

    def down(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _unstorable(value) or expected(describe(hint), value)
        if not hooks:
            hooks.extend((to_wire(argument(hint, 0)), to_wire(argument(hint, 1))))
        key_hook, hook = hooks
        return {_freeze(key_hook(key)): hook(item) for key, item in value.items()}

    return down


def _union_down(hint: Any, _: Any) -> Down:
    members, optional = members_of(hint)
    tags = [tag_of(member) if len(members) > 1 else None for member in members]
    hooks: list[Down] = []

    def down(value: Any) -> Any:
        if value is None and optional:
            return None
        if not hooks:
            hooks.extend(map(to_wire, members))
        if len(hooks) == 1:
            return hooks[0](value)
        kind = type(value)
        order = sorted(range(len(members)), key=lambda index: origin_of(members[index]) is not kind)
        for index in order:
            try:
                plain = hooks[index](value)
            except Misfit:
                continue
            tag = tags[index]
            if tag is None or isinstance(plain, CBORTag):
                return plain
            return CBORTag(OBJECT_TAG, (tag, plain))
        raise _unstorable(value) or expected(describe(hint), value)

    return down


def _make_writer() -> cattrs.Converter:
    converter = cattrs.Converter()
    register = converter.register_unstructure_hook_factory
    register(is_fielded, _fielded_down)
    register(lambda hint: origin_of(hint) in SEQUENCES, _sequence_down)
    register(lambda hint: origin_of(hint) in SETS, _set_down)
    register(is_tuple, _tuple_down)
    register(lambda hint: origin_of(hint) in MAPPINGS, _mapping_down)
    register(is_enum, _enum_down)
    register(is_union, _union_down)
    register(is_any, lambda _: _any_down)
    for cls in BUILTIN:
        converter.register_unstructure_hook(cls, _builtin_down(cls))
    for cls in TEXTS:
        converter.register_unstructure_hook(cls, _text_down(cls))
    return converter


_DOWN: Final = _make_writer()


def to_wire(hint: Any) -> Down:
    """The function that turns a value of this type into its wire form.

    It raises ``Misfit`` (without a path: ask ``locate``) for values that do not fit the hint.
    """
    return _DOWN.get_unstructure_hook(bare(hint))


def locate(value: Any, hint: Any, error: Misfit) -> Misfit:
    """``error`` with the path of the part of ``value`` that causes it: the slow second look, taken
    only when something is wrong, so that writing needs no book-keeping of paths.
    """
    for segment, part, part_hint in _parts(value, bare(hint)):
        try:
            to_wire(part_hint)(part)
        except Misfit as inner:
            return inside(segment, locate(part, part_hint, inner))
    return error


def _parts(value: Any, hint: Any) -> list[tuple[str, Any, Any]]:
    kind = type(value)
    if is_fielded(kind):
        hints = typing.get_type_hints(kind)
        names = [
            f.name for f in (attrs.fields(kind) if attrs.has(kind) else dataclasses.fields(kind))
        ]
        return [(f".{name}", getattr(value, name), hints.get(name, Any)) for name in names]
    if isinstance(value, dict):
        inner = argument(hint, 1) if origin_of(hint) in MAPPINGS else Any
        return [(f"[{key!r}]", item, inner) for key, item in value.items()]
    if isinstance(value, list | tuple):
        hints_of = (
            typing.get_args(hint)
            if is_tuple(hint) and len(typing.get_args(hint)) == len(value)
            else ()
        )
        inner = argument(hint, 0) if origin_of(hint) in (*SEQUENCES, tuple) else Any
        return [(f"[{i}]", x, hints_of[i] if hints_of else inner) for i, x in enumerate(value)]
    return []
