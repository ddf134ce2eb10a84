"""The wire form back to user values, and JSON as people write and read it."""

import binascii
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final

import cattrs
from cattrs.gen import make_dict_structure_fn
from cbor2 import CBORTag

from flowactor.codec.wire import (
    BUILTIN,
    MAPPINGS,
    OBJECT_TAG,
    SEQUENCES,
    SETS,
    TAGGED,
    TEXTS,
    Misfit,
    argument,
    bare,
    class_named,
    describe,
    expected,
    first_misfit,
    inside,
    is_any,
    is_enum,
    is_fielded,
    is_tuple,
    is_union,
    members_of,
    object_in,
    origin_of,
    same_name,
    tag_of,
    type_name,
    untagged,
)

__all__ = ["from_json_form", "from_wire", "to_json_form"]

Up = Callable[[Any, Any], Any]

_TYPE_KEY: Final = "$type"
"""How tag 27 is spelt in JSON: ``{"$type": name, ...fields}`` or ``{"$type": name, "$value":
x}``."""


def _builtin_up(cls: type, enum_up: Callable[[Any], Up]) -> Up:
    def up(value: Any, target: Any) -> Any:
        if target is not cls and is_enum(target):
            return enum_up(target)(value, target)
        if type(value) is not cls:
            if cls is not float or type(value) is not int:
                raise expected(describe(cls), value)
            value = float(value)
        return value if target is cls else target(value)

    return up


def _base64_up(value: Any, _: Any) -> bytes:
    if type(value) is not str:
        raise expected("bytes as base64 text", value)
    return _from_base64(value)


def _from_base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise expected("bytes as base64 text", text) from None


def _text_up(cls: type) -> Up:
    name, _, read = TEXTS[cls]

    def up(value: Any, _: Any) -> Any:
        value = untagged(value, name)
        if type(value) is cls:
            return value  # another language wrote it with CBOR's own tag
        if type(value) is str:
            try:
                return read(value)
            except (ValueError, ArithmeticError):
                pass
        raise expected(name, value)

    return up


