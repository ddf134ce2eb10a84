"""What of this node would survive a power cut now, and the writes on their way there."""

from collections import deque

from attrs import Factory, define

from flowactor.identity import NodeId
from flowactor.raft.configuration import Snapshot
from flowactor.raft.effects import Write
from flowactor.raft.log import Log
from flowactor.raft.messages import HardState

__all__ = ["Durability"]


@define(eq=False)
class _Pending:
    """A write under way; ``last_index`` falls when the log is cut before the write completes."""

    number: int
    last_index: int
    term: int
    vote: NodeId
    tick: int


@define(eq=False)
class Durability:
    """Numbers writes, and knows which of them are done.

    A write that completes late vouches only for entries that are still the log's: cutting the log
    lowers what every earlier write can report (rule *async_append_aba*).

    Attributes:
        index: everything up to here is durable, exactly as the log in memory has it.
        term: the durable term.
        vote: the durable vote, in that term.
        snapshot: what the next write replaces the whole log by.
    """

    index: int
    term: int
    vote: NodeId
    handed: HardState
    handed_index: int
    truncate_from: int = 0
    snapshot: Snapshot | None = None
    number: int = 0
    pending: deque[_Pending] = Factory(deque)

    def cut_from(self, first: int) -> None:
        """The log was cut: nothing from ``first`` on is durable any more, whatever completes."""
        self._vouch_up_to(first - 1)
        if first <= self.handed_index:
            self.truncate_from = first
            self.handed_index = first - 1

    def replace(self, snapshot: Snapshot, kept: int) -> None:
        """A snapshot takes the place of the whole log, of which ``kept`` was the last entry that
        may be vouched for meanwhile.
        """
        self._vouch_up_to(kept)
        self.snapshot = snapshot
        self.truncate_from = 0
        self.handed_index = snapshot.index

    def _vouch_up_to(self, index: int) -> None:
        self.index = min(self.index, index)
        for write in self.pending:
            write.last_index = min(write.last_index, index)

    def flush(self, term: int, vote: NodeId, commit: int, log: Log, tick: int) -> Write | None:
        """The write for everything that changed since the last one, or None.

        A commit index alone is not worth a write; it rides along with the next one.
        """
        handed = self.handed
        entries = log.last_index > self.handed_index
        changed = entries or self.truncate_from or self.snapshot is not None
        if not changed and handed.term == term and handed.vote == vote:
            return None
        hard_state = None
        if handed.commit != commit or handed.term != term or handed.vote != vote:
            hard_state = self.handed = HardState(term, vote, commit)
        self.number += 1
        write = Write(
            self.number,
            hard_state,
            self.truncate_from,
            tuple(log.between(self.handed_index + 1, log.last_index)) if entries else (),
            self.snapshot,
        )
        self.pending.append(_Pending(self.number, log.last_index, term, vote, tick))
        self.handed_index = log.last_index
        self.truncate_from = 0
        self.snapshot = None
        return write

    def persisted(self, number: int) -> None:
        """Writes up to ``number`` are durable."""
        assert number <= self.number, f"write {number} was never handed out"
        while self.pending and self.pending[0].number <= number:
            write = self.pending.popleft()
            self.index = max(self.index, write.last_index)
            self.term, self.vote = write.term, write.vote

    def waiting_ticks(self, tick: int) -> int:
        """How long the oldest write has been under way."""
        return tick - self.pending[0].tick if self.pending else 0
