"""The driver's duties: one Raft core, its disk and its links. Nothing else touches a core.

The numbered prose in ``flowactor/raft/__init__.py`` says what must happen in which order and why.
Here it is done: messages leave at once, the write goes to the log's own thread, and its completion
comes back through the group's mailbox as ``WritePersisted``. Replies that depend on a write are
held inside the core until then, so no order of these two can acknowledge what is not durable.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from flowactor.cluster.envelopes import RaftEnvelope
from flowactor.cluster.witness import Witness
from flowactor.codec.records import encode
from flowactor.errors import StorageError
from flowactor.identity import GroupId, NodeId
from flowactor.raft import (
    Effects,
    EntriesLoaded,
    Entry,
    Event,
    LoadEntries,
    Raft,
    Write,
    WritePersisted,
)

__all__ = ["Log", "Ready"]


class Log(Protocol):
    """The durable log of all groups, as far as a driver needs it."""

    def submit(self, group: GroupId, write: Write, done: Callable[[], None]) -> None:
        """Make ``write`` durable, then call ``done`` on the event loop; in order per group."""

    def load(
        self,
        group: GroupId,
        request: LoadEntries,
        done: Callable[[tuple[int, tuple[Entry, ...]] | StorageError], None],
    ) -> None:
        """Read entries back, then call ``done`` with (previous term, entries) on the event loop."""


class Ready:
    """Steps one core and carries out what it asks for.

    Args:
        group: whose messages and writes these are.
        core: the consensus of the group on this node.
        log: where writes go and old entries come from.
        send: queues encoded envelopes for a peer; never blocks, may drop.
        later: takes events that completions bring, to be stepped with the group's next batch.
        failed: told that the log cannot be read back.
        witness: sees each step of the core.
    """

    def __init__(
        self,
        group: GroupId,
        core: Raft,
        log: Log,
        send: Callable[[NodeId, bytes], None],
        later: Callable[[Event], None],
        failed: Callable[[StorageError], None],
        witness: Witness | None = None,
    ) -> None:
        self.core = core
        self._group = group
        self._log = log
        self._send = send
        self._later = later
        self._failed = failed
        self._witness = witness

    def step(self, events: Sequence[Event]) -> Effects:
        """Step the core; messages, write and loads of the outcome are under way on return.

        What is left in the effects (committed entries, reads, refusals) is the caller's to act on.
        """
        effects = self.core.step(events)
        if self._witness is not None:
            self._witness.stepped(self._group, self.core, events, effects)
        encoded, last = b"", None
        for peer, message in effects.messages:
            if message is not last:  # followers that stand alike get the same append
                encoded, last = encode(RaftEnvelope(self._group, message)), message
            self._send(peer, encoded)
        if effects.write is not None:
            number = effects.write.number
            self._log.submit(
                self._group, effects.write, lambda: self._later(WritePersisted(number))
            )
        for request in effects.loads:
            self._load(request)
        return effects

    def _load(self, request: LoadEntries) -> None:
        def done(loaded: tuple[int, tuple[Entry, ...]] | StorageError) -> None:
            if isinstance(loaded, StorageError):
                self._failed(loaded)
            else:
                self._later(EntriesLoaded(request.peer, *loaded))

        self._log.load(self._group, request, done)
