"""What every role of a node shares, and the few moves that any of them may cause."""

from collections.abc import Sequence
from random import Random

from attrs import Factory, define

from flowactor.identity import NodeId
from flowactor.raft.config import RaftConfig
from flowactor.raft.configuration import Snapshot
from flowactor.raft.durability import Durability
from flowactor.raft.effects import Effects, RefusalReason
from flowactor.raft.log import Log
from flowactor.raft.membership import Membership
from flowactor.raft.messages import Entry, Message, Vote
from flowactor.raft.roles import Follower, Leader, RoleState

__all__ = ["NOBODY", "State"]

NOBODY = NodeId(0)


@define(eq=False)
class State:
    """One member of one group.

    Attributes:
        emitted: the last index handed out in ``Effects.committed``.
        leader: of the present term, as far as known.
        previous_leader: the last one known before that.
        leader_ticks_silent: since anything came from ``leader``, or if there is none, from
            ``previous_leader``; meaningless while this node leads.
        ticks: since this process began.
        election_elapsed: ticks since the leader was heard, a vote was given, or a campaign began.
        deleted: (term, index) of the last entry of a log that was deleted here.
        quiet: the group is idle, and time does not pass here (``quiescence``).
        restoring: a snapshot that is being made durable; nothing is emitted before.
        held: messages that claim the present term or vote, which is not durable yet.
        effects: of the step under way.
    """

    config: RaftConfig
    membership: Membership
    random: Random
    log: Log
    durable: Durability
    term: int
    vote: NodeId
    commit: int
    emitted: int
    deleted: tuple[int, int] = (0, 0)
    role: RoleState = Factory(Follower)
    leader: NodeId = NOBODY
    previous_leader: NodeId = NOBODY
    leader_ticks_silent: int = 0
    ticks: int = 0
    election_elapsed: int = 0
    election_ticks: int = 1
    quiet: bool = False
    restoring: Snapshot | None = None
    held: list[tuple[NodeId, Message]] = Factory(list)
    effects: Effects = Factory(Effects)

    def send(self, peer: NodeId, message: Message) -> None:
        """Send with this step's effects."""
        self.effects.messages.append((peer, message))

    def hold(self, peer: NodeId, message: Message) -> None:
        """Send once the present term and vote are durable, unless the term has passed by then
        (rules *vote_is_durable_before_reply*, *term_durable_before_its_entries*).
        """
        self.held.append((peer, message))

    @property
    def term_is_durable(self) -> bool:
        """True if a restart would find the present term and vote."""
        return self.durable.term == self.term and self.durable.vote == self.vote

    @property
    def has_what_it_had(self) -> bool:
        """Whether the log ends where one that was deleted here did, or later."""
        return self.log.end >= self.deleted

    @property
    def disk_stalled(self) -> bool:
        """True if the oldest write is under way for longer than followers wait for a leader."""
        return self.durable.waiting_ticks(self.ticks) > self.config.election_ticks_min

    @property
    def in_lease(self) -> bool:
        """True while a leader is known to be alive: others may not disturb it (thesis 4.2.3)."""
        if isinstance(self.role, Leader):
            return True
        return self.leader != NOBODY and self.election_elapsed < self.config.election_ticks_min

    def adopt(self, term: int) -> None:
        """Enter a later term as a follower that has not voted in it."""
        assert term > self.term, f"term {self.term} cannot become {term}"
        self.term, self.vote = term, NOBODY
        self.follow(NOBODY)

    def follow(self, leader: NodeId) -> None:
        """Become, in the present term, a follower of ``leader`` (``NOBODY`` if unknown).

        A deposed leader refuses the reads it can no longer confirm, a candidate asks nobody whom it
        has not asked yet. The election clock of a node that followed already runs on, so that a
        term adopted in passing delays no election.
        """
        if isinstance(self.role, Leader):
            self.effects.refused.extend(
                (token, RefusalReason.LOST_LEADERSHIP) for token in self.role.reads.abandon()
            )
        if not isinstance(self.role, Follower):
            self.restart_election_clock()
            self.held = [held for held in self.held if not isinstance(held[1], Vote)]
        self.role = Follower()
        self.quiet = False
        self.set_leader(leader)

    def set_leader(self, leader: NodeId) -> None:
        """Take note of who leads; the one before is remembered until the next change."""
        if leader == self.leader:
            return
        if self.leader != NOBODY:
            self.previous_leader = self.leader
        if leader != NOBODY:
            self.leader_ticks_silent = 0
        self.leader = leader

    def restart_election_clock(self) -> None:
        """Wait another random election time-out (paper 5.2). A sole voter disturbs nobody."""
        self.election_elapsed = 0
        if not self.membership.decides_alone:
            low, high = self.config.election_ticks_min, self.config.election_ticks_max
            self.election_ticks = self.random.randint(low, high)

    def commit_to(self, index: int) -> None:
        """Move the commit index up to ``index``."""
        assert self.commit < index <= self.log.last_index, f"commit {self.commit} to {index}"
        if isinstance(self.role, Leader):
            newly = self.log.bytes_between(self.commit + 1, index)
            self.role.uncommitted_bytes -= newly
        self.commit = index
        self.membership.committed(index)

    def append(self, entries: Sequence[Entry]) -> None:
        """The log grows; a configuration among the entries is in force from here on."""
        self.log.append(entries)
        self.membership.append(entries)

    def cut_from(self, first: int) -> None:
        """The log ends before ``first``."""
        self.log.cut_from(first)
        self.membership.cut_from(first)
        self.durable.cut_from(first)

    def replace(self, snapshot: Snapshot) -> None:
        """The whole log gives way to a snapshot, with the configuration that it carries (rule
        *snapshot_carries_config*): what was appended above it, and never committed, is gone.
        """
        assert snapshot.index > self.commit, "a snapshot of what is known here"
        self.durable.replace(snapshot, self.commit)
        self.log = Log(snapshot.index, snapshot.term, ())
        self.membership = Membership(
            self.config.node, [(snapshot.configuration_index, snapshot.configuration)]
        )
        self.commit = snapshot.index
        self.restoring = snapshot
