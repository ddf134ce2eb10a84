"""What a leader knows of one follower, and how much it may send there."""

import enum
from collections import deque

from attrs import Factory, define

from flowactor.raft.config import RaftConfig
from flowactor.raft.configuration import Snapshot
from flowactor.raft.messages import Append

__all__ = ["Flow", "Progress"]


class Flow(enum.Enum):
    """``PROBE``: where the logs meet is a guess, one append at a time asks. ``REPLICATE``: it is
    known, appends follow each other without waiting, within a window. ``SNAPSHOT``: the entries
    that come next are gone, and the driver brings the follower a state in their place.
    """

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


@define(eq=False)
class Progress:
    """One follower, as seen by the leader.

    Attributes:
        next_index: the first entry to send next; in ``REPLICATE`` it runs ahead of the answers.
        match_index: known to be durable there, exactly as here.
        ticks_silent: since anything arrived from there.
        asked: in ``PROBE``, an append is out and its answer is not in.
        inflight: (last index, bytes) of appends that wait for their answer, oldest first.
        first_round: answers to earlier ones are those of an earlier membership.
        round_sent: the newest round the follower was told of.
        round_acked: the newest round it answered.
        round_matched: the newest round in which it said that it has all up to ``match_index``.
        quiet_round: as of its last answer: the round in which it was quiet, 0 if it was not.
        commit_sent: the newest commit index it was told of.
        nudged: somebody there waits for the commit index.
        loading: entries are being read back from disk.
        load_round: do not ask the disk before this round, it had nothing.
        known: (index, term) just before ``next_index``, as of the last append: heartbeats must be
            able to ask about it after it has left the window, or a lost append is never missed.
    """

    next_index: int
    ticks_silent: int = 0
    match_index: int = 0
    flow: Flow = Flow.PROBE
    asked: bool = False
    inflight: deque[tuple[int, int]] = Factory(deque)
    inflight_bytes: int = 0
    first_round: int = 0
    round_sent: int = 0
    round_acked: int = 0
    round_matched: int = 0
    quiet_round: int = 0
    commit_sent: int = 0
    nudged: bool = False
    loading: bool = False
    load_round: int = 0
    known: tuple[int, int] = (0, 0)

    def room_bytes(self, config: RaftConfig) -> int:
        """How many bytes of entries may be sent now (rule *inflight_bounded_in_bytes*)."""
        if self.flow is Flow.PROBE:
            return 0 if self.asked else config.append_bytes_max
        if self.flow is Flow.SNAPSHOT:
            return 0
        if len(self.inflight) >= config.inflight_appends_max:
            return 0
        return min(config.append_bytes_max, config.inflight_bytes_max - self.inflight_bytes)

    def sent(self, append: Append, size: int) -> None:
        """An append with entries of this size is on its way."""
        if self.flow is Flow.PROBE:
            self.asked = True
            self.known = (append.previous_index, append.previous_term)
            return
        last = append.entries[-1]
        self.inflight.append((last.index, size))
        self.inflight_bytes += size
        self.next_index = last.index + 1
        self.known = (last.index, last.term)

    def accepted(self, index: int, round_: int) -> None:
        """The follower has everything up to ``index`` durable, as it said in this round.

        An answer that proves less than the position asked about leaves a probe waiting.
        """
        news = index > self.match_index
        if index >= self.match_index:
            self.round_matched = max(self.round_matched, round_)
        if news:
            self.match_index = index
            while self.inflight and self.inflight[0][0] <= index:
                self.inflight_bytes -= self.inflight.popleft()[1]
        probed = self.flow is Flow.PROBE and index >= self.next_index - 1
        if self.flow is not Flow.REPLICATE and (news or probed):
            self.flow = Flow.REPLICATE
            self.asked = False
            self.next_index = self.match_index + 1
        elif self.next_index <= self.match_index:
            self.next_index = self.match_index + 1

    def has_forgotten(self, at: int, round_: int) -> bool:
        """Whether it says later than it said that it has more, that it has no such entry at ``at``.
        Logs do not lose what is durable; but a node may delete its replica, since it has read late
        that it is to leave the group, when it is a member again.
        """
        return 0 < at <= self.match_index and round_ > self.round_matched

    def rejected(self, at: int, hint: int) -> None:
        """The follower has no such entry at ``at``; the logs may meet at ``hint``.

        What contradicts a durable match, or answers an older question, is stale.
        """
        stale = at <= self.match_index or (self.flow is Flow.PROBE and at != self.next_index - 1)
        if stale or self.flow is Flow.SNAPSHOT:
            return
        self._probe_from(max(self.match_index + 1, min(at, hint + 1)))

    def lacks_entries(self) -> None:
        """What comes next for this follower is gone from the log."""
        self._probe_from(self.next_index)
        self.flow = Flow.SNAPSHOT

    def staged(self, snapshot: Snapshot | None) -> None:
        """The follower was told to install this; its answer, like one to an append at that place,
        says whether it did. None: try again with entries, and so perhaps with another snapshot.
        """
        self._probe_from(self.next_index if snapshot is None else snapshot.index + 1)
        if snapshot is not None:
            self.asked = True
            self.known = (snapshot.index, snapshot.term)

    def _probe_from(self, index: int) -> None:
        self.flow = Flow.PROBE
        self.asked = False
        self.inflight.clear()
        self.inflight_bytes = 0
        self.next_index = index
