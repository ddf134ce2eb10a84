"""The named scenarios of topology: groups by hand, ids of nodes, growing and shrinking."""

import pytest

from flowactor.limits import SLOTS
from flowactor.machine.replies import Done, Rejected
from flowactor.management import Liveness, NodeState
from flowactor.management.nodes import next_node_id
from flowactor.management.operations import (
    AddMember,
    AdvanceMove,
    ChangeSettings,
    CreateGroup,
    DrainGroup,
    MoveSlots,
    RemoveMember,
    RemoveNode,
    SetMetadata,
    SplitGroup,
)
from flowactor.management.replies import Admitted, Created
from tests.management.cluster import Cluster


def test_groups_by_hand(cluster):
    """A-R17: groups are created, changed, described and deleted at an operator's word."""
    cluster.join(1)
    assert cluster.members() == {1: [1]}
    cluster.join(2)
    assert cluster.ask(CreateGroup((1, 2, 3))) == Created(2)
    cluster.join(1)
    assert cluster.members()[2] == [1, 2, 3]
    assert cluster.ask(AddMember(2, 4)) == Done()
    assert cluster.members()[2] == [1, 2, 3, 4]
    assert cluster.ask(RemoveMember(2, 4)) == Done()
    assert cluster.members()[2] == [1, 2, 3]
    cluster.ask(SetMetadata(2, "type", "kv"))
    cluster.ask(SetMetadata(2, "region", "us-west"))
    assert cluster.topology.groups[2].metadata == (("region", "us-west"), ("type", "kv"))
    cluster.ask(SetMetadata(2, "region", None))
    assert cluster.topology.groups[2].metadata == (("type", "kv"),)
    assert cluster.ask(DrainGroup(2)) == Done()
    assert 2 not in cluster.topology.groups
    assert cluster.topology.has_ended(2)


@pytest.mark.parametrize(("known", "expected"), [((), 1), ((3,), 4), ((3, 5), 6), ((5, 3), 6)])
def test_the_next_node_id(cluster, known, expected):
    """A-R19: the next id is one above the highest there ever was."""
    for node in known:
        assert cluster.admit(node=node) == Admitted(node, created=True)
    assert cluster.admit("new") == Admitted(expected, created=True)
    assert next_node_id(max(known, default=0)) == expected


def test_two_joiners_at_the_same_moment(cluster):
    """A-R19: two that join get different ids, and one that asks again, elsewhere, gets its own."""
    assert cluster.admit("a", "host a") == Admitted(1, created=True)
    assert cluster.admit("b", "host b") == Admitted(2, created=True)
    assert cluster.admit("a", "host a") == Admitted(1, created=False)
    assert cluster.admit("b", "host b2") == Admitted(2, created=False)
    assert cluster.topology.nodes[2].address == "host b2"


def test_a_wiped_node_is_a_new_node(cluster):
    """An empty disk at the address of a node that is silent: the old one is lost, the new one is
    admitted and takes its place; at the address of one that is alive it is refused.
    """
    cluster.join(3)
    cluster.obey()
    refused = cluster.admit("empty", "host of disk 3")
    assert isinstance(refused, Rejected)
    assert "alive" in refused.message
    cluster.declare(3, alive=False)
    assert cluster.admit("empty", "host of disk 3") == Admitted(4, created=True)
    assert cluster.topology.nodes[3].state is NodeState.LOST
    assert cluster.members() == {1: [1, 2]}
    cluster.announce(4)
    assert cluster.members() == {1: [1, 2, 4]}
    gone = cluster.admit("disk 3")
    assert isinstance(gone, Rejected)
    assert "lost for good" in gone.message


