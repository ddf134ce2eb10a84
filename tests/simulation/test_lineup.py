"""Drawing who comes and goes: valid, the same for a seed, and of every kind."""

from collections import Counter
from itertools import pairwise
from random import Random
from typing import get_args

from flowactor.limits import OWNER_LEASE_SECONDS
from flowactor.raft import Configuration
from flowactor.simulation.changes import Join, Remove, Reshape, check_changes, kind_of_change
from flowactor.simulation.core.cluster import next_shape
from flowactor.simulation.faults import Crash
from flowactor.simulation.lineup import (
    Lineup,
    draw_absences,
    draw_blows,
    draw_changes,
    draw_lineup,
    draw_orders,
    draw_shapes,
)
from flowactor.simulation.orders import Order
from flowactor.simulation.quarrels import NODES, draw_quarrel
from flowactor.simulation.scenario import Depth
from simulations.swarm import draw_at

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


def test_the_swarm_changes_clusters_as_each_depth_can():
    """Of the runs of whole nodes about half change, most of them groups and slots as well; of those
    of core depth a fourth changes who votes, and nothing else.
    """
    seeds = range(80)
    at_core = [draw_at(Depth.CORE)(seed).changes for seed in seeds]
    assert 10 <= sum(map(bool, at_core)) <= 35
    assert {type(change) for changes in at_core for change in changes} == {Reshape}
    at_node = [draw_at(Depth.NODE)(seed).changes for seed in seeds]
    assert 25 <= sum(map(bool, at_node)) <= 55
    assert 15 <= sum(any(isinstance(change, Order) for change in one) for one in at_node) <= 40


def test_every_order_is_drawn():
    """No kind of order is forgotten, and all of them can be given in the time there is."""
    kinds = Counter()
    for seed in range(200):
        chance = Random(seed)
        orders = draw_orders(chance, draw_lineup(chance), 6.0)
        kinds.update(map(kind_of_change, orders))
        assert all(0 <= order.at <= 6.0 for order in orders)
        assert list(orders) == sorted(orders, key=lambda order: order.at)
    assert set(kinds) == {kind.__name__.lower() for kind in get_args(Order)}
    assert min(kinds.values()) > 10


def drawn_crashes(draw):
    """All that ``draw`` has of a hundred seeds: for each the changes, and the crashes that fit."""
    lineup, faults = Lineup(3, 2), (Crash(1, 2.0, 3.0),)
    for seed in range(100):
        chance = Random(seed)
        changes = draw_changes(chance, lineup, faults, 8.0)
        crashes = draw(chance, lineup, changes, faults, 8.0)
        check_changes(changes, (*faults, *crashes), lineup.nodes)
        yield changes, crashes


def begun(changes, crash, *kinds):
    """When the machine that crashes was told to do one of these."""
    return [c.at for c in changes if isinstance(c, kinds) and c.node == crash.node]


def test_blows_fall_on_those_who_come_and_go():
    """Each machine that is struck joins or is taken out just then, and nothing else has it down."""
    found = []
    for changes, blows in drawn_crashes(draw_blows):
        for blow in blows:
            assert any(0 < blow.at - at < 0.7 for at in begun(changes, blow, Join, Remove))
        found.append(bool(blows))
    assert 50 < sum(found) < 100


def test_absences_are_those_of_who_is_taken_out():
    """Each machine is silent for a lease before it is taken out, and comes back after that."""
    found = []
    for changes, absences in drawn_crashes(draw_absences):
        for absence in absences:
            removed = begun(changes, absence, Remove)
            assert any(absence.at + OWNER_LEASE_SECONDS < at for at in removed)
            assert absence.until is None or any(at < absence.until for at in removed)
        found.append(bool(absences))
    assert 10 < sum(found) < 100


def test_quarrels_are_about_everybody():
    """Each can be played; who is cut off, who dies and whose vote is taken is another each time."""
    quarrels = [draw_quarrel(Random(seed)) for seed in range(100)]
    for quarrel in quarrels:
        check_changes(quarrel.shapes, quarrel.faults, NODES)
        assert max(act.at for act in quarrel.acts) <= quarrel.seconds
    assert {quarrel.faults[0].node for quarrel in quarrels} == {1, 2, 3, 4}
    assert {quarrel.faults[4].node for quarrel in quarrels} == {1, 2, 3, 4}
    assert len({quarrel.shapes[0].voters for quarrel in quarrels}) == NODES


def test_shapes_follow_each_other():
    """There is one at a time, each with a voter, some of one step and some of several."""
    for seed in range(100):
        shapes = draw_shapes(Random(seed), 4, 6.0)
        check_changes(shapes, (), 4)
        assert shapes
        assert all(one.until <= other.at for one, other in pairwise(shapes))
    assert {shape.at_once for shape in shapes} == {True, False}
    drawn = [shape.alone for seed in range(100) for shape in draw_shapes(Random(seed), 4, 6.0)]
    assert 1 / 20 < sum(drawn) / len(drawn) < 1 / 3


def test_who_comes_back_learns_first():
    """Whoever is no member gets no vote before it is a learner; who loses its vote is a learner, or
    if the voters are to be alone no member; in the end the group is as it was wished.
    """
    for wish in (Reshape((1, 4), 1.0, alone=True), Reshape((1, 4), 1.0, at_once=True)):
        present, steps = Configuration((2, 3), (1,)), []
        while (wanted := next_shape(wish, present, (1, 2, 3, 4))) is not None:
            assert set(wanted.voters) <= set(present.members)
            present, steps = wanted, [*steps, wanted]
        assert present == Configuration((1, 4), () if wish.alone else (2, 3))
        assert len(steps) == (2 if wish.at_once else 5)
