"""Who belongs to a group, and what stands for the entries that are gone (thesis 4 and 5)."""

from attrs import frozen

from flowactor.codec.records import record
from flowactor.errors import ConfigurationError
from flowactor.identity import NodeId

__all__ = ["Configuration", "Snapshot"]


@record(105)
@frozen
class Configuration:
    """The members of a group, as of one entry of its log: a node acts by the newest in its log,
    committed or not (thesis 4.1).

    Attributes:
        voters: they elect and commit; while ``outgoing`` is not empty, the new ones.
        learners: they receive everything and count for nothing.
        outgoing: while the configuration is joint, the voters before the change: everything needs
            a majority of them as well (thesis 4.3).
        context: what its owner wants agreed upon in the same moment; opaque here.
    """

    voters: tuple[NodeId, ...] = ()
    learners: tuple[NodeId, ...] = ()
    outgoing: tuple[NodeId, ...] = ()
    context: bytes = b""

    def check(self) -> None:
        """Raises:
        ConfigurationError: this can be no founding configuration, and no aim of a change.
        """
        wrong = [reason for broken, reason in self._complaints() if broken]
        if wrong:
            raise ConfigurationError("these members cannot be a group: " + "; ".join(wrong))

    def _complaints(self) -> list[tuple[bool, str]]:
        named = [*self.voters, *self.learners]
        return [
            (not self.voters, "there is no voter"),
            (len(set(named)) != len(named), f"{named} names a node twice"),
            (any(node < 1 for node in named), "node ids count from 1"),
            (self.is_joint, "it is joint, which is a step on the way of a change"),
        ]

    @property
    def is_joint(self) -> bool:
        return bool(self.outgoing)

    @property
    def quorums(self) -> tuple[tuple[NodeId, ...], ...]:
        """The sets of voters of each of which a majority has to agree."""
        return (self.voters, self.outgoing) if self.outgoing else (self.voters,)

    @property
    def members(self) -> tuple[NodeId, ...]:
        """Everybody the leader sends to, itself included, each once, in order."""
        return tuple(sorted({*self.voters, *self.outgoing, *self.learners}))

    def votes(self, node: NodeId) -> bool:
        """Whether the node is a voter, of either set."""
        return node in self.voters or node in self.outgoing


@record(106)
@frozen
class Snapshot:
    """The state that all entries up to ``index`` leave; ``term`` is of the last of them.

    It carries the committed configuration at its index (rule *snapshot_carries_config*), and the
    index of the entry that brought it, 0 for the founding one.
    """

    index: int
    term: int
    configuration: Configuration
    configuration_index: int = 0
