"""The device of a machine: what it keeps, what it loses, and what can be done to it."""

from collections import Counter
from random import Random

import pytest

from flowactor.simulation.disk import Device
from flowactor.simulation.disk.device import DeviceFull, SyncFailed
from flowactor.simulation.disk.sectors import SECTOR_BYTES
from tests.simulation.disk.building import make_device

OLD, NEW = b"o", b"n"


def device_with(content, *, seed=1, name="file"):
    device = make_device(seed)
    file = device.open(name)
    device.write(file, content, 0)
    device.sync(file)
    return device, file


def content_after(device, *, power_cut=True, name="file"):
    return bytes(device.after_crash(power_cut=power_cut).files[name].content)


def sectors(content):
    return [content[at : at + SECTOR_BYTES] for at in range(0, len(content), SECTOR_BYTES)]


def test_power_cut_takes_or_leaves_whole_sectors():
    """What was synced stays; each sector written since is the old one or the new one, in every
    proportion from none to all.
    """
    survivors = Counter()
    for seed in range(60):
        device, file = device_with(OLD * 16 * SECTOR_BYTES, seed=seed)
        device.write(file, NEW * 8 * SECTOR_BYTES, 4 * SECTOR_BYTES + 100)
        found = sectors(content_after(device))
        assert found[:4] + found[13:] == [OLD * SECTOR_BYTES] * 7
        whole = [OLD * SECTOR_BYTES, NEW * SECTOR_BYTES]
        assert all(sector in whole for sector in found[5:12])
        assert found[4] in (OLD * SECTOR_BYTES, OLD * 100 + NEW * (SECTOR_BYTES - 100))
        survivors[sum(NEW in sector for sector in found)] += 1
    assert survivors[0] > 5
    assert survivors[9] > 5
    assert len(survivors) > 6


def test_synced_again_and_again():
    """A sync makes durable what the last one did not yet know, and nothing survives by luck only
    because it was durable in an older form.
    """
    device, file = device_with(b"1" * SECTOR_BYTES)
    device.write(file, b"2" * SECTOR_BYTES, 0)
    device.sync(file)
    device.write(file, b"3" * SECTOR_BYTES, 0)
    found = {content_after(device.copy(Random(seed))) for seed in range(20)}
    assert found == {b"2" * SECTOR_BYTES, b"3" * SECTOR_BYTES}


def test_growth_may_be_lost_or_leave_zeros():
    """A file that has grown keeps what survived of the growth: a prefix of it, or holes."""
    found = set()
    for seed in range(80):
        device, file = device_with(OLD * SECTOR_BYTES, seed=seed)
        device.write(file, NEW * 2 * SECTOR_BYTES, SECTOR_BYTES)
        parts = sectors(content_after(device))
        assert parts[0] == OLD * SECTOR_BYTES
        found.add("".join(part[:1].decode() for part in parts[1:]))
    assert found == {"", "n", "nn", "\0n", "n\0", "\0\0"}


def test_truncation_is_durable():
    """What was cut off does not come back, not even half a sector; what is added is zeros."""
    for seed in range(20):
        device, file = device_with(OLD * 3 * SECTOR_BYTES, seed=seed)
        device.write(file, NEW * 3 * SECTOR_BYTES, 0)
        device.truncate(file, SECTOR_BYTES + 10)
        device.truncate(file, 2 * SECTOR_BYTES)
        found = content_after(device)
        assert len(found) == 2 * SECTOR_BYTES
        assert found[SECTOR_BYTES + 10 :] == bytes(SECTOR_BYTES - 10)


def test_deletion_is_durable():
    """A file that was deleted is gone, and one made anew holds nothing of it."""
    device, _ = device_with(OLD * SECTOR_BYTES)
    device.delete("file")
    device.write(device.open("file"), NEW * 10, 2)
    assert content_after(device, power_cut=False) == b"\0\0" + NEW * 10


