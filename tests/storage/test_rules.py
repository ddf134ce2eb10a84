"""The rules of storage, each under its own name, and what a crash at any moment leaves."""

from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowactor.errors import StorageCorrupt, StorageError, StorageFull, StoragePoisoned
from flowactor.ports import RowWrite
from flowactor.raft import EntryKind
from flowactor.raft.log import size_bytes
from flowactor.storage import DirectoryDisk, InlineWorker, LogStore, LogWriter, StateStore
from tests.storage.building import (
    EVERYTHING,
    ONE,
    TABLES,
    TWO,
    StoppedClock,
    append,
    change,
    disk_after_crash,
    entries,
    entry,
    opened_log,
    restored,
    run_row,
    state,
    write,
)
from tests.storage.faulty_vfs import Mark, faulty_vfs

WAL_HEADER_BYTES, FRAME_BYTES = 32, 24 + 4096

# -- first_failed_sync_poisons --------------------------------------------------------------------


def test_first_failed_sync_poisons(faulty):
    """After one failed sync nothing more is acknowledged, though the device would work again."""
    device, disk = faulty
    told, acknowledged = [], []
    writer = LogWriter(LogStore.open(disk), InlineWorker(), StoppedClock(), told.append)
    writer.submit(ONE, append(1), lambda: acknowledged.append(1))
    device.fail_sync = "log.db-wal"
    writer.submit(ONE, write(entry(2)), lambda: acknowledged.append(2))
    device.fail_sync = ""
    with pytest.raises(StoragePoisoned):
        writer.submit(ONE, write(entry(3)), lambda: acknowledged.append(3))
    writer.retry()
    assert acknowledged == [1]
    assert [type(error) for error in told] == [StoragePoisoned]
    assert isinstance(told[0].__cause__, apsw.IOError)
    writer.close()
    assert restored(disk).entries[:1] == (entry(1),)


def test_failed_sync_of_a_checkpoint_poisons(faulty):
    """A sync that fails while the WAL is copied counts too; SQLite's own checkpoint hides it."""
    device, disk = faulty
    with opened_log(disk) as store:
        store.persist([(ONE, append(3))])
        device.fail_sync = "log.db"
        with pytest.raises(StoragePoisoned):
            store.checkpoint()
        device.fail_sync = ""
        for call in (
            store.checkpoint,
            lambda: store.persist([(ONE, write(entry(4)))]),
            lambda: store.compact(ONE, 1),
        ):
            with pytest.raises(StoragePoisoned):
                call()
    assert restored(disk).entries == entries(1, 3)


def test_failed_sync_poisons_the_state(faulty):
    """The state store, too, ends with its first failed sync and says so once."""
    device, disk = faulty
    told, done = [], []
    store = StateStore(disk, ONE, TABLES, InlineWorker(), on_failure=told.append)
    store.write([run_row("a", 1)], 1)
    store.flush(lambda: done.append(1))
    device.fail_sync = "state-1.db-wal"
    store.write([run_row("a", number, data=bytes(100_000)) for number in range(60)], 2)
    store.flush(lambda: done.append(2))
    device.fail_sync = ""
    store.write([run_row("b", 1)], 3)
    store.flush(lambda: done.append(3))
    store.close()
    assert [type(error) for error in told] == [StoragePoisoned]
    assert (done, store.durable_index) == ([1, 2], 0)


# -- torn_tail_vs_corruption ----------------------------------------------------------------------


@pytest.fixture
def killed(faulty, tmp_path):
    """A function that makes the directory a killed process leaves: ten acknowledged writes of one
    entry each, in the WAL (the last frames of it) or copied into the main file.
    """
    device, disk = faulty
    numbers = iter(range(100))

    def make(*, checkpointed):
        path = tmp_path / f"killed-{next(numbers)}"
        with disk_after_crash(path, device.happened):
            pass
        if checkpointed:
            with path_opened(path) as again:
                restored(again)
        return path

    store = LogStore.open(disk)
    store.persist([(ONE, append(1))])
    store.checkpoint()
    for index in range(2, 11):
        store.persist([(ONE, write(entry(index)))])
    yield make
    store.close()


@contextmanager
def path_opened(path):
    disk = DirectoryDisk(path)
    try:
        yield disk
    finally:
        disk.close()


def restored_from(path):
    with path_opened(path) as disk:
        return restored(disk)


