"""The group commit: what shares a sync, what is acknowledged when, and what is counted."""

import itertools

import pytest

from flowactor.errors import StorageCorrupt, StorageFull, StoragePoisoned, StorageRefused
from flowactor.identity import GroupId, NodeId
from flowactor.raft import LoadEntries, Snapshot
from flowactor.storage import LogStore, LogWriter, state_file
from flowactor.storage import log_store as log_module
from tests.storage.building import (
    ONE,
    TWO,
    StallingWorker,
    StoppedClock,
    append,
    entries,
    entry,
    members,
    restored,
    state,
    unexpected,
    write,
)
from tests.storage.faulty_vfs import Synced


class SteppingClock(StoppedClock):
    """Each look at it is one millisecond after the one before."""

    def __init__(self):
        self._ticks = itertools.count()

    def monotonic_ns(self):
        return next(self._ticks) * 1_000_000


@pytest.fixture
def worker():
    return StallingWorker()


@pytest.fixture
def writer(disk, worker):
    writer = LogWriter(LogStore.open(disk), worker, SteppingClock(), unexpected)
    yield writer
    writer.close()


def test_what_waits_shares_one_persist(writer, worker):
    """Writes of all groups that wait while a persist is under way are one transaction."""
    done = []
    writer.submit(ONE, append(1), lambda: done.append(1))
    worker.run_job()
    for index in range(2, 40):
        writer.submit(ONE, write(entry(index)), lambda index=index: done.append(index))
    writer.submit(TWO, append(2), lambda: done.append("two"))
    assert len(worker) == 1
    assert done == []
    worker.run_job()
    worker.deliver()
    assert done == [*range(1, 40), "two"]
    assert writer.statistics().persists == 2


def test_one_persist_is_one_sync(faulty, worker):
    """Group commit: many writes of many groups cost one sync of the log."""
    device, disk = faulty
    writer = LogWriter(LogStore.open(disk), worker, StoppedClock(), unexpected)
    writer.submit(ONE, append(1), lambda: None)
    worker.run_job()
    before = len(device.happened)
    for index in range(2, 50):
        writer.submit(ONE, write(entry(index)), lambda: None)
    writer.submit(TWO, append(30), lambda: None)
    worker.run_job()
    syncs = [event for event in device.happened[before:] if isinstance(event, Synced)]
    assert syncs == [Synced("log.db-wal")]
    writer.close()


def test_nothing_is_acknowledged_before_it_is_durable(writer, worker):
    """``done`` waits for the worker and for the event loop to hear of it."""
    done = []
    writer.submit(ONE, append(1), lambda: done.append(1))
    assert (done, writer.statistics().waiting) == ([], 1)
    worker.run_job()
    assert done == []
    worker.deliver()
    assert (done, writer.statistics().waiting) == ([1], 0)


def test_write_without_space_stays_first(faulty, worker):
    """Writes that arrive during an attempt that finds no space stay behind those it was for."""
    device, disk = faulty
    told, done = [], []

    class Interrupted(LogStore):
        def persist(self, writes):
            if device.full:
                writer.submit(ONE, write(entry(2)), lambda: done.append(2))
            super().persist(writes)

    writer = LogWriter(Interrupted.open(disk), worker, StoppedClock(), told.append)
    device.full = "log.db-wal"
    writer.submit(ONE, append(1), lambda: done.append(1))
    worker.run_job()
    device.full = ""
    writer.close()
    assert (done, len(told)) == ([1, 2], 1)
    assert restored(disk).entries == entries(1, 2)


def test_statistics_count_what_was_written(writer, worker):
    """Persists, entries, bytes and the time of each are counted; the time is the clock's."""
    writer.submit(ONE, append(3, data=b"12345"), lambda: None)
    worker.close()
    writer.submit(ONE, write(entry(4, data=b"")), lambda: None)
    worker.close()
    found = writer.statistics()
    assert (found.persists, found.entries, found.bytes) == (2, 4, 15)
    assert (found.persist_seconds_last, found.persist_seconds_mean) == (0.001, 0.001)


def test_close_writes_what_waits(disk, worker):
    """Closing finishes and acknowledges everything submitted before it."""
    done = []
    writer = LogWriter(LogStore.open(disk), worker, StoppedClock(), unexpected)
    writer.submit(ONE, append(5), lambda: done.append(1))
    writer.close()
    assert done == [1]
    assert restored(disk).entries == entries(1, 5)


def test_full_wal_is_checkpointed_after_the_acknowledgement(faulty, worker):
    """A checkpoint runs when the WAL has grown, and no acknowledgement waits for it."""
    device, disk = faulty
    done = []
    writer = LogWriter(LogStore.open(disk), worker, StoppedClock(), unexpected)
    writer.submit(ONE, append(600, data=bytes(8000)), lambda: done.append(1))
    worker.run_job()
    worker.deliver()
    assert (done, len(worker)) == ([1], 1)
    before = len(device.happened)
    worker.run_job()
    worker.deliver()
    assert Synced("log.db") in device.happened[before:]
    assert len(worker) == 0
    writer.close()


