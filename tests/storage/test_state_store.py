"""What any state store must do, on any disk: reads see the overlay, flushes are whole."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowactor.errors import StorageCorrupt, StoragePoisoned, StorageRefused
from flowactor.ports import RowWrite, Table
from flowactor.storage import DirectoryDisk, InlineWorker, StateStore
from tests.storage.building import ONE, RUNS, TABLES, TWO, StallingWorker, run_row
from tests.storage.faulty_vfs import faulty_vfs


def unexpected(error):
    raise AssertionError from error


def opened(disk, worker=None, group=ONE, tables=TABLES):
    worker = InlineWorker() if worker is None else worker
    return StateStore(disk, group, tables, worker, on_failure=unexpected)


@pytest.fixture
def store(disk):
    store = opened(disk)
    yield store
    store.close()


def test_new_state_is_empty(store):
    """A group without a file begins at index 0 with no rows."""
    assert (store.applied_index, store.durable_index, store.dirty) == (0, 0, False)
    assert store.get("runs", ("a", 1)) is None
    assert store.scan("runs") == []


def test_rows_are_read_before_they_are_flushed(store):
    """What was written is seen at once; the applied index waits for the flush."""
    store.write([run_row("a", 1)], 5)
    assert store.get("runs", ("a", 1)) == ("open", b"x")
    assert store.scan("runs", ("a",)) == [("a", 1, "open", b"x")]
    assert (store.applied_index, store.dirty) == (0, True)
    assert store.select("SELECT count(*) FROM runs") == [(0,)]
    store.flush()
    assert (store.applied_index, store.dirty) == (5, False)
    assert store.select("SELECT count(*) FROM runs") == [(1,)]


def test_deleted_row_is_gone_at_once(store):
    """A deletion hides the flushed row, and the flush removes it."""
    store.write([run_row("a", 1), run_row("a", 2)], 1)
    store.flush()
    store.write([RowWrite("runs", ("a", 1), None), RowWrite("runs", ("z", 9), None)], 2)
    assert store.get("runs", ("a", 1)) is None
    assert store.scan("runs") == [("a", 2, "open", b"x")]
    store.flush()
    assert store.select("SELECT run, number FROM runs") == [("a", 2)]


def test_scan_is_in_key_order(store):
    """Flushed and waiting rows come back as one sorted list, also under a prefix of the key."""
    store.write([run_row(run, number) for run in "ca" for number in (10, 2)], 1)
    store.flush()
    store.write([run_row("b", 1), run_row("a", 5), run_row("c", 2, "closed")], 2)
    keys = [row[:2] for row in store.scan("runs")]
    assert keys == [("a", 2), ("a", 5), ("a", 10), ("b", 1), ("c", 2), ("c", 10)]
    assert [row[1:3] for row in store.scan("runs", ("c",))] == [(2, "closed"), (10, "open")]
    assert store.scan("runs", ("c", 2)) == [("c", 2, "closed", b"x")]


def test_index_without_rows_is_flushed(disk):
    """An entry that changed no row still counts as applied."""
    store = opened(disk)
    store.write([], 7)
    assert store.dirty
    store.flush()
    store.close()
    again = opened(disk)
    assert (again.applied_index, again.durable_index) == (7, 7)
    again.close()


def test_close_flushes(disk):
    """A store that is closed cleanly leaves nothing for the log to redo."""
    store = opened(disk)
    store.write([run_row("a", 1)], 3)
    store.close()
    again = opened(disk)
    assert (again.applied_index, again.get("runs", ("a", 1))) == (3, ("open", b"x"))
    again.close()


def test_groups_have_files_of_their_own(disk):
    """Rows of one group are not seen in another."""
    one, two = opened(disk), opened(disk, group=TWO)
    one.write([run_row("a", 1)], 3)
    one.flush()
    assert (two.get("runs", ("a", 1)), two.applied_index) == (None, 0)
    one.close()
    two.close()


def test_rows_under_way_stay_visible(disk):
    """While the worker writes, reads see the rows under way, below what was written since; a flush
    asked for meanwhile follows by itself, one for all who asked.
    """
    worker = StallingWorker()
    store = opened(disk, worker)
    done = []
    store.write([run_row("a", 1, data=b"1"), run_row("b", 1), run_row("c", 1)], 1)
    store.flush(lambda: done.append("first"))
    store.write([run_row("a", 1, data=b"2"), RowWrite("runs", ("b", 1), None)], 2)
    store.flush(lambda: done.append("second"))
    store.flush(lambda: done.append("third"))
    assert (len(worker), store.scan("runs", "a")) == (1, [("a", 1, "open", b"2")])
    assert store.get("runs", ("c", 1)) == ("open", b"x")
    worker.run_job()
    assert (done, store.get("runs", ("b", 1))) == ([], None)
    worker.deliver()
    assert (done, store.applied_index, len(worker)) == (["first"], 1, 1)
    assert store.scan("runs") == [("a", 1, "open", b"2"), ("c", 1, "open", b"x")]
    worker.run_job()
    worker.deliver()
    assert (done, store.applied_index, store.dirty) == (["first", "second", "third"], 2, False)
    assert len(worker) == 0
    store.close()


def test_rows_under_way_do_not_cover_newer_ones(faulty):
    """Rows whose flush finds no space go back below what was written meanwhile."""
    device, disk = faulty
    worker, told = StallingWorker(), []
    store = StateStore(disk, ONE, TABLES, worker, on_failure=told.append)
    store.write([run_row("a", 1, data=b"old"), run_row("b", 1)], 1)
    store.flush()
    store.write([run_row("a", 1, data=b"new")], 2)
    device.full = "state-1.db-wal"
    worker.run_job()
    worker.deliver()
    device.full = ""
    assert store.get("runs", ("a", 1)) == ("open", b"new")
    store.close()
    again = opened(disk)
    assert again.scan("runs") == [("a", 1, "open", b"new"), ("b", 1, "open", b"x")]
    again.close()


def test_a_checkpoint_without_space_leaves_the_flush_under_way_alone(faulty):
    """The rows of that flush stay where it takes them from: an index that is written without its
    rows is another state after a crash than before.
    """
    device, disk = faulty
    worker, told = StallingWorker(), []
    store = StateStore(disk, ONE, TABLES, worker, on_failure=told.append)
    store.write([run_row("a", number, data=bytes(3000)) for number in range(50)], 1)
    store.flush()
    worker.run_job()
    worker.deliver()
    store.checkpoint()
    store.write([run_row("b", 1)], 2)
    store.flush()
    device.full = "state-1.db"
    worker.run_job()
    worker.deliver()
    assert len(told) == 1
    device.full = ""
    worker.run_job()
    worker.deliver()
    assert store.applied_index == 2
    assert store.select("SELECT run FROM runs WHERE run = 'b'") == [("b",)]
    assert store.scan("runs", "b") == [("b", 1, "open", b"x")]
    store.close()


def test_flush_of_nothing_is_done_at_once(store):
    """Whoever flushes a clean store is answered without a transaction."""
    done = []
    store.flush(lambda: done.append(1))
    assert done == [1]


def test_large_flush_is_checkpointed(disk):
    """Rows that fill the WAL are synced without being asked for, and then survive a power cut."""
    store = opened(disk)
    store.write([run_row("a", number, data=bytes(10_000)) for number in range(600)], 4)
    store.flush()
    assert (store.applied_index, store.durable_index) == (4, 4)
    store.close()


def test_other_columns_are_refused(disk):
    """A file whose table has other columns is refused, and both lists are named."""
    opened(disk).close()
    changed = Table(RUNS.name, RUNS.key, (("status", "TEXT"),))
    with pytest.raises(StorageRefused, match=r"data BLOB, this flowactor keeps .* status TEXT:"):
        opened(disk, tables=(changed,))


def test_new_table_is_made(disk):
    """A table that a file lacks is made; what is there already stays."""
    store = opened(disk, tables=(RUNS,))
    store.write([run_row("a", 1)], 1)
    store.close()
    store = opened(disk)
    assert (store.scan("variables"), len(store.scan("runs"))) == ([], 1)
    store.close()


def test_value_of_a_wrong_type_poisons(disk):
    """A row that does not fit its table is a bug: the store ends, and the file stays as it was."""
    told = []
    store = StateStore(disk, ONE, TABLES, InlineWorker(), on_failure=told.append)
    store.write([run_row("a", 1), RowWrite("runs", ("b", "no number"), ("open", b""))], 1)
    store.flush()
    store.close()
    assert "this is a bug" in str(told[0])
    assert [type(error) for error in told] == [StoragePoisoned]
    again = opened(disk)
    assert (again.applied_index, again.scan("runs")) == (0, [])
    again.close()


def test_file_that_is_no_database_is_refused(directory_disk, tmp_path):
    """A damaged state file is named."""
    (tmp_path / "node" / "state-1.db").write_bytes(b"something else entirely" * 1000)
    with pytest.raises(StorageCorrupt, match=r"state-1\.db is damaged"):
        opened(directory_disk)


KEYS = st.tuples(st.sampled_from(["a", "b", "é"]), st.integers(-2, 2))
STEPS = st.lists(
    st.one_of(
        st.tuples(KEYS, st.none() | st.tuples(st.sampled_from(["open", "closed"]), st.binary())),
        st.just("flush"),
        st.just("reopen"),
    ),
    max_size=30,
)


@settings(max_examples=max(50, settings.default.max_examples // 2))
@given(steps=STEPS)
def test_store_is_a_sorted_mapping(tmp_path_factory, steps):
    """Whatever is written, flushed and reopened, reads agree with a plain mapping."""
    with faulty_vfs() as (_, name):
        disk = DirectoryDisk(tmp_path_factory.mktemp("state"), name)
        store, model = opened(disk), {}
        for index, step in enumerate(steps, start=1):
            if step == "flush":
                store.flush()
            elif step == "reopen":
                store.close()
                store = opened(disk)
            else:
                key, values = step
                store.write([RowWrite("runs", key, values)], index)
                model[key] = values
            alive = sorted((*key, *values) for key, values in model.items() if values is not None)
            assert store.scan("runs") == alive
            assert store.scan("runs", ("a",)) == [row for row in alive if row[0] == "a"]
            assert store.get("runs", ("a", 1)) == model.get(("a", 1))
        store.close()
        disk.close()
