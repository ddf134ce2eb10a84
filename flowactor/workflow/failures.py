"""Exceptions as values, and back (rule *errors_are_values*).

What survives is the type's name, the message, the arguments and fields, the chain of causes and the
notes: what code can catch and look at. The stack trace does not; it differs between builds.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import attrs

from flowactor.codec import payloads, records, wire
from flowactor.codec.text import shortened
from flowactor.errors import CallerError, InvalidInput, NonRetryableError, StepFailed
from flowactor.limits import FAILURE_BYTES_MAX, TEXT_BYTES_MAX
from flowactor.machine.events import Failure

__all__ = ["decode_failure", "encode_failure", "matches"]

_CAUSES_MAX: Final = 16
"""A chain this long is a loop, or of no use to anybody."""
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
_HEAD_BYTES: Final = 64
"""What a failure is counted as beside its texts and fields."""
_ARGS: Final = "args"
_MEMBERS: Final = "exceptions"


def encode_failure(
    error: BaseException, non_retryable: Iterable[type[BaseException] | str] = ()
) -> Failure:
    """An exception as a value; never fails itself.

    Args:
        error: what was raised. A field of it that cannot be stored is replaced by its type's name;
            what is too large (``TEXT_BYTES_MAX``, ``FAILURE_BYTES_MAX``) is cut short.
        non_retryable: types (with their subclasses), or names of types, that end a step at once. So
            do flowactor's ``CallerError`` and ``NonRetryableError``.
    """
    final = isinstance(error, (CallerError, NonRetryableError)) or matches(error, non_retryable)
    return _Encoder().failure(error, retryable=not final)


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


class _Encoder:
    """Encodes one error with all that hangs on it into ``FAILURE_BYTES_MAX``.

    Room goes to what comes first: message, notes, fields, then members of a group, then the cause.
    """

    def __init__(self) -> None:
        self._left = FAILURE_BYTES_MAX

    def failure(self, error: BaseException, *, retryable: bool, depth: int = 0) -> Failure:
        error_type, cause = _qualified(type(error)), error.__cause__
        self._left -= len(error_type) + _HEAD_BYTES
        return Failure(
            error_type=error_type,
            message=self._text(_message(error)),
            notes=tuple(self._notes(error)),
            details=self._details(error, depth),
            cause=self.failure(cause, retryable=True, depth=depth + 1)
            if cause and depth < _CAUSES_MAX and self._left > 0
            else None,
            retryable=retryable,
        )

    def _text(self, text: str) -> str:
        text = shortened(text, max(0, min(self._left, TEXT_BYTES_MAX)))
        self._left -= len(text.encode())
        return text

    def _notes(self, error: BaseException) -> Iterator[str]:
        for note in getattr(error, "__notes__", ()):
            if self._left <= 0:
                return
            yield self._text(str(note))

    def _details(self, error: BaseException, depth: int) -> bytes:
        fields: dict[str, Any] = {
            name: value for name, value in _fields(error).items() if not name.startswith("__")
        }
        is_group = isinstance(error, BaseExceptionGroup)
        if not (is_group or attrs.has(type(error))) and (args := _args(error)) != [_message(error)]:
            fields[_ARGS] = args
        fields, size = _fitting(fields, max(0, self._left))
        self._left -= size
        if isinstance(error, BaseExceptionGroup):
            fields[_MEMBERS] = list(self._members(error, depth))
        return payloads.encode_payload(fields, None, "fields") if fields else b""

    def _members(self, group: BaseExceptionGroup[Any], depth: int) -> Iterator[bytes]:
        for index, member in enumerate(group.exceptions):
            # A group is never empty, so the first one is there in any case.
            if index and (self._left <= 0 or depth >= _CAUSES_MAX):
                return
            yield records.encode(self.failure(member, retryable=True, depth=depth + 1))


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
    return _ADDRESS.sub("", text)


def _args(error: BaseException) -> list[Any]:
    # An OSError hides the file names it was made with from its args; pickling has to know better.
    reduced = error.__reduce__() if isinstance(error, OSError) else None
    return list(reduced[1] if isinstance(reduced, tuple) else error.args)


def _fields(error: BaseException) -> dict[str, Any]:
    cls: type = type(error)
    if attrs.has(cls):
        return {field.name: getattr(error, field.name, None) for field in attrs.fields(cls)}
    return vars(error)


def _fitting(fields: dict[str, Any], room: int) -> tuple[dict[str, Any], int]:
    """The fields, or what of them can be stored in ``room`` bytes, and how many they take."""
    if not fields:
        return {}, 0
    size = _size(fields)
    if size > room:
        fields = _cut(fields, room // len(fields))
        size = _size(fields)
    return (fields, int(size)) if size <= room else ({}, 0)


def _size(value: Any) -> float:
    """In bytes; infinite if it cannot be stored."""
    try:
        return len(payloads.encode_payload(value, None, "fields"))
    except InvalidInput:
        return math.inf


def _cut(fields: dict[str, Any], room: int) -> dict[str, Any]:
    """Each field in at most ``room`` bytes; arguments stay a list, the error is made from them."""
    return {
        name: [_storable(item, room // len(value)) for item in value]
        if name == _ARGS and value
        else _storable(value, room)
        for name, value in fields.items()
    }


def _storable(value: Any, room: int) -> Any:
    """The parts of ``value`` that can be stored, and words in place of those that cannot, or take
    more than ``room`` bytes.
    """
    size = _size(value)
    if size <= room:
        return value
    name = wire.type_name(type(value))
    if size < math.inf:
        return f"<{name} of {size} bytes>"
    if isinstance(value, dict):
        return {str(key): _storable(item, room // len(value)) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item, room // len(value)) for item in value]
    return f"<{name}>"


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
