"""Exceptions as values, and back (rule *errors_are_values*).

What survives is the type's name, the message, the arguments and fields, the chain of causes and the
notes: what code can catch and look at. The stack trace does not; it differs between builds.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs

from flowactor.codec import payloads, records, wire
from flowactor.errors import CallerError, InvalidInput, NonRetryableError, StepFailed
from flowactor.machine.events import Failure

__all__ = ["decode_failure", "encode_failure", "matches"]

_CAUSES_MAX: Final = 16
"""A chain this long is a loop, or of no use to anybody."""
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
_ARGS: Final = "args"
_MEMBERS: Final = "exceptions"


def encode_failure(
    error: BaseException, non_retryable: Iterable[type[BaseException] | str] = ()
) -> Failure:
    """An exception as a value; never fails itself.

    Args:
        error: what was raised. A field of it that cannot be stored is replaced by its type's name.
        non_retryable: types (with their subclasses), or names of types, that end a step at once. So
            do flowactor's ``CallerError`` and ``NonRetryableError``.
    """
    final = isinstance(error, (CallerError, NonRetryableError)) or matches(error, non_retryable)
    return _encode(error, retryable=not final, depth=0)


def matches(error: BaseException, listed: Iterable[type[BaseException] | str]) -> bool:
    """The error is of a listed type: the type itself, a qualified name, or a bare name, also of a
    base.
    """
    names: set[str] | None = None
    for item in listed:
        if isinstance(item, type):
            if isinstance(error, item):
                return True
            continue
        if names is None:
            bases = type(error).__mro__
            names = {cls.__name__ for cls in bases} | {_qualified(cls) for cls in bases}
        if item in names:
            return True
    return False


def decode_failure(failure: Failure) -> Exception:
    """The exception that a value stands for.

    Its type is looked up among modules that are imported already and must be an ``Exception``;
    nothing is imported or executed because a failure says so. An unknown type gives ``StepFailed``,
    with the original name as ``error_type``.
    """
    error = _rebuilt(failure)
    for note in failure.notes:
        error.add_note(note)
    if failure.cause is not None:
        error.__cause__ = decode_failure(failure.cause)
    return error


def _encode(error: BaseException, *, retryable: bool, depth: int) -> Failure:
    cause = error.__cause__
    return Failure(
        error_type=_qualified(type(error)),
        message=_message(error),
        details=_details(error, depth),
        cause=_encode(cause, retryable=True, depth=depth + 1)
        if cause and depth < _CAUSES_MAX
        else None,
        notes=tuple(str(note) for note in getattr(error, "__notes__", ())),
        retryable=retryable,
    )


def _qualified(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _message(error: BaseException) -> str:
    """The text without memory addresses: a standby's differ, and its text is compared."""
    if isinstance(error, BaseExceptionGroup):
        return _ADDRESS.sub("", error.message)
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # a broken __str__ must not hide the error
        text = f"<{type(error).__name__} without a readable message>"
    return _ADDRESS.sub("", text).encode("utf-8", "replace").decode()


def _details(error: BaseException, depth: int) -> bytes:
    fields: dict[str, Any] = {
        name: value for name, value in _fields(error).items() if not name.startswith("__")
    }
    if isinstance(error, BaseExceptionGroup):
        members = error.exceptions if depth < _CAUSES_MAX else ()
        fields[_MEMBERS] = [
            records.encode(_encode(e, retryable=True, depth=depth + 1)) for e in members
        ]
    elif not attrs.has(type(error)) and (args := _args(error)) != [_message(error)]:
        fields[_ARGS] = args
    if not fields:
        return b""
    try:
        return payloads.encode_payload(fields, None, "fields")
    except InvalidInput:
        return payloads.encode_payload(_storable(fields), None, "fields")


def _args(error: BaseException) -> list[Any]:
    # An OSError hides the file names it was made with from its args; pickling has to know better.
    reduced = error.__reduce__() if isinstance(error, OSError) else None
    return list(reduced[1] if isinstance(reduced, tuple) else error.args)


def _fields(error: BaseException) -> dict[str, Any]:
    cls: type = type(error)
    if attrs.has(cls):
        return {field.name: getattr(error, field.name, None) for field in attrs.fields(cls)}
    return vars(error)


def _storable(value: Any) -> Any:
    """The parts of ``value`` that can be stored, and names of types in place of those that
    cannot.
    """
    if isinstance(value, dict):
        return {str(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    try:
        payloads.encode_payload(value, None, "field")
    except InvalidInput:
        return f"<{wire.type_name(type(value))}>"
    return value


def _rebuilt(failure: Failure) -> Exception:
    cls = wire.find_imported(failure.error_type)
    if isinstance(cls, type) and issubclass(cls, Exception):
        try:
            fields = (
                payloads.decode_payload(failure.details, None, "fields") if failure.details else {}
            )
            return _instance(cls, failure.message, fields)
        except Exception:  # noqa: BLE001, S110  # a changed class: the caller still gets a typed error
            pass
    return StepFailed(failure.message, failure.error_type)


def _instance(cls: type[Exception], message: str, fields: dict[str, Any]) -> Exception:
    if issubclass(cls, ExceptionGroup):
        members = [decode_failure(records.decode(member)) for member in fields.pop(_MEMBERS)]
        return cls(message, members)
    if attrs.has(cls):
        return _attrs_instance(cls, fields)
    args = fields.pop(_ARGS, [message])
    make: Callable[..., Exception] = cls
    if cls.__init__.__class__.__name__ == "function":
        # The class has an __init__ of its own, whose parameters need not be what it hands on to
        # Exception. Its effect is in the fields, so it is not called again.
        make = cls.__new__
        error = make(cls, *args)
        error.args = tuple(args)
    else:
        error = make(*args)
    for name, value in fields.items():
        setattr(error, name, value)
    return error


def _attrs_instance(cls: Any, fields: dict[str, Any]) -> Exception:
    settable = {field.name: field.alias for field in attrs.fields(cls) if field.init}
    error: Exception = cls(
        **{settable[name]: value for name, value in fields.items() if name in settable}
    )
    return error
