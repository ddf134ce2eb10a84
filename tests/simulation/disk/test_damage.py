"""Damage at rest: whatever bit of the log is wrong, nothing acknowledged is lost in silence.

A sample of the bits is tried here, all of them by ``every_bit.py``.
"""

from contextlib import suppress
from random import Random

import pytest

from flowactor.errors import StorageCorrupt, StorageRefused
from flowactor.identity import NodeId
from flowactor.simulation.disk.damage import WAL_FILE, guarded_place
from flowactor.storage import InlineWorker, StateStore, open_identity
from tests.simulation.disk.building import (
    HERE,
    ONE,
    TABLES,
    found_on,
    make_device,
    make_disk,
    rows_changed_by,
)
from tests.simulation.disk.damaging import (
    MAIN_FILE,
    closed_log,
    flipped,
    guarded_bits,
    killed_log,
    look,
    outcome,
    without_last_write,
)

MAIN_STEP, WAL_STEP = 997, 1609
"""One bit in so many is tried: primes, so that all places of a byte, row and page take turns."""


def test_bit_of_the_main_file():
    """A wrong bit of ``log.db`` is reported at the start, or changes nothing of what is found, then
    and after some work: one of so many, and each of those that count the cells of a page.
    """
    device, last = closed_log()
    right = look(device, last)
    outcomes = []
    size = len(device.files[MAIN_FILE].content)
    sample = set(range(0, 8 * size, MAIN_STEP))
    for page in range(4096, size, 4096):
        sample.update(range(8 * (page + 3), 8 * (page + 5)))
    for bit in sorted(sample):
        flipped(device, MAIN_FILE, bit)
        outcomes.append(outcome(right, look, device, last))
        flipped(device, MAIN_FILE, bit)
    assert {"reported", "harmless"} == set(outcomes)


def test_bit_of_the_wal():
    """A wrong bit of a transaction that another one follows in the WAL is reported. One of the last
    may be, or cost that one, which looks like one that was never finished, and no other.
    """
    for seed in range(2):
        device = killed_log(seed, checkpoint_at=(3,) if seed % 2 else ())
        right, before = found_on(device), without_last_write(device)
        guarded = guarded_bits(device)
        assert before != right
        for bit in range(seed, 8 * len(device.files[WAL_FILE].content), WAL_STEP):
            flipped(device, WAL_FILE, bit)
            if bit < guarded:
                assert outcome(right, found_on, device) == "reported", f"bit {bit}"
            else:
                assert outcome(right, found_on, device, before=before) in ("reported", "harmless")
            flipped(device, WAL_FILE, bit)


def place_in_wal(device, random):
    """A place for damage that is in the WAL, before its last transaction."""
    places = iter(random.random, None)
    return next(p for p in places if guarded_place(device.files, p)[0] == WAL_FILE)


def test_flipped_bit_of_the_wal_is_reported():
    """The fault of that name, too, is always reported where it can be told from a torn tail."""
    for seed in range(100):
        device = killed_log(seed, checkpoint_at=(3,) if seed % 2 else ())
        right = found_on(device)
        device.flip_bit(place_in_wal(device, Random(seed)))
        assert outcome(right, found_on, device) == "reported", f"seed {seed}"


def test_misdirected_write_to_the_wal_is_reported():
    """A sector that lands on another one of the WAL is missed where it belongs, in a transaction
    that looks torn, but noticed where it landed.
    """
    for seed in range(40):
        device = killed_log(seed)
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


def test_sector_of_the_main_file():
    """A sector of ``log.db`` that is another one of it, or zeros, is reported or does no harm."""
    device, last = closed_log()
    right = look(device, last)
    content = device.files[MAIN_FILE].content
    sectors = range(0, len(content), 512)
    random = Random(4)
    for at in random.sample(sectors, 40):
        before = bytes(content[at : at + 512])
        source = random.choice(sectors)
        for sector in (bytes(512), bytes(content[source : source + 512])):
            content[at : at + 512] = sector
            assert outcome(right, look, device, last) in ("reported", "harmless")
            content[at : at + 512] = before


def test_bit_of_identity_and_state():
    """A wrong bit of the other files raises no error but ``StorageCorrupt``, or what the changed
    value amounts to: another node, other columns. Values carry no checksum there.
    """

    def fail(error):
        raise error

    def identity(disk):
        open_identity(disk, HERE, NodeId(1), 7, {"peers": "a"})

    def rows(disk):
        store = StateStore(disk, ONE, TABLES, InlineWorker(), on_failure=fail)
        try:
            store.scan("runs")
            store.select("SELECT * FROM runs WHERE status = 'open'")
            if store.applied_index < 9:
                store.write(rows_changed_by(9), 9)
        finally:
            store.close()

    device = make_device()
    disk = make_disk(device)
    identity(disk)
    rows(disk)
    disk.close()
    for name, use in (("identity.db", identity), ("state-1.db", rows)):
        used = [at for at, byte in enumerate(device.files[name].content) if byte]
        for at in used[::3]:
            flipped(device, name, 8 * at + at % 8)
            image = make_disk(device.copy(Random(0)))
            with suppress(StorageCorrupt, StorageRefused):
                use(image)
            image.close()
            flipped(device, name, 8 * at + at % 8)
