"""Voters come and go while the group runs, and a node may hand over before it leaves."""

import pytest

from flowactor.machine import Machine, OperationRefused, OwnerChanged, Parking, RunParked
from flowactor.machine.operations import DrainNode, ReassignRuns


def owners(group):
    return {run_id: run.owner for run_id, run in sorted(group.machine.runs.items())}


def test_runs_of_a_node_that_is_no_voter_any_more_get_other_owners(group):
    """At the entry that takes it out, each to the least loaded of those that stay."""
    for name in "abcd":
        group.start(name, origin=1 if name < "d" else 2)
    applied = group.configure(2, 3)
    assert applied.notices == (
        OwnerChanged("a", 3, 2),
        OwnerChanged("b", 2, 2),
        OwnerChanged("c", 3, 2),
    )
    assert owners(group) == {"a": 3, "b": 2, "c": 3, "d": 2}
    assert group.machine.voters == (2, 3)


def test_runs_that_nobody_left_can_perform_are_parked(group):
    """And go on when a voter comes that has their code, be it announced before or after."""
    group.announce(4, ("T", 1))
    group.start()
    group.announce(2)
    group.announce(3)
    assert isinstance(group.configure(2, 3).notices[0], RunParked)
    assert group.run().parking is Parking.NO_NODE
    group.configure(2, 3, 4)
    assert owners(group) == {"w": 4}


def test_a_node_owns_nothing_before_it_is_a_voter(group):
    """It may announce what it has while it catches up."""
    group.announce(4, ("T", 1))
    group.start("a", origin=4)
    assert owners(group) == {"a": 1}
    group.configure(1, 2, 3, 4)
    group.start("b", origin=4)
    assert owners(group) == {"a": 1, "b": 4}


def test_the_voters_are_part_of_the_state(group):
    """What the rows say counts, not what a node believed when it started."""
    group.configure(2, 5)
    group.flush()
    restored = Machine((1, 2, 3), group.rows)
    assert restored.voters == (2, 5)
    assert restored.digest() == group.machine.digest()
    group.configure(1, 2, 3)
    assert restored.digest() != group.machine.digest()


def test_a_draining_node_hands_over_at_once(group):
    """Its runs get other owners with the entry, and it gets no new ones."""
    group.start("a", origin=1)
    group.start("b", origin=1)
    applied = group.apply(DrainNode(1, "first"))
    assert applied.notices == (OwnerChanged("a", 2, 2), OwnerChanged("b", 3, 2))
    group.start("c", origin=1)
    group.apply(ReassignRuns(2, 1))
    assert 1 not in owners(group).values()
    assert group.machine.nodes[1].draining
    assert group.apply(DrainNode(1, "first")).notices == ()


def test_a_draining_node_keeps_what_nobody_else_can_perform(group):
    """Such a run is performed as long as the node is there; new ones wait for another."""
    group.announce(2)
    group.announce(3)
    group.start("a")
    assert group.apply(DrainNode(1, "first")).notices == ()
    assert owners(group) == {"a": 1}
    group.start("b")
    assert group.run("b").parking is Parking.NO_NODE
    group.apply(DrainNode(1, "first", draining=False))
    assert owners(group) == {"a": 1, "b": 1}


def test_a_restarted_node_does_not_drain(group):
    """Draining is the word of one process: with a new incarnation it is over, and a late word of
    the old one is refused.
    """
    group.apply(DrainNode(1, "first"))
    group.announce(1, ("T", 1))
    assert group.machine.nodes[1].draining
    group.announce(1, ("T", 1), incarnation="second")
    assert not group.machine.nodes[1].draining
    before = group.machine.digest()
    assert isinstance(group.apply(DrainNode(1, "first")).notices[0], OperationRefused)
    assert group.machine.digest() == before


@pytest.mark.parametrize("node", [0, 9])
def test_an_unknown_node_cannot_drain(group, node):
    """It changes nothing."""
    before = group.machine.digest()
    assert isinstance(group.apply(DrainNode(node, "first")).notices[0], OperationRefused)
    assert group.machine.digest() == before
