"""The real log, state and identity of a node, over hundreds of crashes of their machine."""

from collections import Counter
from contextlib import suppress
from random import Random

import attrs
import pytest

from flowactor.errors import StorageCorrupt, StoragePoisoned
from flowactor.simulation.disk.damage import WAL_FILE, guarded_place
from flowactor.storage import LogStore
from tests.simulation.disk.building import (
    EVERYTHING,
    ONE,
    TWO,
    Life,
    entries,
    make_device,
    make_disk,
    state,
    write,
)


def recover(device):
    """Do to the device what a start does; returns the logs it found."""
    disk = make_disk(device)
    try:
        store = LogStore.open(disk)
        try:
            return {group: store.recover(group, 0, EVERYTHING) for group in (ONE, TWO)}
        finally:
            store.close()
    finally:
        disk.close()


def found_on(device):
    """What a start would find on the device, which stays as it is."""
    return recover(device.copy(Random(0)))


def lives(seed, count):
    """``count`` lives of one machine with a bad disk, each ended by a crash and judged by what the
    next finds. Returns the device.
    """
    random, device = Random(seed), make_device(seed)
    life = Life(device, random)
    for _ in range(count):
        if random.random() < 0.5:
            misfortune(life, random.choice(("slow", "stall", "full", "failing sync")))
        life.work(seconds=random.choice((0.001, 0.01, 0.05)), writes=random.randrange(25))
        device = life.crash(power_cut=random.random() < 0.7)
        device.full, device.failing_syncs = False, 0
        before, life = life, Life(device, random, life.agenda)
        before.check_next(life)
    life.end()
    return device


def misfortune(life, kind):
    """Something that befalls the disk of this life some time from now, for some time."""
    device, agenda = life.device, life.agenda
    begin_ns = agenda.now_ns + life.random.randrange(5_000_000)
    end_ns = begin_ns + life.random.randrange(30_000_000)
    match kind:
        case "slow":
            agenda.at(begin_ns, lambda: device.pace.slow(0.01))
            agenda.at(end_ns, lambda: device.pace.slow(0))
        case "stall":
            agenda.at(begin_ns, device.pace.stall)
            agenda.at(end_ns, device.pace.unstall)
        case "full":
            agenda.at(begin_ns, lambda: setattr(device, "full", True))
            agenda.at(end_ns, lambda: setattr(device, "full", False))
            agenda.at(end_ns, life.retry)
        case "failing sync":
            agenda.at(begin_ns, lambda: setattr(device, "failing_syncs", 1))


@pytest.mark.parametrize("seed", range(24))
def test_nothing_acknowledged_is_lost(seed):
    """Whenever a machine dies, what its process was told is durable is there at the next start, in
    order, and the rest is there up to some write or not at all; the state is that of one index. A
    disk that is slow, stalls, is full or fails to sync meanwhile changes nothing of that.
    """
    device = lives(seed, 12)
    assert device.statistics.power_cuts > 0


def test_misfortunes_are_met():
    """The crashes above are of every kind: in the midst of work, with sectors lost, after a failed
    sync, with a full disk.
    """
    met = Counter()
    for seed in range(8):
        device = lives(seed, 12)
        met.update(attrs.asdict(device.statistics))
    assert met["sectors_lost"] > 100
    assert met["syncs_failed"] > 3


@pytest.mark.parametrize("seed", range(30))
def test_recovery_is_idempotent(seed):
    """I29: a machine that dies while it recovers, again and again, recovers to the same log, and
    that log lacks nothing that was acknowledged.
    """
    random = Random(seed)
    life = Life(make_device(seed), random)
    life.work(seconds=0.02, writes=20)
    device = life.crash(power_cut=True)
    before = found_on(device)
    for _ in range(4):
        device = device.after_crash(power_cut=True, dying=lambda device=device: recover(device))
        assert found_on(device) == before
    life.check_next(Life(device, random))


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


# -- damage ---------------------------------------------------------------------------------------


def machine_with_log(seed, *, checkpoint_at=()):
    """A device whose process was killed after some acknowledged writes, and the logs on it."""
    random, device = Random(seed), make_device(seed)
    disk = make_disk(device)
    store = LogStore.open(disk)
    last = {ONE: 0, TWO: 0}
    for number in range(12):
        writes = []
        for group, before in last.items():
            after = last[group] = before + random.choice((1, 2, 5))
            fresh = entries(before + 1, after, data=random.randbytes(60))
            writes.append((group, write(*fresh, hard_state=state(commit=after))))
        store.persist(writes)
        if number in checkpoint_at:
            store.checkpoint()
    survivor = disk.crash(power_cut=False)
    store.close()
    disk.close()
    return survivor


def outcome(device, right):
    """What a start on a damaged device comes to: the right logs, or a report of damage."""
    try:
        assert found_on(device) == right
    except StorageCorrupt:
        return "reported"
    return "harmless"


def place_in_wal(device, random):
    """A place for damage that is in the WAL, before its last transaction."""
    places = iter(random.random, None)
    return next(p for p in places if guarded_place(device.files, p)[0] == WAL_FILE)


def test_flipped_bit_of_the_wal_is_reported():
    """A bit that flips before the last transaction of the WAL is always reported as damage."""
    for seed in range(100):
        device = machine_with_log(seed, checkpoint_at=(3,) if seed % 2 else ())
        right = found_on(device)
        device.flip_bit(place_in_wal(device, Random(seed)))
        assert outcome(device, right) == "reported", f"seed {seed}"


def test_misdirected_write_to_the_wal_is_reported():
    """A sector that lands on another one of the WAL is missed where it belongs, in a transaction
    that looks torn, but noticed where it landed.
    """
    for seed in range(40):
        device = machine_with_log(seed)
        device.misdirect_next_write(place_in_wal(device, Random(seed)))
        disk = make_disk(device)
        connection = disk.connect("log.db")
        connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        connection.execute("DELETE FROM entry WHERE idx = 1")
        assert device.statistics.damaged == 1
        damaged = disk.crash(power_cut=False)
        connection.close()
        disk.close()
        with pytest.raises(StorageCorrupt, match=r"log\.db-wal: frame"):
            found_on(damaged)
