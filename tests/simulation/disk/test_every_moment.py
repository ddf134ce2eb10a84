"""Snapshots, compaction and groups that come and go, struck at each single operation of the disk:
the process dies, the power fails, a sync fails, or the disk is full from there on.
"""

from contextlib import closing, suppress
from itertools import count
from random import Random

import pytest

from flowactor.errors import StorageError, StorageFull, StoragePoisoned
from flowactor.raft import Snapshot
from flowactor.storage import IncomingSnapshot, InlineWorker, LogStore, remove_leftovers
from flowactor.storage import incoming as incoming_module
from flowactor.storage import log_store as log_module
from flowactor.storage import snapshots as snapshots_module
from tests.simulation.disk.building import (
    MishapDevice,
    make_device,
    make_disk,
    rows_at,
    rows_changed_by,
)
from tests.storage.building import (
    EVERYTHING,
    ONE,
    TWO,
    change,
    closing_state,
    entries,
    entry,
    members,
    received,
    state,
    told,
    write,
)

INSTALLED = Snapshot(40, 2, members(4), 35)
LOG = (*entries(1, 11), change(12, 1, 2), *entries(13, 30))


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    """What is a slice in production would be everything here."""
    monkeypatch.setattr(log_module, "SLICE_ROWS", 7)
    monkeypatch.setattr(incoming_module, "SYNC_BYTES", 10_000)
    monkeypatch.setattr(snapshots_module, "STEP_PAGES", 2)


@pytest.fixture(scope="module")
def copy():
    """A copy of another node's state at 40."""
    disk = make_disk(make_device(3), where="node 2")
    with closing(disk), closing_state(disk, TWO) as store:
        flush(store, 40)
        yield must(told(store.snapshot))


def flush(store, last):
    for index in range(store.applied_index + 1, last + 1):
        store.write(rows_changed_by(index), index)
    store.flush()


def must(outcome):
    """An outcome that is no error."""
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def founded():
    """A machine with a log of two groups, and the state of one."""
    device = make_device()
    with closing(make_disk(device)) as disk, closing(LogStore.open(disk)) as log:
        log.found(ONE, members(1, 2, 3))
        log.persist([(ONE, write(*LOG, hard_state=state(commit=25)))])
        log.persist([(TWO, write(*entries(1, 5), hard_state=state()))])
        with closing_state(disk) as store:
            flush(store, 20)
    return device


def after_mishaps(base, script):
    """Run ``script(disk, acknowledge)`` on copies of ``base``, each struck at another operation, in
    each way; yields the machines that are left, with what had been acknowledged.
    """
    lives = 0
    for number in count(1):
        for name, mishap in MISHAPS.items():
            device = MishapDevice(base, number, mishap)
            with closing(make_disk(device)) as disk, suppress(StorageFull, StoragePoisoned):
                script(disk, device.acknowledged.append)
            if device.left is None:
                assert lives > 40, "the script does too little to be struck"
                return
            lives += 1
            if name == "death":
                yield device.left.copy(Random(0)), device.promised
                for seed in range(2):
                    image = device.left.copy(Random(seed))
                    yield image.after_crash(power_cut=True), device.promised
            else:
                device.full, device.failing_syncs = False, 0
                survivor = device.copy(Random(number))
                yield survivor.after_crash(power_cut=number % 2 == 0), device.acknowledged


def fail_syncs(device):
    device.failing_syncs = 1


def fill_up(device):
    device.full = True


MISHAPS = {"death": lambda _: None, "failed sync": fail_syncs, "full disk": fill_up}


def start(disk):
    """What a node does at its start; log and state of group 1."""
    log = LogStore.open(disk)
    remove_leftovers(disk, log.generations())
    return log


# -- applied_index_atomic: install ----------------------------------------------------------------


