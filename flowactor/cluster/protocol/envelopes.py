"""What nodes say to each other over a link: one record per message, many to a frame."""

from attrs import frozen

from flowactor.cluster.protocol.requests import Request, Response
from flowactor.codec.records import record
from flowactor.identity import GroupId
from flowactor.raft import Snapshot
from flowactor.raft import messages as raft

__all__ = [
    "Alive",
    "Envelope",
    "Forward",
    "GroupEnvelope",
    "RaftEnvelope",
    "ReadAnswer",
    "ReadAsk",
    "Relay",
    "Relayed",
    "SnapshotChunk",
    "SnapshotEnvelope",
    "SnapshotHeld",
    "SnapshotOffer",
    "SnapshotWanted",
]


@record(310)
@frozen
class RaftEnvelope:
    """Consensus traffic of one group."""

    group: GroupId
    message: raft.Message


@record(311)
@frozen
class Forward:
    """Encoded operations for the group's leader to propose.

    There is no answer: whoever asked sees them applied, or asks again (``docs/decisions/0003``).
    """

    group: GroupId
    operations: tuple[bytes, ...]


@record(312)
@frozen
class ReadAsk:
    """Ask the group's leader for an index to read at; ``token`` is the asker's own."""

    group: GroupId
    token: int


@record(313)
@frozen
class ReadAnswer:
    """``index`` -1: the asked node does not lead, ask another."""

    group: GroupId
    token: int
    index: int


@record(314)
@frozen
class Relay:
    """A client's request that this node cannot answer itself, passed to one that can."""

    request: Request


@record(315)
@frozen
class Relayed:
    response: Response


@record(316)
@frozen
class SnapshotOffer:
    """A leader has a copy of the state for a follower that needs it: of ``size_bytes``, known by
    its ``digest``. Answered by ``SnapshotWanted`` or ``SnapshotHeld``; what comes after it counts
    under its ``number``, so that nothing of an earlier offer is taken for an answer to this one.
    """

    group: GroupId
    number: int
    snapshot: Snapshot
    size_bytes: int
    digest: bytes


@record(317)
@frozen
class SnapshotChunk:
    """``data`` from ``offset`` on of the copy that was offered, with its CRC-32."""

    group: GroupId
    digest: bytes
    offset: int
    data: bytes
    checksum: int


@record(318)
@frozen
class SnapshotWanted:
    """The receiver has everything before ``offset``: go on from there."""

    group: GroupId
    number: int
    offset: int


@record(319)
@frozen
class SnapshotHeld:
    """The receiver has the whole copy durably; or not ``whole``: what came is not what was offered,
    and was thrown away.
    """

    group: GroupId
    number: int
    whole: bool


@record(321)
@frozen
class Alive:
    """A sign of life of the node, for all groups together; ``asks`` for one in return."""

    asks: bool


SnapshotEnvelope = SnapshotOffer | SnapshotChunk | SnapshotWanted | SnapshotHeld
GroupEnvelope = RaftEnvelope | Forward | ReadAsk | ReadAnswer | SnapshotEnvelope
"""What concerns one group, named in its field ``group``."""
Envelope = GroupEnvelope | Relay | Relayed | Alive