def test_entries_are_loaded_back(writer, worker):
    """A load gives what ``LogStore.read`` gives, in order with the writes before it."""
    found = []
    writer.submit(ONE, append(4), lambda: None)
    writer.load(ONE, LoadEntries(NodeId(2), 2, 9, 1000), found.append)
    writer.compact(ONE, 3)
    writer.load(ONE, LoadEntries(NodeId(2), 2, 9, 1000), found.append)
    writer.load(ONE, LoadEntries(NodeId(2), 4, 9, 1000), found.append)
    worker.close()
    assert found == [(1, entries(2, 4)), (0, ()), (1, (entry(4),))]


def test_damage_found_by_a_load_is_its_own(faulty, worker, tmp_path):
    """The group that reads damaged entries is told; the writer goes on for the others."""
    _, disk = faulty
    found, done = [], []
    store = LogStore.open(disk)
    store.persist([(ONE, append(2, data=b"here it is"))])
    store.close()
    path = tmp_path / "faulty" / "log.db"
    path.write_bytes(path.read_bytes().replace(b"here it is", b"here it IS"))
    writer = LogWriter(LogStore.open(disk), worker, StoppedClock(), unexpected)
    writer.load(ONE, LoadEntries(NodeId(2), 1, 2, 1000), found.append)
    writer.submit(TWO, append(1), lambda: done.append(1))
    worker.close()
    assert [type(error) for error in found] == [StorageCorrupt]
    assert done == [1]
    writer.close()


def test_write_that_breaks_a_promise_stops_the_log(disk, worker):
    """A bug in what was submitted is told once, acknowledges nothing and refuses all after it."""
    told, done = [], []
    writer = LogWriter(LogStore.open(disk), worker, StoppedClock(), told.append)
    writer.submit(ONE, append(1), lambda: done.append(1))
    worker.run_job()
    writer.submit(ONE, write(entry(9)), lambda: done.append(9))
    worker.run_job()
    writer.submit(TWO, append(1), lambda: done.append(2))
    worker.close()
    assert done == [1]
    assert [type(error) for error in told] == [StoragePoisoned]
    assert "entry 9 where 2 is next" in str(told[0])
    for call in (
        lambda: writer.submit(ONE, write(entry(2)), lambda: None),
        lambda: writer.load(ONE, LoadEntries(NodeId(2), 1, 1, 1), lambda _: None),
        lambda: writer.compact(ONE, 1),
    ):
        with pytest.raises(StoragePoisoned):
            call()
    writer.close()


# -- housekeeping ---------------------------------------------------------------------------------


def test_writes_come_between_the_slices_of_a_compaction(writer, worker):
    """A write that is submitted while a log is compacted waits for one slice at most; a further
    compaction joins the one under way; in the end all that is doomed is gone.
    """
    writer.submit(ONE, append(10_000), lambda: None)
    worker.close()
    writer.compact(ONE, 7000)
    between = 0
    while len(worker):
        done = []
        if between == 3:
            writer.compact(ONE, 8000)
        writer.submit(TWO, write(hard_state=state(between + 1)), lambda done=done: done.append(1))
        waiting = len(worker)
        assert waiting <= 3, "a slice, a checkpoint, and the write"
        for _ in range(waiting):
            worker.run_job()
        worker.deliver()
        assert done == [1]
        between += 1
    assert between > 7
    size = writer.size(ONE)
    assert (size.first_index, size.last_index) == (8001, 10_000)
    assert size.data_bytes == 2000 * len(b"payload")


def test_compaction_is_checkpointed(faulty, worker, monkeypatch):
    """The pages that a long compaction changes do not pile up in the WAL."""
    device, disk = faulty
    monkeypatch.setattr(log_module, "CHECKPOINT_PAGES", 20)
    writer = LogWriter(LogStore.open(disk), worker, StoppedClock(), unexpected)
    writer.submit(ONE, append(1500, data=bytes(9000)), lambda: None)
    worker.close()
    before = len(device.happened)
    writer.compact(ONE, 1500)
    worker.close()
    assert Synced("log.db") in device.happened[before:]
    assert writer.size(ONE).data_bytes == 0
    writer.close()


def test_installed_snapshot_is_cleared_up(disk, worker):
    """What a snapshot has replaced is deleted after its acknowledgement, without being asked."""
    writer = LogWriter(LogStore.open(disk), worker, StoppedClock(), unexpected)
    writer.submit(ONE, append(3000), lambda: None)
    worker.close()
    disk.open(state_file(ONE, 1)).close()
    done = []
    snapshot = Snapshot(5000, 1, members(1, 2))
    writer.submit(ONE, write(snapshot=snapshot), lambda: done.append(writer.size(ONE)))
    worker.close()
    assert done[0].data_bytes == 3000 * len(b"payload")
    size = writer.size(ONE)
    assert (size.first_index, size.last_index, size.data_bytes) == (5001, 5000, 0)
    writer.close()


