"""The real log, state and identity of a node, over hundreds of crashes of their machine."""

from collections import Counter
from random import Random

import attrs
import pytest

from tests.simulation.disk.building import ONE, Life, found_on, make_device, recover


def lives(seed, count):
    """``count`` lives of one machine with a bad disk, each ended by a crash and judged by what the
    next finds. Returns the device, and how many lives began with a compacted log or made a copy.
    """
    compacted = copied = 0
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
        compacted += life.restored[ONE].previous_index > 0
        copied += before.copied > 0
    life.end()
    return device, compacted, copied


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
    device, _, _ = lives(seed, 12)
    assert device.statistics.power_cuts > 0


def test_misfortunes_are_met():
    """The crashes above are of every kind: in the midst of work, with sectors lost, after a failed
    sync, with a full disk; with a log that was compacted, and while the state was copied.
    """
    met = Counter()
    for seed in range(8):
        device, compacted, copied = lives(seed, 12)
        met.update(attrs.asdict(device.statistics), compacted=compacted, copied=copied)
    assert met["compacted"] > 10
    assert met["copied"] > 10
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
