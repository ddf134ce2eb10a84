"""What a log entry asks of the execution machine.

A log entry is one *batch*: the leader's stamp and the operations it gathered. Every operation is
encoded once, by whoever asks; the leader joins the same bytes into a batch, and the same bytes go
to every log (``encode_batch``).

Operations of clients travel inside ``ClientOperation`` and are applied at most once by session and
sequence. The engine's own operations need no session: each carries what it was decided on (epoch
and position, attempt, leader's term) and is refused at apply when that is stale.
"""

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from flowactor.codec import records
from flowactor.codec.records import record
from flowactor.errors import MalformedDataError
from flowactor.identity import NodeId, RunId, SessionId, StepKey
from flowactor.limits import SCHEMA_VERSION
from flowactor.machine.commands import Command
from flowactor.machine.events import Failure, StepCompleted
from flowactor.machine.handoff import MoveOperation

__all__ = [
    "Advance",
    "AnnounceNode",
    "Batch",
    "CancelRun",
    "ClientBody",
    "ClientOperation",
    "CompareAndSet",
    "Consumed",
    "DrainNode",
    "FailAttempt",
    "InboxRef",
    "OpenSession",
    "Operation",
    "OtherOperation",
    "ParkRun",
    "ReassignRuns",
    "ResumeRun",
    "SignalRun",
    "StartRun",
    "TerminateRun",
    "WriteVariable",
    "decode_batch",
    "encode_batch",
    "encode_kept",
]


@record(40)
@frozen
class OpenSession:
    """Begin a client session; idempotent. The first operation of a client.

    ``asked_ns`` is log time at the node that the client asked, which is what tells a late copy from
    a client of today: it must not open again what has expired, for then changes that were applied
    would be applied again.
    """

    session: SessionId
    asked_ns: int | None = None


@record(41)
@frozen
class StartRun:
    """Start a run. ``version`` 0 is the highest one registered anywhere. ``origin`` is the node
    that took the request: the owner, if it can run the type. A time-out of 0 is none.
    """

    workflow_id: str
    run_id: RunId
    workflow_type: str
    version: int
    arguments: bytes
    origin: NodeId
    timeout_ns: int = 0


@record(42)
@frozen
class SignalRun:
    """``run_id`` empty means the current run of the workflow id (here and below)."""

    workflow_id: str
    run_id: str
    name: str
    arguments: bytes


@record(43)
@frozen
class CancelRun:
    workflow_id: str
    run_id: str
    reason: str


@record(44)
@frozen
class TerminateRun:
    workflow_id: str
    run_id: str
    reason: str


@record(45)
@frozen
class ResumeRun:
    """An operator's word that a parked run may go on (its code was mended)."""

    workflow_id: str
    run_id: str


@record(46)
@frozen
class WriteVariable:
    """Set a stand-alone replicated variable; ``value`` None deletes it."""

    name: str
    value: bytes | None


@record(47)
@frozen
class CompareAndSet:
    """Set a stand-alone variable if its version is still ``expected`` (0: it does not exist)."""

    name: str
    expected: int
    value: bytes


ClientBody = (
    StartRun | SignalRun | CancelRun | TerminateRun | ResumeRun | WriteVariable | CompareAndSet
)


@record(50)
@frozen
class ClientOperation:
    """``acknowledged`` promises that the client has the replies of all sequences below it."""

    session: SessionId
    sequence: int
    acknowledged: int
    body: ClientBody


@record(51)
@frozen
class InboxRef:
    """Consumes the inbox item of this number; the item itself is in the history already."""

    number: int


Consumed = InboxRef | StepCompleted


@record(52)
@frozen
class Advance:
    """One activation of one run, proposed by its owner (``design.md``, D7).

    Valid only at exactly this epoch and position. ``now_ns`` is what ``fa.now()`` said.
    """

    run_id: RunId
    epoch: int
    position: int
    now_ns: int
    consumed: tuple[Consumed, ...]
    commands: tuple[Command, ...]


@record(53)
@frozen
class FailAttempt:
    """One attempt of a step failed; the machine decides between a retry and the end."""

    run_id: RunId
    epoch: int
    step: StepKey
    attempt: int
    failure: Failure


@record(54)
@frozen
class ParkRun:
    """The owner cannot go on with this run's code (determinism): people are needed."""

    run_id: RunId
    epoch: int
    reason: str


@record(55)
@frozen
class AnnounceNode:
    """What a node has registered: (workflow type, version) pairs, sorted. Replaces what it said
    before; a new incarnation means that the node was started anew. ``disk`` is the data directory
    that it votes and acknowledges with: a node has one for ever.
    """

    node: NodeId
    incarnation: str
    workflows: tuple[tuple[str, int], ...]
    disk: str = ""


@record(56)
@frozen
class ReassignRuns:
    """The leader of ``term`` has not heard from ``node`` for a lease: its runs need new owners."""

    node: NodeId
    term: int


@record(88)
@frozen
class DrainNode:
    """A node that is about to leave: its runs get other owners, and it gets no new ones. It counts
    for this incarnation only; ``draining`` False takes it back.
    """

    node: NodeId
    incarnation: str
    draining: bool = True


OtherOperation = (
    OpenSession
    | ClientOperation
    | FailAttempt
    | ParkRun
    | AnnounceNode
    | ReassignRuns
    | DrainNode
    | MoveOperation
)
Operation = Advance | OtherOperation


@frozen
class Batch:
    """A decoded log entry. ``stamp_ns`` is the leader's wall clock when it gathered the batch.

    ``kept`` has, beside each operation, the bytes it was encoded as, if it was to keep them.
    """

    stamp_ns: int
    operations: tuple[Operation, ...]
    kept: tuple[bytes | None, ...]


_BATCH_HEAD: Final = b"\x83" + records.encode_plain(SCHEMA_VERSION)
"""Of an array of three."""


def encode_kept(operation: Operation) -> bytes:
    """An operation whose bytes the machine keeps: it stands in the batch as a byte string, so that
    nobody has to encode it again for its history.
    """
    return records.encode_plain(records.encode(operation))


def encode_batch(stamp_ns: int, operations: Sequence[bytes]) -> bytes:
    """A log entry of operations that are encoded already; an empty one only carries time on."""
    # Item by item: for an array cbor2 takes ten times as long as for what is in it.
    return _BATCH_HEAD + records.encode_plain(stamp_ns) + records.join(operations)


def decode_batch(data: bytes) -> Batch:
    """The batch in a log entry.

    Raises:
        MalformedDataError: the entry is no batch, or of a schema this version does not know; the
            group must stop rather than skip it (``design.md``, D15).
    """
    plain = records.decode_plain(data)
    if not isinstance(plain, tuple) or len(plain) != 3 or plain[0] != SCHEMA_VERSION:
        raise MalformedDataError(f"not a batch of schema {SCHEMA_VERSION}: {plain!r:.80}")
    kept: list[bytes | None] = []
    operations: list[Operation] = []
    for item in plain[2]:
        if type(item) is tuple:
            kept.append(None)
            operations.append(records.from_plain(item))
        else:
            kept.append(item if type(item) is bytes else None)
            operations.append(records.decode(item))
    return Batch(plain[1], tuple(operations), tuple(kept))
