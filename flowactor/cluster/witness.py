"""Whoever looks over a node's shoulder: sees what consensus and the machine do, decides nothing.

The simulator's checkers are told everything through this; a node in production has no witness.
"""

from collections.abc import Sequence
from typing import Protocol

from flowactor.machine import Applied, Machine
from flowactor.raft import Effects, Entry, Event, Raft, Restored, Snapshot

__all__ = ["Witness"]


class Witness(Protocol):
    """Called synchronously, in order, about one group in one life of one node."""

    def recovered(self, core: Raft, restored: Restored, machine: Machine) -> None:
        """The node is about to begin with what its disk held."""

    def stepped(self, core: Raft, events: Sequence[Event], effects: Effects) -> None:
        """The core took ``events``; nothing has come of ``effects`` yet."""

    def copying(self, index: int) -> None:
        """The state at ``index`` is about to be copied, to be sent."""

    def restored(self, snapshot: Snapshot, machine: Machine) -> None:
        """Another node's state has replaced all that was applied, and this is its machine; nobody
        was told yet.
        """

    def applied(self, entry: Entry, outcome: Applied) -> None:
        """The machine applied a committed entry; nobody was told yet."""
