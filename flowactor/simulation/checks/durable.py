"""What a power cut now would leave of one node's log: the checkers' own book."""

from attrs import Factory, define

from flowactor.codec.records import decode
from flowactor.raft import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Restored,
    Snapshot,
    Write,
)
from flowactor.simulation.failure import CheckFailed

__all__ = ["DurableLog"]


@define(eq=False)
class DurableLog:
    """Hard state and entries, as far as they are synced.

    Attributes:
        hard_state: term, vote, and a commit index that may lag.
        entries: from ``previous_index + 1`` on.
        previous_index: up to here entries were purged; 0 if none were.
        previous_term: the term there.
        configuration: the newest up to there; None is the founding one.
        configuration_index: of the entry that brought it.
        before: the log of the replica that was deleted before this one began.
    """

    hard_state: HardState = Factory(HardState)
    entries: list[Entry] = Factory(list)
    previous_index: int = 0
    previous_term: int = 0
    configuration: Configuration | None = None
    configuration_index: int = 0
    before: "DurableLog | None" = None

    def anew(self, restored: Restored) -> "DurableLog":
        """The log of a replica that begins with this, after the one of this log was deleted."""
        self.before = None
        return DurableLog(restored.hard_state, list(restored.entries), before=self)

    @property
    def last_index(self) -> int:
        return self.previous_index + len(self.entries)

    def term_at(self, index: int) -> int | None:
        """The term at ``index``; None where nothing is, or no longer is."""
        if index == self.previous_index:
            return self.previous_term
        if self.previous_index < index <= self.last_index:
            return self.entries[index - self.previous_index - 1].term
        return None

    def holds(self, index: int, term: int) -> bool:
        """Whether a power cut now would leave this entry, or the state that it led to."""
        return index < self.previous_index or self.term_at(index) == term

    def held(self, index: int, term: int, leader_term: int) -> bool:
        """Whether it does, or did before the replica was deleted, of which the leader that it had
        then may not have heard yet.
        """
        before = self.before
        if before is None or leader_term > before.hard_state.term:
            return self.holds(index, term)
        return self.holds(index, term) or before.holds(index, term)

    def between(self, first: int, last: int) -> list[Entry]:
        """Entries ``first`` to ``last``, as far as they are there."""
        above = self.previous_index + 1
        return self.entries[max(first - above, 0) : max(last + 1 - above, 0)]

    def persist(self, write: Write) -> None:
        """The write is synced.

        Raises:
            CheckFailed: it takes back what was promised (I2, I3, I12), or does not fit what is
                there (I3, I11).
        """
        if write.snapshot is not None:
            self._install(write.snapshot)
        if write.truncate_from:
            if write.truncate_from <= self.previous_index:
                raise CheckFailed("I12", f"a cut from {write.truncate_from}, into what was purged")
            del self.entries[write.truncate_from - self.previous_index - 1 :]
        if write.entries:
            if write.entries[0].index != self.last_index + 1:
                raise CheckFailed("I11", f"entry {write.entries[0].index} leaves a hole on disk")
            self.entries.extend(write.entries)
        if write.hard_state is not None:
            self.check_kept(write.hard_state)
            self.hard_state = write.hard_state
        if self.entries and self.entries[-1].term > self.hard_state.term:
            raise CheckFailed("I3", "an entry of a term that is not durable itself")

    def _install(self, snapshot: Snapshot) -> None:
        if snapshot.index <= self.hard_state.commit:
            raise CheckFailed("I3", f"a snapshot of {snapshot.index} takes back what is committed")
        self.entries.clear()
        self.previous_index, self.previous_term = snapshot.index, snapshot.term
        self.configuration = snapshot.configuration
        self.configuration_index = snapshot.configuration_index

    def check_kept(self, state: HardState) -> None:
        """Term, vote and commit may become these.

        Raises:
            CheckFailed: that would take back what was promised (I2, I3).
        """
        before = self.hard_state
        if state.term < before.term:
            raise CheckFailed("I3", f"the durable term went from {before.term} to {state.term}")
        if state.term == before.term and before.vote not in (0, state.vote):
            raise CheckFailed(
                "I2",
                f"the durable vote of term {state.term} went from {before.vote} to {state.vote}",
            )
        if state.commit < before.commit:
            raise CheckFailed(
                "I3", f"the durable commit went from {before.commit} to {state.commit}"
            )

    def is_found_in(self, restored: Restored) -> bool:
        """Whether this is what a new life found. It may have purged what this book still has."""
        return (
            self.hard_state == restored.hard_state
            and self.last_index == restored.previous_index + len(restored.entries)
            and self.term_at(restored.previous_index) == restored.previous_term
            and self.between(restored.first_index, self.last_index) == list(restored.entries)
        )

    def purge_to(self, index: int) -> None:
        """Forget entries up to ``index``, as log compaction does."""
        term = self.term_at(index)
        assert term is not None, f"entry {index} is not there"
        for entry in self.between(self.previous_index + 1, index):
            if entry.kind is EntryKind.CONFIGURATION:
                self.configuration, self.configuration_index = decode(entry.data), entry.index
        del self.entries[: index - self.previous_index]
        self.previous_index, self.previous_term = index, term
