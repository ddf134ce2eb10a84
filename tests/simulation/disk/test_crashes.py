"""The real log, state and identity of a node, over hundreds of crashes of their machine."""

from random import Random

import pytest

from tests.simulation.disk.building import Life, make_device


def lives(seed, count):
    """``count`` lives of one machine, each ended by a crash and judged by what the next finds."""
    random, device = Random(seed), make_device(seed)
    before = None
    for _ in range(count):
        life = Life(device, random)
        if before is not None:
            before.check_next(life)
        life.work(seconds=random.choice((0.001, 0.01, 0.05)), writes=random.randrange(25))
        before, device = life, life.crash(power_cut=random.random() < 0.7)
    return device


@pytest.mark.parametrize("seed", range(20))
def test_nothing_acknowledged_is_lost(seed):
    """Whenever a machine dies, what its process was told is durable is there at the next start, in
    order, and the rest is there up to some write or not at all; the state is that of one index.
    """
    device = lives(seed, 15)
    assert device.statistics.power_cuts > 5
