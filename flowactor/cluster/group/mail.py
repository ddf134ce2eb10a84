"""What comes by the mailbox of a group, and how it is sorted before it is handled."""

from collections.abc import Callable, Iterator, Sequence

from attrs import Factory, define, frozen

from flowactor.actors import Promise
from flowactor.cluster.protocol.envelopes import GroupEnvelope
from flowactor.identity import NodeId
from flowactor.limits import BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX
from flowactor.raft import Event

__all__ = [
    "Alarm",
    "AskAgain",
    "Barrier",
    "Completion",
    "Deferred",
    "FromPeer",
    "Gathered",
    "Mail",
    "chunks",
]


@frozen
class FromPeer:
    sender: NodeId
    envelope: GroupEnvelope


@frozen
class Barrier:
    promise: Promise[None]


@frozen
class Completion:
    """Something the driver's work brought, or the passing of a tick."""

    event: Event


@frozen
class Alarm:
    """It is time to look at the time."""


@frozen
class Deferred:
    """What storage has done, to be handled after the step of its batch."""

    action: Callable[[], None]


@frozen
class AskAgain:
    """Of what waits here nobody may know: there is another leader, or the outcomes passed unseen in
    a state that was installed.
    """


Mail = bytes | FromPeer | Barrier | Completion | Alarm | Deferred | AskAgain
"""Bytes are an encoded operation of this node, to be proposed: what comes in masses is bare."""


@define
class Gathered:
    """What one drained batch asks for, sorted by what it becomes."""

    events: list[Event] = Factory(list)
    operations: list[bytes] = Factory(list)
    forwarded: list[bytes] = Factory(list)
    senders: dict[NodeId, None] = Factory(dict)
    afterwards: list[Callable[[], None]] = Factory(list)


def chunks(operations: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Split into runs that respect the limits of a batch; a single larger operation stays whole."""
    chunk: list[bytes] = []
    size = 0
    for operation in operations:
        if chunk and (
            size + len(operation) > BATCH_BYTES_MAX or len(chunk) >= BATCH_OPERATIONS_MAX
        ):
            yield chunk
            chunk, size = [], 0
        chunk.append(operation)
        size += len(operation)
    if chunk:
        yield chunk
