"""Copies of a state: made while it is written, sent in chunks, received, resumed, installed."""

from contextlib import closing, contextmanager
from hashlib import blake2b
from zlib import crc32

import pytest
import trio
from attrs import evolve

from flowactor.errors import MalformedDataError, StorageFull, StoragePoisoned
from flowactor.raft import Snapshot
from flowactor.storage import (
    Chunk,
    IncomingSnapshot,
    InlineWorker,
    ThreadWorker,
    remove_leftovers,
    state_file,
)
from flowactor.storage import incoming as incoming_module
from tests.storage.building import (
    ONE,
    TWO,
    StallingWorker,
    append,
    closing_state,
    entries,
    entry,
    members,
    opened_log,
    opened_state,
    received,
    run_row,
    state,
    told,
    write,
)

LARGE = 3000
"""Bytes in a row: 600 of them are more than one step of a copy."""


def fill(store, last, first=1):
    """The state at ``last``: one large row for each index, and one that changes with each."""
    for index in range(first, last + 1):
        store.write(rows_of(index), index)
    store.flush()


def rows_of(index):
    return [run_row("run", index, data=bytes(LARGE)), run_row("counter", 0, data=b"%d" % index)]


def rows_at(index):
    return [
        ("counter", 0, "open", b"%d" % index),
        *(("run", number, "open", bytes(LARGE)) for number in range(1, index + 1)),
    ]


@contextmanager
def incoming_snapshot(disk, generation=1):
    with closing(IncomingSnapshot(disk, ONE, generation, InlineWorker())) as incoming:
        yield incoming


@pytest.fixture
def copy(disk):
    """A copy of the state of group 2 at index 600, on the same disk."""
    with closing_state(disk, TWO) as store:
        fill(store, 600)
        copy = told(store.snapshot)
        yield copy
        copy.discard()


# -- making a copy --------------------------------------------------------------------------------


def test_copy_is_the_state_at_its_index(disk):
    """Rows that are flushed between the steps of a copy are in it, with their index, wherever in
    the file they are; rows that are not flushed at its end are not.
    """
    worker, copies = StallingWorker(), []
    with closing_state(disk, TWO, worker=worker) as store:
        fill(store, 600)
        worker.close()
        store.snapshot(copies.append)
        index = 600
        while not copies:
            worker.run_job()
            worker.deliver()
            if store.is_copying and index < 620:
                index += 1
                store.write([*rows_of(index), run_row("run", index - 500, "closed")], index)
                store.flush()
        store.write(rows_of(index + 1), index + 1)
        (copy,) = copies
        assert 600 < copy.image.index <= index
        with closing_state(disk, TWO, 1) as received_state:
            pass
        name = state_file(TWO, 1)
        disk.remove(name)
        with closing(disk.open(name)) as file:
            assert file.size_bytes() == 0
            file.write(0, whole(copy, worker))
        with closing_state(disk, TWO, 1) as received_state:
            at = copy.image.index
            assert received_state.applied_index == at
            numbers = [row[1] for row in received_state.scan("runs", ("run",))]
            assert numbers == list(range(1, at + 1))
            closed = [row[1] for row in received_state.scan("runs") if row[2] == "closed"]
            assert closed == list(range(101, at - 500 + 1))
            assert received_state.get("runs", ("counter", 0)) == ("open", b"%d" % at)
        copy.discard()


def whole(copy, worker=None):
    """All bytes of a copy."""
    chunks = []
    while sum(len(chunk.data) for chunk in chunks) < copy.image.size_bytes:
        copy.read_chunk(sum(len(chunk.data) for chunk in chunks), 1 << 20, chunks.append)
        if worker is not None:
            worker.close()
    return b"".join(chunk.data for chunk in chunks)


def test_chunks_make_up_the_image(disk, copy):
    """Chunks carry their checksum, end with the file, and together are what the image says."""
    assert copy.image.index == 600
    content = whole(copy)
    assert blake2b(content, digest_size=32).digest() == copy.image.digest
    chunk = told(copy.read_chunk, 1000, 500)
    assert chunk == Chunk(1000, content[1000:1500], crc32(content[1000:1500]))
    assert told(copy.read_chunk, len(content) - 3, 500).data == content[-3:]
    assert told(copy.read_chunk, len(content), 500) == Chunk(len(content), b"", 0)


