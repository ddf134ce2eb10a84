"""Checks at the border: what a client sends must fit the code before it enters the log."""

from flowactor.cluster.requests import Query, QueryJson, SignalJson, StartJson
from flowactor.identity import NodeId
from flowactor.machine.operations import SignalRun, StartRun
from flowactor.workflow import Signature, WorkflowDefinition

__all__ = ["checked_query", "checked_signal", "checked_start"]


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
