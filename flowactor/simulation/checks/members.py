"""Who belongs to a group, as the checkers count it: from what a node's log holds."""

from collections.abc import Collection, Iterable, Iterator
from itertools import combinations

from flowactor.codec.records import decode
from flowactor.raft import Configuration, Entry, EntryKind, Write

__all__ = ["Members", "disjoint_quorums", "is_quorum"]


class Members:
    """The configurations in one node's log, by the index of the entry that brought each.

    Args:
        founding: the configuration before any entry.
        entries: what the log begins with.
    """

    def __init__(self, founding: Configuration, entries: Iterable[Entry] = ()) -> None:
        self._known = [(0, founding)]
        self._grow(entries)

    @property
    def current(self) -> Configuration:
        """The newest one, which counts."""
        return self._known[-1][1]

    @property
    def latest(self) -> tuple[int, Configuration]:
        """The newest one, after the index of the entry that brought it."""
        return self._known[-1]

    def found(self, founding: Configuration) -> None:
        """The configuration before any entry is known by now."""
        self._known[0] = (0, founding)

    def at(self, index: int) -> tuple[int, Configuration]:
        """The newest one at or below ``index``, and its own index."""
        return next(known for known in reversed(self._known) if known[0] <= index)

    def since(self, index: int) -> list[Configuration]:
        """The newest one at or below ``index``, and all above."""
        first = self.at(index)[0]
        return [configuration for known, configuration in self._known if known >= first]

    def written(self, write: Write) -> None:
        """The log becomes what this write makes of it."""
        snapshot = write.snapshot
        if snapshot is not None:
            self._known = [(0, Configuration())]
            self._known.append((snapshot.configuration_index, snapshot.configuration))
        if write.truncate_from:
            self.cut_from(write.truncate_from)
        self._grow(write.entries)

    def cut_from(self, first: int) -> None:
        """Nothing from ``first`` on is in the log any more."""
        self._known = [known for known in self._known if known[0] < max(first, 1)]

    def _grow(self, entries: Iterable[Entry]) -> None:
        self._known += [
            (entry.index, decode(entry.data))
            for entry in entries
            if entry.kind is EntryKind.CONFIGURATION
        ]


def is_quorum(nodes: Collection[int], configuration: Configuration) -> bool:
    """Whether these nodes are a majority of each set of voters."""
    sets = [set(voters) for voters in configuration.quorums]
    return all(2 * len(voters.intersection(nodes)) > len(voters) for voters in sets)


def disjoint_quorums(a: Configuration, b: Configuration) -> tuple[set[int], set[int]] | None:
    """Two quorums without a common node, one of each; None if there are none (I13)."""
    for first in _quorums(a):
        for second in _quorums(b):
            if not first & second:
                return first, second
    return None


def _quorums(configuration: Configuration) -> Iterator[set[int]]:
    """Every set of voters that is a quorum, counted out."""
    voters = sorted({*configuration.voters, *configuration.outgoing})
    for size in range(1, len(voters) + 1):
        for some in combinations(voters, size):
            if is_quorum(some, configuration):
                yield set(some)