async def test_copy_is_made_in_a_thread(directory_disk):
    """With a real thread, flushes come between the steps of a copy, and the event loop goes on."""
    worker, copies, flushes = ThreadWorker("state"), [], []
    with closing_state(directory_disk, worker=worker) as store:
        fill(store, 600)
        store.snapshot(copies.append)
        index = 600
        while not copies:
            if not store.dirty:
                index += 1
                store.write(rows_of(index), index)
                store.flush(lambda index=index: flushes.append(index))
            await trio.lowlevel.checkpoint()
        (copy,) = copies
        assert 600 <= copy.image.index <= index
        assert flushes
        incoming, ends = IncomingSnapshot(directory_disk, TWO, 1, InlineWorker()), []
        offset = told(incoming.begin, copy.image)
        while offset < copy.image.size_bytes:
            chunks = []
            copy.read_chunk(offset, 1 << 20, chunks.append)
            while not chunks:
                await trio.lowlevel.checkpoint()
            offset = told(incoming.write_chunk, offset, chunks[0].data, chunks[0].checksum)
        incoming.finish(ends.append)
        assert ends == [None]
        copy.discard()
    with closing_state(directory_disk, TWO, 1) as new:
        assert new.scan("runs") == rows_at(copy.image.index)


def test_discarded_copy_is_gone(disk):
    """Nothing is left of a copy once its reader has done with it."""
    with closing_state(disk) as store:
        fill(store, 3)
        before = disk.names()
        copy = told(store.snapshot)
        assert copy.name in disk.names()
        copy.discard()
        copy.discard()
        assert disk.names() == before


def test_cancelled_copy_is_gone(disk):
    """A copy that is given up half-way tells nobody and leaves nothing; the next one succeeds."""
    worker, copies = StallingWorker(), []
    with closing_state(disk, worker=worker) as store:
        fill(store, 600)
        worker.close()
        before = disk.names()
        store.snapshot(copies.append)
        worker.run_job()
        worker.deliver()
        assert disk.names() != before
        store.cancel_snapshot()
        worker.close()
        assert (copies, disk.names()) == ([], before)
        store.snapshot(copies.append)
        worker.close()
        assert copies[0].image.index == 600
        copies[0].discard()
        worker.close()


# -- applied_index_atomic -------------------------------------------------------------------------


def test_install_replaces_log_and_state(disk, copy):
    """I31: a log and a state that a snapshot has replaced are the sender's, after a restart too:
    the same rows at the same index, its configuration, and only what comes after.
    """
    with opened_log(disk) as log:
        log.found(ONE, members(1, 2, 3))
        log.persist([(ONE, append(40)), (TWO, append(3))])
        with closing_state(disk) as old:
            fill(old, 20)
            with incoming_snapshot(disk, log.generation(ONE) + 1) as incoming:
                assert received(incoming, copy) is None
        install(log, copy)
        log.persist([(ONE, write(entry(601, 4)))])
        assert log.generation(ONE) == 1
    with opened_log(disk) as log:
        remove_leftovers(disk, log.generations())
        assert not disk.exists(state_file(ONE))
        with closing_state(disk, generation=log.generation(ONE)) as new:
            assert new.scan("runs") == rows_at(600)
            found = log.recover(ONE, new.applied_index, 1000)
        assert found.entries == (entry(601, 4),)
        assert (found.previous_index, found.previous_term) == (600, 3)
        assert (found.configuration, found.configuration_index) == (members(1, 2), 550)
        assert log.recover(TWO, 0, 1000).entries == entries(1, 3)


def install(log, copy):
    snapshot = Snapshot(copy.image.index, 3, members(1, 2), 550)
    hard_state = state(4, commit=copy.image.index)
    log.persist([(ONE, write(snapshot=snapshot, hard_state=hard_state))])


def test_install_without_its_state_is_refused(disk, copy):
    """A log is not replaced before the state that goes with it is there."""
    with opened_log(disk) as log:
        log.persist([(ONE, append(40))])
        with pytest.raises(AssertionError, match=r"state-1-1\.db was not received"):
            install(log, copy)
        assert log.recover(ONE, 0, 1000).entries == entries(1, 40)


def test_replaced_state_is_deleted_while_the_node_runs(disk, copy):
    """The old state is given up, a flush and a copy under way or not, while the new one is read."""
    worker, outcomes = StallingWorker(), []
    with incoming_snapshot(disk) as incoming:
        assert received(incoming, copy) is None
    with closing_state(disk, generation=1) as new:
        old = opened_state(disk, worker=worker)
        fill(old, 600)
        worker.close()
        old.snapshot(outcomes.append)
        worker.run_job()
        worker.deliver()
        old.write(rows_of(601), 601)
        old.flush(lambda: outcomes.append("flushed"))
        old.discard(outcomes.append)
        worker.close()
        assert outcomes == [None]
        assert not disk.exists(state_file(ONE))
        assert [name for name in disk.names() if name.startswith("copy-1")] == []
        assert new.scan("runs") == rows_at(600)
        new.write(rows_of(601), 601)
        new.flush()
        assert new.applied_index == 601