def test_killed_process_leaves_what_it_wrote():
    """A kill loses nothing that was written; a power cut later may still."""
    device, file = device_with(OLD * SECTOR_BYTES, seed=5)
    device.write(file, NEW * SECTOR_BYTES, 0)
    device = device.after_crash(power_cut=False)
    assert bytes(device.files["file"].content) == NEW * SECTOR_BYTES
    assert {content_after(device.copy(Random(seed))) for seed in range(20)} == {
        OLD * SECTOR_BYTES,
        NEW * SECTOR_BYTES,
    }


def test_dying_process_changes_nothing():
    """Whatever is done to a device after its crash works, faults or not, and nobody sees it."""
    device, file = device_with(OLD)
    device.full, device.failing_syncs = True, -1
    survivor = device.after_crash(power_cut=True)
    before = survivor.digest(), survivor.statistics.writes, survivor.seed()
    device.write(file, NEW * 5000, 0)
    device.sync(file)
    device.delete("file")
    device.seed()
    again = device_with(OLD)[0].after_crash(power_cut=True)
    assert (survivor.digest(), survivor.statistics.writes) == before[:2]
    assert again.seed() == before[2]
    assert (survivor.full, survivor.failing_syncs) == (True, -1)


def test_crash_strikes_in_the_midst():
    """Work under way at a crash is there up to some operation, from none to all of them."""
    found = set()
    for seed in range(60):
        device = make_device(seed)
        file = device.open("file")

        def dying(device=device, file=file):
            for number in range(6):
                device.write(file, b"%d" % number, number)

        survivor = device.after_crash(power_cut=False, dying=dying)
        found.add(bytes(survivor.files["file"].content))
    assert found == {b"012345"[:length] for length in range(7)}


def test_failed_sync_is_not_made_up_for():
    """After a sync that failed the next one reports success, and what the first should have written
    may still be lost; unless it is written again.
    """
    found = set()
    for seed in range(40):
        device, file = device_with(OLD * 2 * SECTOR_BYTES, seed=seed)
        device.write(file, NEW * 2 * SECTOR_BYTES, 0)
        device.failing_syncs = 1
        with pytest.raises(SyncFailed):
            device.sync(file)
        device.write(file, NEW * SECTOR_BYTES, 0)
        device.sync(file)
        first, second = sectors(content_after(device))
        assert first == NEW * SECTOR_BYTES
        found.add(second)
    assert found == {OLD * SECTOR_BYTES, NEW * SECTOR_BYTES}


def test_syncs_fail_as_long_as_they_are_told_to():
    """A number of syncs fails, or all until further notice."""
    device, file = device_with(OLD)
    outcomes = []
    for failing in (2, None, None, -1, None, 0):
        device.failing_syncs = device.failing_syncs if failing is None else failing
        try:
            device.sync(file)
            outcomes.append(True)
        except SyncFailed:
            outcomes.append(False)
    assert outcomes == [False, False, True, False, False, True]
    assert (device.statistics.syncs, device.statistics.syncs_failed) == (7, 4)


def test_full_device_can_be_overwritten():
    """On a full device no file grows; what exists takes new content."""
    device, file = device_with(OLD * 10)
    device.full = True
    device.write(file, NEW * 10, 0)
    with pytest.raises(DeviceFull):
        device.write(file, NEW * 2, 9)
    assert bytes(file.content) == NEW * 10


def test_digest_is_of_names_and_contents():
    """Devices have one digest exactly if they hold the same files, in whatever order they came."""
    one, other = Device(Random(1)), Device(Random(2))
    for name in ("a", "b"):
        one.write(one.open(name), b"x", 0)
    for name in ("b", "a"):
        other.write(other.open(name), b"x", 0)
    assert one.digest() == other.digest()
    other.write(other.open("a"), b"y", 0)
    assert one.digest() != other.digest()


def test_nothing_to_damage():
    """A device without a log has no place for damage."""
    device, file = device_with(OLD * 5000)
    assert device.flip_bit(0.5) is None
    device.misdirect_next_write(0.5)
    device.write(file, NEW * 5000, 0)
    assert bytes(file.content) == NEW * 5000
    assert device.statistics.damaged == 0
