"""What the Raft core asks its driver to do. The order of duties is in this package's docstring."""

import enum

from attrs import Factory, define, frozen

from flowactor.identity import NodeId
from flowactor.raft.configuration import Configuration, Snapshot
from flowactor.raft.messages import Entry, HardState, Message

__all__ = ["Effects", "LoadEntries", "PeerStatus", "RefusalReason", "Role", "Status", "Write"]


class Role(enum.Enum):
    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"
    LEARNER = "learner"


class RefusalReason(enum.Enum):
    NOT_LEADER = "not leader"
    LOST_LEADERSHIP = "lost leadership"
    OVERLOADED = "uncommitted tail is full"
    TRANSFERRING = "the lead is being handed over"
    CHANGE_PENDING = "the last change of members is not committed, or nothing of this term is"
    NOT_CAUGHT_UP = "a new voter has not caught up as a learner"
    NO_VOTER = "the target is no other voter"


@frozen
class Write:
    """One atomic durable write: first, if there is a ``snapshot``, it and the state staged with it
    take the place of the whole log and of the old state; then cut the log from ``truncate_from``
    on (0: do not), append ``entries``, and set the hard state if given. Report its number with
    ``WritePersisted``.
    """

    number: int
    hard_state: HardState | None
    truncate_from: int
    entries: tuple[Entry, ...]
    snapshot: Snapshot | None = None


@frozen
class LoadEntries:
    """``peer`` needs entries from ``first`` to at most ``last`` that are no longer in memory."""

    peer: NodeId
    first: int
    last: int
    bytes_max: int


@define
class Effects:
    """The one door out. Tokens are the caller's own.

    Attributes:
        messages: send at once, in order per peer; what must wait for the disk is not here yet.
        write: make durable, then step ``WritePersisted``.
        committed: apply in order; each entry appears exactly once per process.
        accepted: (token, term, first index, last index) of proposals appended to the local log.
        refused: (token, why) of proposals and reads; the hint is ``Status.leader``.
        reads: (token, index): serve once applied up to index.
        loads: read these back from the log.
        snapshots: these peers need entries that are gone: bring them a snapshot.
        restored: the state of this snapshot has taken the place of all that was applied; comes
            before ``committed``.
        status_changed: term, role, leader, configuration, the target of a transfer or quiet differ
            from before: look at ``Raft.status()``.
    """

    messages: list[tuple[NodeId, Message]] = Factory(list)
    write: Write | None = None
    committed: list[Entry] = Factory(list)
    accepted: list[tuple[int, int, int, int]] = Factory(list)
    refused: list[tuple[int, RefusalReason]] = Factory(list)
    reads: list[tuple[int, int]] = Factory(list)
    loads: list[LoadEntries] = Factory(list)
    snapshots: list[NodeId] = Factory(list)
    restored: Snapshot | None = None
    status_changed: bool = False


@frozen
class PeerStatus:
    """A leader's knowledge of one peer; ``ticks_silent`` since anything was heard from it.

    ``caught_up``: it has what the leader had an election time-out ago, and may be made a voter.
    ``heard``: it has answered this leader; of one that has not, only its silence is known so far.
    """

    match_index: int
    next_index: int
    ticks_silent: int
    caught_up: bool
    heard: bool = True


@frozen
class Status:
    """Where a core stands. ``leader`` is 0 if unknown; ``leader_ticks_silent`` counts a follower's
    ticks since it last heard from ``previous_leader`` or ``leader``; ``configuration`` is the
    newest in the log, committed or not, of the entry at ``configuration_index`` and of its term, or
    of a later one if that entry is compacted; ``transferring`` is whom a leader hands over to, or
    0. ``leads_from`` is the first entry of a leader's own term, 0 if it does not lead: who has
    applied that knows everything that was committed before. While ``quiet``, ticks need not be
    stepped, and silence is not counted.
    """

    role: Role
    term: int
    leader: NodeId
    previous_leader: NodeId
    leader_ticks_silent: int
    last_index: int
    commit_index: int
    configuration: Configuration
    configuration_index: int
    configuration_term: int
    transferring: NodeId
    leads_from: int
    peers: tuple[tuple[NodeId, PeerStatus], ...]
    quiet: bool = False
