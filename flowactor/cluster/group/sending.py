"""A leader sends its state to followers that need log entries it has no more.

One copy of the state serves all that need one at the time. It is read chunk by chunk as they are
sent, so that what is in memory is what is on its way: at most a window for each of a few receivers.
The receiver says from where it wants the copy, and after each chunk how far it has come. A chunk or
an answer that is lost is noticed by the silence: the copy is offered again, and the receiver says
again from where. So it makes no difference whether a message, a link or the receiver's process was
lost.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from attrs import Factory, define, frozen

from flowactor.cluster.group.durable import Copy, Later, Log, States
from flowactor.cluster.protocol.envelopes import (
    GroupEnvelope,
    SnapshotChunk,
    SnapshotHeld,
    SnapshotOffer,
    SnapshotWanted,
)
from flowactor.errors import StorageError, StorageFull, WorldError
from flowactor.identity import GroupId, NodeId
from flowactor.limits import (
    ELECTION_TICKS_MIN,
    NANOSECONDS,
    RESEND_SECONDS,
    SNAPSHOT_CHUNK_BYTES,
    SNAPSHOT_PATIENCE_SECONDS,
    SNAPSHOT_PAUSE_SECONDS,
    SNAPSHOT_RECEIVERS_MAX,
    SNAPSHOT_TICK_BYTES_MAX,
    SNAPSHOT_WINDOW_BYTES_MAX,
    TICK_SECONDS,
)
from flowactor.observability.events import Observer, SnapshotFailed, SnapshotSent
from flowactor.ports import Clock
from flowactor.raft import Event, PeerStatus, Snapshot, SnapshotStaged
from flowactor.storage import Chunk

__all__ = ["Pace", "Sending"]

_TICK_NS: Final = int(TICK_SECONDS * NANOSECONDS)
_RESEND_NS: Final = int(RESEND_SECONDS * NANOSECONDS)
_PATIENCE_NS: Final = int(SNAPSHOT_PATIENCE_SECONDS * NANOSECONDS)
_PAUSE_NS: Final = int(SNAPSHOT_PAUSE_SECONDS * NANOSECONDS)


@frozen(kw_only=True)
class Pace:
    """How fast a state is sent.

    Attributes:
        chunk_bytes: of one message.
        window_bytes_max: on the way to one receiver.
        tick_bytes_max: to all of them, from one tick to the next.
    """

    chunk_bytes: int = SNAPSHOT_CHUNK_BYTES
    window_bytes_max: int = SNAPSHOT_WINDOW_BYTES_MAX
    tick_bytes_max: int = SNAPSHOT_TICK_BYTES_MAX


@frozen
class _Ready:
    """A copy, and what it is the state of."""

    copy: Copy
    snapshot: Snapshot


@define(eq=False)
class _Transfer:
    """To one receiver.

    Attributes:
        number: of the offer that counts.
        offered_ns: when it was made.
        moved_ns: when the receiver was last seen to get on.
        answered: it has said from where it wants the copy.
        wanted: it has everything before.
        sent: it was sent everything before.
        window: how much may be on its way.
        under_way: (offset after it, when it left) of what was sent and not answered.
        reading: a chunk is being read.
        held: it has all of it, and was told to install it.
    """

    number: int
    offered_ns: int
    moved_ns: int
    window: int
    answered: bool = False
    wanted: int = 0
    sent: int = 0
    under_way: deque[tuple[int, int]] = Factory(deque)
    reading: bool = False
    held: bool = False


class Sending:
    """All that a leader sends of one group's state.

    Args:
        group: whose.
        log: of the group; says what a copy is the state of.
        states: copies it.
        flush: brings what is applied into the stored state, then calls back.
        send: queues an envelope for a peer; never blocks, may drop.
        later: has what is done in the background handled in the group's turn.
        tell: takes the event that tells the core what came of it.
        clock: measures silence.
        failed: told that the log cannot be read back.
        observer: told of transfers that end.
        pace: says how fast; it may change its mind.
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
        pace: Callable[[], Pace],
    ) -> None:
        self._group: Final = group
        self._log: Final = log
        self._states: Final = states
        self._flush: Final = flush
        self._send: Final = send
        self._later: Final = later
        self._tell: Final = tell
        self._clock: Final = clock
        self._failed: Final = failed
        self._observer: Final = observer
        self._pace: Final = pace
        self._needy: Final[dict[NodeId, None]] = {}  # in the order in which they were found
        self._transfers: Final[dict[NodeId, _Transfer]] = {}
        self._not_before_ns: Final[dict[NodeId, int]] = {}
        self._made_at: int | None = None  # a copy is being made, of this index or a later one
        self._ready: _Ready | None = None
        self._attempts = 0  # at copies, so that what comes of an old one is known
        self._offers = 0
        self._allowance = pace().tick_bytes_max

    @property
    def held_index(self) -> int | None:
        """Above this the log is needed by who receives the state."""
        return self._made_at if self._ready is None else self._ready.snapshot.index

    # -- what drives it ---------------------------------------------------------------------------

    def need(self, peers: Iterable[NodeId]) -> None:
        """These lack entries that are gone: ``Effects.snapshots``."""
        self._needy.update(dict.fromkeys(peers))

    def tick(self, peers: Mapping[NodeId, PeerStatus]) -> None:
        """Time has passed for a leader that knows this of the others."""
        self._allowance = self._pace().tick_bytes_max
        now_ns = self._clock.monotonic_ns()
        for peer, transfer in list(self._transfers.items()):
            self._look_after(peer, transfer, peers.get(peer), now_ns)
        for peer in [peer for peer in self._needy if peer not in peers]:
            del self._needy[peer]
        waiting = [peer for peer in self._needy if self._may_begin(peer, peers[peer], now_ns)]
        if self._ready is not None:
            index = self._ready.snapshot.index
            # Who is further than the copy waits for the next one.
            helped = [peer for peer in waiting if peers[peer].match_index < index]
            for peer in helped[: SNAPSHOT_RECEIVERS_MAX - len(self._transfers)]:
                self._begin(peer, now_ns)
            if not self._transfers:
                self._drop_copy()
        if waiting and self._ready is None and self._made_at is None:
            self._make_copy()

    def _may_begin(self, peer: NodeId, status: PeerStatus, now_ns: int) -> bool:
        """Nobody makes a copy for the dead, nor at once again for who could not take the last."""
        is_alive = status.ticks_silent < ELECTION_TICKS_MIN
        return is_alive and self._not_before_ns.get(peer, now_ns) <= now_ns

    def _look_after(
        self, peer: NodeId, transfer: _Transfer, status: PeerStatus | None, now_ns: int
    ) -> None:
        assert self._ready is not None, "what is sent is a copy"
        index = self._ready.snapshot.index
        if status is None:
            del self._transfers[peer]
        elif status.match_index >= index:
            # If it is needy again, the log could not be held for so long, and it needs a newer one.
            del self._transfers[peer]
            if transfer.held:
                size_bytes = self._ready.copy.image.size_bytes
                self._observer(SnapshotSent(self._group, peer, index, size_bytes))
        elif peer in self._needy:  # it was told to install the copy, and has not heard that
            del self._needy[peer]
            transfer.held = False
            self._offer(peer, transfer)
        elif now_ns - transfer.moved_ns >= _PATIENCE_NS:
            self._give_up(peer, "nothing was taken for too long")
        elif not transfer.held and now_ns - max(transfer.offered_ns, transfer.moved_ns) >= (
            _RESEND_NS
        ):
            self._offer(peer, transfer)
        else:
            self._pump(peer, transfer)

    def on_wanted(self, peer: NodeId, answer: SnapshotWanted) -> None:
        """The receiver says how far it has come."""
        transfer = self._transfers.get(peer)
        if transfer is None or transfer.number != answer.number or transfer.held:
            return
        assert self._ready is not None, "what is sent is a copy"
        now_ns = self._clock.monotonic_ns()
        is_first, transfer.answered = not transfer.answered, True
        if is_first:
            transfer.wanted = transfer.sent = answer.offset
        is_all = answer.offset == self._ready.copy.image.size_bytes
        if answer.offset > transfer.wanted or is_first or is_all:
            if answer.offset > transfer.wanted or is_all:
                transfer.moved_ns = now_ns
            transfer.wanted = max(transfer.wanted, answer.offset)
            transfer.sent = max(transfer.sent, transfer.wanted)
            self._fit_window(transfer, now_ns)
        self._pump(peer, transfer)

    def on_held(self, peer: NodeId, answer: SnapshotHeld) -> None:
        """The receiver has all of it, or what it got is worth nothing."""
        transfer = self._transfers.get(peer)
        if transfer is None or transfer.number != answer.number or transfer.held:
            return
        if not answer.whole:
            self._give_up(peer, "what arrived is not what was sent")
            return
        assert self._ready is not None, "what is sent is a copy"
        transfer.held = True
        transfer.moved_ns = self._clock.monotonic_ns()
        self._tell(SnapshotStaged(peer, self._ready.snapshot))

    def stop(self) -> None:
        """This node leads no more: whoever does sends its own state."""
        self._needy.clear()
        self._transfers.clear()
        self._not_before_ns.clear()
        self._drop_copy()

    # -- the copy ---------------------------------------------------------------------------------

    def _make_copy(self) -> None:
        self._attempts += 1
        attempt, self._made_at = self._attempts, self._states.current.applied_index

        def flushed() -> None:
            if attempt == self._attempts:
                self._states.copy(lambda copy: self._later(partial(copied, copy)))

        def copied(copy: Copy | WorldError) -> None:
            if attempt != self._attempts:
                return
            if isinstance(copy, WorldError):
                self._no_copy(copy)
                return
            self._log.snapshot_at(
                self._group,
                copy.image.index,
                lambda snapshot: self._later(partial(placed, copy, snapshot)),
            )

        def placed(copy: Copy, snapshot: Snapshot | StorageError | None) -> None:
            if attempt != self._attempts:
                return
            if isinstance(snapshot, StorageError):
                self._drop_copy()
                self._failed(snapshot)
                return
            if snapshot is None:  # it could not be held for so long: the next tick tries again
                self._drop_copy()
            else:
                self._ready, self._made_at = _Ready(copy, snapshot), None

        self._flush(lambda: self._later(flushed))

    def _no_copy(self, error: WorldError) -> None:
        self._made_at = None
        not_before_ns = self._clock.monotonic_ns() + _PAUSE_NS
        for peer in self._needy:
            self._not_before_ns[peer] = not_before_ns
            self._observer(SnapshotFailed(self._group, peer, str(error)))
        if isinstance(error, StorageFull):
            self._failed(error)

    def _drop_copy(self) -> None:
        self._attempts += 1
        if self._made_at is not None or self._ready is not None:
            self._states.drop_copy()
        self._made_at = self._ready = None

    # -- transfers --------------------------------------------------------------------------------

    def _begin(self, peer: NodeId, now_ns: int) -> None:
        del self._needy[peer]
        transfer = _Transfer(0, now_ns, now_ns, self._pace().chunk_bytes)
        self._transfers[peer] = transfer
        self._offer(peer, transfer)

    def _offer(self, peer: NodeId, transfer: _Transfer) -> None:
        """Ask from where the copy is wanted: for the first time, or because all is silent."""
        assert self._ready is not None, "what is offered is a copy"
        self._offers += 1
        transfer.number = self._offers
        transfer.offered_ns = self._clock.monotonic_ns()
        transfer.answered = False
        transfer.under_way.clear()
        transfer.window = self._pace().chunk_bytes
        image, snapshot = self._ready.copy.image, self._ready.snapshot
        offer = SnapshotOffer(
            self._group, transfer.number, snapshot, image.size_bytes, image.digest
        )
        self._send(peer, offer)

    def _fit_window(self, transfer: _Transfer, now_ns: int) -> None:
        """As long as chunks are answered soon, more may be on their way; where they are not, the
        link is slow, and whatever else it carries is not to wait behind them.
        """
        left_ns = now_ns
        while transfer.under_way and transfer.under_way[0][0] <= transfer.wanted:
            _, left_ns = transfer.under_way.popleft()
        if now_ns - left_ns >= _TICK_NS:
            transfer.window = self._pace().chunk_bytes
        else:
            transfer.window = min(2 * transfer.window, self._pace().window_bytes_max)

    def _pump(self, peer: NodeId, transfer: _Transfer) -> None:
        """Read the next chunk to send, if there is one and room for it."""
        ready = self._ready
        if ready is None or transfer.reading or transfer.held or not transfer.answered:
            return
        size = min(self._pace().chunk_bytes, ready.copy.image.size_bytes - transfer.sent)
        on_its_way = transfer.sent - transfer.wanted
        if size <= 0 or on_its_way + size > transfer.window:
            return
        if self._allowance <= 0:
            transfer.moved_ns = self._clock.monotonic_ns()  # it is not the receiver who waits
            return
        self._allowance -= size
        transfer.reading = True
        ready.copy.read_chunk(
            transfer.sent,
            size,
            lambda chunk: self._later(partial(self._read, ready, peer, transfer, chunk)),
        )

    def _read(
        self, ready: _Ready, peer: NodeId, transfer: _Transfer, chunk: Chunk | WorldError
    ) -> None:
        transfer.reading = False
        if self._ready is not ready or self._transfers.get(peer) is not transfer:
            return
        if isinstance(chunk, WorldError) or not chunk.data:
            reason = str(chunk) if isinstance(chunk, WorldError) else "the copy ends too early"
            for receiver in list(self._transfers):
                self._give_up(receiver, reason)
            return
        if transfer.answered and chunk.offset == transfer.sent:
            transfer.sent += len(chunk.data)
            transfer.under_way.append((transfer.sent, self._clock.monotonic_ns()))
            digest = ready.copy.image.digest
            self._send(
                peer,
                SnapshotChunk(self._group, digest, chunk.offset, chunk.data, chunk.checksum),
            )
        self._pump(peer, transfer)

    def _give_up(self, peer: NodeId, reason: str) -> None:
        del self._transfers[peer]
        self._not_before_ns[peer] = self._clock.monotonic_ns() + _PAUSE_NS
        self._observer(SnapshotFailed(self._group, peer, reason))
        self._tell(SnapshotStaged(peer, None))
