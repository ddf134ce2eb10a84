"""What is kept of a group's log: when it is cut short at its beginning, and where."""

from collections.abc import Iterable

from attrs import field, frozen
from attrs.validators import ge

from flowactor import limits
from flowactor.raft import PeerStatus
from flowactor.storage import LogSize

__all__ = ["Compaction"]


@frozen(kw_only=True)
class Compaction:
    """The rule of compaction; every node keeps to it on its own.

    Attributes:
        entries_max, bytes_max: a log that holds more is compacted.
        trailing_entries: kept where it is possible, and at most half of what there is.
        cache_bytes_max: of applied entries that are kept in memory, also if the log has lost them.
        held_times_max: a log grows to this many times its limits, but no further, for others.
    """

    entries_max: int = field(default=limits.LOG_ENTRIES_MAX, validator=ge(1))
    bytes_max: int = field(default=limits.LOG_BYTES_MAX, validator=ge(1))
    trailing_entries: int = field(default=limits.LOG_TRAILING_ENTRIES, validator=ge(0))
    cache_bytes_max: int = field(default=limits.LOG_CACHE_BYTES_MAX, validator=ge(0))
    held_times_max: int = field(default=limits.LOG_HELD_TIMES_MAX, validator=ge(1))

    def target(
        self, size: LogSize, applied: int, peers: Iterable[PeerStatus], held_index: int | None
    ) -> int | None:
        """Up to where nobody needs the log, if it is large enough to be cut; for the caller to cut
        no further than the state is durable.

        Args:
            size: of the log.
            applied: to the machine of this node.
            peers: what a leader knows of the others. It keeps what those need who are alive: they
                are a little behind, and entries bring them further than a copy of the state.
            held_index: the index of a copy that is being sent; its receiver goes on from there.
        """
        times = self._times(size)
        if times <= 1:
            return None
        entries = size.last_index - size.first_index + 1
        target = applied - min(self.trailing_entries, entries // 2)
        if times <= self.held_times_max:
            alive = [p for p in peers if p.ticks_silent < limits.ELECTION_TICKS_MAX]
            # Of one at 0 a new leader knows nothing yet; others below the log need the state.
            matches = [peer.match_index for peer in alive]
            needed = [match for match in matches if match >= size.first_index or not match]
            target = min([target, *needed, *([] if held_index is None else [held_index])])
        return target if target >= size.first_index else None

    def _times(self, size: LogSize) -> float:
        """How many times as large as it may be the log is."""
        entries = size.last_index - size.first_index + 1
        return max(entries / self.entries_max, size.data_bytes / self.bytes_max)
