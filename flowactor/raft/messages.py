"""What Raft nodes say to each other, and the facts they keep."""

import enum

from attrs import frozen

from flowactor.codec.records import record
from flowactor.identity import NodeId
from flowactor.raft.configuration import Snapshot

__all__ = [
    "Append",
    "AppendReply",
    "Entry",
    "EntryKind",
    "HardState",
    "InstallSnapshot",
    "Message",
    "TimeoutNow",
    "Vote",
    "VoteReply",
]


class EntryKind(enum.IntEnum):
    """``BLANK`` is the leader's no-op; the data of a ``CONFIGURATION`` is an encoded
    ``Configuration``.
    """

    PAYLOAD = 0
    BLANK = 1
    CONFIGURATION = 2


@record(100)
@frozen
class Entry:
    """One log entry; ``data`` is opaque to this package."""

    term: int
    index: int
    kind: EntryKind
    data: bytes


@frozen
class HardState:
    """What must be durable before anything that depends on it leaves this node.

    Term and vote are one record (rule *vote_is_durable_before_reply*); ``commit`` is a hint that
    saves work after a restart and may be behind.
    """

    term: int = 0
    vote: NodeId = NodeId(0)
    commit: int = 0


@record(101)
@frozen
class Vote:
    """RequestVote (paper, figure 2); ``pre`` marks a pre-vote (thesis 9.6), where ``term`` is the
    one the sender would campaign in.
    """

    term: int
    last_index: int
    last_term: int
    pre: bool
    transfer: bool = False


@record(102)
@frozen
class VoteReply:
    """``term`` of a granted pre-vote is the one asked for; of a refusal, the refuser's own."""

    term: int
    granted: bool
    pre: bool


@record(103)
@frozen
class Append:
    """AppendEntries (paper, figure 2); without entries, a heartbeat.

    ``round`` numbers the leader's heartbeat rounds: a reply confirms leadership for reads asked
    before that round began. ``quiet``: nothing has happened for long; who has all of this log may
    expect to hear nothing more.
    """

    term: int
    previous_index: int
    previous_term: int
    commit: int
    round: int
    entries: tuple[Entry, ...]
    quiet: bool = False


@record(104)
@frozen
class AppendReply:
    """``index``: on success the last index known to match and durable; on refusal a hint where to
    try next, with ``hint_term`` the term there. ``quiet``: the sender is, from here on.
    """

    term: int
    success: bool
    index: int
    round: int
    rejected_index: int = 0
    hint_term: int = 0
    quiet: bool = False


@record(107)
@frozen
class InstallSnapshot:
    """The leader's state as of ``snapshot`` is here whole, staged by the driver: it follows the
    last of its chunks, and is answered as an append is (paper, figure 13).
    """

    term: int
    round: int
    snapshot: Snapshot


@record(108)
@frozen
class TimeoutNow:
    """The leader of ``term`` hands over: campaign at once (thesis 3.10)."""

    term: int


Message = Vote | VoteReply | Append | AppendReply | InstallSnapshot | TimeoutNow
