"""A cluster that several nodes found together."""

from flowactor.identity import NodeId
from flowactor.machine.operations import Batch
from flowactor.management import Management
from flowactor.management.operations import FoundCluster
from tests.management.cluster import Rows

FOUNDERS = ((NodeId(1), "d1", "a:1"), (NodeId(2), "d2", "b:1"), (NodeId(3), "d3", "c:1"))


def _batch(founders):
    return Batch(1, (FoundCluster(founders),), (None,))


def test_founders_are_members_of_the_first_group():
    """They need no admission, the group has all slots, and the planner wants nothing else."""
    management = Management(Rows())
    management.apply(1, 1, _batch(FOUNDERS))
    topology = management.topology
    assert {node: topology.nodes[node].disk for node in topology.nodes} == {
        1: "d1",
        2: "d2",
        3: "d3",
    }
    (group,) = topology.groups.values()
    assert (group.id, group.members, group.founders, group.first) == (1, (1, 2, 3), (1, 2, 3), True)
    assert set(topology.slots) == {1}
    assert [node.voter for node in topology.nodes_in_order()] == [True] * 3


def test_a_cluster_is_founded_once():
    """What comes later changes nothing, and says so."""
    management = Management(Rows())
    management.apply(1, 1, _batch(FOUNDERS))
    before = management.digest()
    applied = management.apply(2, 1, _batch(FOUNDERS[:1]))
    assert "is founded" in applied.notices[0].reason
    assert management.digest() == before
