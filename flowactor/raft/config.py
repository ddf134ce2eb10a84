"""What a Raft core is made from: its settings, and what the disk remembers."""

from itertools import pairwise

from attrs import Factory, frozen

from flowactor import limits
from flowactor.errors import ConfigurationError, StorageCorrupt
from flowactor.identity import NodeId
from flowactor.raft.configuration import Configuration
from flowactor.raft.messages import Entry, HardState

__all__ = ["RaftConfig", "Restored"]


@frozen
class RaftConfig:
    """Settings of one member of one group; times in ticks, see ``limits.py`` for the reasons.

    Attributes:
        node: who this is.
        inflight_appends_max: appends on their way to one follower before it must answer.
        inflight_bytes_max: the same, in bytes of entries.
        append_bytes_max: entries in one append; a single larger entry still travels.
        uncommitted_bytes_max: proposals are refused beyond this tail.
        quiet_ticks: after so many without work a leader has its group go quiet; 0 for never, as is
            right for a driver that does not step ``Wake``.
        cache_bytes_max: entries kept in memory; applied ones beyond it are read back when needed.

    Raises:
        ConfigurationError: a value, or two together, that cannot work.
    """

    node: NodeId
    election_ticks_min: int = limits.ELECTION_TICKS_MIN
    election_ticks_max: int = limits.ELECTION_TICKS_MAX
    heartbeat_ticks: int = limits.HEARTBEAT_TICKS
    inflight_appends_max: int = limits.INFLIGHT_APPENDS_MAX
    inflight_bytes_max: int = limits.INFLIGHT_BYTES_MAX
    append_bytes_max: int = limits.APPEND_BYTES_MAX
    uncommitted_bytes_max: int = limits.UNCOMMITTED_BYTES_MAX
    cache_bytes_max: int = limits.LOG_CACHE_BYTES_MAX
    quiet_ticks: int = 0

    def __attrs_post_init__(self) -> None:
        wrong = [reason for broken, reason in self._complaints() if broken]
        if wrong:
            raise ConfigurationError(f"node {self.node}: " + "; ".join(wrong))

    def _complaints(self) -> list[tuple[bool, str]]:
        return [
            (self.node < 1, "node ids count from 1"),
            (self.heartbeat_ticks < 1, "heartbeat_ticks must be positive"),
            (
                self.heartbeat_ticks >= self.election_ticks_min,
                "heartbeat_ticks must be below election_ticks_min, or elections never end",
            ),
            (
                self.election_ticks_min >= self.election_ticks_max,
                "election_ticks_min must be below election_ticks_max, or votes split for ever",
            ),
            (self.inflight_appends_max < 1, "inflight_appends_max must be positive"),
            (self.append_bytes_max < 1, "append_bytes_max must be positive"),
            (
                self.inflight_bytes_max < self.append_bytes_max,
                "inflight_bytes_max must hold one append of append_bytes_max",
            ),
            (self.uncommitted_bytes_max < 1, "uncommitted_bytes_max must be positive"),
            (self.cache_bytes_max < 0, "cache_bytes_max must not be negative"),
            (self.quiet_ticks < 0, "quiet_ticks must not be negative"),
        ]


@frozen(kw_only=True)
class Restored:
    """What a node finds on its disk; the defaults are those of a new one.

    Attributes:
        hard_state: term, vote, and a commit index that may lag.
        first_index: of ``entries``, always ``previous_index + 1``.
        entries: the tail of the log, with everything above ``applied``.
        previous_index: just below ``entries``.
        previous_term: the term there.
        applied: what the state machine already holds durably; nothing up to here is emitted again.
        configuration: the newest one at or below ``previous_index``.
        configuration_index: of the entry that brought it; 0 is the founding one.
        deleted: (term, index) of the last entry that this node had in a log of the group that it
            deleted when it was no member: it has acknowledged that.

    Raises:
        StorageCorrupt: these facts contradict each other.
    """

    hard_state: HardState = HardState()
    first_index: int = 1
    entries: tuple[Entry, ...] = ()
    previous_index: int = 0
    previous_term: int = 0
    applied: int = 0
    configuration: Configuration = Factory(Configuration)
    configuration_index: int = 0
    deleted: tuple[int, int] = (0, 0)

    def __attrs_post_init__(self) -> None:
        wrong = [reason for broken, reason in self._complaints() if broken]
        if wrong:
            raise StorageCorrupt("the log and its hard state disagree: " + "; ".join(wrong))

    def _complaints(self) -> list[tuple[bool, str]]:
        last = self.previous_index + len(self.entries)
        last_term = self.entries[-1].term if self.entries else self.previous_term
        indexes = [self.previous_index, *(entry.index for entry in self.entries)]
        terms = [self.previous_term, *(entry.term for entry in self.entries)]
        return [
            (
                self.first_index != self.previous_index + 1,
                "first_index does not follow previous_index",
            ),
            (any(b != a + 1 for a, b in pairwise(indexes)), "indexes have gaps"),
            (any(b < a for a, b in pairwise(terms)), "terms fall"),
            (
                last_term > self.hard_state.term,
                f"an entry of term {last_term}, but the term is lower",
            ),
            (
                self.hard_state.commit > last,
                f"commit {self.hard_state.commit} beyond the end {last}",
            ),
            (self.applied > last, f"applied {self.applied} beyond the end {last}"),
            (
                self.applied < self.previous_index,
                f"entries above applied {self.applied} are missing",
            ),
        ]
