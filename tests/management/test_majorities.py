"""No node is given up while a group needs it to have a majority ever again."""

import pytest

from flowactor.machine.replies import Done, Rejected
from flowactor.management import MANAGEMENT_GROUP, NodeState
from flowactor.management.operations import AddMember, CreateGroup, RemoveMember, RemoveNode
from flowactor.management.replies import Admitted
from tests.management.cluster import Cluster


def grown(nodes):
    """A cluster that is as it ought to be."""
    cluster = Cluster()
    cluster.join(nodes)
    cluster.obey()
    return cluster


def refused(reply, *words):
    return isinstance(reply, Rejected) and all(word in reply.message for word in words)


def states(cluster, *nodes):
    return [cluster.topology.nodes[node].state for node in nodes]


def test_one_of_two_is_not_given_up():
    """Its disk is half of what the group needs: it has to be started again, and may leave then."""
    cluster = grown(2)
    cluster.declare(2, alive=False)
    groups = dict(cluster.topology.groups)
    assert refused(cluster.ask(RemoveNode(2)), "group 1, with 1024 slots", "Start it again")
    assert cluster.topology.groups == groups
    cluster.declare(2, alive=True)
    assert cluster.ask(RemoveNode(2)) == Done()
    cluster.obey()
    assert states(cluster, 2) == [NodeState.LEFT]
    assert cluster.members() == {1: [1]}


def test_two_of_three_are_not_given_up():
    """Neither of them, whichever is named first; one comes back, and the other may go."""
    cluster = grown(5)
    assert cluster.members()[1] == [2, 3, 5]
    cluster.declare(3, alive=False)
    cluster.declare(5, alive=False)
    assert refused(cluster.ask(RemoveNode(3)), "group 1", "only 2 would be left", "or node 5")
    assert refused(cluster.ask(RemoveNode(5)), "group 1", "only 2 would be left", "or node 3")
    cluster.declare(3, alive=True)
    assert cluster.ask(RemoveNode(5)) == Done()
    cluster.declare(3, alive=False)
    assert refused(cluster.ask(RemoveNode(3)), "only 2 would be left")
    assert states(cluster, 3, 5) == [NodeState.MEMBER, NodeState.REMOVED]
    cluster.check()


def test_who_leaves_is_not_given_up_before_it_has_left():
    """It died on its way out of a group, which has its vote for as long as no leader says that it
    has not.
    """
    cluster = grown(2)
    assert cluster.ask(RemoveNode(2)) == Done()
    assert cluster.members() == {1: [1]}
    cluster.declare(2, alive=False)
    assert refused(cluster.ask(RemoveNode(2)), "group 1")
    cluster.report(1)
    assert states(cluster, 2) == [NodeState.LEFT]


@pytest.mark.parametrize("learns", [False, True], ids=["not yet a member", "a learner"])
def test_who_may_vote_by_now_counts_as_a_voter(learns):
    """The leader may have changed the members and died before it could say so. Taken out of the
    plan, and of the group as its leader reports it, the node can go.
    """
    cluster = grown(1)
    cluster.join(1)
    if learns:
        cluster.report(1, voters=(1,), learners=(2,))
    cluster.declare(2, alive=False)
    assert refused(cluster.ask(RemoveNode(2)), "of its voters 1, 2 only 1 would be left")
    cluster.ask(RemoveMember(1, 2))
    assert refused(cluster.ask(RemoveNode(2)), "group 1")
    cluster.report(1)
    cluster.ask(RemoveNode(2))
    assert states(cluster, 2) == [NodeState.REMOVED]


def test_who_may_have_come_unseen_has_not_left():
    """A node that leaves while a change of members is under way, which may have made it a voter,
    has left when the group's leader says that it knows.
    """
    cluster = grown(1)
    cluster.join(1)
    assert cluster.ask(RemoveNode(2)) == Done()
    assert cluster.members() == {1: [1]}
    assert states(cluster, 2) == [NodeState.LEAVING]
    cluster.report(1)
    assert states(cluster, 2) == [NodeState.LEFT]


def test_the_management_group_needs_a_majority_too():
    """Its voters are as its leader reports them, also those who ought not to be any more."""
    cluster = grown(3)
    cluster.report(MANAGEMENT_GROUP, voters=(1, 2, 3))
    for node in (1, 2, 3):
        cluster.ask(RemoveMember(1, node))
    assert cluster.members()[1] == [3]
    cluster.report(1)
    cluster.declare(1, alive=False)
    assert cluster.ask(RemoveNode(1)) == Done()
    cluster.declare(2, alive=False)
    assert refused(cluster.ask(RemoveNode(2)), "the management group", "Start it again")


def test_an_empty_disk_does_not_cost_a_majority():
    """It may be a volume that is not mounted: at the old address it is refused, and at another one
    it is another node.
    """
    cluster = grown(2)
    cluster.declare(2, alive=False)
    reply = cluster.admit("empty", "host of disk 2")
    assert refused(reply, "group 1, with 1024 slots", "another address")
    assert reply.code == "Refused"
    assert states(cluster, 2) == [NodeState.MEMBER]
    assert cluster.admit("empty", "elsewhere") == Admitted(3, created=True)
    assert states(cluster, 2) == [NodeState.MEMBER]


def test_a_group_that_nobody_misses_ends():
    """The only voter of a group without slots may go; no slots will come to it."""
    cluster = grown(5)
    assert cluster.ask(CreateGroup((3,))).group == 3
    cluster.obey()
    assert cluster.counts()[3] == 0
    cluster.ask(AddMember(2, 3))
    cluster.declare(3, alive=False)
    assert cluster.ask(RemoveNode(3)) == Done()
    assert 3 not in cluster.topology.groups
