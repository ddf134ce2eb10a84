"""The data directory of a simulated process: who may open it, and what SQLite finds there."""

from random import Random

import apsw
import pytest

from flowactor.errors import StorageError, StorageFull, StoragePoisoned, StorageRefused
from flowactor.storage import InlineWorker, LogStore, LogWriter
from tests.simulation.disk.building import HeapAgenda, Life, make_device, make_disk
from tests.storage.building import (
    ONE,
    StoppedClock,
    append,
    entries,
    entry,
    opened_log,
    restored,
    write,
)


def test_second_opener_is_refused():
    """A device has one process at a time: the next may open it after ``close``, or a crash."""
    device = make_device()
    first = make_disk(device, where="node 7")
    with pytest.raises(StorageRefused, match="node 7 is in use by another node process"):
        make_disk(device, where="node 7")
    first.close()
    second = make_disk(device)
    survivor = second.crash(power_cut=False)
    make_disk(survivor).close()
    second.close()


def test_file_has_one_connection():
    """There is no shared memory, so a second connection to a file is refused, not let in."""
    disk = make_disk(make_device())
    store = LogStore.open(disk)
    with pytest.raises(StorageRefused, match="in use"):
        LogStore.open(disk)
    store.persist([(ONE, append(3))])
    store.close()
    assert restored(disk).entries == entries(1, 3)
    disk.close()


def test_missing_file_cannot_be_read():
    """Reading makes no file: one that is not there cannot be opened."""
    disk = make_disk(make_device())
    assert not disk.exists("log.db")
    with pytest.raises(StorageError, match=r"node 1/log\.db cannot be opened"):
        disk.connect("log.db", readonly=True)
    assert not disk.exists("log.db")
    disk.close()


def test_sqlite_goes_by_the_clock_it_is_given():
    """For SQL it is the time of the process's own clock."""
    disk = make_disk(make_device())
    connection = disk.connect("any.db")
    assert connection.execute("SELECT datetime('now')").fetchall() == [("1970-01-01 00:00:00",)]
    connection.close()
    disk.close()


def test_sqlite_chance_is_the_device_seed():
    """What SQLite draws after a file was opened depends on nothing that happened before."""
    drawn = []
    for number in range(2):
        apsw.randomness(7 * number)
        disk = make_disk(make_device(5))
        disk.connect("any.db").close()
        drawn.append(apsw.randomness(8))
        disk.close()
    assert drawn[0] == drawn[1]
    assert apsw.randomness(8) != drawn[0]


def test_nothing_is_left_behind():
    """A hundred lives leave no VFS registered, and the default one is what it was."""
    before = apsw.vfs_names()
    device, agenda = make_device(), HeapAgenda()
    for number in range(100):
        disk = make_disk(device, agenda)
        assert len(apsw.vfs_names()) == len(before) + 1
        with opened_log(disk) as store:
            store.persist([(ONE, write(entry(number + 1), hard_state=append(1).hard_state))])
        device = disk.crash(power_cut=True)
        disk.close()
    assert apsw.vfs_names() == before
    assert restored(make_disk(device)).entries == entries(1, 100)


def test_dying_process_neither_fails_nor_matters():
    """After a crash a process may clean up, write and sync as it likes: nothing raises, and the
    next life finds what was there at the moment of the crash.
    """
    for seed in range(30):
        life = Life(make_device(seed), Random(seed))
        life.work(0.01, 15)
        for _ in range(5):
            life.submit(ONE)
        survivor = life.disk.crash(power_cut=seed % 2 == 0)
        before = survivor.digest()
        life.agenda.run()
        life.submit(ONE)
        life.state.flush()
        life.end()
        assert survivor.digest() == before
        assert life.told == []


def test_full_disk_recovers():
    """A full disk acknowledges nothing and says so once; given space, writing goes on. A machine
    that dies meanwhile has what was acknowledged, and no more space than before.
    """
    device, told, acknowledged = make_device(), [], []
    disk = make_disk(device)
    writer = LogWriter(LogStore.open(disk), InlineWorker(), StoppedClock(), told.append)
    writer.submit(ONE, append(1), lambda: acknowledged.append(1))
    device.full = True
    writer.submit(ONE, write(*entries(2, 400)), lambda: acknowledged.append(2))
    writer.retry()
    assert (acknowledged, [type(error) for error in told]) == ([1], [StorageFull])
    survivor = device.copy(Random(1)).after_crash(power_cut=True)
    assert survivor.full
    survivor.full = False
    image = make_disk(survivor)
    assert restored(image).entries == entries(1, 1)
    device.full = False
    writer.retry()
    assert acknowledged == [1, 2]
    writer.close()
    assert restored(disk).entries == entries(1, 400)
    disk.close()
    image.close()


def test_process_leaves_a_full_disk():
    """Log and state are closed in good order on a full disk: it is told, nothing is raised, and the
    next process finds what was acknowledged.
    """
    for seed in range(20):
        life = Life(make_device(seed), Random(seed))
        life.work(0.01, 15)
        life.device.full = True
        life.work(0.01, 5)
        acknowledged, durable_index = life.acknowledged, life.state.applied_index
        life.end()
        life.acknowledged, life.durable_index = acknowledged, durable_index
        assert {type(error) for error in life.told} <= {StorageFull}
        life.device.full = False
        after = Life(life.device, Random(seed), life.agenda)
        life.check_next(after)
        after.end()


def test_hot_journal_is_rolled_back():
    """A transaction that was under way when its process died is undone by the next: whoever may
    have made its journal is gone. While he lives, his journal is left alone.
    """
    device = make_device()
    disk = make_disk(device)
    connection = disk.connect("any.db")
    connection.execute("CREATE TABLE t (x); INSERT INTO t VALUES (1)")
    connection.execute("PRAGMA cache_size = 1; BEGIN")
    connection.execute("UPDATE t SET x = 2; INSERT INTO t VALUES (zeroblob(100000))")
    connection.cache_flush()
    assert disk.exists("any.db-journal")
    after = make_disk(disk.crash(power_cut=False))
    again = after.connect("any.db")
    assert again.execute("SELECT x FROM t").fetchall() == [(1,)]
    for it in (again, connection, after, disk):
        it.close()


def test_failed_sync_poisons():
    """After one failed sync nothing is acknowledged any more, though the next would not fail."""
    device, told, acknowledged = make_device(), [], []
    disk = make_disk(device)
    writer = LogWriter(LogStore.open(disk), InlineWorker(), StoppedClock(), told.append)
    writer.submit(ONE, append(1), lambda: acknowledged.append(1))
    device.failing_syncs = 1
    writer.submit(ONE, write(entry(2)), lambda: acknowledged.append(2))
    with pytest.raises(StoragePoisoned):
        writer.submit(ONE, write(entry(3)), lambda: acknowledged.append(3))
    assert (acknowledged, [type(error) for error in told]) == ([1], [StoragePoisoned])
    writer.close()
    disk.close()