def test_install_is_atomic(copy):
    """Whatever strikes while a snapshot is installed, the next start finds the old log with the old
    state or the new one with the new, never a mixture, and the new ones if that was acknowledged;
    the other group keeps what it had; and a second start finds the same.
    """
    base = founded()
    with closing(make_disk(base)) as disk:
        incoming = IncomingSnapshot(disk, ONE, 1, InlineWorker())
        assert received(incoming, copy, 4096) is None
    seen = set()
    for device, promised in after_mishaps(base, install):
        found = look_at_install(device, promised)
        assert look_at_install(device, promised) == found
        seen.add(found[0])
    assert seen == {0, 1}


def install(disk, acknowledge):
    log = LogStore.open(disk)
    with closing(log), closing_state(disk) as old:
        hard_state = state(3, commit=40)
        log.persist(
            [
                (TWO, write(entry(6))),
                (ONE, write(snapshot=INSTALLED, hard_state=hard_state)),
            ]
        )
        acknowledge("installed")
        must(told(old.discard))
        with closing_state(disk, generation=log.generation(ONE)) as new:
            while log.compact(ONE, 40):
                pass
            log.persist([(ONE, write(entry(41, 3)))])
            acknowledge("appended")
            flush(new, 41)


def look_at_install(device, promised):
    with closing(make_disk(device)) as disk, closing(start(disk)) as log:
        generation = log.generation(ONE)
        with closing_state(disk, generation=generation) as store:
            applied = store.applied_index
            assert store.scan("runs") == rows_at(applied)
        one, two = log.recover(ONE, applied, EVERYTHING), log.recover(TWO, 0, EVERYTHING)
        if generation == 0:
            assert "installed" not in promised
            assert (one.entries, one.configuration, applied) == (LOG, members(1, 2, 3), 20)
            assert two.entries == entries(1, 5)
        else:
            assert (one.previous_index, one.previous_term) == (40, 2)
            assert (one.configuration, one.configuration_index) == (members(4), 35)
            assert one.entries in ((), (entry(41, 3),))
            assert one.entries or "appended" not in promised
            assert one.hard_state == state(3, commit=40)
            assert two.entries == entries(1, 6)
            assert not disk.exists("state-1.db")
        return generation, applied, one


# -- recovery_idempotent: compaction --------------------------------------------------------------


def test_compaction_loses_nothing():
    """Whatever strikes while a log is compacted, in slices with writes between them, everything
    that counts is there, and the compaction can be done again to its end.
    """
    base, begun = founded(), set()
    for device, promised in after_mishaps(base, compact):
        for _ in range(2):
            with closing(make_disk(device)) as disk, closing(start(disk)) as log:
                found = log.recover(ONE, 20, EVERYTHING)
                begun.add(found.previous_index)
                last = max([30, *promised])
                assert found.entries[: last - found.previous_index] == tuple(
                    (*LOG, *entries(31, last))[found.previous_index :]
                )
                newest = (members(1, 2), 12) if found.previous_index else (members(1, 2, 3), 0)
                assert (found.configuration, found.configuration_index) == newest
                assert log.recover(TWO, 0, EVERYTHING).entries == entries(1, 5)
        with closing(make_disk(device)) as disk, closing(start(disk)) as log:
            while log.compact(ONE, 20):
                pass
            size = log.size(ONE)
            living = log.read(ONE, 21, size.last_index, EVERYTHING)[1]
            assert size.first_index == 21
            assert size.data_bytes == sum(len(entry.data) for entry in living)
        with closing(make_disk(device)) as disk, closing(start(disk)) as log:
            assert log.recover(ONE, 20, EVERYTHING).entries == living
    assert begun == {0, 15, 20}


def compact(disk, acknowledge):
    with closing(LogStore.open(disk)) as log:
        index = 30
        for wished in (15, 20):
            while log.compact(ONE, wished):
                index += 1
                log.persist([(ONE, write(entry(index)))])
                acknowledge(index)
        log.checkpoint()


# -- snapshot_resumes -----------------------------------------------------------------------------


