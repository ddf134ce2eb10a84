"""A follower receives the state of its group, in place of log entries that nobody has any more.

Only the leader's offers count. What arrives is kept in a file of its own, beside the state that is
in use, until all of it is there and durable; then the leader says so in consensus
(``InstallSnapshot``), and the core decides. From that decision on the file is left alone: it is the
group's state as soon as the write is durable.
"""

import enum
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from flowactor.cluster.group.durable import Incoming, Later, States
from flowactor.cluster.protocol.envelopes import (
    GroupEnvelope,
    SnapshotChunk,
    SnapshotHeld,
    SnapshotOffer,
    SnapshotWanted,
)
from flowactor.errors import MalformedDataError, StorageError, StorageFull, WorldError
from flowactor.identity import GroupId, NodeId
from flowactor.observability.events import Observer, SnapshotFailed, SnapshotReceived
from flowactor.raft import InstallSnapshot
from flowactor.storage import Image

__all__ = ["Receiving"]

T = TypeVar("T")


class _Phase(enum.Enum):
    """``IDLE``: nothing is wanted. ``BEGINNING``: looking for what is here of the copy already.
    ``TAKING``: chunks are written. ``FINISHING``: all is here, and is being checked. ``HELD``: it
    may be installed. ``INSTALLING``: the core has decided to.
    """

    IDLE = "idle"
    BEGINNING = "beginning"
    TAKING = "taking"
    FINISHING = "finishing"
    HELD = "held"
    INSTALLING = "installing"


class Receiving:
    """All that one follower receives of one group's state.

    Args:
        group: whose.
        states: where it goes.
        later: has what is done in the background handled in the group's turn.
        send: queues an envelope for a peer; never blocks, may drop.
        failed: told what is wrong with the disk.
        observer: told of transfers that fail.
    """

    def __init__(
        self,
        group: GroupId,
        *,
        states: States,
        later: Later,
        send: Callable[[NodeId, GroupEnvelope], None],
        failed: Callable[[StorageError], None],
        observer: Observer,
    ) -> None:
        self._group: Final = group
        self._states: Final = states
        self._later: Final = later
        self._send: Final = send
        self._failed: Final = failed
        self._observer: Final = observer
        self._phase = _Phase.IDLE
        self._leader = NodeId(0)
        self._offer: SnapshotOffer | None = None
        self._incoming: Incoming | None = None
        self._offset = 0
        self._copies = 0  # that were begun, so that what comes of an old one is known
        self._jobs = 0  # under way in ``_incoming``

    # -- consensus --------------------------------------------------------------------------------

    def admits(self, install: InstallSnapshot, commit_index: int) -> bool:
        """Whether the core may see this: if it decides to install, the state must be here. One that
        is kept from it counts as lost on its way.
        """
        if install.snapshot.index <= commit_index:
            return True
        held = self._offer if self._phase is _Phase.HELD else None
        return held is not None and held.snapshot == install.snapshot

    def installing(self) -> None:
        """The core has decided to install what is held."""
        assert self._phase is _Phase.HELD, "only what is whole and durable is installed"
        self._phase = _Phase.INSTALLING

    def installed(self) -> None:
        """It is the state now."""
        self._phase, self._offer, self._incoming = _Phase.IDLE, None, None

    # -- the leader -------------------------------------------------------------------------------

    def on_offer(self, leader: NodeId, offer: SnapshotOffer, commit_index: int) -> None:
        """The leader has a copy, newly made or offered before."""
        if self._phase is _Phase.INSTALLING:
            return
        if offer.snapshot.index <= commit_index:
            self._send(leader, SnapshotHeld(self._group, offer.number, whole=True))
            return
        known, self._offer, self._leader = self._offer, offer, leader
        is_other = known is None or known.digest != offer.digest
        if is_other or self._phase is _Phase.IDLE:
            self._phase = _Phase.BEGINNING
            self._copies += 1
            if not self._jobs:
                self._begin()
        elif self._phase is _Phase.HELD:
            self._send(leader, SnapshotHeld(self._group, offer.number, whole=True))
        elif self._phase is not _Phase.BEGINNING:
            self._go_on()

    def on_chunk(self, leader: NodeId, chunk: SnapshotChunk) -> None:
        """A part of the copy; what is not the next one is answered with what is."""
        offer, incoming = self._offer, self._incoming
        if self._phase is not _Phase.TAKING or offer is None or incoming is None:
            return
        if leader == self._leader and chunk.digest == offer.digest:
            done = self._job(self._wrote)
            incoming.write_chunk(chunk.offset, chunk.data, chunk.checksum, done)

    def _go_on(self) -> None:
        """An offer is answered: with how much of it is here."""
        offer = self._offer
        assert offer is not None, "what goes on was offered"
        self._observer(
            SnapshotReceived(
                self._group, self._leader, offer.snapshot.index, self._offset, offer.size_bytes
            )
        )
        self._say_wanted()
        self._finish_if_whole()

    def _say_wanted(self) -> None:
        assert self._offer is not None, "what is wanted was offered"
        self._send(self._leader, SnapshotWanted(self._group, self._offer.number, self._offset))

    # -- the file ---------------------------------------------------------------------------------

    def _job(self, then: Callable[[T | WorldError], None]) -> Callable[[T | WorldError], None]:
        """What is to be called when a job is done: ``then``, unless another copy was chosen
        meanwhile, which begins once the last job of the one before is done.
        """
        copy = self._copies
        self._jobs += 1

        def handle(outcome: T | WorldError) -> None:
            self._jobs -= 1
            if copy == self._copies:
                then(outcome)
            elif not self._jobs:
                self._begin()

        return lambda outcome: self._later(partial(handle, outcome))

    def _begin(self) -> None:
        offer = self._offer
        assert offer is not None, "what begins was offered"
        self._incoming = self._states.incoming()
        image = Image(offer.snapshot.index, offer.size_bytes, offer.digest)
        self._incoming.begin(image, self._job(self._begun))

    def _begun(self, outcome: int | WorldError) -> None:
        if isinstance(outcome, WorldError):
            self._phase = _Phase.IDLE
            self._complain(outcome)
            return
        self._phase, self._offset = _Phase.TAKING, outcome
        self._go_on()

    def _wrote(self, outcome: int | WorldError) -> None:
        if isinstance(outcome, WorldError):
            self._complain(outcome)
            return
        self._offset = outcome
        self._say_wanted()
        self._finish_if_whole()

    def _finish_if_whole(self) -> None:
        offer, incoming = self._offer, self._incoming
        assert offer is not None, "what ends was offered"
        assert incoming is not None, "what ends was begun"
        if self._phase is _Phase.TAKING and self._offset == offer.size_bytes:
            self._phase = _Phase.FINISHING
            incoming.finish(self._job(self._finished))

    def _finished(self, outcome: WorldError | None) -> None:
        assert self._offer is not None, "what ends was offered"
        if isinstance(outcome, WorldError):
            is_worthless = isinstance(outcome, MalformedDataError)
            self._phase = _Phase.IDLE if is_worthless else _Phase.TAKING
            self._complain(outcome)
            if not is_worthless:
                return
        else:
            self._phase = _Phase.HELD
        whole = self._phase is _Phase.HELD
        self._send(self._leader, SnapshotHeld(self._group, self._offer.number, whole=whole))

    def _complain(self, error: WorldError) -> None:
        """The leader hears nothing, and offers again: a full disk may have space by then."""
        self._observer(SnapshotFailed(self._group, self._leader, str(error)))
        if isinstance(error, StorageError) and not isinstance(error, StorageFull):
            self._failed(error)
