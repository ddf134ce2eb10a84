"""The border: what a client sends must keep the limits, and fit the code, before it enters the log;
what leaves is an answer that fits a message, whatever happens inside.
"""

import types
import typing
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, Final

import attrs

from flowactor.cluster.protocol.requests import (
    Answer,
    Query,
    QueryJson,
    Request,
    Response,
    SignalJson,
    StartJson,
)
from flowactor.codec.records import encode
from flowactor.errors import FlowactorError, InternalError, InvalidInput, QueryFailed, by_code
from flowactor.identity import NodeId
from flowactor.limits import (
    NAME_BYTES_MAX,
    OPERATION_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    REQUEST_NUMBER_MAX,
    TEXT_BYTES_MAX,
)
from flowactor.machine.operations import SignalRun, StartRun
from flowactor.machine.replies import Rejected
from flowactor.observability.events import Observer, RequestFailed
from flowactor.workflow import Signature, WorkflowDefinition, encode_failure

__all__ = [
    "Serve",
    "check_limits",
    "checked_query",
    "checked_signal",
    "checked_start",
    "query_error",
    "respond",
]

Serve = Callable[[Request], Awaitable[Answer]]
"""Answers requests."""

_TEXT_LIMITS: Final = {"reason": TEXT_BYTES_MAX, "arguments_json": OPERATION_BYTES_MAX}
"""Of texts that are no names."""


def check_limits(request: Request) -> None:
    """Raises:
    InvalidInput: a text, a payload or a number is of a size that nothing behind this is made for;
        names the field and its limit.
    """
    body = request.body
    _check("session", request.session, str)
    _check("timeout_ms", request.timeout_ms, int)
    cls: type = type(body)
    for name, kind in _fields(cls):
        _check(name, getattr(body, name), kind)


@cache
def _fields(cls: type) -> tuple[tuple[str, type], ...]:
    """The fields of a request and their types: what may be absent counts as what it is if not."""
    hints = typing.get_type_hints(cls)
    return tuple((field.name, _plain(hints[field.name])) for field in attrs.fields(cls))


def _plain(hint: Any) -> type:
    if isinstance(hint, types.UnionType):
        (hint,) = (member for member in typing.get_args(hint) if member is not type(None))
    plain: type = getattr(hint, "__supertype__", None) or typing.get_origin(hint) or hint
    return plain


def _check(name: str, value: Any, kind: type) -> None:
    if value is None:
        return
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InvalidInput(f"{name} is {value!r:.80}, it must be {kind.__name__}")
    if isinstance(value, str):
        limit = _TEXT_LIMITS.get(name, NAME_BYTES_MAX)
        size = len(value) if value.isascii() else _utf8_bytes(name, value)
        if size > limit:
            raise InvalidInput(f"{name} has {size} bytes, {limit} are allowed")
    elif isinstance(value, bytes):
        if len(value) > PAYLOAD_BYTES_MAX:
            raise InvalidInput(
                f"{name}: {len(value)} bytes are more than the {PAYLOAD_BYTES_MAX} allowed"
            )
    elif isinstance(value, tuple):
        for item in filter(lambda item: attrs.has(type(item)), value):
            cls: type = type(item)
            for inner, inner_kind in _fields(cls):
                _check(f"{name}: {inner}", getattr(item, inner), inner_kind)
    elif (
        isinstance(value, int)
        and not (0 if name.endswith("_ms") else -1) <= value <= REQUEST_NUMBER_MAX
    ):
        raise InvalidInput(f"{name} is {value}, which is out of range")


def _utf8_bytes(name: str, text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{name} is no text that can be stored: {error}") from None


def checked_start(
    body: StartRun | StartJson, definition: WorkflowDefinition, origin: NodeId
) -> StartRun:
    """The operation for the log, of exactly the version whose code checked it.

    Raises:
        InvalidInput: the arguments do not fit ``run``; names the path of the field.
    """
    given = body.arguments_json if isinstance(body, StartJson) else body.arguments
    return StartRun(
        body.workflow_id,
        body.run_id,
        body.workflow_type,
        definition.version,
        _payload(given, definition.run),
        origin,
        body.timeout_ns,
    )


def checked_signal(body: SignalRun | SignalJson, definition: WorkflowDefinition) -> SignalRun:
    """The operation for the log.

    Raises:
        NotFound: there is no such signal; those there are are named.
        InvalidInput: the arguments do not fit; names the path of the field.
    """
    signature = definition.signal_named(body.name).signature
    given = body.arguments_json if isinstance(body, SignalJson) else body.arguments
    return SignalRun(body.workflow_id, body.run_id, body.name, _payload(given, signature))


def checked_query(body: Query | QueryJson, definition: WorkflowDefinition) -> bytes:
    """The payload of the query's arguments. Raises as ``checked_signal``."""
    signature = definition.query_named(body.name).signature
    return _payload(
        body.arguments_json if isinstance(body, QueryJson) else body.arguments, signature
    )


def _payload(given: str | bytes, signature: Signature) -> bytes:
    """A payload that fits the signature: JSON converted, or a payload that was looked at."""
    if isinstance(given, bytes):
        signature.decode(given)
        return given
    return signature.encode_json(given)


def query_error(name: str, error: BaseException) -> FlowactorError:
    """What the asker of a query gets for the error it ended with: that itself if it is one of
    flowactor's, which travel; else the user's code failed.
    """
    if isinstance(error, FlowactorError) and type(by_code(type(error).__name__, "")) is type(error):
        return error
    return QueryFailed(f"query {name}: {_text_of(error)}")


async def respond(
    request: Request,
    serve: Serve,
    observer: Observer,
    wrap: Callable[[Response], object] = lambda response: response,
) -> bytes:
    """The response to a request as it travels, inside what ``wrap`` makes of it. An answer that no
    message can carry becomes its refusal; so does a bug, which is the trouble of one request.
    """
    try:
        data = encode(wrap(Response(request.number, await serve(request))))
        if len(data) <= OPERATION_BYTES_MAX:
            return data
        text = f"the answer has {len(data)} bytes, a message carries {OPERATION_BYTES_MAX}"
        refusal = Rejected(InvalidInput.__name__, text)
    except Exception as error:  # noqa: BLE001  # nothing that goes wrong for one may end all others
        text = f"{type(request.body).__name__}: {_text_of(error)}"
        observer(RequestFailed(type(request.body).__name__, _text_of(error)))
        refusal = Rejected(InternalError.__name__, text, outcome_unknown=True)
    return encode(wrap(Response(request.number, refusal)))


def _text_of(error: BaseException) -> str:
    """Type and text of any error, however broken or long."""
    failure = encode_failure(error)
    return f"{failure.error_type.removeprefix('builtins.')}: {failure.message}"
