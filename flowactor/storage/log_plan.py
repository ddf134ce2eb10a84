"""What one group commit will do, checked against what is durable before anything is touched."""

from collections.abc import Callable
from typing import Final

from attrs import evolve

from flowactor.codec import records
from flowactor.identity import GroupId
from flowactor.raft import HardState, Snapshot, Write
from flowactor.storage.log_rows import (
    HARD_STATE_ROW,
    Row,
    Start,
    Tail,
    entry_row,
    hard_state_row,
)

__all__ = ["Plan"]


class Plan:
    """Writes of several groups, put together: of one group, in order.

    Attributes:
        starts: logs that a snapshot takes the place of.
        cuts: what is durable from this index on goes.
        rows: what is written, by group and index.
        tails: what is durable then.

    Args:
        tail_of: what is durable of a group before.
    """

    def __init__(self, tail_of: Callable[[GroupId], Tail]) -> None:
        self.starts: Final[dict[GroupId, Start]] = {}
        self.cuts: Final[dict[GroupId, int]] = {}
        self.rows: Final[dict[tuple[GroupId, int], Row]] = {}
        self.tails: Final[dict[GroupId, Tail]] = {}
        self._tail_of: Final = tail_of

    def add(self, group: GroupId, write: Write) -> None:
        """Raises:
        AssertionError: the write does not continue the group's log, or takes back a promise.
        """
        tail = self.tails.get(group)
        if tail is None:
            tail = self.tails[group] = evolve(self._tail_of(group))
        if write.snapshot is not None:
            self._install(group, tail, write.snapshot)
        if write.truncate_from:
            self._cut(group, tail, write.truncate_from)
        if (state := write.hard_state) is not None:
            self._promise(group, tail, state)
        term_max, index = tail.hard_state.term, tail.last_index
        assert tail.start.term <= term_max, f"group {group}: a snapshot of a term not yet durable"
        for entry in write.entries:
            index += 1
            assert entry.index == index, f"group {group}: entry {entry.index} where {index} is next"
            assert entry.term <= term_max, (
                f"group {group}: entry {index} is of a term not yet durable"
            )
            self.rows[group, index] = entry_row(group, entry)
            tail.data_bytes += len(entry.data)
        tail.last_index = index
        assert tail.hard_state.commit <= index, f"group {group}: commit beyond the end of the log"

    def _install(self, group: GroupId, tail: Tail, snapshot: Snapshot) -> None:
        """The log begins after ``snapshot``. Rows up to there are doomed: to delete them here would
        keep everybody waiting.
        """
        durable, index = self._tail_of(group), snapshot.index
        before = durable.start
        kept = max(tail.hard_state.commit, before.index)
        assert kept <= index, f"group {group}: a snapshot at {index}, but {kept} is committed"
        assert group not in self.starts, f"group {group}: two snapshots in one group commit"
        self._forget(group, tail, 1)
        last = min(durable.last_index, self.cuts.pop(group, durable.last_index + 1) - 1)
        first, doomed_last = before.doomed_first, before.doomed_last
        if before.is_clear or doomed_last == before.index:
            first = before.index + 1 if before.is_clear else first
            doomed_last = min(last, index)
        if doomed_last < durable.last_index:
            self.cuts[group] = doomed_last + 1
        if doomed_last < first:
            first, doomed_last = index + 1, index
        tail.last_index = index
        tail.start = self.starts[group] = Start(
            index=index,
            term=snapshot.term,
            configuration_index=snapshot.configuration_index,
            configuration=records.encode(snapshot.configuration),
            generation=before.generation + 1,
            doomed_first=first,
            doomed_last=doomed_last,
        )

    def _cut(self, group: GroupId, tail: Tail, index: int) -> None:
        kept = max(tail.hard_state.commit, tail.start.index)
        assert kept < index, f"group {group}: cut at {index}, but {kept} is committed"
        self._forget(group, tail, index)
        if index <= self._tail_of(group).last_index:
            self.cuts[group] = min(index, self.cuts.get(group, index))
        tail.last_index = min(tail.last_index, index - 1)

    def _forget(self, group: GroupId, tail: Tail, index: int) -> None:
        """What was planned from there on, and is not durable, never comes to be."""
        for key in [key for key in self.rows if key[0] == group and key[1] >= index]:
            tail.data_bytes -= len(self.rows.pop(key)[4])

    def _promise(self, group: GroupId, tail: Tail, state: HardState) -> None:
        before = tail.hard_state
        assert state.term >= before.term, f"group {group}: term {state.term} after {before.term}"
        assert state.commit >= before.commit, f"group {group}: the commit index went back"
        assert state.term > before.term or before.vote in (0, state.vote), (
            f"group {group}: a second vote in term {state.term}"
        )
        tail.hard_state = state
        self.rows[group, HARD_STATE_ROW] = hard_state_row(group, state)