def test_one_to_three_to_five_to_three(cluster):
    """A cluster grows and shrinks; its groups have as many nodes as there are, up to three."""
    cluster.join(1)
    cluster.obey()
    assert cluster.members() == {1: [1]}
    cluster.join(2)
    cluster.obey()
    assert cluster.members() == {1: [1, 2, 3]}
    cluster.join(2)
    cluster.obey()
    assert cluster.members() == {1: [2, 3, 5], 2: [1, 2, 4]}
    assert cluster.counts() == {1: SLOTS // 2, 2: SLOTS // 2}
    for node in (4, 5):
        assert cluster.ask(RemoveNode(node)) == Done()
        assert cluster.topology.nodes[node].state is NodeState.LEAVING
    cluster.obey()
    assert cluster.members() == {1: [1, 2, 3], 2: [1, 2, 3]}
    assert [cluster.topology.nodes[node].state for node in (4, 5)] == [NodeState.LEFT] * 2


def test_one_group_to_four_and_one_drained(cluster):
    """Splits share out the slots evenly; a group that drains ends with no slot and no move left."""
    cluster.join(3)
    cluster.obey()
    for expected in (2, 3, 4):
        assert cluster.ask(SplitGroup(1)) == Created(expected)
    cluster.obey()
    assert cluster.counts() == dict.fromkeys((1, 2, 3, 4), SLOTS // 4)
    version = cluster.topology.slots_version
    assert cluster.ask(DrainGroup(2)) == Done()
    assert [move.source for move in cluster.topology.moves_in_order()] == [2], "one at a time"
    cluster.obey()
    assert 2 not in cluster.topology.groups
    assert sorted(cluster.counts().values()) == [SLOTS // 3, SLOTS // 3, SLOTS // 3 + 1]
    assert cluster.topology.slots_version > version


def test_no_slot_moves_twice(cluster):
    """Two new groups are filled by the one that has more than its share, not one by the other."""
    cluster.join(3)
    cluster.obey()
    cluster.ask(ChangeSettings((("slots_per_move", 8),)))
    cluster.ask(SplitGroup(1))
    cluster.ask(SplitGroup(1))
    moved = []
    while cluster.topology.moves or not moved:
        moved += [move.slots for move in cluster.topology.moves_in_order() if move.id > len(moved)]
        cluster.obey_once()
    assert sorted(cluster.counts().values()) == [SLOTS // 3, SLOTS // 3, SLOTS // 3 + 1]
    slots = [slot for lot in moved for slot in lot]
    assert len(slots) == len(set(slots)) == SLOTS - SLOTS // 3 - 1


@pytest.mark.parametrize("pause", range(0, 40, 3))
def test_few_moves_make_groups_even(cluster, pause):
    """Groups that come while slots are on their way cost some detours, no moves of single slots."""
    cluster.join(3)
    cluster.obey()
    for _ in range(3):
        cluster.ask(SplitGroup(1))
        for _ in range(pause):
            cluster.obey_once()
    cluster.obey()
    assert cluster.counts() == dict.fromkeys((1, 2, 3, 4), SLOTS // 4)
    lots = SLOTS // cluster.topology.settings.slots_per_move
    assert cluster.topology.last_move <= lots + 8


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_both_parts_of_a_split_are_kept(cluster, nodes):
    """However few the nodes, the group that was split goes on beside the new one, and ends only
    when an operator drains it.
    """
    cluster.join(nodes)
    cluster.obey()
    assert cluster.ask(SplitGroup(1)) == Created(2)
    cluster.obey()
    assert cluster.counts() == {1: SLOTS // 2, 2: SLOTS // 2}
    assert cluster.ask(DrainGroup(1)) == Done()
    cluster.obey()
    assert cluster.counts() == {2: SLOTS}


def test_the_silent_are_replaced_in_time():
    """A suspect keeps its places; after the set time it is dead and replaced, and may come back."""
    cluster = Cluster(replace_after_seconds=60, shared=0)
    cluster.join(3)
    cluster.declare(3, alive=False, at=100)
    assert cluster.machine.next_due_ns == 160 * 10**9
    cluster.apply(at=159)
    assert cluster.topology.nodes[3].liveness is Liveness.SUSPECT
    cluster.apply(at=160)
    assert cluster.topology.nodes[3].liveness is Liveness.DEAD
    assert cluster.machine.next_due_ns is None
    assert cluster.members() == {1: [1, 2, 3]}, "nobody can take its place"
    cluster.join(1)
    assert cluster.members() == {1: [1, 2, 4]}
    cluster.declare(3, alive=True)
    assert cluster.members() == {1: [1, 2, 4], 2: [3]}
    cluster.check()


def test_who_is_stuck_holds_nobody_up(cluster):
    """A group that lost its majority in the middle of a move keeps its slots; before long the
    others are made even among themselves.
    """
    cluster.join(3)
    cluster.obey()
    cluster.ask(ChangeSettings((("balanced", 0),)))
    for _ in range(3):
        cluster.ask(SplitGroup(1))
    cluster.obey()
    cluster.ask(MoveSlots(tuple(range(200)), 2))
    cluster.obey()
    cluster.ask(ChangeSettings((("balanced", 1),)), at=10)
    assert [move.source for move in cluster.topology.moves_in_order()] == [1]
    due_ns = cluster.machine.next_due_ns
    assert due_ns == 20 * 10**9
    cluster.apply(at=20)
    for _ in range(1000):
        going = [move for move in cluster.topology.moves_in_order() if move.source != 1]
        if not going:
            break
        cluster.apply(AdvanceMove(going[0].id, going[0].phase))
    counts = cluster.counts()
    assert (counts[1], counts[2], counts[4]) == (SLOTS - 200, 100, 100)
