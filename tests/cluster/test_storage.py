"""Disks that fail, fill up or hang under one node, while the others go on."""

from collections import deque
from functools import partial

import pytest
import trio
from attrs import Factory, define

import flowactor as fa
from flowactor.cluster.router import FIRST_GROUP
from flowactor.errors import StorageCorrupt, StorageFull, StoragePoisoned
from flowactor.observability.events import StorageFailed
from flowactor.storage import DirectoryDisk, LogStore
from flowactor.storage.file_names import state_file
from flowactor.storage.workers import InlineWorker
from tests.cluster.harness import OUTSIDE, InlineDisk, cluster
from tests.storage.faulty_vfs import faulty_vfs


@fa.step
async def count(number: int) -> int:
    OUTSIDE.bump("count")
    await trio.sleep(0.05)
    return number


@fa.workflow(version=1)
class Chain:
    async def run(self, length: int) -> int:
        total = 0
        for number in range(length):
            total += await count(number)
        return total


APP = fa.App([Chain])
LENGTH = 30


@define
class Stall:
    """A disk that hangs: what is submitted meanwhile waits."""

    hangs: bool = False
    waiting: deque = Factory(deque)

    def release(self):
        self.hangs = False
        while self.waiting:
            self.waiting.popleft()()


class StallingWorker(InlineWorker):
    def __init__(self, stall):
        super().__init__()
        self._stall = stall

    def submit(self, job, done):
        if self._stall.hangs:
            self._stall.waiting.append(partial(super().submit, job, done))
        else:
            super().submit(job, done)


class StallingDisk(DirectoryDisk):
    def __init__(self, path, stall):
        super().__init__(path)
        self._stall = stall

    def worker(self, name):
        return StallingWorker(self._stall) if name.endswith("log") else InlineWorker()


def on_node(number, special):
    """``special(path)`` is the disk of this node's first life; all others have sound ones."""
    name = f"node-{number}-life-0"
    return lambda path: special(path) if path.name == name else InlineDisk(path)


async def grow(c, number):
    """Start a run at that node, and wait until it is under way. Returns its handle."""
    run = await c.client(number).start(Chain.run, LENGTH)
    await c.until(lambda: OUTSIDE.count("count") > 5, "the run is under way")
    return run


async def recorded_once(c, number, run):
    """The run ends right, and each of its steps has one result in its history."""
    seen = c.client(number).get_handle(run.id, result_type=int)
    assert await seen.result() == sum(range(LENGTH))
    done = [event.detail for event in await seen.history() if event.kind == "step_completed"]
    assert len(done) == len(set(done)) == LENGTH


@pytest.mark.parametrize("victim", ["leader", "follower", "owner"])
async def test_first_failed_sync_poisons(tmp_path, autojump_clock, victim):
    """A node whose disk fails to sync once ends at once and says why; it has acknowledged nothing
    it did not have, the others go on, and started again it catches up.
    """
    with faulty_vfs() as (device, vfs):
        disk = on_node(1, lambda path: InlineDisk(path, vfs))
        async with cluster(tmp_path, APP, disk=disk) as c:
            while victim == "leader" and c.leader() != 1:
                other = c.leader()
                await c.stop(other)
                await c.until(c.leader, "another leader")
                await c.start(other)
                await c.settle()
            run = await grow(c, 1 if victim == "owner" else 2)
            device.fail_sync = "log.db-wal"
            await c.members[1].ended.wait()
            assert isinstance(c.members[1].failure, StoragePoisoned)
            assert c.running == [2, 3]
            assert len(c.seen(StorageFailed, 1)) == 1
            assert "log.db" in c.seen(StorageFailed, 1)[0].error
            await recorded_once(c, 2, run)
            device.fail_sync = ""
            await c.start(1)
            await c.settle()
            await c.converge()
            await recorded_once(c, 1, run)


async def test_state_file_that_cannot_be_written_ends_the_node(tmp_path, autojump_clock):
    """Trouble with the applied state is no less trouble than with the log."""
    with faulty_vfs() as (device, vfs):
        disk = on_node(3, lambda path: InlineDisk(path, vfs))
        async with cluster(tmp_path, APP, disk=disk) as c:
            device.fail_sync = "state-1.db"
            for number in range(40):  # until its write-ahead log has to be copied into it
                await c.client(1).variable(f"large {number}", bytes).set(bytes(200_000))
            await c.members[3].ended.wait()
            assert isinstance(c.members[3].failure, StoragePoisoned)
            assert "state-1.db" in c.seen(StorageFailed, 3)[0].error
            assert await c.client(1).execute(Chain.run, 3) == 3