# -- snapshot_resumes -----------------------------------------------------------------------------


def test_snapshot_resumes(disk, copy):
    """A receiver that starts again goes on where it was, and one that was complete is complete."""
    with incoming_snapshot(disk) as incoming:
        offset = told(incoming.begin, copy.image)
        for _ in range(5):
            chunk = told(copy.read_chunk, offset, 70_000)
            offset = told(incoming.write_chunk, chunk.offset, chunk.data, chunk.checksum)
    assert offset == 350_000
    with incoming_snapshot(disk) as incoming:
        assert told(incoming.begin, copy.image) == offset
        assert received(incoming, copy) is None
    with incoming_snapshot(disk) as incoming:
        assert told(incoming.begin, copy.image) == copy.image.size_bytes
        assert told(incoming.finish) is None
    with closing_state(disk, generation=1) as new:
        assert new.scan("runs") == rows_at(600)


def test_another_copy_begins_anew(disk, copy):
    """Nothing of one copy goes into another, even of the same index."""
    with incoming_snapshot(disk) as incoming:
        chunk = told(copy.read_chunk, 0, 70_000)
        for other in (
            evolve(copy.image, digest=bytes(32)),
            evolve(copy.image, index=5),
            evolve(copy.image, size_bytes=100_000),
        ):
            assert told(incoming.begin, copy.image) == 0
            assert told(incoming.write_chunk, 0, chunk.data, chunk.checksum) == 70_000
            assert told(incoming.begin, other) == 0
        assert received(incoming, copy) is None


def test_damaged_chunk_is_asked_for_again(disk, copy):
    """A chunk with a wrong byte, a wrong place or nothing in it changes nothing: what is wanted
    stays wanted.
    """
    with incoming_snapshot(disk) as incoming:
        told(incoming.begin, copy.image)
        first, second = (told(copy.read_chunk, offset, 1000) for offset in (0, 1000))
        too_much = bytes(copy.image.size_bytes + 1)
        for offset, data, checksum in (
            (0, b"x" + first.data[1:], first.checksum),
            (0, first.data, first.checksum ^ 1),
            (1000, second.data, second.checksum),
            (0, b"", 0),
            (0, too_much, crc32(too_much)),
        ):
            assert told(incoming.write_chunk, offset, data, checksum) == 0
        assert told(incoming.write_chunk, 0, first.data, first.checksum) == 1000
        assert told(incoming.write_chunk, 0, first.data, first.checksum) == 1000
        assert received(incoming, copy) is None


@pytest.mark.parametrize("rotten", ["state-1-1.db", "incoming-1-1"])
def test_what_has_rotted_is_received_again(disk, copy, rotten):
    """Damage to what has arrived, or to the receipt, costs the chunks from there on: it is not
    installed, and not taken for damage of the node.
    """
    with incoming_snapshot(disk) as incoming:
        assert received(incoming, copy) is None
    with closing(disk.open(rotten)) as file:
        at = file.size_bytes() // 2
        file.write(at, bytes([file.read(at, 1)[0] ^ 4]))
    with incoming_snapshot(disk) as incoming:
        assert told(incoming.begin, copy.image) < copy.image.size_bytes
        assert received(incoming, copy) is None


@pytest.mark.parametrize("lie", ["digest", "index", "no database"])
def test_what_is_not_what_it_claims_is_deleted(disk, copy, lie):
    """A whole whose digest, index or format is not as announced is refused and deleted, so that the
    next attempt begins anew.
    """
    content = bytes(5000) if lie == "no database" else whole(copy)
    digest = bytes(32) if lie == "digest" else blake2b(content, digest_size=32).digest()
    index = 599 if lie == "index" else 600
    image = evolve(copy.image, index=index, size_bytes=len(content), digest=digest)
    with incoming_snapshot(disk) as incoming:
        offset = told(incoming.begin, image)
        while offset < len(content):
            data = content[offset : offset + 100_000]
            offset = told(incoming.write_chunk, offset, data, crc32(data))
        assert isinstance(told(incoming.finish), MalformedDataError)
        assert not disk.exists(state_file(ONE, 1))
        assert told(incoming.begin, image) == 0


def test_discarded_arrival_is_gone(disk, copy):
    """A transfer that is given up for good leaves nothing."""
    before = disk.names()
    with incoming_snapshot(disk) as incoming:
        chunk = told(copy.read_chunk, 0, 70_000)
        told(incoming.begin, copy.image)
        told(incoming.write_chunk, 0, chunk.data, chunk.checksum)
        assert disk.names() != before
        assert told(incoming.discard) is None
        assert disk.names() == before


# -- first_failed_sync_poisons, disk_full_is_an_error ---------------------------------------------


