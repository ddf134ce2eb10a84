"""What a group does about log entries that are gone: it cuts its log, and sends or receives the
state in their place.
"""

from collections.abc import Callable
from typing import Final, assert_never

from flowactor.cluster.group.compaction import Compaction
from flowactor.cluster.group.durable import Later, Log, State, States
from flowactor.cluster.group.receiving import Receiving
from flowactor.cluster.group.sending import Pace, Sending
from flowactor.cluster.protocol.envelopes import (
    GroupEnvelope,
    SnapshotChunk,
    SnapshotEnvelope,
    SnapshotHeld,
    SnapshotOffer,
    SnapshotWanted,
)
from flowactor.errors import StorageError
from flowactor.identity import GroupId, NodeId
from flowactor.observability.events import LogCompacted, Observer
from flowactor.ports import Clock
from flowactor.raft import Effects, Event, InstallSnapshot, Message, Role, Status

__all__ = ["Snapshots"]


class Snapshots:
    """Of one group on one node.

    Args:
        group: whose.
        log: of all groups.
        states: of this one.
        flush: brings what is applied into the stored state, then calls back.
        send: queues an envelope for a peer; never blocks, may drop.
        later: has what is done in the background handled in the group's turn.
        tell: takes events for the core.
        clock: of this node.
        failed: told what is wrong with the disk.
        observer: told what becomes of logs and states.
        compaction: when the log is cut.
        pace: says how fast a state is sent now.
    """

    def __init__(
        self,
        group: GroupId,
        *,
        log: Log,
        states: States,
        flush: Callable[[Callable[[], None]], None],
        send: Callable[[NodeId, GroupEnvelope], None],
        later: Later,
        tell: Callable[[Event], None],
        clock: Clock,
        failed: Callable[[StorageError], None],
        observer: Observer,
        compaction: Compaction,
        pace: Callable[[], Pace],
    ) -> None:
        self._group: Final = group
        self._log: Final = log
        self._states: Final = states
        self._observer: Final = observer
        self._compaction: Final = compaction
        self._compacted = 0
        self._sending: Final = Sending(
            group,
            log=log,
            states=states,
            flush=flush,
            send=send,
            later=later,
            tell=tell,
            clock=clock,
            failed=failed,
            observer=observer,
            pace=pace,
        )
        self._receiving: Final = Receiving(
            group, states=states, later=later, send=send, failed=failed, observer=observer
        )

    def admits(self, message: Message, commit_index: int) -> bool:
        """Whether the core may see this message now: see ``Receiving.admits``."""
        if isinstance(message, InstallSnapshot):
            return self._receiving.admits(message, commit_index)
        return True

    def take(self, sender: NodeId, envelope: SnapshotEnvelope, status: Status) -> None:
        """A peer's envelope, after the step of the batch that it came with."""
        match envelope:
            case SnapshotOffer():
                if sender == status.leader:
                    self._receiving.on_offer(sender, envelope, status.commit_index)
            case SnapshotChunk():
                self._receiving.on_chunk(sender, envelope)
            case SnapshotWanted():
                self._sending.on_wanted(sender, envelope)
            case SnapshotHeld():
                self._sending.on_held(sender, envelope)
            case _:
                assert_never(envelope)

    def stepped(self, effects: Effects) -> None:
        """The core has decided."""
        if effects.write is not None and effects.write.snapshot is not None:
            self._receiving.installing()
        if effects.snapshots:
            self._sending.need(effects.snapshots)

    def follow(self) -> None:
        """This node does not lead, or no more."""
        self._sending.stop()

    def tick(self, status: Status, applied: int) -> None:
        """Time has passed."""
        peers = dict(status.peers)
        if status.role is Role.LEADER:
            self._sending.tick(peers)
        size, held_index = self._log.size(self._group), self._sending.held_index
        target = self._compaction.target(size, applied, peers.values(), held_index)
        if target is None:
            return
        state = self._states.current
        index = min(target, state.durable_index)
        if index >= size.first_index and index > self._compacted:
            self._compacted = index
            self._log.compact(self._group, index)
            self._observer(LogCompacted(self._group, index))
        if state.durable_index < min(target, state.applied_index):
            state.checkpoint()

    def replace(self) -> State:
        """Have what was received, and is durably the state now, take the place of the old."""
        state = self._states.replace()
        self._receiving.installed()
        return state
