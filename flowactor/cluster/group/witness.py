"""Whoever looks over a node's shoulder: sees what consensus and the machine do, decides nothing.

The simulator's checkers are told everything through this; a node in production has no witness.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from flowactor.cluster.group.driven import Outcome
from flowactor.identity import GroupId, NodeId
from flowactor.machine import Machine
from flowactor.management import Management
from flowactor.raft import Effects, Entry, Event, Raft, Restored, Snapshot

__all__ = ["AnyMachine", "Watch", "Witness", "nobody"]

AnyMachine = Machine | Management


class Witness(Protocol):
    """Called synchronously, in order, about one group in one life of one node."""

    def recovered(self, core: Raft, restored: Restored, machine: AnyMachine) -> None:
        """The replica is about to begin with what the disk held."""

    def stepped(self, core: Raft, events: Sequence[Event], effects: Effects) -> None:
        """The core took ``events``; nothing has come of ``effects`` yet."""

    def copying(self, index: int) -> None:
        """The state at ``index`` is about to be copied, to be sent."""

    def restored(self, snapshot: Snapshot, machine: AnyMachine) -> None:
        """Another node's state has replaced all that was applied, and this is its machine; nobody
        was told yet.
        """

    def applied(self, entry: Entry, outcome: Outcome) -> None:
        """The machine applied a committed entry; nobody was told yet."""

    def closed(self) -> None:
        """The node is no member of the group any more; the replica is about to be deleted."""


Watch = Callable[[NodeId, GroupId], Witness | None]
"""Who looks at the replica that this node has of a group, as it is opened."""


def nobody(node: NodeId, group: GroupId) -> None:
    """Looks at it in production."""
