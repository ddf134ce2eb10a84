"""The part of the log that is in memory: a window that moves up as entries are applied."""

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from flowactor.raft.messages import Entry

__all__ = ["ENTRY_OVERHEAD_BYTES", "Log", "size_bytes"]

ENTRY_OVERHEAD_BYTES: Final = 64
"""What an entry costs beside its data, so that many empty entries count too."""

_term_of = attrgetter("term")


def size_bytes(entry: Entry) -> int:
    """What one entry counts against every limit in bytes."""
    return len(entry.data) + ENTRY_OVERHEAD_BYTES


class Log:
    """Entries ``first_index`` to ``last_index``, and the term just below them.

    Nothing here costs more than the entries it is asked for, except a cut from below, which is
    paid for by the many appends before it.
    """

    __slots__ = ("_entries", "bytes", "first_index", "last_index", "previous_term")

    def __init__(self, previous_index: int, previous_term: int, entries: Sequence[Entry]) -> None:
        self._entries = list(entries)
        self.first_index = previous_index + 1
        self.last_index = previous_index + len(entries)
        self.previous_term = previous_term
        self.bytes = sum(map(size_bytes, entries))

    @property
    def previous_index(self) -> int:
        """The highest index below the window: its term is known, its data is not here."""
        return self.first_index - 1

    @property
    def last_term(self) -> int:
        return self._entries[-1].term if self._entries else self.previous_term

    @property
    def end(self) -> tuple[int, int]:
        """Term and index of the last entry: of two logs the one with the greater is the more
        up-to-date (paper 5.4.1).
        """
        return self.last_term, self.last_index

    def term_at(self, index: int) -> int:
        """The term of the entry at ``index``, from ``previous_index`` to ``last_index``."""
        offset = index - self.first_index
        if offset == -1:
            return self.previous_term
        assert 0 <= offset < len(self._entries), f"{index} is outside the window"
        return self._entries[offset].term

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries that follow the last one without a gap, in terms that never fall."""
        term = self.last_term
        index = self.last_index
        size = 0
        for entry in entries:
            index += 1
            assert entry.index == index, f"entry {entry.index} where {index} is next"
            assert entry.term >= term, "terms in a log never fall"
            term = entry.term
            size += len(entry.data) + ENTRY_OVERHEAD_BYTES
        self._entries.extend(entries)
        self.last_index = index
        self.bytes += size

    def cut_from(self, first: int) -> None:
        """Remove the entries from ``first`` on."""
        offset = first - self.first_index
        assert 0 <= offset < len(self._entries), f"{first} is outside the window"
        self.bytes -= sum(map(size_bytes, self._entries[offset:]))
        del self._entries[offset:]
        self.last_index = first - 1

    def between(self, first: int, last: int) -> list[Entry]:
        """Entries ``first`` to ``last``, both included, all in the window."""
        assert first >= self.first_index, f"{first} is below the window"
        assert last <= self.last_index, f"{last} is beyond the end"
        return self._entries[first - self.first_index : last - self.first_index + 1]

    def batch(self, first: int, bytes_max: int) -> tuple[tuple[Entry, ...], int]:
        """Entries from ``first`` on that fit ``bytes_max``, but at least one; and their size."""
        offset = first - self.first_index
        assert 0 <= offset < len(self._entries), f"{first} is outside the window"
        end = offset + 1
        total = size_bytes(self._entries[offset])
        while end < len(self._entries):
            size = size_bytes(self._entries[end])
            if total + size > bytes_max:
                break
            total += size
            end += 1
        return tuple(self._entries[offset:end]), total

    def bytes_between(self, first: int, last: int) -> int:
        """The size of the entries ``first`` to ``last``, all in the window."""
        return sum(map(size_bytes, self.between(first, last)))

    def last_not_above(self, index: int, term: int) -> tuple[int, int]:
        """The highest index up to ``index`` whose term is at most ``term``, and its term.

        Terms in a log never fall, so this passes over a whole term that cannot match at once. If
        there is none in the window, the answer is the position just below it.
        """
        count = min(index, self.last_index) - self.first_index + 1
        offset = bisect_right(self._entries, term, hi=max(count, 0), key=_term_of)
        found = self.first_index + offset - 1
        return found, self.term_at(found)

    def shrink(self, bytes_target: int, last_droppable: int) -> None:
        """Forget entries from below, up to ``last_droppable``, until ``bytes_target`` is met."""
        droppable = last_droppable - self.first_index + 1
        size = self.bytes
        count = 0
        while count < droppable and size > bytes_target:
            size -= size_bytes(self._entries[count])
            count += 1
        if count:
            self.previous_term = self._entries[count - 1].term
            del self._entries[:count]
            self.first_index += count
            self.bytes = size