@pytest.fixture
def faulty_copy(faulty):
    """(device, disk, a copy of the state of group 2, its store)."""
    device, disk = faulty
    with closing_state(disk, TWO) as store:
        fill(store, 600)
        yield device, disk, told(store.snapshot), store


def test_failed_sync_of_an_arrival_poisons(faulty_copy, monkeypatch):
    """After a failed sync of what has arrived nothing more of it is acknowledged, though the device
    would work again; the next process reads it back, writes it again, and goes on.
    """
    device, disk, copy, _ = faulty_copy
    monkeypatch.setattr(incoming_module, "SYNC_BYTES", 300_000)
    with incoming_snapshot(disk) as incoming:
        device.fail_sync = "state-1-1.db"
        assert isinstance(received(incoming, copy), StoragePoisoned)
        device.fail_sync = ""
        for outcome in (
            told(incoming.begin, copy.image),
            told(incoming.write_chunk, 300_000, b"x", 0),
            told(incoming.finish),
        ):
            assert isinstance(outcome, StoragePoisoned)
    with incoming_snapshot(disk) as incoming:
        assert told(incoming.begin, copy.image) > 0
        assert received(incoming, copy) is None


@pytest.mark.parametrize("full", ["state-1-1.db", "incoming-1-1"])
def test_full_disk_interrupts_an_arrival(faulty_copy, full):
    """Without space a chunk is not taken, and is wanted again when there is some."""
    device, disk, copy, _ = faulty_copy
    with incoming_snapshot(disk) as incoming:
        told(incoming.begin, copy.image)
        first, second = (told(copy.read_chunk, offset, 1000) for offset in (0, 1000))
        told(incoming.write_chunk, 0, first.data, first.checksum)
        device.full = full
        outcome = told(incoming.write_chunk, 1000, second.data, second.checksum)
        assert isinstance(outcome, StorageFull)
        device.full = ""
        assert told(incoming.write_chunk, 1000, second.data, second.checksum) == 2000
        assert received(incoming, copy) is None
    with closing_state(disk, generation=1) as new:
        assert new.scan("runs") == rows_at(600)


def test_full_disk_ends_a_copy(faulty_copy):
    """A copy that finds no space is told so and deleted; the state it is of goes on, and so does
    the next copy.
    """
    device, disk, _, store = faulty_copy
    before = disk.names()
    device.full = "copy-2-0-2.db"
    assert isinstance(told(store.snapshot), StorageFull)
    assert disk.names() == before
    fill(store, 601, first=601)
    device.full = ""
    assert told(store.snapshot).image.index == 601


def test_flush_without_space_restarts_a_copy(faulty):
    """A flush that is rolled back in the midst of a copy leaves nothing of itself in the copy."""
    device, disk = faulty
    worker, copies, told_of = StallingWorker(), [], []
    with closing_state(disk, TWO, worker=worker) as store:
        store._on_failure = told_of.append
        fill(store, 600)
        worker.close()
        store.snapshot(copies.append)
        worker.run_job()
        worker.deliver()
        store.write([run_row("run", n, "closed", data=bytes(9000)) for n in range(1, 500)], 601)
        store.flush()
        device.full = "state-2.db-wal"
        while not told_of:
            worker.run_job()
            worker.deliver()
        device.full = ""
        while not copies:
            worker.run_job()
            worker.deliver()
        content = whole(copies[0], worker)
        with closing(disk.open("state-2-1.db")) as file:
            file.write(0, content)
        with closing_state(disk, TWO, 1) as again:
            assert (again.applied_index, again.scan("runs")) == (600, rows_at(600))


# -- what is left over ----------------------------------------------------------------------------


def test_leftovers_are_deleted(disk):
    """At a start states of other generations, arrivals for them, and copies go; the state of each
    group's generation stays, and the one after it while there is a receipt. What is of no known
    group, or not ours, stays as well.
    """
    kept = [
        "state-1-3.db",
        "state-1-3.db-wal",
        "state-1-4.db",
        "incoming-1-4",
        "state-2.db",
        "state-7.db",
        "incoming-7-1",
        "somebody-elses.db",
        "state-1-3.db.backup",
    ]
    gone = [
        "state-1.db",
        "state-1.db-wal",
        "state-1-2.db",
        "incoming-1-3",
        "incoming-1-2",
        "state-2-1.db",
        "copy-1-3-1.db",
        "copy-7-0-2.db-journal",
    ]
    before = disk.names()
    for name in kept + gone:
        with closing(disk.open(name)) as file:
            file.write(0, b"x")
    assert sorted(remove_leftovers(disk, {ONE: 3, TWO: 0})) == sorted(gone)
    assert disk.names() == sorted(before + kept)
    assert remove_leftovers(disk, {ONE: 3, TWO: 0}) == []