def flip(path, offset):
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize("missing", [1, 700, 4096, FRAME_BYTES - 1, FRAME_BYTES])
def test_torn_tail_vs_corruption(killed, missing):
    """A tail that is missing is cut with the write it belonged to; a byte that is wrong inside, in
    the WAL or in the main file, is reported, and reported again at the next start.
    """
    torn = killed(checkpointed=False)
    wal = torn / "log.db-wal"
    wal.write_bytes(wal.read_bytes()[: WAL_HEADER_BYTES + 9 * FRAME_BYTES - missing])
    assert restored_from(torn).entries == entries(1, 9)

    rotten = killed(checkpointed=False)
    flip(rotten / "log.db-wal", WAL_HEADER_BYTES + 9 * FRAME_BYTES - missing - FRAME_BYTES)
    for _ in range(2):
        with pytest.raises(StorageCorrupt, match=r"log\.db-wal: frame \d is damaged"):
            restored_from(rotten)

    rotten = killed(checkpointed=True)
    at = (rotten / "log.db").read_bytes().index(b"payload")
    flip(rotten / "log.db", at)
    for _ in range(2):
        with pytest.raises(StorageCorrupt, match=r"entry \d+ of group 1 is damaged"):
            restored_from(rotten)


@pytest.mark.parametrize("field", [0, 5, 9, 17, 20, 23])
@pytest.mark.parametrize("frame", [0, 4, 7])
def test_damaged_frame_header_is_corruption(killed, frame, field):
    """A bit that flips in the page number, size, salt or checksum of a frame is noticed as well, up
    to the last write but one.
    """
    path = killed(checkpointed=False)
    flip(path / "log.db-wal", WAL_HEADER_BYTES + frame * FRAME_BYTES + field)
    with pytest.raises(StorageCorrupt):
        restored_from(path)


@pytest.mark.parametrize("offset", [0, 9, 13, 17, 25, 31])
def test_damaged_wal_header_is_corruption(killed, offset):
    """Without its header SQLite would drop the whole WAL without a word."""
    path = killed(checkpointed=False)
    flip(path / "log.db-wal", offset)
    with pytest.raises(StorageCorrupt):
        restored_from(path)


def test_every_byte_of_the_log_is_guarded(killed):
    """Wherever one byte of the main file rots, recovery reports it or gives the right log."""
    sound = killed(checkpointed=True)
    right = restored_from(sound)
    content = (sound / "log.db").read_bytes()
    used = [at for at, byte in enumerate(content) if byte]
    for number, at in enumerate(Random(7).sample(used, 60)):
        path = sound.parent / f"rotten-{number}"
        path.mkdir()
        (path / "log.db").write_bytes(content)
        flip(path / "log.db", at)
        with suppress(StorageError):
            assert restored_from(path) == right, f"byte {at} rotted unnoticed"


def test_damage_in_one_group_leaves_the_others(faulty, tmp_path):
    """A damaged entry stops its own group; the log of another recovers and goes on."""
    _, disk = faulty
    with opened_log(disk) as store:
        store.persist([(ONE, append(3, data=b"here it is")), (TWO, append(3))])
    path = tmp_path / "faulty" / "log.db"
    flip(path, path.read_bytes().index(b"here it is"))
    with opened_log(disk) as store:
        with pytest.raises(StorageCorrupt, match="of group 1 is damaged"):
            store.recover(ONE, 0, EVERYTHING)
        with pytest.raises(StorageCorrupt, match="of group 1 is damaged"):
            store.read(ONE, 1, 3, EVERYTHING)
        assert store.recover(TWO, 0, EVERYTHING).entries == entries(1, 3)
        store.persist([(TWO, write(entry(4)))])


def test_state_ahead_of_its_log_is_corruption(disk):
    """Applied entries that the log no longer has were acknowledged and then lost."""
    with opened_log(disk) as store:
        store.persist([(ONE, append(3))])
        with pytest.raises(StorageCorrupt, match=r"group 1: .*applied 4 beyond the end 3"):
            store.recover(ONE, 4, EVERYTHING)


def test_missing_entry_is_corruption(disk):
    """A hole in the log is found by recovery and by reading, and named; the log is not opened again
    with it.
    """
    with opened_log(disk) as store:
        store.persist([(ONE, append(9))])
        store._connection.execute("DELETE FROM entry WHERE idx = 4")
        for call in (lambda: store.recover(ONE, 0, EVERYTHING), lambda: store.read(ONE, 2, 6, 999)):
            with pytest.raises(StorageCorrupt, match="entry 4 of group 1 is missing"):
                call()
        assert store.recover(ONE, 6, size_bytes(entry(6))).entries == entries(6, 9)
    with pytest.raises(StorageCorrupt, match="rows of group 1 are missing or misplaced"):
        LogStore.open(disk)


