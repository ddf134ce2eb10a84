"""The codec of user values: inputs, results, signals, variables, the fields of exceptions.

``wire`` says what is written, ``writing`` and ``reading`` do it; here are the doors, with errors
that name the place. Equal values of one type have equal bytes on every node, whatever its hash seed
(rule *canonical_bytes*), because bytes are what a standby compares.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import cbor2

from flowactor.codec.cbor import load_one
from flowactor.codec.reading import from_json_form, from_wire, to_json_form
from flowactor.codec.wire import Misfit
from flowactor.codec.writing import locate, to_wire
from flowactor.errors import InvalidInput, UnencodableValue
from flowactor.limits import PAYLOAD_BYTES_MAX

__all__ = [
    "decode_arguments",
    "decode_payload",
    "encode_arguments",
    "encode_payload",
    "payload_from_json",
    "payload_to_json",
]

_DEPTH_MAX: Final = 100
"""Nesting of a payload; deeper is a cycle, or an attack on the decoder's stack."""
_FLAT: Final = frozenset({str, int, bool, bytes, type(None)})


def encode_payload(value: Any, hint: Any, where: str) -> bytes:
    """The canonical bytes of ``value``.

    Args:
        value: anything of the table in ``wire``.
        hint: the type it is meant for; None or ``Any`` writes type names where they are needed.
        where: what the value is, for the error: ``"result of step charge_card"``.

    Raises:
        UnencodableValue: something in it cannot be stored; names the type and the place.
        InvalidInput: it does not fit the hint, or is larger than ``PAYLOAD_BYTES_MAX``.
    """
    kind = type(value)
    if kind in _FLAT and (hint is kind or hint is None or hint is Any):
        return _write(value, where)
    if hint is None:
        hint = Any
    return _write(_down(value, hint, "$", where), where)


def decode_payload(data: bytes, hint: Any, where: str) -> Any:
    """The value in ``data``; a fresh one, shared with nobody.

    Raises:
        InvalidInput: the bytes are no payload, or what they hold does not fit the hint; names the
            path of the field. Nothing is coerced, except an int to a float.
    """
    plain = _read(data, where)
    kind = type(plain)
    if kind in _FLAT and (hint is kind or hint is None or hint is Any):
        return plain
    return _up(plain, Any if hint is None else hint, "$", where)


def encode_arguments(values: Sequence[Any], hints: Mapping[str, Any], where: str) -> bytes:
    """The payload of a call: an array of its arguments. ``hints`` are the types by parameter name,
    in order; there may be fewer values than parameters.
    """
    plain = []
    for value, (name, hint) in zip(values, hints.items(), strict=False):
        if type(value) in _FLAT and hint is type(value):
            plain.append(value)
        else:
            plain.append(_down(value, hint, f"$.{name}", where))
    return _write(plain, where)


def decode_arguments(
    data: bytes, hints: Mapping[str, Any], required: int, where: str
) -> tuple[Any, ...]:
    """The arguments in a payload that ``encode_arguments`` made.

    Raises:
        InvalidInput: too few or too many, or one does not fit; names the path, ``$.order.amount``.
    """
    return _arguments(_read(data, where), hints, required, where, from_json=False)


def payload_from_json(
    source: Any, hints: Mapping[str, Any], where: str, *, required: int | None = None
) -> bytes:
    """The payload of a call whose arguments a person wrote as JSON.

    An array holds the arguments in order; any other value is the only argument.

    Args:
        source: a JSON text, or the value it stands for.
        hints: types by parameter name, in order.
        where: what the arguments are for, for the error.
        required: how many of them must be given; all, if None.

    Raises:
        InvalidInput: no JSON, or it does not fit; names the path of the field.
    """
    if isinstance(source, str):
        try:
            source = json.loads(source)
        except ValueError as error:
            raise InvalidInput(f"{where}: not JSON: {error}") from None
    plain = from_json_form(source if isinstance(source, list) else [source])
    count = len(hints) if required is None else required
    return encode_arguments(_arguments(plain, hints, count, where, from_json=True), hints, where)


def payload_to_json(data: bytes) -> Any:
    """A payload as JSON can say it, for people who do not have its types: times are ISO 8601 text,
    bytes are base64, objects of a union carry their type name as ``"$type"``.
    """
    return to_json_form(_read(data, "payload"))


def _arguments(
    plain: Any, hints: Mapping[str, Any], required: int, where: str, *, from_json: bool
) -> tuple[Any, ...]:
    if not isinstance(plain, list | tuple):
        raise InvalidInput(f"{where}: expected an array of arguments, got {plain!r:.80}")
    if plain and not hints:
        raise InvalidInput(f"{where}: it takes no arguments, {len(plain)} given")
    if not required <= len(plain) <= len(hints):
        listed = ", ".join(hints)
        given = f"{len(plain)} argument{'s' * (len(plain) != 1)} given"
        raise InvalidInput(f"{where}: {given}, the parameters are: {listed}")
    return tuple(
        item
        if type(item) in _FLAT and hint is type(item) and not from_json
        else _up(item, hint, f"$.{name}", where, from_json=from_json)
        for item, (name, hint) in zip(plain, hints.items(), strict=False)
    )


def _down(value: Any, hint: Any, root: str, where: str) -> Any:
    try:
        return to_wire(hint)(value)
    except Misfit as error:
        found = locate(value, hint, error)
    except RecursionError:
        found = Misfit("a value that contains itself cannot be stored", unencodable=True)
    except (cbor2.CBORError, AttributeError, TypeError, ValueError) as error:
        found = Misfit(f"{type(error).__name__}: {error}")
    path = "" if root == "$" and not found.path else f"{root}{found.path}: "
    cls = UnencodableValue if found.unencodable else InvalidInput
    raise cls(f"{where}: {path}{found.text}")


def _up(plain: Any, hint: Any, root: str, where: str, *, from_json: bool = False) -> Any:
    try:
        return from_wire(plain, hint, json=from_json)
    except Misfit as error:
        raise InvalidInput(f"{where}: {root}{error.path}: {error.text}") from error.__cause__


def _write(plain: Any, where: str) -> bytes:
    try:
        data = cbor2.dumps(plain, canonical=True)
    except (cbor2.CBORError, ValueError, TypeError, RecursionError) as error:
        raise UnencodableValue(f"{where}: cannot be stored: {error}") from error
    if len(data) > PAYLOAD_BYTES_MAX:
        raise InvalidInput(
            f"{where}: {len(data)} bytes are more than the {PAYLOAD_BYTES_MAX} allowed"
        )
    return data


def _read(data: bytes, where: str) -> Any:
    try:
        return load_one(data, depth_max=_DEPTH_MAX)
    except Exception as error:
        # cbor2 raises its own errors, and ValueError, EOFError or RecursionError on hostile input.
        raise InvalidInput(f"{where}: undecodable bytes: {error}") from error
