"""From ``ProcessOrder.run`` and its arguments to what travels: a name and a payload.

Arguments are encoded here, at the call, with the types of the function that was named: what does
not fit is refused before anything is sent, and the error names the path of the field.
"""

from collections.abc import Callable
from typing import Any

from attrs import frozen

from flowactor.codec import payloads
from flowactor.workflow import HandlerKind, definition_of, handler_of

__all__ = ["Call", "handler_call", "workflow_call", "workflow_name"]


@frozen
class Call:
    """A call that can be sent. ``version`` is a workflow's, 0 if the caller named none."""

    name: str
    arguments: bytes
    result_type: Any
    version: int = 0


def workflow_call(workflow: Callable[..., Any] | type | str, args: tuple[Any, ...]) -> Call:
    """A start of a workflow class, of its ``run``, or of a type's name.

    Raises:
        InvalidInput: it is none of these, or does not take these arguments.
    """
    if isinstance(workflow, str):
        return _untyped(workflow, args, f"arguments of {workflow}")
    definition = definition_of(workflow)
    signature = definition.run
    return Call(definition.name, signature.encode(args, {}), signature.returns, definition.version)


def handler_call(
    kind: HandlerKind, handler: Callable[..., Any] | str, args: tuple[Any, ...]
) -> Call:
    """A call of a signal handler or query, by its method or its name.

    Raises:
        InvalidInput: it is neither, or does not take these arguments.
    """
    if isinstance(handler, str):
        return _untyped(handler, args, f"arguments of {kind.value} {handler}")
    found = handler_of(handler, kind)
    return Call(found.name, found.signature.encode(args, {}), found.signature.returns)


def workflow_name(workflow: Callable[..., Any] | type | str) -> str:
    """The name of a workflow type."""
    return workflow if isinstance(workflow, str) else definition_of(workflow).name


def _untyped(name: str, args: tuple[Any, ...], where: str) -> Call:
    """By name alone the types are not known here; the node checks the arguments against its own."""
    return Call(name, payloads.encode_payload(list(args), Any, where), Any)