HIDDEN = {
    "the last entry": "UPDATE entry SET grp = 6 WHERE grp = 2 AND idx = 9",
    "an entry, under a number of another": "UPDATE entry SET idx = 20 WHERE grp = 2 AND idx = 9",
    "the hard state": "DELETE FROM entry WHERE grp = 2 AND idx = 0",
    "where a group begins": "DELETE FROM start",
    "a whole group": "DELETE FROM entry WHERE grp = 1",
    "a row, behind a key of bytes": "UPDATE entry SET grp = x'02' WHERE grp = 2 AND idx = 9",
}


@pytest.mark.parametrize("sql", HIDDEN.values(), ids=list(HIDDEN))
def test_hidden_row_is_corruption(disk, sql):
    """A row that nobody would look for where it is, or is not, keeps the log from being opened."""
    with opened_log(disk) as store:
        store.persist([(ONE, append(9)), (TWO, append(9))])
        store.compact(ONE, 4)
    with opened_log(disk) as store:
        assert store.recover(TWO, 0, EVERYTHING).entries == entries(1, 9)
        store._connection.execute(sql)
    for _ in range(2):
        with pytest.raises(StorageCorrupt, match=r"log\.db: .*rows of group .* missing.*keep the"):
            LogStore.open(disk)


@pytest.mark.parametrize("kind", [EntryKind.CONFIGURATION, EntryKind.PAYLOAD])
def test_hidden_configuration_is_corruption(disk, kind):
    """A configuration that its index does not name, or one that only the index names, keeps the log
    from being opened: a node would act by the one before.
    """
    with opened_log(disk) as store:
        store.persist([(ONE, write(change(1, 1, 2), entry(2), hard_state=state()))])
    with opened_log(disk) as store:
        number = 2 if kind is EntryKind.CONFIGURATION else 1
        redefine = "UPDATE sqlite_schema SET sql = replace(sql, 'kind = {}', 'kind = {}')"
        store._connection.execute("PRAGMA writable_schema = ON")
        for sql in (
            redefine.format(2, 99),
            "PRAGMA writable_schema = RESET",
            f"UPDATE entry SET kind = {int(kind)} WHERE idx = {number}",
            "PRAGMA writable_schema = ON",
            redefine.format(99, 2),
            "PRAGMA writable_schema = RESET",
        ):
            store._connection.execute(sql).fetchall()
    for _ in range(2):
        with pytest.raises(StorageCorrupt, match=r"log\.db"):
            LogStore.open(disk)


def test_row_of_a_wrong_type_is_corruption(disk):
    """A value that no longer is of its type is damage like any other, and leaves other groups."""
    for value in ("NULL", "'text'", "-7", "1e300", "x'00'"):
        with opened_log(disk) as store:
            tail = store.recover(ONE, 0, EVERYTHING).entries
            store.persist([(ONE, write(entry(len(tail) + 1), hard_state=state()))])
            store._connection.execute("PRAGMA ignore_check_constraints = ON").fetchall()
            for column in ("term", "kind", "data", "crc"):
                store._connection.execute("SAVEPOINT sound")
                with suppress(apsw.ConstraintError):
                    store._connection.execute(f"UPDATE entry SET {column} = {value} WHERE idx = 1")
                    with pytest.raises(StorageCorrupt, match="entry 1 of group 1 is damaged"):
                        store.recover(ONE, 0, EVERYTHING)
                store._connection.execute("ROLLBACK TO sound; RELEASE sound")


def test_file_that_is_no_database_is_corruption(directory_disk, tmp_path):
    """A log overwritten by something else is refused by name."""
    (tmp_path / "node" / "log.db").write_bytes(b"something else entirely" * 1000)
    with pytest.raises(StorageCorrupt, match=r"log\.db is damaged"):
        LogStore.open(directory_disk)


# -- applied_index_atomic -------------------------------------------------------------------------


