"""Both ends of a transfer of state, on real files, and a wire between them that a test holds."""

from collections.abc import Callable
from pathlib import Path

from attrs import define

from flowactor.cluster.group.receiving import Receiving
from flowactor.cluster.group.sending import Pace, Sending
from flowactor.cluster.protocol.envelopes import (
    SnapshotChunk,
    SnapshotHeld,
    SnapshotOffer,
    SnapshotWanted,
)
from flowactor.errors import StorageFull
from flowactor.ports import RowWrite, Table
from flowactor.raft import Configuration, PeerStatus, Snapshot
from flowactor.storage import DirectoryDisk, InlineWorker, StateFiles

TABLE = Table("rows", (("name", "TEXT"),), (("value", "BLOB"),))
GROUP = 1
LEADER = 1
INDEX = 40
PACE = Pace(chunk_bytes=1000, window_bytes_max=4000, tick_bytes_max=1_000_000)
SECOND_NS = 10**9


class HandClock:
    """Time stands still unless the test moves it."""

    def __init__(self):
        self.ns = SECOND_NS

    def now_ns(self):
        return self.ns

    def monotonic_ns(self):
        return self.ns


def open_states(disk: DirectoryDisk) -> StateFiles:
    return StateFiles(disk, GROUP, [TABLE], InlineWorker(), on_failure=lambda _: None)


class Log:
    """A log of which only a snapshot is asked for."""

    def __init__(self):
        self.reaches = True

    def snapshot_at(self, group, index, done):
        done(Snapshot(index, 3, Configuration((1, 2, 3))) if self.reaches else None)


@define(eq=False)
class CountedStates:
    """States whose copies are counted."""

    inner: StateFiles
    copies: int = 0

    @property
    def current(self):
        return self.inner.current

    def copy(self, done):
        self.copies += 1
        self.inner.copy(done)

    def drop_copy(self):
        self.inner.drop_copy()


class Leader:
    """The sending end: ``rows`` rows of 1000 bytes at index ``INDEX``."""

    def __init__(self, folder: Path, *, rows: int = 30, pace: Pace = PACE):
        self.clock = HandClock()
        self.pace = pace
        self.disk = DirectoryDisk(folder)
        self.states = CountedStates(open_states(self.disk))
        self.sent: list[tuple[int, object]] = []
        self.told: list[object] = []
        self.observed: list[object] = []
        self.log = Log()
        self.match: dict[int, int] = {}
        self.silent: dict[int, int] = {}
        state = self.states.current
        state.write([RowWrite("rows", (str(n),), (bytes([n]) * 1000,)) for n in range(rows)], INDEX)
        self.sending = Sending(
            GROUP,
            log=self.log,
            states=self.states,
            flush=state.flush,
            send=lambda peer, envelope: self.sent.append((peer, envelope)),
            later=lambda action: action(),
            tell=self.told.append,
            clock=self.clock,
            failed=self.told.append,
            observer=self.observed.append,
            pace=lambda: self.pace,
        )

    @property
    def copies_kept(self) -> list[str]:
        return [name for name in self.disk.names() if name.startswith("copy-")]

    def tick(self, *peers: int, seconds: float = 0.1) -> None:
        self.clock.ns += int(seconds * SECOND_NS)
        statuses = {
            peer: PeerStatus(self.match.get(peer, 0), 1, self.silent.get(peer, 0), caught_up=False)
            for peer in peers
        }
        self.sending.tick(statuses)

    def take(self, peer: int, envelope: object) -> None:
        match envelope:
            case SnapshotWanted():
                self.sending.on_wanted(peer, envelope)
            case SnapshotHeld():
                self.sending.on_held(peer, envelope)


class Follower:
    """The receiving end, in the folder that an earlier one may have used."""

    def __init__(self, node: int, folder: Path):
        self.node = node
        self.sent: list[object] = []
        self.failed: list[object] = []
        self.observed: list[object] = []
        self.full = False
        self.commit = 0
        self.disk = DirectoryDisk(folder)
        self.states = open_states(self.disk)
        self.receiving = Receiving(
            GROUP,
            states=self,
            later=lambda action: action(),
            send=lambda _, envelope: self.sent.append(envelope),
            failed=self.failed.append,
            observer=self.observed.append,
        )

    def die(self) -> None:
        self.states.close()
        self.disk.close()

    def incoming(self):
        return Filling(self, self.states.incoming())

    def take(self, envelope: object) -> None:
        match envelope:
            case SnapshotOffer():
                self.receiving.on_offer(LEADER, envelope, self.commit)
            case SnapshotChunk():
                self.receiving.on_chunk(LEADER, envelope)

    def rows(self) -> list[tuple[object, ...]]:
        return self.states.replace().scan("rows")


@define(eq=False)
class Filling:
    """What is received on a disk that may be full."""

    follower: Follower
    inner: object

    def begin(self, image, done):
        self._unless_full(done, lambda: self.inner.begin(image, done))

    def write_chunk(self, offset, data, checksum, done):
        self._unless_full(done, lambda: self.inner.write_chunk(offset, data, checksum, done))

    def finish(self, done):
        self._unless_full(done, lambda: self.inner.finish(done))

    def _unless_full(self, done, action):
        if self.follower.full:
            done(StorageFull("no space"))
        else:
            action()


Alter = Callable[[object], object | None]


def exchange(
    leader: Leader,
    *followers: Follower,
    alter: Alter = lambda envelope: envelope,
    rounds: int = 200,
) -> list[SnapshotChunk]:
    """Carry what both ends have sent, until nothing is left or so many rounds are over; returns the
    chunks that left. ``alter`` may change what the leader sends, or lose it.
    """
    left: list[SnapshotChunk] = []
    by_node = {follower.node: follower for follower in followers}
    for _ in range(rounds):
        sent, leader.sent[:] = list(leader.sent), []
        for peer, envelope in sent:
            if isinstance(envelope, SnapshotChunk):
                left.append(envelope)
            arrives = alter(envelope)
            if arrives is not None and peer in by_node:
                by_node[peer].take(arrives)
        for node, follower in by_node.items():
            answers, follower.sent[:] = list(follower.sent), []
            for answer in answers:
                leader.take(node, answer)
        if not leader.sent:
            break
    return left
