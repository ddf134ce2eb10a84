"""Any shape of a cluster at all: the planner comes to an end, and leaves it as it ought to be."""

from hypothesis import given
from hypothesis import strategies as st

from flowactor.management.planner import Add, Create, Drain, Remove, Shape, View, plan
from flowactor.management.settings import Settings

NODES = range(1, 13)
STEPS_MAX = 500


@st.composite
def some_settings(draw):
    low = draw(st.integers(1, 3))
    target = draw(st.integers(low, low + 3))
    high = draw(st.integers(max(target + 1, 2 * low), target + 5))
    settings = Settings(
        group_size_min=low,
        group_size_target=target,
        group_size_max=high,
        split_size=draw(st.integers(low, high - low)),
        drain_threshold_thousandths=draw(st.sampled_from([200, 334, 500, 900])),
        group_count_min=draw(st.integers(1, 3)),
        shared=draw(st.booleans()),
        automatic=draw(st.integers(0, 9)) > 0,
    )
    assert settings.problem() == ""
    return settings


@st.composite
def views(draw):
    shapes = {
        key: Shape(
            draw(st.lists(st.sampled_from(NODES), unique=True, max_size=8)),
            draining=draw(st.integers(0, 5)) == 0,
            slots=draw(st.sampled_from([0, 7])),
            kept=draw(st.booleans()),
            placed=draw(st.integers(0, 4)) == 0,
        )
        for key in draw(st.lists(st.integers(1, 9), unique=True, max_size=6))
    }
    standing = {node: draw(st.sampled_from("aaaaalds")) for node in NODES}
    return View(
        shapes,
        frozenset(node for node in NODES if standing[node] == "a"),
        draw(some_settings()),
        frozenset(node for node in NODES if standing[node] == "l"),
        frozenset(node for node in NODES if standing[node] == "d"),
    )


def perform(view, actions):
    """The view once the actions are done, and a group that drains has been emptied."""
    shapes = dict(view.groups)
    last = max(shapes, default=0)
    for action in actions:
        if isinstance(action, Create):
            last += 1
            shapes[last] = Shape(action.members)
            continue
        shape = shapes.pop(action.group)
        members = set(shape.members)
        if isinstance(action, Add):
            assert action.node not in members
            members.add(action.node)
        elif isinstance(action, Remove):
            assert members.issuperset(action.nodes)
            members.difference_update(action.nodes)
        elif isinstance(action, Drain):
            shapes[action.group] = Shape(shape.members, True, 0, shape.kept, shape.placed)
            continue
        else:
            assert shape.draining
            assert not shape.slots
            continue
        shapes[action.group] = Shape(members, shape.draining, shape.slots, shape.kept, shape.placed)
    return View(shapes, view.available, view.settings, view.leaving, view.dead)


def follow(view):
    """Every view on the way to the end of the plan, with what was done in each."""
    for _ in range(STEPS_MAX):
        actions = plan(view)
        yield view, actions
        if not actions:
            return
        view = perform(view, actions)
    raise AssertionError("the plan does not come to an end")


@given(views())
def test_the_plan_ends_and_houses_everybody(view):
    """Doing what the plan says, again and again, ends; then no available node is without group, and
    nobody who leaves has a place while another could have it.
    """
    *_, (end, _) = follow(view)
    if end.settings.automatic:
        assert end.homeless() == []
        for _, shape in end.open():
            assert len(shape.members) < end.settings.group_size_max
            spare = end.available.difference(shape.members)
            full = len(shape.members) >= end.settings.group_size_target
            assert full or not spare or not end.settings.shared
    for _, shape in end.active():
        spare = end.available.difference(shape.members)
        if end.settings.shared and spare:
            assert not end.leaving.union(end.dead).intersection(shape.members)


@given(views())
def test_no_group_falls_below_the_minimum_by_the_plan(view):
    """No step takes a group below the minimum, but to let somebody go who leaves for good."""
    for before, actions in follow(view):
        after = perform(before, actions)
        for key, shape in before.groups.items():
            if key not in after.groups:
                continue
            lost = set(shape.members) - set(after.groups[key].members)
            if lost and not lost <= before.leaving:
                smaller = len(after.groups[key].members) < len(shape.members)
                enough = len(after.groups[key].members) >= before.settings.group_size_min
                assert enough or not smaller


@given(views(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(view, random):
    """Groups and members in any order give the same plan."""
    keys = list(view.groups)
    random.shuffle(keys)
    shapes = {}
    for key in keys:
        shape = view.groups[key]
        members = list(shape.members)
        random.shuffle(members)
        shapes[key] = Shape(members, shape.draining, shape.slots, shape.kept, shape.placed)
    shuffled = View(shapes, view.available, view.settings, view.leaving, view.dead)
    assert plan(shuffled) == plan(view)


@given(views())
def test_loads_are_even_where_nodes_are_shared(view):
    """At the end of a plan for shared nodes no node has two places more than another, unless an
    operator placed them there.
    """
    *_, (end, _) = follow(view)
    if not end.settings.shared or not end.settings.automatic or not end.available:
        return
    if any(shape.placed for shape in end.groups.values()):
        return
    busy = {node for _, shape in end.open() for node in shape.members}
    lightest = min(map(end.load, end.available))
    assert all(end.load(node) <= lightest + 1 for node in busy)
