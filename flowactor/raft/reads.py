"""Linearizable reads without a log entry: ReadIndex (thesis 6.4)."""

from collections import deque

from attrs import Factory, define

__all__ = ["ReadQueue"]


@define(eq=False)
class ReadQueue:
    """Reads of a leader, from asked to confirmed.

    Attributes:
        asked: tokens that have no round yet. They stay here until an entry of the leader's own
            term is committed: before that it may not know what its predecessors committed
            (rule *readindex_waits_for_own_term*).
        waiting: (token, index to serve at, round that must be confirmed), oldest first.
    """

    asked: list[int] = Factory(list)
    waiting: deque[tuple[int, int, int]] = Factory(deque)

    def begin(self, commit: int, round_number: int) -> None:
        """Everything asked so far shares a round that begins now."""
        self.waiting.extend((token, commit, round_number) for token in self.asked)
        self.asked.clear()

    def confirm(self, round_number: int) -> list[tuple[int, int]]:
        """Take out the (token, index) of reads that a quorum has confirmed up to this round."""
        served = []
        while self.waiting and self.waiting[0][2] <= round_number:
            token, index, _ = self.waiting.popleft()
            served.append((token, index))
        return served

    def abandon(self) -> list[int]:
        """Take out every token: leadership is lost, none of them can be served here."""
        tokens = [token for token, _, _ in self.waiting] + self.asked
        self.waiting.clear()
        self.asked.clear()
        return tokens
