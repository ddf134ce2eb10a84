"""What a power cut now would leave of one node's log: the checkers' own book."""

from attrs import Factory, define

from flowactor.raft import Entry, HardState, Write
from flowactor.simulation.failure import CheckFailed

__all__ = ["DurableLog"]


@define(eq=False)
class DurableLog:
    """Hard state and entries from index 1 on, as far as they are synced."""

    hard_state: HardState = Factory(HardState)
    entries: list[Entry] = Factory(list)

    @property
    def last_index(self) -> int:
        return len(self.entries)

    def holds(self, index: int, term: int) -> bool:
        """Whether a power cut now would leave this entry."""
        return 0 < index <= len(self.entries) and self.entries[index - 1].term == term

    def persist(self, write: Write) -> None:
        """The write is synced.

        Raises:
            CheckFailed: it takes back what was promised (I3), or does not fit what is there.
        """
        if write.truncate_from:
            del self.entries[write.truncate_from - 1 :]
        if write.entries:
            if write.entries[0].index != len(self.entries) + 1:
                raise CheckFailed("I11", f"entry {write.entries[0].index} leaves a hole on disk")
            self.entries.extend(write.entries)
        if (state := write.hard_state) is not None:
            before = self.hard_state
            if state.term < before.term:
                raise CheckFailed("I3", f"the durable term went from {before.term} to {state.term}")
            if state.term == before.term and before.vote not in (0, state.vote):
                raise CheckFailed("I2", f"a second vote in term {state.term}")
            self.hard_state = state
        if self.entries and self.entries[-1].term > self.hard_state.term:
            raise CheckFailed("I3", "an entry of a term that is not durable itself")
