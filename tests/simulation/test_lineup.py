"""Drawing who comes and goes: valid, the same for a seed, and of every kind."""

from collections import Counter
from random import Random

from flowactor.simulation.changes import Join, check_changes, kind_of_change
from flowactor.simulation.faults import Crash
from flowactor.simulation.lineup import Lineup, draw_changes, draw_lineup
from flowactor.simulation.scenario import Depth
from simulations.swarm import draw, draw_at, draw_changing

CRASHES = tuple(Crash(node, 1.0 + node, 1.5 + node) for node in (1, 2, 3))


def drawn(seed, faults=CRASHES, seconds=6.0):
    chance = Random(seed)
    lineup = draw_lineup(chance)
    return lineup, draw_changes(chance, lineup, faults[: lineup.machines], seconds)


def test_changes_can_be_played():
    """Whatever is drawn fits the faults, begins in time, and lets everybody join who is to."""
    for seed in range(300):
        lineup, changes = drawn(seed)
        check_changes(changes, CRASHES[: lineup.machines], lineup.nodes)
        assert sum(isinstance(change, Join) for change in changes) == lineup.joining
        assert all(0 <= change.at <= 6.0 for change in changes)
        assert list(changes) == sorted(changes, key=lambda change: change.at)


def test_every_kind_is_drawn():
    """No kind of change is forgotten, and some things happen at one moment."""
    kinds, at_once = Counter(), 0
    for seed in range(100):
        _, changes = drawn(seed)
        kinds.update(map(kind_of_change, changes))
        times = Counter(change.at for change in changes)
        at_once += max(times.values(), default=0) > 1
    assert set(kinds) == {"join", "remove", "restart", "replace"}
    assert min(kinds.values()) > 20
    assert at_once > 20


def test_the_same_seed_draws_the_same():
    """A seed is a run for ever; another one is another."""
    assert drawn(7) == drawn(7)
    assert len({drawn(seed)[1] for seed in range(20)}) > 15


def test_nobody_replaces_the_only_disks():
    """Where two nodes are all there are, no disk is replaced: the other alone could not agree."""
    for seed in range(200):
        changes = draw_changes(Random(seed), Lineup(2, 0), (), 5.0)
        assert "replace" not in set(map(kind_of_change, changes))


def test_the_swarm_changes_clusters_at_node_depth_only():
    """Runs of core depth are as they were; of those of whole nodes about half change."""
    seeds = range(40)
    assert all(draw_at(Depth.CORE)(seed) == draw(seed) for seed in seeds)
    assert not any(draw(seed).changes for seed in seeds)
    assert 10 <= sum(bool(draw_changing(seed).changes) for seed in seeds) <= 30