def _items(value: Any, hint: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise expected(describe(hint), value)
    return value


class _Reader:
    """The hooks that need to know whether the wire form came from CBOR or from JSON."""

    def __init__(self, *, json: bool) -> None:
        self.json = json
        converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
        self.converter = converter
        register = converter.register_structure_hook_factory
        register(is_fielded, self.fielded)
        register(lambda hint: origin_of(hint) in SEQUENCES, self.sequence)
        register(lambda hint: origin_of(hint) in SETS, self.sequence)
        register(is_tuple, self.tuple)
        register(lambda hint: origin_of(hint) in MAPPINGS, self.mapping)
        register(is_enum, self.enum)
        register(is_union, self.union)
        register(is_any, lambda _: self.any)
        for cls in BUILTIN:
            converter.register_structure_hook(cls, _builtin_up(cls, self.enum))
        if json:
            converter.register_structure_hook(bytes, _base64_up)
        for cls in TEXTS:
            converter.register_structure_hook(cls, _text_up(cls))

    def hook(self, hint: Any) -> Up:
        return self.converter.get_structure_hook(bare(hint))

    def any(self, value: Any, _: Any = None) -> Any:
        kind = type(value)
        if kind in BUILTIN or kind in TEXTS:
            return value
        if isinstance(value, list | tuple):
            return [self.any(item) for item in value]
        if isinstance(value, Mapping):
            return {self.any(key): self.any(item) for key, item in value.items()}
        if isinstance(value, CBORTag) and value.tag == OBJECT_TAG:
            name, plain = object_in(value)
            hint = TAGGED.get(name) or class_named(name)
            return self.hook(hint)(plain, hint)
        raise expected("a value of a known kind", value)

    def fielded(self, hint: Any) -> Up:
        cls = origin_of(hint)
        read = make_dict_structure_fn(
            hint, self.converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True
        )

        def up(value: Any, _: Any) -> Any:
            if isinstance(value, CBORTag):
                name, value = object_in(value)
                if not same_name(name, type_name(cls)):
                    found = class_named(name)
                    if not issubclass(found, cls):
                        raise Misfit(f"expected {type_name(cls)}, got an object {name!r}")
                    return self.hook(found)(value, found)
            if not isinstance(value, Mapping):
                raise expected(type_name(cls), value)
            return read(dict(value), hint)

        return up

    def enum(self, cls: Any) -> Up:
        def up(value: Any, _: Any) -> Any:
            raw = self.any(untagged(value, type_name(cls)))
            try:
                return cls(raw)
            except (ValueError, TypeError):
                known = ", ".join(repr(member.value) for member in cls)
                raise Misfit(f"expected one of {known}, got {raw!r:.80}") from None

        return up

    def sequence(self, hint: Any) -> Up:
        element = bare(argument(hint, 0))
        origin = origin_of(hint)
        build = origin if origin in (set, frozenset) else set if origin in SETS else list
        hook: Up | None = None

        def up(value: Any, _: Any) -> Any:
            nonlocal hook
            if hook is None:
                hook = self.hook(element)
            result = []
            for index, item in enumerate(_items(untagged(value, build.__name__), hint)):
                try:
                    result.append(hook(item, element))
                except Exception as error:  # noqa: BLE001  # users' validators run in here
                    raise inside(f"[{index}]", error) from None
            return result if build is list else build(result)

        return up

    def tuple(self, hint: Any) -> Up:
        elements = typing.get_args(hint)
        if not elements or elements[-1] is Ellipsis:
            read = self.sequence(list[argument(hint, 0)])  # type: ignore[misc]
            return lambda value, _: tuple(read(untagged(value, "tuple"), None))

        def up(value: Any, _: Any) -> Any:
            value = _items(untagged(value, "tuple"), hint)
            if len(value) != len(elements):
                raise Misfit(f"expected {len(elements)} elements, got {len(value)}")
            result = []
            for index, (item, element) in enumerate(zip(value, elements, strict=True)):
                try:
                    result.append(self.hook(element)(item, bare(element)))
                except Exception as error:  # noqa: BLE001  # users' validators run in here
                    raise inside(f"[{index}]", error) from None
            return tuple(result)

        return up

    def mapping(self, hint: Any) -> Up:
        key_hint, value_hint = bare(argument(hint, 0)), bare(argument(hint, 1))

        def up(value: Any, _: Any) -> Any:
            if not isinstance(value, Mapping):
                raise expected(describe(hint), value)
            result = {}
            for key, item in value.items():
                try:
                    result[self.key(key, key_hint)] = self.hook(value_hint)(item, value_hint)
                except Exception as error:  # noqa: BLE001  # users' validators run in here
                    raise inside(f"[{key!r}]", error) from None
            return result

        return up

    def key(self, key: Any, hint: Any) -> Any:
        """JSON has text keys only, so there a number may be spelt as text."""
        if self.json and hint in (int, float, bool):
            try:
                return {"true": True, "false": False}[key] if hint is bool else hint(key)
            except (ValueError, KeyError):
                raise expected(hint.__name__, key) from None
        return self.hook(hint)(key, hint)

    def union(self, hint: Any) -> Up:
        members, optional = members_of(hint)
        tags = [tag_of(member) for member in members]
        single = len(members) == 1

        def up(value: Any, _: Any) -> Any:
            if value is None and optional:
                return None
            if single:
                return self.hook(members[0])(value, members[0])
            fits = range(len(members))
            if isinstance(value, CBORTag):
                name, plain = object_in(value)
                fits = [i for i in fits if tags[i] is not None and same_name(name, tags[i])]  # type: ignore[assignment,arg-type]
                value = plain if fits else value
                fits = fits or range(len(members))
            elif not self.json:
                fits = [i for i in fits if tags[i] is None]  # type: ignore[assignment]
            return self.first_fit(value, [members[i] for i in fits], hint)

        return up

    def first_fit(self, value: Any, members: list[Any], hint: Any) -> Any:
        members = sorted(members, key=lambda member: origin_of(member) is not type(value))
        complaint: Misfit | None = None
        for member in members:
            try:
                return self.hook(member)(value, member)
            except Exception as error:  # noqa: BLE001  # users' validators run in here
                complaint = first_misfit(error)
        if complaint is not None and len(members) == 1:
            raise complaint
        raise expected(describe(hint), value)


_UP: Final = _Reader(json=False)
_UP_JSON: Final = _Reader(json=True)


def from_wire(plain: Any, hint: Any, *, json: bool = False) -> Any:
    """The value of type ``hint`` that ``plain`` stands for.

    Raises:
        Misfit: with the path from the root of ``plain``.
    """
    try:
        return (_UP_JSON if json else _UP).hook(hint)(plain, bare(hint))
    except Exception as error:  # users' validators run in here
        # User code runs in here too: validators, converters and __init__ of attrs classes.
        raise first_misfit(error) from error


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
        name, inner = object_in(plain)
        body = to_json_form(inner)
        return (
            {_TYPE_KEY: name, **body}
            if isinstance(body, dict)
            else {_TYPE_KEY: name, "$value": body}
        )
    if isinstance(plain, tuple(TEXTS)):
        return next(write(plain) for cls, (_, write, _) in TEXTS.items() if isinstance(plain, cls))
    return plain if isinstance(plain, BUILTIN) else str(plain)


def _json_key(key: Any) -> str:
    if isinstance(key, str):
        return key
    shown = to_json_form(key)
    return str(shown).lower() if isinstance(shown, bool) else str(shown)
