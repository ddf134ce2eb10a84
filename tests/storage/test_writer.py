"""The group commit: what shares a sync, what is acknowledged when, and what is counted."""

import itertools

import pytest

from flowactor.errors import StorageCorrupt, StoragePoisoned
from flowactor.identity import NodeId
from flowactor.raft import LoadEntries
from flowactor.storage import LogStore, LogWriter
from tests.storage.building import (
    ONE,
    TWO,
    StallingWorker,
    StoppedClock,
    append,
    entries,
    entry,
    restored,
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
