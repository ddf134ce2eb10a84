"""The driver's duties: one Raft core, its disk and its links. Nothing else touches a core.

The numbered prose in ``flowactor/raft/__init__.py`` says what must happen in which order and why.
Here it is done: messages leave at once, the write goes to the log's own thread, and its completion
comes back through the group's mailbox as ``WritePersisted``. Replies that depend on a write are
held inside the core until then, so no order of these two can acknowledge what is not durable.
"""

from collections.abc import Callable, Sequence

from flowactor.cluster.group.durable import Log
from flowactor.cluster.group.witness import Witness
from flowactor.cluster.protocol.envelopes import GroupEnvelope, RaftEnvelope
from flowactor.errors import StorageError
from flowactor.identity import GroupId, NodeId
from flowactor.raft import (
    Effects,
    EntriesLoaded,
    Entry,
    Event,
    LoadEntries,
    Raft,
    WritePersisted,
)

__all__ = ["Ready"]


class Ready:
    """Steps one core and carries out what it asks for.

    Args:
        group: whose messages and writes these are.
        core: the consensus of the group on this node.
        log: where writes go and old entries come from.
        send: queues envelopes for a peer; never blocks, may drop.
        later: takes events that completions bring, to be stepped with the group's next batch.
        failed: told that the log cannot be read back.
        witness: sees each step of the core.
    """

    def __init__(
        self,
        group: GroupId,
        core: Raft,
        log: Log,
        send: Callable[[NodeId, GroupEnvelope], None],
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
            self._witness.stepped(self.core, events, effects)
        envelope: RaftEnvelope | None = None
        for peer, message in effects.messages:
            # Followers that stand alike get the same append, which is then encoded once.
            if envelope is None or message is not envelope.message:
                envelope = RaftEnvelope(self._group, message)
            self._send(peer, envelope)
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