@settings(max_examples=max(50, settings.default.max_examples // 2))
@given(seed=st.integers(0, 2**32), checkpoints=st.sets(st.integers(1, 8)), power_cut=st.booleans())
def test_applied_index_atomic(tmp_path_factory, seed, checkpoints, power_cut):
    """Wherever process or power fails, the rows in the file are those of the index beside them.

    At every index one row is rewritten, one appears and one vanishes, so no two states are equal.
    """
    random = Random(seed)
    base = tmp_path_factory.mktemp("state")
    states = {0: []}
    with faulty_vfs() as (device, name):
        disk = DirectoryDisk(base / "running", name)
        store = StateStore(disk, ONE, TABLES, InlineWorker(), on_failure=_raise)
        made = len(device.happened)
        for index in range(1, 9):
            store.write(
                [
                    run_row("counter", 0, data=b"%d" % index),
                    run_row("run", index),
                    RowWrite("runs", ("run", index - 3), None),
                ],
                index,
            )
            store.flush()
            states[index] = store.scan("runs")
            if index in checkpoints:
                store._checkpoint()
                device.mark(index)
        happened = list(device.happened)
        store.close()
        disk.close()
    at = random.randrange(made, len(happened) + 1)
    promised = max((event.value for event in happened[:at] if isinstance(event, Mark)), default=0)
    with disk_after_crash(base / "after", happened, at, random if power_cut else None) as after:
        again = StateStore(after, ONE, TABLES, InlineWorker(), on_failure=_raise)
        assert again.scan("runs") == states[again.applied_index]
        assert again.applied_index >= promised
        again.close()


def _raise(error):
    raise AssertionError from error


# -- recovery_idempotent --------------------------------------------------------------------------


@st.composite
def scripts(draw):
    """A list of persists for two groups: appends and cuts, a term that grows, a commit behind."""
    random = Random(draw(st.integers(0, 2**32)))
    logs = {ONE: [], TWO: []}
    terms = {ONE: 1, TWO: 1}
    script = []
    for _ in range(draw(st.integers(1, 12))):
        persist = []
        for group in random.sample((ONE, TWO), random.randint(1, 2)):
            log, cut = logs[group], 0
            if log and random.random() < 0.3:
                terms[group] += 1
                cut = random.randint(1, len(log))
                del log[cut - 1 :]
            size = random.choice((1, 1, 1, 3, 70))
            fresh = entries(len(log) + 1, len(log) + size, terms[group], random.randbytes(50))
            log.extend(fresh)
            persist.append((group, write(*fresh, hard_state=state(terms[group]), cut=cut)))
        script.append((persist, {group: tuple(log) for group, log in logs.items()}))
    return script


@given(script=scripts(), seed=st.integers(0, 2**32), power_cut=st.booleans())
def test_recovery_idempotent(tmp_path_factory, script, seed, power_cut):
    """Whenever the process or the power fails, every acknowledged write is there, the one under way
    is there whole or not at all, and recovering a second time gives the same. Some writes had to be
    tried again because the disk was full, which leaves half of them behind in the WAL.
    """
    random = Random(seed)
    base = tmp_path_factory.mktemp("log")
    with faulty_vfs() as (device, name):
        disk = DirectoryDisk(base / "running", name)
        store = LogStore.open(disk)
        made = len(device.happened)
        for number, (persist, _) in enumerate(script, start=1):
            device.full = random.choice(("", "", "log.db-wal"))
            for _ in range(random.randint(0, 3)):
                with suppress(StorageFull):
                    store.persist(persist)
                    break
            else:
                device.full = ""
                store.persist(persist)
            device.full = ""
            device.mark(number)
            if random.random() < 0.2:
                store.checkpoint()
        happened = list(device.happened)
        store.close()
        disk.close()
    at = random.randrange(made, len(happened) + 1)
    acknowledged = sum(isinstance(event, Mark) for event in happened[:at])
    expected = [{ONE: (), TWO: ()}] + [logs for _, logs in script]
    with disk_after_crash(base / "after", happened, at, random if power_cut else None) as after:
        first = {group: restored(after, group) for group in (ONE, TWO)}
        second = {group: restored(after, group) for group in (ONE, TWO)}
    found = {group: first[group].entries for group in first}
    assert found in expected[acknowledged : acknowledged + 2]
    assert first == second


# -- disk_full_is_an_error ------------------------------------------------------------------------


def test_disk_full_is_an_error(faulty):
    """A full disk is told once, acknowledges nothing, loses nothing, and goes on given space."""
    device, disk = faulty
    told, acknowledged = [], []
    writer = LogWriter(LogStore.open(disk), InlineWorker(), StoppedClock(), told.append)
    writer.submit(ONE, append(1), lambda: acknowledged.append(1))
    device.full = "log.db-wal"
    writer.submit(ONE, write(*entries(2, 400)), lambda: acknowledged.append(2))
    writer.submit(TWO, append(1), lambda: acknowledged.append(3))
    writer.retry()
    assert acknowledged == [1]
    assert [type(error) for error in told] == [StorageFull]
    assert "no space left" in str(told[0])
    assert (writer.statistics().full, writer.statistics().waiting) == (True, 2)
    device.full = ""
    writer.retry()
    assert acknowledged == [1, 2, 3]
    assert (writer.statistics().full, writer.statistics().waiting) == (False, 0)
    writer.close()
    assert restored(disk, ONE).entries == entries(1, 400)
    assert restored(disk, TWO).entries == entries(1, 1)


def test_log_without_space_keeps_what_it_has(faulty):
    """What was acknowledged before the disk was full recovers after a crash while it is full."""
    device, disk = faulty
    store = LogStore.open(disk)
    store.persist([(ONE, append(5))])
    device.full = "log.db-wal"
    for _ in range(3):
        with pytest.raises(StorageFull):
            store.persist([(ONE, write(*entries(6, 600)))])
    device.full = ""
    store.persist([(ONE, write(entry(6)))])
    with disk_after_crash(disk_path(disk).parent / "after", device.happened) as after:
        assert restored(after).entries == entries(1, 6)
    store.close()


def test_checkpoint_without_space_is_tried_again(faulty):
    """A full disk during a checkpoint is no poison: the WAL still holds everything."""
    device, disk = faulty
    with opened_log(disk) as store:
        store.persist([(ONE, append(200, data=bytes(500)))])
        device.full = "log.db"
        with pytest.raises(StorageFull):
            store.checkpoint()
        device.full = ""
        store.persist([(ONE, write(entry(201)))])
        store.checkpoint()
    assert restored(disk).entries[-1] == entry(201)


def test_log_is_closed_on_a_full_disk(faulty):
    """A node that leaves while the disk is full ends without an error: what it acknowledged is in
    the WAL, what waited was acknowledged to nobody, and the next to open the log finds all of it.
    """
    device, disk = faulty
    told, acknowledged = [], []
    writer = LogWriter(LogStore.open(disk), InlineWorker(), StoppedClock(), told.append)
    writer.submit(ONE, append(200, data=bytes(500)), lambda: acknowledged.append(1))
    device.full = "log.db"
    writer.close()
    assert [type(error) for error in told] == [StorageFull]
    device.full = ""
    writer = LogWriter(LogStore.open(disk), InlineWorker(), StoppedClock(), told.append)
    device.full = "log.db-wal"
    too_much = entries(201, 300, data=bytes(5000))
    writer.submit(ONE, write(*too_much), lambda: acknowledged.append(2))
    writer.close()
    assert [type(error) for error in told] == [StorageFull, StorageFull]
    device.full = ""
    assert acknowledged == [1]
    assert restored(disk).entries == entries(1, 200, data=bytes(500))


@pytest.mark.parametrize("full", ["state-1.db-wal", "state-1.db"])
def test_state_is_closed_on_a_full_disk(faulty, full):
    """Closing the state while the disk is full is told once and is no error: the file is the state
    at an earlier index, or at the last, and the log has what is above.
    """
    device, disk = faulty
    told = []
    store = StateStore(disk, ONE, TABLES, InlineWorker(), on_failure=told.append)
    store.write([run_row("a", 1)], 1)
    store.flush()
    store.write([run_row("a", number, data=bytes(3000)) for number in range(20)], 2)
    device.full = full
    store.close()
    assert [type(error) for error in told] == [StorageFull]
    device.full = ""
    again = StateStore(disk, ONE, TABLES, InlineWorker(), on_failure=told.append)
    assert again.applied_index == (1 if full.endswith("-wal") else 2)
    again.close()


def test_state_without_space_keeps_its_rows_in_memory(faulty):
    """Rows that find no space stay visible, and a later flush writes them under what came since."""
    device, disk = faulty
    told, done = [], []
    store = StateStore(disk, ONE, TABLES, InlineWorker(), on_failure=told.append)
    device.full = "state-1.db-wal"
    store.write([run_row("a", 1, data=b"old"), run_row("b", 1)], 1)
    store.flush(lambda: done.append(1))
    store.write([run_row("a", 1, data=b"new")], 2)
    store.flush(lambda: done.append(2))
    assert [type(error) for error in told] == [StorageFull]
    assert (done, store.applied_index, store.dirty) == ([], 0, True)
    assert store.get("runs", ("a", 1)) == ("open", b"new")
    assert len(store.scan("runs")) == 2
    device.full = ""
    store.flush()
    assert (done, store.applied_index, store.dirty) == ([1, 2], 2, False)
    store.close()
    again = StateStore(disk, ONE, TABLES, InlineWorker(), on_failure=told.append)
    assert again.scan("runs") == [("a", 1, "open", b"new"), ("b", 1, "open", b"x")]
    again.close()


def disk_path(disk):
    return Path(disk.describe())
