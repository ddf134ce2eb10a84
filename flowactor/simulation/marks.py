"""Marks ("sometimes"): places a campaign should have been to, and how often it was there.

A checker that is silent may be blind: the state it waits for may never come up. So what is rare and
matters is counted by name, and a campaign says which names it never saw.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

__all__ = ["CHANGING", "EXPECTED", "RESHAPING", "Marks"]

EXPECTED: Final = {
    "leader changed": "leadership moved to another node",
    "follower truncated": "a follower cut entries that were never committed",
    "figure 8": "a leader held back entries of an older term that a quorum had",
    "late write": "a write finished after the log had been cut below it",
    "pre-vote refused with a higher term": "the asker adopts it without voting",
    "read before the first commit": "a read waited for the leader's first own commit",
    "duplicate answered": "a repeated request was answered from its session",
    "stale epoch refused": "what an owner of before proposed was refused at apply",
    "sync failed": "a node stopped because its disk did not keep its word",
    "torn tail": "a restart cut an unfinished write off the log",
    "damage found": "a node refused a log in which a synced byte had changed",
    "uncommitted limit": "a leader refused proposals because its tail was full",
    "owner killed in a step": "an owner died while the body of a step ran",
    "step repeated": "a step was executed once more, as a further attempt",
    "leader without a quorum": "a leader stepped down because it heard nobody",
    "leader over its disk": "a leader stepped down because its disk stood still",
    "wiped disk refused": "a node that lost its disk was not let in again",
    "unsynced write survived": "a restart found a write that nobody had waited for any more",
    "read abandoned": "a leader was deposed before it could answer a read",
    "snapshot installed": "a follower took the leader's state in place of entries that were gone",
    "snapshot resumed half-way": "a transfer went on where it had been interrupted",
    "entries read back": "a follower was so far behind that the leader asked its disk",
    "group went quiet": "nothing was left to do, and the leader stopped its heartbeats",
    "quiet group woken by a silence": "a node was noticed to be gone while nobody counted ticks",
}
"""name -> what it means."""

CHANGING: Final = {
    "members changed": "a change of a group's members was committed",
    "node left": "a node that was taken out had handed over all it had",
    "node removed": "a node that did not answer was taken out",
    "node lost": "a machine came back with an empty disk, as another node",
    "node killed while it joined": "it had not said yet that it is up",
    "node killed while it left": "its replicas were being replaced",
    "removed node stopped": "a node heard that it was taken out, and ended",
    "removed node told": "one that was taken out while it was away was told when it came back",
    "run moved to another group": "an open run went on in a group that had not begun it",
    "owner lost its vote": "runs of a node that votes no more went to others as that was committed",
    "group founded": "a group of runs was founded, the first one or another",
    "group ended": "a group was drained of its last slot, and ended",
    "slots frozen": "a move of slots began",
    "slots moved": "all was copied, and the table says so",
    "move given up": "the source of a move serves again",
    "leader changed during a move": "of the group that gives or that takes",
    "members changed during a move": "of the group that gives or that takes",
    "snapshot installed during a move": "and the move is in it",
    "node started during a move": "and found the move in its rows",
}
"""The same, of clusters that change."""

RESHAPING: Final = {
    "members changed": "a change of a group's members was committed",
    "owner lost its vote": "runs of a node that votes no more went to others as that was committed",
    "leader changed inside a joint configuration": "both majorities elected it",
    "stranger asked for votes": "a node stood for election among those who had taken it out",
}
"""The same, at core depth, where it changes who votes: there are joint configurations, too."""


class Marks(Counter[str]):
    """How often each was reached; of one run, or of a whole campaign by ``update``."""

    def missing(self, expected: Iterable[str] = EXPECTED) -> list[str]:
        """The names that were never reached, sorted."""
        return sorted(name for name in expected if not self[name])

    def as_dict(self) -> Mapping[str, int]:
        """For a report: sorted by name."""
        return dict(sorted(self.items()))
