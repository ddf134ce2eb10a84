"""What enters the Raft core through its one door, ``Raft.step(events)``."""

from attrs import frozen

from flowactor.identity import NodeId
from flowactor.raft.messages import Entry, Message

__all__ = [
    "EntriesLoaded",
    "Event",
    "Propose",
    "ReadIndex",
    "Receive",
    "ShareCommit",
    "Tick",
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


Event = Tick | Receive | Propose | ReadIndex | WritePersisted | EntriesLoaded | ShareCommit
