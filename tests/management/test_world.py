"""The plan is reached from any point, by nodes and leaders that know only what they know."""

import pytest

from flowactor.limits import SLOTS
from flowactor.management import Liveness, NodeState
from flowactor.management.operations import (
    AbortMove,
    ChangeSettings,
    CreateGroup,
    DrainGroup,
    MoveMember,
    RemoveNode,
    SplitGroup,
)
from flowactor.management.replies import Created
from tests.management.world import World


def members(world):
    return {group.id: list(group.members) for group in world.topology.groups_in_order()}


def test_one_to_three_to_five_to_three():
    """Nodes join one by one and leave one by one; groups, voters and slots follow."""
    world = World()
    sizes = []
    for _ in range(5):
        world.join()
        world.settle()
        world.check_settled()
        voters = [node.id for node in world.topology.nodes_in_order() if node.voter]
        sizes.append(len(voters))
    assert sizes == [1, 1, 3, 3, 5]
    assert members(world) == {1: [2, 3, 5], 2: [1, 2, 4]}
    for node in (2, 5):
        world.ask(RemoveNode(node))
        world.settle()
        world.check_settled()
        assert world.topology.nodes[node].state is NodeState.LEFT
    assert members(world) == {1: [1, 3, 4], 2: [1, 3, 4]}
    assert [node.id for node in world.topology.nodes_in_order() if node.voter] == [1, 3, 4]


def test_one_group_to_four_and_one_drained():
    """Three splits share out the slots; what drains is emptied before it ends, and deleted."""
    world = World(1)
    for _ in range(3):
        world.join()
    world.settle()
    for expected in (2, 3, 4):
        assert world.ask(SplitGroup(1)) == Created(expected)
    world.settle()
    world.check_settled()
    world.ask(DrainGroup(1))
    world.settle()
    world.check_settled()
    assert sorted(members(world)) == [2, 3, 4]
    assert world.groups[1].served == {}


@pytest.mark.parametrize(
    ("nodes", "groups"), [(17, 10), pytest.param(50, 30, marks=pytest.mark.long)]
)
def test_fifty_nodes_and_thirty_groups(nodes, groups):
    """The same rules at size (at a third of it by default): every group full, places even, slots
    even.
    """
    world = World(2, lagging=False)
    for _ in range(nodes):
        world.join()
    world.settle()
    while len(world.topology.groups) < groups:
        world.ask(SplitGroup(1))
    world.settle()
    world.check_settled()
    sizes = [len(nodes) for nodes in members(world).values()]
    loads = [sum(node in nodes for nodes in members(world).values()) for node in world.nodes]
    assert set(sizes) == {3}
    assert set(loads) <= {1, 2}
    slots = {len(world.topology.slots_of(group)) for group in world.topology.groups}
    assert slots == {SLOTS // groups, SLOTS // groups + 1}


def operate(world, random):
    """An operator, or fate, does something."""
    topology = world.topology
    nodes = sorted(node for node in world.nodes if not topology.nodes[node].state.is_gone)
    node, group = random.choice(nodes), random.choice(sorted(topology.groups))
    match random.randrange(11):
        case 0 | 1:
            if len(world.nodes) < 9:
                world.join()
        case 2:
            if len(nodes) > 3:
                world.ask(RemoveNode(node))
        case 3:
            world.ask(SplitGroup(group)) if len(topology.groups) < 6 else None
        case 4:
            world.ask(DrainGroup(group))
        case 5:
            world.ask(CreateGroup(tuple(random.sample(nodes, min(3, len(nodes))))))
        case 6:
            world.ask(AbortMove(random.choice([topology.last_move, topology.last_move - 1])))
        case 7:
            world.ask(MoveMember(group, node, random.choice(nodes)))
        case 8:
            world.ask(ChangeSettings((("slots_per_move", random.choice([16, 100])),)))
        case 9:
            if sum(not known.up for known in world.nodes.values()) == 0:
                world.crash(node)
        case 10:
            for known in world.nodes:
                world.restart(known)


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[pytest.mark.long] * (seed >= 6)) for seed in range(24)]
)
def test_the_plan_is_reached_from_any_point(seed):
    """Operators' commands, crashes, lost, doubled and late messages, lagging views; healed at any
    point, the world comes to rest as planned, with everything that was written.
    """
    world = World(seed)
    world.join()
    world.settle()
    world.ask(ChangeSettings((("slots_per_move", 100),)))
    for _ in range(60):
        if world.random.random() < 0.3:
            operate(world, world.random)
        world.disturb()
    world.settle()
    world.check_settled()
    alive = [node for node in world.topology.nodes_in_order() if not node.state.is_gone]
    assert all(node.liveness is Liveness.ALIVE for node in alive)


@pytest.mark.parametrize("seed", [*range(4), 137, 154])
def test_nobody_is_given_up_whom_a_group_needs(seed):
    """Nodes crash and are taken out at any moment, more of them than a group can bear; with all of
    them healed the world comes to rest, with everything that was written.
    """
    world = World(seed)
    world.join()
    world.settle()
    world.ask(ChangeSettings((("slots_per_move", 100),)))
    for _ in range(60):
        there = [key for key in world.nodes if not world.topology.nodes[key].state.is_gone]
        dice = world.random.random()
        if dice < 0.3:
            operate(world, world.random)
        elif dice < 0.4:
            world.crash(world.random.choice(there))
        elif dice < 0.5:
            world.ask(RemoveNode(world.random.choice(there)))
        elif dice < 0.6:
            for node in there:
                world.restart(node)
        world.disturb()
    world.settle()
    world.check_settled()


def test_a_lost_disk_is_replaced():
    """A wiped node comes back as a new one, which takes its place in every group and as a voter."""
    world = World(3)
    for _ in range(3):
        world.join()
    world.settle()
    world.wipe(2)
    for _ in range(5):
        world.disturb()
    world.settle()
    assert world.topology.nodes[2].liveness is Liveness.SUSPECT
    world.ask(RemoveNode(2))
    new = world.join("another disk")
    world.settle()
    world.check_settled()
    assert new == 4
    assert members(world) == {1: [1, 3, 4]}
    assert [node.id for node in world.topology.nodes_in_order() if node.voter] == [1, 3, 4]