def test_snapshot_over_an_unfinished_one(disk, worker):
    """A snapshot that arrives before what the last one doomed is deleted, and a compaction after
    it, leave exactly what counts.
    """
    store = LogStore.open(disk)
    store.persist([(ONE, append(3000))])
    disk.open(state_file(ONE, 1)).close()
    disk.open(state_file(ONE, 2)).close()
    store.persist([(ONE, write(snapshot=Snapshot(5000, 1, members(1, 2))))])
    assert store.compact(ONE, 5000)
    store.persist([(ONE, write(*entries(5001, 5020)))])
    cut_and_install = [
        (ONE, write(*entries(5011, 5012, 2), hard_state=state(2), cut=5011)),
        (ONE, write(*entries(6001, 6030, 2), snapshot=Snapshot(6000, 2, members(3)))),
        (ONE, write(*entries(6020, 6040, 3), hard_state=state(3, commit=6010), cut=6020)),
    ]
    store.persist(cut_and_install)
    store.close()
    store = LogStore.open(disk)
    assert store.compact(ONE, 6010)
    store.close()
    store = LogStore.open(disk)
    while store.compact(ONE, 6010):
        pass
    assert store.generation(ONE) == 2
    found = store.recover(ONE, 6010, 1 << 20)
    assert found.entries == (*entries(6011, 6019, 2), *entries(6020, 6040, 3))
    assert (found.configuration, found.configuration_index) == (members(3), 0)
    assert store.size(ONE).data_bytes == 30 * len(b"payload")
    store.close()
    store = LogStore.open(disk)
    store.recover(ONE, 6010, 0)
    assert store.size(ONE).data_bytes == 30 * len(b"payload")
    store.close()


def test_groups_are_founded_and_dropped_while_others_write(writer, worker):
    """Founding and dropping keep their place among the writes, and tell how they ended."""
    told = []
    writer.found(ONE, members(1, 2, 3), told.append)
    writer.submit(ONE, append(3), lambda: told.append("written"))
    writer.snapshot_at(ONE, 2, told.append)
    writer.found(ONE, members(1), told.append)
    writer.compact(ONE, 3)
    writer.drop(ONE, told.append)
    writer.snapshot_at(ONE, 2, told.append)
    writer.found(ONE, members(4), told.append)
    worker.close()
    assert told[:3] == [None, "written", Snapshot(2, 1, members(1, 2, 3))]
    assert isinstance(told[3], StorageRefused)
    assert told[4:] == [None, None, None]
    assert (writer.size(ONE).first_index, writer.size(ONE).last_index) == (1, 0)


def test_full_disk_puts_off_housekeeping(faulty, worker):
    """Without space nothing is founded, dropped or deleted, and nothing is lost; with it, the same
    calls succeed.
    """
    device, disk = faulty
    failures, told = [], []
    writer = LogWriter(LogStore.open(disk), worker, StoppedClock(), failures.append)
    writer.submit(ONE, append(3000), lambda: None)
    worker.close()
    device.full = "log.db-wal"
    filler = write(*entries(1, 3000), hard_state=state())
    writer.submit(TWO, filler, lambda: told.append("written"))
    for _ in range(2):
        writer.compact(ONE, 2500)
        writer.found(GroupId(3), members(1), told.append)
        writer.drop(ONE, told.append)
        worker.close()
        if device.full:
            assert [type(outcome) for outcome in told] == [StorageFull, StorageFull]
            assert writer.size(ONE).data_bytes == 3000 * len(b"payload")
            told.clear()
            device.full = ""
            writer.retry()
    assert told == ["written", None, None]
    assert [type(error) for error in failures] == [StorageFull]
    writer.close()


@pytest.mark.parametrize("act", ["found", "drop", "compact"])
def test_failed_sync_of_housekeeping_poisons(faulty, worker, act):
    """first_failed_sync_poisons: whatever the sync was for, nothing is acknowledged after it."""
    device, disk = faulty
    failures, told = [], []
    writer = LogWriter(LogStore.open(disk), worker, StoppedClock(), failures.append)
    writer.submit(ONE, append(30), lambda: None)
    worker.close()
    device.fail_sync = "log.db-wal"
    match act:
        case "found":
            writer.found(TWO, members(1), told.append)
        case "drop":
            writer.drop(ONE, told.append)
        case "compact":
            writer.compact(ONE, 20)
    worker.close()
    device.fail_sync = ""
    assert [type(error) for error in failures] == [StoragePoisoned]
    assert [type(outcome) for outcome in told] == [StoragePoisoned] * (act != "compact")
    for call in (
        lambda: writer.submit(ONE, write(entry(31)), lambda: None),
        lambda: writer.found(TWO, members(1), told.append),
        lambda: writer.drop(ONE, told.append),
        lambda: writer.snapshot_at(ONE, 1, told.append),
    ):
        with pytest.raises(StoragePoisoned):
            call()
    writer.close()
