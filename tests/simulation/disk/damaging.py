"""Small logs to damage, and what a start makes of them."""

from random import Random

from flowactor.errors import StorageCorrupt
from flowactor.simulation.disk.damage import WAL_FILE, _guarded_wal_bytes
from flowactor.storage import LogStore
from flowactor.storage.faults import KEEP
from tests.simulation.disk.building import (
    EVERYTHING,
    ONE,
    TWO,
    entries,
    found_on,
    make_device,
    make_disk,
    state,
    write,
)
from tests.storage.building import change, members

MAIN_FILE = "log.db"


def closed_log(seed=1):
    """(device, last index of each group): everything is in the main file, in a tree of several
    leaves, with a long entry on pages of its own and pages that compaction has freed. The payloads
    are short, so most bits say where a row is. No commit index vouches for the ends.
    """
    random, device = Random(seed), make_device(seed)
    disk = make_disk(device)
    store = LogStore.open(disk)
    store.found(ONE, members(1, 2, 3))
    last = {ONE: 0, TWO: 0}
    for number in range(24):
        writes = []
        for group, before in last.items():
            is_long = number == 2
            after = last[group] = before + (1 if is_long else random.choice((1, 2, 5, 9)))
            size = 5000 if is_long else random.choice((0, 3))
            fresh = entries(before + 1, after, data=random.randbytes(size))
            if number % 6 == 4:
                fresh = (*fresh[:-1], change(after, number))
            writes.append((group, write(*fresh, hard_state=state(commit=1))))
        store.persist(writes)
    store.compact(ONE, 12)
    store.close()
    disk.close()
    return device, last


def look(device, last):
    """What a start finds on the device, which stays as it is, and the next one after some work."""
    found = []
    disk = make_disk(device.copy(Random(0)))
    try:
        for go_on in (True, False):
            store = LogStore.open(disk)
            try:
                for group, index in last.items():
                    start = store._tail(group).start.index
                    found.append(store.recover(group, start, EVERYTHING))
                    found.append(store.read(group, start + 1, index, EVERYTHING))
                    found.extend(store.snapshot_at(group, at) for at in (start, index))
                    if go_on:
                        fresh = entries(index + 1, index + 30, data=bytes(200))
                        store.persist([(group, write(*fresh, hard_state=state(commit=index)))])
            finally:
                store.close()
    finally:
        disk.close()
    return found


def outcome(right, see, *arguments, before=None):
    """What a start on a damaged device comes to, as seen by this: what is right, or a report; what
    was right ``before`` the last write, where that one is damaged.
    """
    try:
        found = see(*arguments)
    except StorageCorrupt as error:
        return "reported" if KEEP in str(error) else "reported without a word of what to do"
    assert found in (right, before or right)
    return "harmless"


def flipped(device, name, bit):
    """The device with this bit of a file changed. Once more, and it is as it was."""
    device.files[name].content[bit // 8] ^= 1 << bit % 8
    return device


def killed_log(seed, *, checkpoint_at=()):
    """A device whose process was killed after some acknowledged writes, which its WAL holds."""
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


def guarded_bits(device):
    """How many bits of the WAL come before its last transaction."""
    return 8 * _guarded_wal_bytes(device.files)


def without_last_write(device):
    """What is found if the last transaction of the WAL is dropped."""
    copy = device.copy(Random(0))
    del copy.files[WAL_FILE].content[guarded_bits(device) // 8 :]
    return found_on(copy)
