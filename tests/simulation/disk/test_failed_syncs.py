"""A sync fails, its process dies of it, another starts on the same machine, the power fails."""

from contextlib import ExitStack, suppress
from random import Random

import pytest

from flowactor.errors import StorageError, StoragePoisoned
from flowactor.identity import NodeId
from flowactor.simulation.disk import Device
from flowactor.storage import LogStore, StateStore, open_identity, read_identity, remember
from flowactor.storage.workers import InlineWorker
from tests.simulation.disk.building import (
    EVERYTHING,
    HERE,
    ONE,
    TABLES,
    TWO,
    entries,
    found_on,
    make_device,
    make_disk,
    recover,
    rows_at,
    rows_changed_by,
    state,
    write,
)


def test_restart_after_a_failed_sync_loses_nothing():
    """After a failed sync the kernel shows what it did not write, and no later sync writes it. The
    process that starts next on the same machine finds it in the WAL, and a power cut after its
    checkpoint takes it from there again: the pages in the main file are newer than others then.
    """
    for seed in range(40):
        random, acknowledged = Random(seed), 0
        device = make_device(seed)
        for _ in range(3):
            disk = make_disk(device)
            store = LogStore.open(disk)
            last = store._tail(ONE).last_index
            with suppress(StoragePoisoned):
                for index in range(last + 1, last + 8):
                    device.failing_syncs = int(random.random() < 0.2)
                    fresh = entries(index, index, data=random.randbytes(900))
                    store.persist([(ONE, write(*fresh, hard_state=state()))])
                    acknowledged = index
            device = disk.crash(power_cut=False)
            device.failing_syncs = 0
            store.close()
            disk.close()
        found = found_on(device.after_crash(power_cut=True))[ONE]
        assert len(found.entries) >= acknowledged, f"seed {seed}"


class DyingDevice(Device):
    """Its sync of this number (from 1) fails, and ``left`` is the machine as it is at that moment:
    a process that dies of it cleans nothing up.
    """

    def __init__(self, random, number):
        super().__init__(random)
        self.left, self._number = None, number

    def sync(self, file):
        self._number -= 1
        self.failing_syncs = int(self._number == 0)
        try:
            super().sync(file)
        finally:
            if self._number == 0:
                self.left = self.copy(Random(1))


def write_identity(disk):
    open_identity(disk, HERE, NodeId(1), 7, {"peers": "a"})
    remember(disk, {"peers": "b"})
    remember(disk, {"peers": "c"})


def write_log(disk):
    store = LogStore.open(disk)
    for index in range(1, 5):
        store.persist([(ONE, write(*entries(index, index), hard_state=state()))])
        if index == 2:
            store.checkpoint()
    store.close()


def opened_state(disk):
    def fail(error):
        raise error

    return StateStore(disk, ONE, TABLES, InlineWorker(), on_failure=fail)


def write_state(disk):
    store = opened_state(disk)
    for index in range(1, 12):
        store.write(rows_changed_by(index), index)
        store.flush()
        if index == 2:
            store._checkpoint()
    store.close()


def look_at_identity(disk, end):
    found = read_identity(disk)
    return None if found is None else dict(found.facts)


def look_at_log(disk, end):
    store = LogStore.open(disk)
    end.callback(store.close)
    return store.recover(ONE, 0, EVERYTHING)


def look_at_state(disk, end):
    store = opened_state(disk)
    end.callback(store.close)
    assert store.scan("runs") == rows_at(store.applied_index)
    assert store.durable_index == store.applied_index
    return store.applied_index


FILES = {
    "identity": (write_identity, look_at_identity),
    "log": (write_log, look_at_log),
    "state": (write_state, look_at_state),
}


@pytest.mark.parametrize(("write_file", "look"), FILES.values(), ids=list(FILES))
def test_what_was_found_once_is_found_again(write_file, look):
    """Whichever sync of a file fails, at its making, in a commit or in a checkpoint: what the next
    process finds in it is still there after a power cut, whatever that takes.
    """
    for number in range(1, 100):
        device = DyingDevice(Random(number), number)
        with suppress(StorageError):
            write_file(make_disk(device))
        if device.left is None:
            assert number > 8
            return
        device.left.failing_syncs = 0
        with ExitStack() as end:
            found = look(make_disk(device.left), end)
            images = [device.left.copy(Random(seed)) for seed in range(100)]
        for seed, image in enumerate(images):
            after = make_disk(image.after_crash(power_cut=True))
            with ExitStack() as end:
                assert look(after, end) == found, f"sync {number}, seed {seed}"


def test_start_that_fails_again_and_again_loses_nothing():
    """A disk on which starts fail to sync, one after the other, keeps what was acknowledged: in the
    end, and if the power fails before.
    """
    for seed in range(20):
        random, device = Random(seed), make_device(seed)
        disk = make_disk(device)
        store = LogStore.open(disk)
        for index in range(1, 9):
            store.persist([(ONE, write(*entries(index, index), hard_state=state()))])
        device = disk.crash(power_cut=random.random() < 0.5)
        for _ in range(5):
            device.failing_syncs = random.randrange(3)
            with suppress(StoragePoisoned):
                recover(device)
            device = device.after_crash(power_cut=random.random() < 0.5)
        device.failing_syncs = 0
        assert found_on(device)[ONE].entries == entries(1, 8)
        assert found_on(device)[TWO].entries == ()
