"""What enters the Raft core through its one door, ``Raft.step(events)``."""

from attrs import frozen

from flowactor.identity import NodeId
from flowactor.raft.configuration import Configuration, Snapshot
from flowactor.raft.messages import Entry, Message

__all__ = [
    "ChangeConfiguration",
    "EntriesLoaded",
    "Event",
    "Propose",
    "ReadIndex",
    "Receive",
    "ShareCommit",
    "SnapshotStaged",
    "Tick",
    "TransferLeadership",
    "Wake",
    "WritePersisted",
]


@frozen
class Tick:
    """One unit of time passed."""


@frozen
class Receive:
    """A message arrived from a peer."""

    sender: NodeId
    message: Message


@frozen
class Propose:
    """Append these payloads, one entry each, if this node leads.

    ``token`` comes back in ``Effects.accepted`` with its place, or in ``Effects.refused``.
    """

    token: int
    payloads: tuple[bytes, ...]


@frozen
class ReadIndex:
    """Ask for an index at which a linearizable read may be served; see ``Effects.reads``."""

    token: int


@frozen
class WritePersisted:
    """The write of this number, and all before it, is durable."""

    number: int


@frozen
class EntriesLoaded:
    """The answer to ``LoadEntries``: entries from the log, and the term just before them.

    No entries: the log no longer has the first one.
    """

    peer: NodeId
    previous_term: int
    entries: tuple[Entry, ...]


@frozen
class ShareCommit:
    """Tell these followers the commit index now: somebody there waits."""

    peers: tuple[NodeId, ...]


@frozen
class ChangeConfiguration:
    """Bring the group to this configuration, if this node leads and the last change is done.

    ``token`` comes back in ``Effects.accepted`` with the place of the entry that begins the change,
    or in ``Effects.refused``. New voters must have caught up as learners.

    Raises:
        ConfigurationError: it can be no aim of a change.
    """

    token: int
    wanted: Configuration

    def __attrs_post_init__(self) -> None:
        self.wanted.check()


@frozen
class TransferLeadership:
    """Hand the lead to a voter, 0 being the one whose log is furthest (thesis 3.10). Nothing is
    proposed meanwhile. Within an election time-out it leads, or all is as before; ``token`` comes
    back in ``Effects.refused`` if that does not even begin.
    """

    token: int
    target: NodeId


@frozen
class Wake:
    """The node of the leader, or to a leader that of a member, is gone or is back: who is quiet is
    to see for itself.

    Attributes:
        node: the one that this is about; 0: no particular one.
        silent_ticks: for how long nothing at all came from it, in ticks as this core would have
            counted them, and no longer than that: whose silence counts need not begin anew.
    """

    node: NodeId = NodeId(0)
    silent_ticks: int = 0


@frozen
class SnapshotStaged:
    """The answer to ``Effects.snapshots``: the peer holds the state of ``snapshot`` whole and
    durable, ready to be installed. None: it could not be brought there.
    """

    peer: NodeId
    snapshot: Snapshot | None


Event = (
    Tick
    | Receive
    | Propose
    | ReadIndex
    | WritePersisted
    | EntriesLoaded
    | ShareCommit
    | ChangeConfiguration
    | TransferLeadership
    | SnapshotStaged
    | Wake
)
