"""What every disk, its background work and every log on it promise (``ports.Disk``,
``ports.Worker``, ``storage.LogStore``).

What a crash leaves is not tested here: it needs a device that can fail.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import apsw
import pytest
import trio
from attrs import evolve

from flowactor.errors import StorageRefused
from flowactor.identity import GroupId
from flowactor.ports import Disk, Worker
from flowactor.raft import Configuration, EntryKind, HardState, Restored, Snapshot, Write
from flowactor.raft.log import size_bytes
from flowactor.storage import LogStore
from flowactor.testing.conformance.logs import (
    EVERYTHING,
    ONE,
    TWO,
    append,
    change,
    entries,
    entry,
    members,
    state,
    write,
)

__all__ = ["DiskConformance", "LogStoreConformance", "WorkerConformance", "WorkerWorld"]


class DiskConformance:
    """Give it ``open_disk``: a function that opens the same data directory whenever it is called;
    it is called again only after the disk it gave before was closed.
    """

    @pytest.fixture
    def open_disk(self) -> Callable[[], Disk]:
        """Opens the data directory under test: overridden by who uses the suite."""
        raise NotImplementedError("override the fixture `open_disk`")

    @pytest.fixture
    def disk(self, open_disk: Callable[[], Disk]) -> Iterator[Disk]:
        """A new disk, closed at the end."""
        with closing(open_disk()) as disk:
            yield disk

    def test_a_file_is_made_when_something_is_written(self, disk: Disk) -> None:
        """``connect`` makes what is missing, and ``exists`` tells of that file and no other."""
        assert not disk.exists("one.db")
        with closing(disk.connect("one.db")) as connection:
            connection.execute("CREATE TABLE t (x)")
        assert disk.exists("one.db")
        assert not disk.exists("two.db")

    def test_what_was_committed_is_there_when_the_disk_is_opened_again(
        self, open_disk: Callable[[], Disk]
    ) -> None:
        """A connection, and a disk, that were closed lose nothing."""
        with closing(open_disk()) as disk, closing(self._wal(disk)) as connection:
            connection.execute("CREATE TABLE t (x); INSERT INTO t VALUES (1), (x'00ff'), ('é')")
        with closing(open_disk()) as disk, closing(self._wal(disk)) as connection:
            rows = connection.execute("SELECT x FROM t ORDER BY rowid").fetchall()
        assert rows == [(1,), (b"\x00\xff",), ("é",)]

    def test_what_was_rolled_back_never_happened(self, disk: Disk) -> None:
        """Nothing of a transaction that was given up is seen, however large it was."""
        with closing(self._wal(disk)) as connection:
            connection.execute("CREATE TABLE t (x)")
            connection.execute("BEGIN")
            connection.execute("INSERT INTO t VALUES (zeroblob(5000000))")
            connection.execute("ROLLBACK")
        with closing(self._wal(disk)) as connection:
            assert connection.execute("SELECT count(*) FROM t").fetchall() == [(0,)]
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def test_a_write_ahead_log_can_be_kept_and_checkpointed(self, disk: Disk) -> None:
        """The journal mode that flowactor uses works, and a checkpoint moves everything into the
        file itself.
        """
        with closing(self._wal(disk)) as connection:
            connection.execute("CREATE TABLE t (x); INSERT INTO t VALUES (randomblob(100000))")
            before = connection.execute("SELECT x FROM t").fetchall()
            ((busy, waiting, copied),) = connection.execute(
                "PRAGMA wal_checkpoint(FULL)"
            ).fetchall()
            assert (busy, waiting) == (0, copied)
            assert connection.execute("SELECT x FROM t").fetchall() == before

    def test_a_read_only_connection_cannot_write(self, disk: Disk) -> None:
        """What is opened to look at stays as it is."""
        with closing(disk.connect("one.db")) as connection:
            connection.execute("CREATE TABLE t (x)")
        with closing(disk.connect("one.db", readonly=True)) as connection:
            assert connection.execute("SELECT * FROM t").fetchall() == []
            with pytest.raises(apsw.ReadOnlyError):
                connection.execute("INSERT INTO t VALUES (1)")

    def test_a_disk_that_is_not_exclusive_shares_its_files(self, disk: Disk) -> None:
        """Where ``exclusive`` says no, a second connection sees each commit of the first."""
        if disk.exclusive():
            return
        with closing(self._wal(disk)) as writer, closing(self._wal(disk)) as reader:
            writer.execute("CREATE TABLE t (x)")
            for number in range(3):
                writer.execute("INSERT INTO t VALUES (?)", (number,))
                assert len(reader.execute("SELECT * FROM t").fetchall()) == number + 1

    def test_plain_bytes_are_kept(self, open_disk: Callable[[], Disk]) -> None:
        """A plain file gives back what was written, also in large pieces and over each other, and
        less at its end; when the disk is opened again it is the same.
        """
        large = bytes(range(256)) * 2000
        with closing(open_disk()) as disk, closing(disk.open("plain")) as file:
            assert (file.size_bytes(), file.read(0, 10)) == (0, b"")
            file.write(0, large)
            file.write(len(large), b"tail")
            file.write(1, b"over")
            file.sync()
            assert file.read(0, 5) == b"\0over"
            assert file.read(len(large), 100) == b"tail"
        with closing(open_disk()) as disk, closing(disk.open("plain")) as file:
            assert file.read(0, 1 << 20) == b"\0over" + large[5:] + b"tail"
            assert file.size_bytes() == len(large) + 4

    def test_files_are_named_and_deleted(self, disk: Disk) -> None:
        """``names`` tells of each file, in order, and ``remove`` deletes one; what is not there is
        deleted as well.
        """
        for name in ("two", "one", "three"):
            with closing(disk.open(name)) as file:
                file.write(0, name.encode())
        assert [name for name in disk.names() if name != "lock"] == ["one", "three", "two"]
        disk.remove("three")
        disk.remove("three")
        assert not disk.exists("three")
        assert [name for name in disk.names() if name != "lock"] == ["one", "two"]
        with closing(disk.open("three")) as file:
            assert file.size_bytes() == 0

    def test_a_plain_file_can_become_a_database(self, disk: Disk) -> None:
        """The bytes of a database, written plainly under another name, are that database."""
        with closing(disk.connect("one.db")) as connection:
            connection.execute("CREATE TABLE t (x); INSERT INTO t VALUES (randomblob(50000))")
            before = connection.execute("SELECT x FROM t").fetchall()
        with closing(disk.open("one.db")) as source, closing(disk.open("two.db")) as target:
            target.write(0, source.read(0, source.size_bytes()))
            target.sync()
        with closing(disk.connect("two.db")) as connection:
            assert connection.execute("SELECT x FROM t").fetchall() == before

    def test_a_disk_says_where_it_is(self, disk: Disk) -> None:
        """Error messages name it by one line that does not change."""
        assert disk.describe()
        assert "\n" not in disk.describe()
        assert disk.describe() == disk.describe()

    @staticmethod
    def _wal(disk: Disk) -> apsw.Connection:
        """``one.db`` as flowactor opens its files."""
        connection: apsw.Connection = disk.connect("one.db")
        if disk.exclusive():
            connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        assert connection.execute("PRAGMA journal_mode = WAL").fetchall() == [("wal",)]
        return connection


class WorkerWorld(ABC):
    """Where workers are tested."""

    @abstractmethod
    def worker(self, name: str) -> Worker:
        """A new worker. It is closed by the test."""

    async def until(self, complete: Callable[[], bool]) -> None:
        """Let work go on until this is so. Where it takes virtual time, let that pass."""
        while not complete():
            await trio.lowlevel.checkpoint()


class WorkerConformance:
    """Order, outcomes and the end of background work. Give it ``world``."""

    pytestmark = pytest.mark.trio

    @pytest.fixture
    def world(self) -> WorkerWorld:
        """The world of the workers under test: overridden by who uses the suite."""
        raise NotImplementedError("override the fixture `world`")

    async def test_jobs_run_in_order(self, world: WorkerWorld) -> None:
        """Jobs run one after another, and their outcomes arrive in the same order."""
        worker, ran, found = world.worker("test"), list[int](), list[Any]()

        def job(number: int) -> int:
            ran.append(number)
            return -number

        for number in range(100):
            worker.submit(lambda number=number: job(number), found.append)  # type: ignore[misc]
        await world.until(lambda: len(found) == 100)
        worker.close()
        assert ran == list(range(100))
        assert found == [-number for number in range(100)]

    async def test_jobs_submitted_by_done_keep_their_order(self, world: WorkerWorld) -> None:
        """Several jobs that one ``done`` submits run in the order in which it did so."""
        worker, found = world.worker("test"), list[Any]()

        def done(_: Any) -> None:
            for number in range(10):
                worker.submit(lambda number=number: number, found.append)  # type: ignore[misc]

        worker.submit(lambda: None, done)
        await world.until(lambda: len(found) == 10)
        worker.close()
        assert found == list(range(10))

    async def test_an_error_is_an_outcome(self, world: WorkerWorld) -> None:
        """A job that raises hands its exception to ``done``, and the next one runs."""
        worker, found = world.worker("test"), list[Any]()
        worker.submit(lambda: 1 // 0, found.append)
        worker.submit(lambda: 2, found.append)
        await world.until(lambda: len(found) == 2)
        worker.close()
        assert isinstance(found[0], ZeroDivisionError)
        assert found[1] == 2

    async def test_done_may_submit(self, world: WorkerWorld) -> None:
        """A long chain of jobs, each submitted by the ``done`` before it, does not grow the
        stack.
        """
        worker, found = world.worker("test"), list[int]()

        def done(number: Any) -> None:
            found.append(number)
            if number < 5000:
                worker.submit(lambda: number + 1, done)

        worker.submit(lambda: 1, done)
        await world.until(lambda: len(found) == 5000)
        worker.close()
        assert found == list(range(1, 5001))

    async def test_close_finishes_what_was_submitted(self, world: WorkerWorld) -> None:
        """When ``close`` returns every job has run and every ``done`` was told, also of jobs that a
        ``done`` submitted meanwhile.
        """
        worker, found = world.worker("test"), list[int]()

        def done(number: Any) -> None:
            found.append(number)
            if number < 5:
                worker.submit(lambda: number + 1, done)

        worker.submit(lambda: 1, done)
        worker.submit(lambda: 100, done)
        worker.close()
        assert sorted(found) == [1, 2, 3, 4, 5, 100]

    async def test_an_unused_worker_can_be_closed(self, world: WorkerWorld) -> None:
        """Closing what never had a job returns."""
        world.worker("unused").close()


class LogStoreConformance:
    """The durable log of all groups of a node. Give it ``open_log``: a function that opens the same
    log whenever it is called, and is called again only after what it gave before was closed. With
    ``LogStore.open`` of one's own disk, it judges that disk as flowactor uses it.
    """

    @pytest.fixture
    def open_log(self) -> Callable[[], LogStore]:
        """Opens the log under test: overridden by who uses the suite."""
        raise NotImplementedError("override the fixture `open_log`")

    def test_new_log_is_empty(self, open_log: Callable[[], LogStore]) -> None:
        """A group nobody has written for is restored as a new one."""
        assert _restored(open_log) == Restored()

    def test_what_was_persisted_comes_back(self, open_log: Callable[[], LogStore]) -> None:
        """Hard state and entries of several groups survive closing, each under its own group."""
        with closing(open_log()) as store:
            store.persist(
                [(ONE, append(3)), (TWO, write(entry(1, 5, b""), hard_state=state(5, vote=2)))]
            )
            store.persist([(ONE, write(entry(4, data=b"z"), hard_state=state(1, commit=3)))])
        one, two = _restored(open_log, ONE), _restored(open_log, TWO)
        assert one.entries == (*entries(1, 3), entry(4, data=b"z"))
        assert one.hard_state == state(1, commit=3)
        assert (two.entries, two.hard_state) == ((entry(1, 5, b""),), state(5, vote=2))

    def test_every_kind_of_entry_comes_back(self, open_log: Callable[[], LogStore]) -> None:
        """The kind of an entry is kept, and so is empty data."""
        written = tuple(
            type(entry(1))(1, index, kind, b"") for index, kind in enumerate(EntryKind, start=1)
        )
        with closing(open_log()) as store:
            store.persist([(ONE, write(*written, hard_state=state()))])
        assert _restored(open_log).entries == written

    def test_truncation_replaces_the_tail(self, open_log: Callable[[], LogStore]) -> None:
        """A write that cuts the log drops all from there, and what it appends takes its place."""
        with closing(open_log()) as store:
            store.persist([(ONE, append(10))])
            store.persist([(ONE, write(*entries(4, 5, 2), hard_state=state(2), cut=4))])
        assert _restored(open_log).entries == (*entries(1, 3), *entries(4, 5, 2))

    def test_one_persist_may_append_cut_and_append(self, open_log: Callable[[], LogStore]) -> None:
        """Writes of one group within one persist take effect in their order."""
        with closing(open_log()) as store:
            store.persist([(ONE, append(2))])
            store.persist(
                [
                    (ONE, write(*entries(3, 9))),
                    (ONE, write(*entries(2, 3, 2), hard_state=state(2), cut=2)),
                    (ONE, write(entry(4, 2), hard_state=state(2, commit=3))),
                ]
            )
            expected = (entry(1), *entries(2, 4, 2))
            assert store.recover(ONE, 0, EVERYTHING).entries == expected
        assert _restored(open_log).entries == expected

    def test_more_rows_than_one_statement_holds(self, open_log: Callable[[], LogStore]) -> None:
        """A large write is one transaction over several statements."""
        with closing(open_log()) as store:
            store.persist([(ONE, append(500)), (TWO, append(130))])
        assert _restored(open_log, ONE).entries == entries(1, 500)
        assert _restored(open_log, TWO).entries == entries(1, 130)

    def test_restored_tail_fits_the_cache(self, open_log: Callable[[], LogStore]) -> None:
        """Everything above applied comes back, and below it only what the cache holds."""
        with closing(open_log()) as store:
            store.persist([(ONE, append(20, data=b"0123456789"))])
            size = size_bytes(entry(1, data=b"0123456789"))
            some = store.recover(ONE, 15, 4 * size - 1)
            none_below = store.recover(ONE, 15, size - 1)
            everything = store.recover(ONE, 15, EVERYTHING)
        assert [item.index for item in some.entries] == list(range(13, 21))
        assert (some.previous_index, some.previous_term, some.applied) == (12, 1, 15)
        assert none_below.entries[0].index == 16
        assert everything.entries[0].index == 1

    def test_read_for_a_lagging_follower(self, open_log: Callable[[], LogStore]) -> None:
        """A read gives the term before, one entry at least, and no more bytes than asked for, as
        the core counts them that asks.
        """
        with closing(open_log()) as store:
            store.persist([(ONE, append(5)), (ONE, write(*entries(6, 9, 2), hard_state=state(2)))])
            assert store.read(ONE, 1, 3, EVERYTHING) == (0, entries(1, 3))
            assert store.read(ONE, 6, 100, EVERYTHING) == (1, entries(6, 9, 2))
            assert store.read(ONE, 7, 9, 0) == (2, (entry(7, 2),))
            size = size_bytes(entry(1))
            assert store.read(ONE, 1, 9, 2 * size) == (0, entries(1, 2))
            assert store.read(ONE, 1, 9, 2 * size - 1) == (0, entries(1, 1))
            assert store.read(ONE, 10, 12, EVERYTHING) == (0, ())

    def test_compacted_log_begins_where_it_was_cut(self, open_log: Callable[[], LogStore]) -> None:
        """Compaction drops what is at or below an index and remembers the term there."""
        with closing(open_log()) as store:
            store.persist([(ONE, append(10)), (TWO, append(3))])
            store.compact(ONE, 6)
            store.compact(ONE, 4)
            assert store.read(ONE, 6, 10, EVERYTHING) == (0, ())
            assert store.read(ONE, 7, 8, EVERYTHING) == (1, entries(7, 8))
            store.persist([(ONE, write(entry(11)))])
        again = _restored(open_log, ONE, applied=6)
        assert (again.previous_index, again.previous_term) == (6, 1)
        assert again.entries == entries(7, 11)
        assert _restored(open_log, TWO).entries == entries(1, 3)

    def test_wholly_compacted_log_goes_on(self, open_log: Callable[[], LogStore]) -> None:
        """A log without any entry left still knows where the next one belongs."""
        with closing(open_log()) as store:
            store.persist([(ONE, append(3, term=4))])
            store.compact(ONE, 3)
        with closing(open_log()) as store:
            assert store.recover(ONE, 3, EVERYTHING).previous_term == 4
            store.persist([(ONE, write(entry(4, 4)))])
        assert _restored(open_log, applied=3).entries == (entry(4, 4),)

    def test_founding_configuration_is_kept(self, open_log: Callable[[], LogStore]) -> None:
        """A group begins with the members it was founded with, through restarts and compaction; to
        found it again so is harmless, otherwise refused, as it is where a log is already.
        """
        with closing(open_log()) as store:
            store.found(ONE, members(1, 2, 3))
            store.persist([(TWO, append(1))])
            store.found(ONE, members(1, 2, 3))
            for group, others in ((ONE, members(1, 2)), (TWO, members(1, 2, 3))):
                with pytest.raises(StorageRefused, match=f"group {group} already"):
                    store.found(group, others)
        assert _restored(open_log) == Restored(configuration=members(1, 2, 3))
        assert _restored(open_log, TWO).configuration == Configuration()
        with closing(open_log()) as store:
            store.found(ONE, members(1, 2, 3))
            store.persist([(ONE, append(5))])
            store.compact(ONE, 4)
            store.found(ONE, members(1, 2, 3))
        found = _restored(open_log, applied=4)
        assert (found.configuration, found.configuration_index) == (members(1, 2, 3), 0)

    def test_newest_configuration_before_the_tail_is_found(
        self, open_log: Callable[[], LogStore]
    ) -> None:
        """What is restored begins with the newest configuration at or below ``previous_index``,
        whether it is still in the log, was cut, or was compacted away.
        """
        log = (*entries(1, 3), change(4, 1, 2), *entries(5, 8), change(9, 1, 2, 3), change(10, 7))
        with closing(open_log()) as store:
            store.found(ONE, members(1))
            store.persist([(ONE, write(*log, hard_state=state()))])
            founding, four, nine = (members(1), 0), (members(1, 2), 4), (members(1, 2, 3), 9)
            expected = {3: founding, 4: four, 8: four, 9: nine, 10: (members(7), 10)}
            for applied, newest in expected.items():
                found = store.recover(ONE, applied, 0)
                assert found.previous_index == applied
                assert (found.configuration, found.configuration_index) == newest
                assert store.snapshot_at(ONE, applied) == Snapshot(applied, 1, *newest)
            assert store.recover(ONE, 10, EVERYTHING).configuration == members(1)
            store.persist([(ONE, write(entry(10, 2), hard_state=state(2), cut=10))])
            store.compact(ONE, 6)
            assert store.snapshot_at(ONE, 5) is None
            assert store.snapshot_at(ONE, 6) == Snapshot(6, 1, *four)
            assert store.snapshot_at(ONE, 10) == Snapshot(10, 2, *nine)
            assert store.snapshot_at(ONE, 11) is None
        found = _restored(open_log, applied=6)
        assert (found.configuration, found.configuration_index) == four
        with closing(open_log()) as store:
            store.compact(ONE, 10)
        found = _restored(open_log, applied=10)
        assert (found.configuration, found.configuration_index) == nine
        assert (found.previous_index, found.previous_term) == (10, 2)

    def test_groups_come_and_go(self, open_log: Callable[[], LogStore]) -> None:
        """``groups`` are those of which there is anything; one that was dropped has left nothing
        behind but its term and vote, which it must not give twice, and where its log ended, and
        begins anew with a state file that it never had before.
        """
        with closing(open_log()) as store:
            assert store.groups() == []
            store.found(TWO, members(1))
            store.persist([(ONE, append(9))])
            store.compact(ONE, 4)
            assert store.groups() == [ONE, TWO]
        with closing(open_log()) as store:
            assert store.groups() == [ONE, TWO]
            assert store.generations() == {ONE: 0, TWO: 0}
            kept = evolve(store.recover(ONE, 4, EVERYTHING).hard_state, commit=0)
            store.drop(ONE)
            store.drop(ONE)
            assert store.groups() == [TWO]
            assert kept.term
            assert store.recover(ONE, 0, EVERYTHING) == Restored(
                hard_state=kept, deleted=(entries(9, 9)[0].term, 9)
            )
        with closing(open_log()) as store:
            assert store.groups() == [TWO]
            assert store.generation(ONE) > 1
            store.found(ONE, members(1, 2))
            assert store.recover(ONE, 0, EVERYTHING).hard_state == kept
            store.persist([(ONE, append(3))])
        with closing(open_log()) as store:
            assert store.generations()[ONE] > 1
            assert store.recover(ONE, 0, EVERYTHING).configuration == members(1, 2)
            found = store.recover(ONE, 0, EVERYTHING)
            assert found.entries == entries(1, 3)
            assert found.deleted[1] == 9
            store.drop(ONE)
            assert store.recover(ONE, 0, EVERYTHING).deleted == found.deleted
        with closing(open_log()) as store:
            store.found(ONE, members(1, 2))
            store.persist([(ONE, append(12))])
            store.drop(ONE)
            assert store.recover(ONE, 0, EVERYTHING).deleted[1] == 12

    def test_long_log_is_compacted_in_steps(self, open_log: Callable[[], LogStore]) -> None:
        """Each step deletes some entries, and none of them counts from the first step on. In the
        midst of it the log can be written to, closed, and compacted further.
        """
        with closing(open_log()) as store:
            store.persist([(ONE, append(5000)), (TWO, append(3))])
            assert store.compact(ONE, 4000)
            assert store.read(ONE, 4000, 4001, EVERYTHING) == (0, ())
            assert store.size(ONE).first_index == 4001
            store.persist([(ONE, write(entry(5001)))])
        assert _restored(open_log, applied=4000).entries == entries(4001, 5001)
        with closing(open_log()) as store:
            steps = 1
            while store.compact(ONE, 4500):
                steps += 1
            assert steps > 2
            assert not store.compact(ONE, 4500)
            size = store.size(ONE)
            assert (size.first_index, size.last_index) == (4501, 5001)
            assert size.data_bytes == 501 * len(b"payload")
        assert _restored(open_log, applied=4500).entries == entries(4501, 5001)
        assert _restored(open_log, TWO).entries == entries(1, 3)

    def test_sizes_are_counted(self, open_log: Callable[[], LogStore]) -> None:
        """``size`` counts what is in the file: after appending, cutting, compacting, reopening."""
        with closing(open_log()) as store:
            assert store.size(ONE).data_bytes == 0
            store.persist([(ONE, append(10, data=b"12345"))])
            store.persist(
                [
                    (ONE, write(*entries(11, 14))),
                    (ONE, write(*entries(8, 9, 2, b""), hard_state=state(2), cut=8)),
                ]
            )
            size = store.size(ONE)
            assert (size.first_index, size.last_index, size.data_bytes) == (1, 9, 35)
            store.compact(ONE, 3)
            assert store.size(ONE).data_bytes == 20
        with closing(open_log()) as store:
            store.recover(ONE, 3, 0)
            assert store.size(ONE).data_bytes == 20

    @pytest.mark.parametrize(
        "wrong",
        [
            write(entry(7)),
            write(entry(3)),
            write(entry(6, term=2)),
            write(hard_state=state(term=0)),
            write(hard_state=state(vote=2)),
            write(hard_state=state(commit=1)),
            write(hard_state=state(commit=6)),
            write(entry(2), cut=2),
        ],
        ids=[
            "gap",
            "overlap",
            "entry of a term that is not durable",
            "term goes back",
            "second vote in one term",
            "commit goes back",
            "commit beyond the end",
            "cut below commit",
        ],
    )
    def test_write_that_breaks_a_promise_is_refused(
        self, open_log: Callable[[], LogStore], wrong: Write
    ) -> None:
        """A write that a correct core cannot ask for stops it, and leaves the log as it was."""
        with closing(open_log()) as store:
            store.persist([(ONE, write(*entries(1, 5), hard_state=state(commit=2)))])
            before = store.recover(ONE, 0, EVERYTHING)
            with pytest.raises(AssertionError):
                store.persist([(TWO, append(1)), (ONE, wrong)])
            assert store.recover(ONE, 0, EVERYTHING) == before
            assert store.recover(TWO, 0, EVERYTHING) == Restored()

    def test_empty_persist_changes_nothing(self, open_log: Callable[[], LogStore]) -> None:
        """A write with nothing in it, and no write at all, are allowed."""
        with closing(open_log()) as store:
            store.persist([])
            store.persist([(ONE, write())])
        assert _restored(open_log).hard_state == HardState()

    def test_checkpoint_keeps_everything(self, open_log: Callable[[], LogStore]) -> None:
        """After a checkpoint the log is the same, is due for no other, and goes on."""
        with closing(open_log()) as store:
            store.persist([(ONE, append(64, data=bytes(80_000)))])
            assert store.checkpoint_due()
            store.checkpoint()
            assert not store.checkpoint_due()
            store.persist([(ONE, write(entry(65)))])
        assert _restored(open_log).entries[-2:] == (entry(64, data=bytes(80_000)), entry(65))


def _restored(open_log: Callable[[], LogStore], group: GroupId = ONE, applied: int = 0) -> Restored:
    """Everything that the log, opened again, holds of a group."""
    with closing(open_log()) as store:
        return store.recover(group, applied, EVERYTHING)
