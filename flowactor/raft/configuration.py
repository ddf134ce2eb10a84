"""Who belongs to a group, and what stands for the entries that are gone (thesis 4 and 5)."""

from attrs import field, frozen

from flowactor.codec.records import record
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

    voters: tuple[NodeId, ...] = field(default=(), converter=tuple)
    learners: tuple[NodeId, ...] = field(default=(), converter=tuple)
    outgoing: tuple[NodeId, ...] = field(default=(), converter=tuple)
    context: bytes = b""

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
