"""Raft: one consensus group's member, as a pure state machine (paper: Ongaro and Ousterhout 2014;
thesis: Ongaro 2014).

``Raft.step(events) -> Effects`` is the only door. No clock, disk, network or entropy is here; log
entries are opaque bytes.

The roles::

                heard nothing         a quorum would       a quorum's votes
                for a time-out        vote for it          are in
    +----------+  -------->  +--------------+  -------->  +-----------+  -------->  +--------+
    | Follower |             | PreCandidate |  time-out   | Candidate |             | Leader |
    +----------+             +--------------+  <--------  +-----------+             +--------+
      ^  ^  ^                       |                           |                        |
      |  |  +-----------------------+                           |                        |
      |  +--------- a leader, a later term, a quorum of noes ---+                        |
      +--- a later term, no quorum heard for a time-out, a write that does not finish, --+
                                    its own removal is committed

A learner is a follower that no configuration in its log gives a vote. It never campaigns, and votes
when it is asked: it may have become a voter without knowing.

The driver's duties, in order, for the ``Effects`` of each step:

1.  Hand ``write`` to the disk. Writes are made durable in the order of their numbers; several may
    be under way, and several may share one sync. When one is durable, step ``WritePersisted`` with
    its number (the highest of several is enough). A failed write is never reported: stop the group.
    A write with a ``snapshot`` makes the state that was staged with it the node's state, in place
    of the whole log: after a crash that and the rest of the write hold together, or none of it.
2.  Send ``messages``, in order for each peer. This may overlap with 1: what must not leave before
    the disk has it (votes, vote requests, acknowledgements) is not in the list, but comes with the
    step of its ``WritePersisted``. A leader's appends are in it, so that its own disk and its
    followers' work at the same time (thesis 10.2.1); it counts itself only when its write is done.
    Messages may be lost, delayed, doubled and reordered.
3.  Apply ``committed``, in order. This may overlap with 1 and 2 and may lag behind: every entry
    here is committed and durable on this node, so the applied state never runs ahead of the local
    log, and a restart finds everything above the applied index in it. If there is ``restored``, go
    on from the state of that snapshot first: the write that brought it is durable by now, what was
    still to be applied from before is in it, and ``committed`` begins right above it. A snapshot
    that a later one has overtaken meanwhile is written, and never restored.
4.  Answer the callers: ``accepted`` gives each proposal its place, ``refused`` says why not. That
    an accepted proposal is committed is seen when an entry of its (term, index) is applied; that it
    is lost, when another term's entry is applied there. After ``restored``, what was waited for up
    to its index has happened or is lost, and nobody here can tell which.
5.  Serve ``reads`` once everything up to their index is applied.
6.  For each of ``loads`` read entries from the log, and step ``EntriesLoaded`` exactly once; with
    no entries, if the log no longer has the first one. This may take as long as it takes.
7.  For each of ``snapshots`` bring the peer a state that the log on disk goes on from, keep the log
    from there on until it has arrived, and step ``SnapshotStaged`` when the peer holds it whole and
    durable; or without a snapshot, if that failed. A peer that is asked for twice meanwhile needs
    one answer. Then ``InstallSnapshot`` is among the messages: the receiver steps it only while it
    holds the state that it speaks of, and drops it otherwise, as if it had been lost.
8.  If ``status_changed``, look at ``status()``.

And without being asked:

9.  Step ``Tick`` once per ``limits.TICK_SECONDS``. Who overslept steps one tick, not all that were
    missed: silence is measured in ticks during which a message could have been handled.
10. Drain the mailbox before stepping: a step's cost is nearly the same for one event and for many,
    and answers, rounds and writes are merged within a step. Hand in messages before the ticks.
11. Keep the log down to the applied index that the state machine has durably; after a restart, hand
    in at least everything above it as ``Restored``, with the configuration in force just below.
12. If ``RaftConfig.quiet_ticks`` is set, step ``Wake`` when the node of the leader, or to a leader
    that of any member, is found gone, and when a link to one of them is new: a quiet group counts
    no silence of its own. A quiet core needs no ticks; all else it is told as ever.
13. Whoever drops a member's log and state keeps its term and vote, and where its log ended, as long
    as the group may ever take in a member of the same id again. It starts with these
    (``Restored``), or might vote twice in one term, or for somebody who lacks what it acknowledged.
"""

from flowactor.raft.config import RaftConfig, Restored
from flowactor.raft.configuration import Configuration, Snapshot
from flowactor.raft.core import Raft
from flowactor.raft.effects import (
    Effects,
    LoadEntries,
    PeerStatus,
    RefusalReason,
    Role,
    Status,
    Write,
)
from flowactor.raft.events import (
    ChangeConfiguration,
    EntriesLoaded,
    Event,
    Propose,
    ReadIndex,
    Receive,
    ShareCommit,
    SnapshotStaged,
    Tick,
    TransferLeadership,
    Wake,
    WritePersisted,
)
from flowactor.raft.messages import (
    Append,
    AppendReply,
    Entry,
    EntryKind,
    HardState,
    InstallSnapshot,
    Message,
    TimeoutNow,
    Vote,
    VoteReply,
)

__all__ = [
    "Append",
    "AppendReply",
    "ChangeConfiguration",
    "Configuration",
    "Effects",
    "EntriesLoaded",
    "Entry",
    "EntryKind",
    "Event",
    "HardState",
    "InstallSnapshot",
    "LoadEntries",
    "Message",
    "PeerStatus",
    "Propose",
    "Raft",
    "RaftConfig",
    "ReadIndex",
    "Receive",
    "RefusalReason",
    "Restored",
    "Role",
    "ShareCommit",
    "Snapshot",
    "SnapshotStaged",
    "Status",
    "Tick",
    "TimeoutNow",
    "TransferLeadership",
    "Vote",
    "VoteReply",
    "Wake",
    "Write",
    "WritePersisted",
]
