"""What happens before SQLite reads a file: journal and WAL become what they seem to be."""

from contextlib import closing

import apsw
import pytest

from flowactor.errors import StorageCorrupt, StorageError, StoragePoisoned
from flowactor.identity import ClusterId, NodeId
from flowactor.storage import DirectoryDisk, InlineWorker, LogStore, StateStore, open_identity
from tests.storage.building import (
    ONE,
    TABLES,
    append,
    disk_after_crash,
    entries,
    opened_log,
    restored,
    run_row,
)
from tests.storage.faulty_vfs import Synced, Wrote, faulty_vfs


@pytest.fixture
def killed(faulty, tmp_path):
    """(device, disk): what a killed process leaves, a long WAL beside log and state."""
    device, disk = faulty
    open_identity(disk, ClusterId("orders"), NodeId(1), 7, {})
    store = LogStore.open(disk)
    store.persist([(ONE, append(60, data=bytes(3000)))])
    state = StateStore(disk, ONE, TABLES, InlineWorker(), on_failure=lambda _: None)
    state.write([run_row("a", 1)], 60)
    state.flush()
    with disk_after_crash(tmp_path / "after", device.happened):
        pass
    store.close()
    state.close()
    with faulty_vfs() as (device, name), closing(DirectoryDisk(tmp_path / "after", name)) as disk:
        yield device, disk


def opened_state(disk):
    store = StateStore(disk, ONE, TABLES, InlineWorker(), on_failure=lambda _: None)
    applied_index = store.applied_index
    store.close()
    return applied_index


OPEN = {"log.db": restored, "state-1.db": opened_state}


@pytest.mark.parametrize("name", OPEN)
def test_wal_is_written_again_before_it_is_read(killed, tmp_path, name):
    """The first that happens to a file whose process was killed: every byte of its WAL is written
    as it is, and the WAL is synced.
    """
    device, disk = killed
    wal = (tmp_path / "after" / f"{name}-wal").read_bytes()
    OPEN[name](disk)
    synced = device.happened.index(Synced(f"{name}-wal"))
    rewritten = bytearray(len(wal))
    for event in device.happened[:synced]:
        assert isinstance(event, Wrote)
        assert event.file == f"{name}-wal"
        rewritten[event.offset : event.offset + len(event.data)] = event.data
    assert bytes(rewritten) == wal
    assert len(device.happened[:synced]) < 10


def test_clean_end_leaves_nothing_to_write_again(killed):
    """After ``close`` the WAL is empty, and the next to open the log syncs nothing but its own."""
    device, disk = killed
    restored(disk)
    device.happened.clear()
    store = LogStore.open(disk)
    assert device.happened == []
    store.close()


@pytest.mark.parametrize("name", OPEN)
def test_wal_that_cannot_be_synced_is_not_read(killed, name):
    """Who cannot make durable what an earlier process left, does not build on it: nothing else is
    touched, and the next to open it finds everything.
    """
    device, disk = killed
    device.fail_sync = f"{name}-wal"
    for _ in range(2):
        with pytest.raises(StoragePoisoned, match=rf"{name}-wal: a write or sync failed"):
            OPEN[name](disk)
    assert {event.file for event in device.happened} == {f"{name}-wal"}
    device.fail_sync = ""
    assert restored(disk).entries == entries(1, 60, data=bytes(3000))
    assert opened_state(disk) == 60


def test_wal_of_somebody_else_is_refused(killed):
    """A WAL that may not be written is refused in time, and it is no damage."""
    device, disk = killed
    device.readonly = "log.db-wal"
    with pytest.raises(StorageError, match=r"log\.db-wal cannot be opened for writing") as caught:
        LogStore.open(disk)
    assert type(caught.value) is StorageError
    device.readonly = ""
    assert len(restored(disk).entries) == 60


@pytest.mark.parametrize(("offset", "value"), [(18, 6), (19, 3), (44, 1), (47, 12)])
def test_format_of_the_future_is_damage(directory_disk, tmp_path, offset, value):
    """A header that asks for a newer SQLite than there is, is damaged; SQLite would call the file
    read-only, or the statement wrong.
    """
    with opened_log(directory_disk) as store:
        store.persist([(ONE, append(1))])
    path = tmp_path / "node" / "log.db"
    content = bytearray(path.read_bytes())
    content[offset] = value
    path.write_bytes(content)
    with pytest.raises(StorageCorrupt, match=r"log\.db is damaged \(file format"):
        LogStore.open(directory_disk)


def test_connection_is_not_left_open(directory_disk, tmp_path):
    """A file that is refused is closed: it can be replaced and opened at once."""
    (tmp_path / "node" / "log.db").write_bytes(b"something else entirely" * 1000)
    with pytest.raises(StorageCorrupt):
        LogStore.open(directory_disk)
    (tmp_path / "node" / "log.db").unlink()
    open_before = len(apsw.connections())
    assert restored(directory_disk).entries == ()
    assert len(apsw.connections()) == open_before