def test_arrival_resumes(copy):
    """Whatever strikes while a state arrives, the next start goes on at least from what was synced
    last, gets the whole, and that is the sender's.
    """
    resumed = set()
    for device, promised in after_mishaps(founded(), arrive(copy)):
        with closing(make_disk(device)) as disk, closing(start(disk)) as log:
            incoming = IncomingSnapshot(disk, ONE, 1, InlineWorker())
            offset = must(told(incoming.begin, copy.image))
            assert max([0, *promised]) <= offset <= copy.image.size_bytes
            resumed.add(offset)
            assert received(incoming, copy, 4096) is None
            with closing_state(disk, generation=log.generation(ONE)) as old:
                assert old.scan("runs") == rows_at(20)
            hard_state = state(2, commit=40)
            log.persist([(ONE, write(snapshot=INSTALLED, hard_state=hard_state))])
        look_at_arrival(device)
    assert len(resumed) > 4


def look_at_arrival(device):
    with (
        closing(make_disk(device.after_crash(power_cut=True))) as disk,
        closing(start(disk)) as log,
        closing_state(disk, generation=log.generation(ONE)) as store,
    ):
        assert store.applied_index == 40
        assert store.scan("runs") == rows_at(40)


def arrive(copy):
    def script(disk, acknowledge):
        incoming = IncomingSnapshot(disk, ONE, 1, InlineWorker())
        offset = must(told(incoming.begin, copy.image))
        while offset < copy.image.size_bytes:
            chunk = must(told(copy.read_chunk, offset, 4096))
            chunk_done = told(incoming.write_chunk, chunk.offset, chunk.data, chunk.checksum)
            offset = must(chunk_done)
            if not incoming._unsynced_bytes:
                acknowledge(offset)
        must(told(incoming.finish))
        acknowledge(offset)

    return script


# -- copies, groups -------------------------------------------------------------------------------


def test_copy_disturbs_nothing():
    """Whatever strikes while a copy is made, the state is that of one index, and the copy is gone
    at the next start.
    """
    for device, promised in after_mishaps(founded(), copy_while_flushing):
        with closing(make_disk(device)) as disk, closing(start(disk)):
            assert [name for name in disk.names() if name.startswith("copy")] == []
            with closing_state(disk) as store:
                assert store.scan("runs") == rows_at(store.applied_index)
                assert store.durable_index == store.applied_index >= 20
                if not device.statistics.power_cuts:
                    assert store.applied_index >= max([20, *promised])


def copy_while_flushing(disk, acknowledge):
    with closing_state(disk) as store:
        for index in range(21, 26):
            copy = must(told(store.snapshot))
            assert copy.image.index == index - 1
            store.write(rows_changed_by(index), index)
            store.flush(lambda index=index: acknowledge(index))
            copy.discard()


def test_groups_come_and_go_whole():
    """Whatever strikes while groups are founded and dropped, each is there whole or not at all, and
    its state is never that of the group that had its number before.
    """
    for device, promised in after_mishaps(founded(), come_and_go):
        with closing(make_disk(device)) as disk, closing(start(disk)) as log:
            found = log.recover(ONE, 0, EVERYTHING)
            wholes = {
                "before": (LOG, members(1, 2, 3)),
                "dropped": ((), members()),
                "founded": ((), members(7)),
                "written": (entries(1, 3), members(7)),
            }
            last = list(wholes).index(promised[-1] if promised else "before")
            assert (found.entries, found.configuration) in list(wholes.values())[last : last + 2]
            with closing_state(disk, generation=log.generation(ONE)) as store:
                assert store.applied_index == (20 if found.entries == LOG else 0)
            assert (ONE in log.groups()) == (found.configuration != members())
            assert log.recover(TWO, 0, EVERYTHING).entries == entries(1, 5)


def come_and_go(disk, acknowledge):
    with closing(LogStore.open(disk)) as log:
        log.drop(ONE)
        acknowledge("dropped")
        log.found(ONE, members(7))
        acknowledge("founded")
        with closing_state(disk, generation=log.generation(ONE)) as store:
            assert store.applied_index == 0
        log.persist([(ONE, write(*entries(1, 3), hard_state=state()))])
        acknowledge("written")
        remove_leftovers(disk, log.generations())
        with suppress(StorageError):
            log.checkpoint()