async def test_disk_full_is_an_error(tmp_path, autojump_clock):
    """A node without space says so once and stays; the others go on; with space again it catches up
    without being started anew.
    """
    with faulty_vfs() as (device, vfs):
        disk = on_node(1, lambda path: InlineDisk(path, vfs))
        async with cluster(tmp_path, APP, disk=disk) as c:
            run = await grow(c, 2)
            device.full = "-wal"
            await recorded_once(c, 2, run)
            assert c.running == [1, 2, 3]
            assert all("no space" in event.error for event in c.seen(StorageFailed, 1))
            assert c.seen(StorageFailed, 1)
            device.full = ""
            await c.settle()
            await c.converge()
            await recorded_once(c, 1, run)


async def test_stalled_disk_loses_leadership(tmp_path, autojump_clock):
    """A leader whose disk hangs loses its place although it can still talk; what it is asked
    meanwhile happens elsewhere, and when the disk is back it follows.
    """
    stalls = {number: Stall() for number in (1, 2, 3)}

    def disk(path):
        return StallingDisk(path, stalls[int(path.name.split("-")[1])])

    async with cluster(tmp_path, APP, disk=disk) as c:
        run = await grow(c, c.leader())
        slow = c.leader()
        stalls[slow].hangs = True
        await c.until(lambda: c.leader() not in {0, slow}, "another leader")
        other = c.leader()
        assert not c.node(slow).group.is_leader
        await recorded_once(c, other, run)
        assert await c.client(other).execute(Chain.run, 3) == 3
        stalls[slow].release()
        await c.settle()
        await c.converge()
        await recorded_once(c, slow, run)


async def test_stalled_disks_are_not_taken_for_dead_nodes(tmp_path, autojump_clock):
    """If all disks hang nobody leads, and who asks is not sent to look for nodes that are down."""
    stall = Stall()
    async with cluster(tmp_path, APP, disk=lambda path: StallingDisk(path, stall)) as c:
        stall.hangs = True
        client = fa.Client(c.client(1)._caller._channel, request_timeout=5)
        with pytest.raises(fa.DeadlineExceeded, match=r"all members of group 1 are alive: .* disk"):
            await client.variable("limit", int).set(1)
        stall.release()
        await c.client(1).variable("limit", int).set(2)


async def test_stalled_disk_of_a_follower_stops_nobody(tmp_path, autojump_clock):
    """transport_error_is_local: a follower whose disk hangs holds up neither the leader nor the
    other.
    """
    stall = Stall()
    async with cluster(
        tmp_path, APP, disk=lambda p: StallingDisk(p, stall if "node-3" in p.name else Stall())
    ) as c:
        while c.leader() == 3:
            await c.stop(3)
            await c.until(c.leader, "another leader")
            await c.start(3)
            await c.settle()
        leader = c.leader()
        stall.hangs = True
        begun = trio.current_time()
        assert await c.client(1).execute(Chain.run, 20) == 190
        assert trio.current_time() - begun < 3
        assert c.leader() == leader
        stall.release()
        await c.converge()


async def test_damaged_log_is_refused(tmp_path, autojump_clock):
    """torn_tail_vs_corruption: a node whose log was damaged while it was down does not start, says
    which file, and the others go on without it.
    """
    async with cluster(tmp_path, APP) as c:
        run = await grow(c, 2)
        await c.stop(1)
        log = c.members[1].data / "log.db"
        data = bytearray(log.read_bytes())
        for offset in range(4096, len(data), 512):
            data[offset] ^= 0xFF
        log.write_bytes(data)
        await c.start(1)
        assert c.running == [2, 3]
        assert isinstance(c.members[1].failure, StorageCorrupt)
        assert "log.db" in str(c.members[1].failure)
        await recorded_once(c, 3, run)


async def test_a_replica_that_cannot_be_dropped_keeps_its_state(
    tmp_path, autojump_clock, monkeypatch
):
    """As long as a full disk keeps the log of a replica that is closed, its state stays: a node
    that crashed in between would find a log that begins above an empty state.
    """
    async with cluster(tmp_path, APP) as c:
        drop, space = LogStore.drop, trio.Event()

        def drops(store: LogStore, group: int) -> None:
            if not space.is_set():
                raise StorageFull("no space left on the device")
            drop(store, group)

        monkeypatch.setattr(LogStore, "drop", drops)
        hosting, state = c.node(1)._hosting, c.members[1].data / state_file(FIRST_GROUP, 0)
        assert state.exists()
        hosting.close(FIRST_GROUP)
        await trio.sleep(3)
        assert c.seen(StorageFailed, 1)
        assert FIRST_GROUP not in hosting.groups
        assert state.exists()
        space.set()
        await c.until(lambda: FIRST_GROUP in hosting.groups, "it is a member, and opens another")
        assert not state.exists()
