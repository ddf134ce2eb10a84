"""Short ways to say what is to be written to a log."""

from typing import Final

from flowactor.codec import records
from flowactor.identity import GroupId, NodeId
from flowactor.raft import Configuration, Entry, EntryKind, HardState, Snapshot, Write

__all__ = [
    "EVERYTHING",
    "ONE",
    "TWO",
    "append",
    "change",
    "entries",
    "entry",
    "members",
    "state",
    "write",
]

ONE: Final = GroupId(1)
TWO: Final = GroupId(2)
EVERYTHING: Final = 1 << 30
"""More bytes than any test writes."""


def entry(index: int, term: int = 1, data: bytes = b"payload") -> Entry:
    """One entry."""
    return Entry(term, index, EntryKind.PAYLOAD, data)


def entries(first: int, last: int, term: int = 1, data: bytes = b"payload") -> tuple[Entry, ...]:
    """The entries ``first`` to ``last``."""
    return tuple(entry(index, term, data) for index in range(first, last + 1))


def members(*voters: int) -> Configuration:
    """A configuration."""
    return Configuration(tuple(map(NodeId, voters)))


def change(index: int, *voters: int, term: int = 1) -> Entry:
    """An entry that changes the members."""
    return Entry(term, index, EntryKind.CONFIGURATION, records.encode(members(*voters)))


def state(term: int = 1, vote: int = 1, commit: int = 0) -> HardState:
    """A hard state."""
    return HardState(term, NodeId(vote), commit)


def write(
    *appended: Entry,
    hard_state: HardState | None = None,
    cut: int = 0,
    number: int = 1,
    snapshot: Snapshot | None = None,
) -> Write:
    """What one group wants written at once."""
    return Write(number, hard_state, cut, appended, snapshot)


def append(last: int, first: int = 1, term: int = 1, data: bytes = b"payload") -> Write:
    """A first write of a group: term and vote, then entries ``first`` to ``last``."""
    return write(*entries(first, last, term, data), hard_state=state(term))
