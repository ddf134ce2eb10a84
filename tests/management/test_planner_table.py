"""The table of cases of the planner: target 3, minimum 2, maximum 6, split 3, drain 0.5."""

import pytest

from flowactor.management.planner import (
    Add,
    Create,
    Destroy,
    Drain,
    Remove,
    Shape,
    View,
    consolidate,
    place,
    plan,
    rebalance,
    split,
)
from flowactor.management.settings import Settings

ALONE = Settings(shared=False)
"""Each node serves in one group: then the whole plan begins as the table says, in each case."""


def groups(*members, draining=()):
    return {key: Shape(nodes, draining=key in draining) for key, nodes in enumerate(members, 1)}


SIX = [1, 2, 3, 4, 5, 6]
PLACES = [
    (groups(), 1, [Create((1,))]),
    (groups([1], [2, 3]), 4, [Add(1, 4)]),
    (groups([1, 2, 3], [4, 5, 6]), 7, [Create((7,))]),
    (groups([1], [2, 3, 4], draining=(1,)), 5, [Create((5,))]),
]
STEPS = [
    (split, groups(SIX), [Create((1, 2, 3)), Remove(1, (1, 2, 3))]),
    (split, groups([1, 2, 3, 4, 5]), []),
    (
        split,
        groups(SIX, [7, 8, 9, 10, 11, 12]),
        [
            Create((1, 2, 3)),
            Remove(1, (1, 2, 3)),
            Create((7, 8, 9)),
            Remove(2, (7, 8, 9)),
        ],
    ),
    (split, groups(SIX, draining=(1,)), []),
    (split, groups([6, 2, 4, 1, 5, 3]), [Create((1, 2, 3)), Remove(1, (1, 2, 3))]),
    (rebalance, groups([1], [2, 3, 4, 5]), [Add(1, 2)]),
    (rebalance, groups([1, 2], [3, 4]), []),
    (rebalance, groups([1], [2, 3, 4], [5, 6, 7, 8]), [Add(1, 5)]),
    (consolidate, groups([], draining=(1,)), [Destroy(1)]),
    (consolidate, groups([1], [2], [3, 4]), [Drain(1)]),
    (consolidate, groups([1, 2, 3], [4, 5, 6]), []),
    (consolidate, groups(), []),
]


def everybody(shapes):
    return frozenset(node for shape in shapes.values() for node in shape.members)


@pytest.mark.parametrize("settings", [Settings(), ALONE], ids=["shared", "alone"])
@pytest.mark.parametrize(("shapes", "node", "expected"), PLACES)
def test_a_new_node_gets_its_place(shapes, node, expected, settings):
    """A-R18, place: the smallest group below the target, else a new one; never one that drains."""
    view = View(shapes, everybody(shapes) | {node}, settings)
    assert list(place(view, node)) == expected
    assert list(plan(view)) == expected


@pytest.mark.parametrize(("step", "shapes", "expected"), STEPS)
def test_a_step_does_as_the_table_says(step, shapes, expected):
    """A-R18, split, rebalance and consolidate: exactly the actions of the table."""
    assert list(step(View(shapes, everybody(shapes)))) == expected


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [(shapes, expected) for _, shapes, expected in STEPS if not shapes.get(1, Shape(())).draining],
)
def test_the_plan_begins_as_the_table_says(shapes, expected):
    """A-R18: where each node serves in one group, the whole plan begins with the table's step."""
    assert list(plan(View(shapes, everybody(shapes), ALONE))) == expected


def test_the_minimum_count_of_groups_is_kept():
    """A-R18: groups [1] and [2, 3] are too many for their nodes, but two are to be there."""
    shapes = groups([1], [2, 3])
    view = View(shapes, everybody(shapes), Settings(group_count_min=2))
    assert consolidate(view) == ()
    assert consolidate(View(shapes, everybody(shapes))) == (Drain(1),)
