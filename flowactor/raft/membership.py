"""Who belongs to the group: what this node's log says, and how a leader changes it (thesis 4).

A configuration takes effect when it enters a log, so that the newest one, committed or not, is what
a node counts votes and entries by; it goes when it is cut off. A change of one voter goes in one
step. Any other goes through a joint configuration, which its leader leaves as soon as it is
committed.
"""

from collections.abc import Iterable

from attrs import define, field

from flowactor.codec.records import decode, encode
from flowactor.identity import NodeId
from flowactor.raft.configuration import Configuration
from flowactor.raft.messages import Entry, EntryKind

__all__ = ["Membership", "configuration_entry", "next_configuration"]


@define(eq=False)
class Membership:
    """The configurations of one log.

    Attributes:
        node: whose log this is.
        history: (index, configuration), oldest first: the newest that is committed for all this
            node knows, and all above it.
        current: the newest.
        peers: all members of it but this node.
        electors: those of them that have a vote.
        is_voter: this node has one.
        index: of the entry that brought the current configuration; 0 for the founding one.
    """

    node: NodeId
    history: list[tuple[int, Configuration]]
    current: Configuration = field(init=False)
    peers: tuple[NodeId, ...] = field(init=False)
    electors: tuple[NodeId, ...] = field(init=False)
    is_voter: bool = field(init=False)
    index: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._look()

    def _look(self) -> None:
        self.index, self.current = self.history[-1]
        self.peers = tuple(member for member in self.current.members if member != self.node)
        self.electors = tuple(filter(self.current.votes, self.peers))
        self.is_voter = self.current.votes(self.node)

    @property
    def may_campaign(self) -> bool:
        """Whether this node votes in any configuration that may yet turn out to be the one in
        force. That includes a leader that is removing itself: if only its log has the entry, nobody
        else can be elected (rule *self_removed_leader*).
        """
        return any(configuration.votes(self.node) for _, configuration in self.history)

    @property
    def decides_alone(self) -> bool:
        """Whether no other node has a vote."""
        return all(voters == (self.node,) for voters in self.current.quorums)

    def append(self, entries: Iterable[Entry]) -> None:
        """The log grew by these."""
        found = [entry for entry in entries if entry.kind is EntryKind.CONFIGURATION]
        if found:
            self.history += [(entry.index, decode(entry.data)) for entry in found]
            self._look()

    def cut_from(self, first: int) -> None:
        """The log was cut: the configuration before holds again."""
        while self.history[-1][0] >= first:
            self.history.pop()
        self._look()

    def committed(self, index: int) -> None:
        """Everything up to ``index`` is committed: what was before that is past."""
        while len(self.history) > 1 and self.history[1][0] <= index:
            del self.history[0]


def configuration_entry(term: int, index: int, configuration: Configuration) -> Entry:
    return Entry(term, index, EntryKind.CONFIGURATION, encode(configuration))


def next_configuration(present: Configuration, wanted: Configuration) -> Configuration:
    """The first step on the way to ``wanted``: itself if a majority of its voters shares a node
    with any majority of the present ones, which one voter more or less guarantees (thesis 4.1);
    else both together.
    """
    if len(set(present.voters) ^ set(wanted.voters)) <= 1:
        return wanted
    return Configuration(wanted.voters, wanted.learners, present.voters, wanted.context)
