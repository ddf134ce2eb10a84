"""Clusters that change while they run, judged as all others are."""

import pytest
from attrs import evolve

from flowactor.errors import ConfigurationError
from flowactor.simulation.changes import Join, Remove, Replace, Reshape, Restart
from flowactor.simulation.faults import ClockDrift, Crash, Partition, Wipe
from flowactor.simulation.orders import Abort, Dismiss, Drain, Enlist, Found, Shift, Split, Tune
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Read
from flowactor.simulation.source import script_of
from flowactor.simulation.trace import Kind
from tests.simulation.test_faults import scenario

CHANGES = {
    "join": (1, (Join(2, 1.0), Join(3, 2.0, (2,)))),
    "two joiners through one seed": (3, (Join(4, 1.0, (2,)), Join(5, 1.0, (2,)))),
    "remove": (3, (Remove(1, 1.5),)),
    "restart": (3, (Restart(1, 1.0, 2.0), Restart(2, 2.0, 2.5), Restart(3, 3.0))),
    "replace": (3, (Replace(2, 1.0, 2.0, (1, 3)),)),
    "come and go": (1, (Join(2, 1.0), Join(3, 1.5), Remove(1, 3.0))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_costs_nothing_but_time(name):
    """Whoever comes or goes: every order is paid once, all requests are answered, and in the end
    the cluster is what the management group wants.
    """
    nodes, changes = CHANGES[name]
    outcome = simulate(scenario(nodes=nodes, changes=changes), Depth.NODE, keep=True)
    assert outcome.failure is None
    begun = [line[3][1] for line in outcome.lines if line[2] == Kind.FAULT and line[3][2] == 1]
    assert begun == [str(change) for change in changes]


def lives(outcome, machine):
    """What became of the processes of a machine, until the run was over."""
    return [
        (kind, *details[:1])
        for _, node, kind, details in outcome.lines
        if node == machine and kind in (Kind.STARTED, Kind.STOPPED)
    ][:-1]


def test_a_stopped_node_hands_over():
    """A node that is stopped in good order has neither runs nor the lead when it ends, and no other
    has to wait for a lease or an election.
    """
    outcome = simulate(
        scenario(changes=tuple(Restart(node, node, node + 0.9) for node in (1, 2, 3))),
        Depth.NODE,
        keep=True,
    )
    assert outcome.failure is None
    stops = [
        line for line in outcome.lines if line[2] == Kind.STOPPED and "good order" in line[3][0]
    ]
    assert [node for _, node, *_ in stops] == [1, 2, 3]
    assert all(at / 1e9 - node < 0.3 for at, node, *_ in stops)
    assert outcome.marks["leader changed"] >= 1


def test_a_removed_node_ends():
    """It hears that it was taken out, stops, and is not started again."""
    outcome = simulate(scenario(changes=(Remove(1, 1.0),)), Depth.NODE, keep=True)
    assert outcome.marks["removed node stopped"] == 1
    ends = [
        details[0] for _, node, kind, details in outcome.lines if (node, kind) == (1, "stopped")
    ]
    assert len(ends) == 1
    assert "taken out" in ends[0]


@pytest.mark.parametrize("node", [1, 3])
def test_a_node_removed_while_it_was_away_ends(node):
    """It comes back, is told by whoever it reaches that it was taken out, stops, and is not started
    again; that it goes on would be a failure. Nobody dials the one with the highest number.
    """
    away = Crash(node, 1.0, 5.0)
    outcome = simulate(
        scenario(away, changes=(Remove(node, 4.0),), seconds=6.0), Depth.NODE, keep=True
    )
    assert outcome.failure is None
    assert outcome.marks["removed node told"] == 1
    ends = [details[0] for _, at, kind, details in outcome.lines if (at, kind) == (node, "stopped")]
    assert len(ends) == 2
    assert "taken out" in ends[-1]


def test_a_machine_with_a_new_disk_is_a_new_node():
    """It is let in under another number, and the old one is lost."""
    changes = (Replace(2, 1.0, 1.5, (1, 3)),)
    outcome = simulate(scenario(changes=changes), Depth.NODE, keep=True)
    assert outcome.failure is None
    assert outcome.marks["node lost"] == 1


def test_who_loses_its_disk_before_there_is_a_cluster_founds_it_again():
    """The others wait for all founders, so nobody could let it in."""
    changes = (Replace(2, 0.01, 0.5, (3,)),)
    outcome = simulate(scenario(changes=changes), Depth.NODE, keep=True)
    assert outcome.failure is None
    assert "node lost" not in outcome.marks


def test_a_group_without_a_majority_keeps_nobody_from_joining():
    """The only group, with two nodes of three, has lost one for good. The cluster has not: it lets
    a new node in, and keeps that out which comes to the place of the lost one with an empty disk.
    """
    changes = (Dismiss(1, 0, 1.0), Replace(3, 3.0, 3.5, (1,)), Join(4, 5.0, (1,)))
    outcome = simulate(scenario(changes=changes, seconds=15.0), Depth.NODE, keep=True)
    assert outcome.failure is None
    assert outcome.marks["a majority was lost"] == 1
    assert lives(outcome, 4)[-1][0] == Kind.STARTED
    assert {kind for kind, *_ in lives(outcome, 3)[1:]} == {Kind.STOPPED}
    assert "node lost" not in outcome.marks


def test_a_node_that_is_needed_is_not_given_up():
    """An operator takes out a node that is silent, without which the only group would have no
    majority; that is refused, and once the node is back everything goes on.
    """
    changes = (Dismiss(1, 0, 1.0), Restart(3, 2.0, 6.0), Remove(3, 4.5))
    outcome = simulate(scenario(changes=changes, seconds=8.0), Depth.NODE, keep=True)
    assert outcome.failure is None
    assert "node removed" not in outcome.marks
    assert lives(outcome, 3)[-1][0] == Kind.STARTED


def test_who_dies_as_the_others_are_healed_ends():
    """A process that is killed in the moment in which its machine is frozen does not stay."""
    changes = (Replace(3, 4.0, None, (1,)),)
    outcome = simulate(scenario(changes=changes, core=(1, 2), seconds=4.0), Depth.NODE)
    assert outcome.failure is None
    assert outcome.marks["only a core healed"] == 1


def test_a_cluster_that_is_not_founded_needs_all_founders():
    """One stays cut off from the beginning to the end: the others wait for it, as they have to."""
    alone = Partition(((3,), (1, 2)), 0.0)
    outcome = simulate(scenario(alone, core=(1, 2), invariants=()), Depth.NODE)
    assert outcome.failure is None
    assert outcome.marks["a majority was lost"] == 1


def test_who_is_lost_says_nothing_of_groups():
    """A founder without its disk comes back to a cluster whose first group has ended."""
    changes = (Tune((("slots_per_move", 1000),), 0.9), Split(0, 1.0), Drain(0, 1.5))
    outcome = simulate(scenario(Wipe(3, 3.0, 3.2), changes=changes), Depth.NODE)
    assert outcome.failure is None
    assert outcome.marks["group ended"] == 1
    assert outcome.marks["wiped disk refused"] == 1


def test_who_finds_no_seed_asks_others():
    """The only seed was removed for good before the machine came."""
    changes = (Remove(2, 0.5), Join(4, 3.5, (2,)))
    outcome = simulate(scenario(changes=changes), Depth.NODE, keep=True)
    assert outcome.failure is None
    assert lives(outcome, 4)[0][0] == Kind.STOPPED
    assert lives(outcome, 4)[1][0] == Kind.STARTED


def test_the_same_seed_is_the_same_run():
    """Changes draw nothing from the air."""
    changed = scenario(nodes=1, changes=(Join(2, 1.0), Join(3, 1.0)))
    assert simulate(changed, Depth.NODE).digest == simulate(changed, Depth.NODE).digest


def test_each_depth_refuses_what_it_cannot_play():
    """At core depth nobody comes or goes, at node depth the management group says who votes."""
    with pytest.raises(ConfigurationError, match="play it at node depth"):
        simulate(scenario(changes=(Remove(1, 1.0),)), Depth.CORE)
    with pytest.raises(ConfigurationError, match="play it at core depth"):
        simulate(scenario(changes=(Reshape((1,), 1.0),)), Depth.NODE)


def test_voters_change_at_core_depth():
    """One by one and all at once: runs go on, owners without a vote lose theirs, and in the end the
    last wish is what the group has.
    """
    shapes = (
        Reshape((1, 2), 0.8, 1.6),
        Reshape((3,), 1.6, 2.4, at_once=True),
        Reshape((1, 2, 3), 2.4, 3.2),
    )
    outcome = simulate(scenario(changes=shapes), Depth.CORE)
    assert outcome.failure is None
    assert outcome.marks["members changed"] >= 5
    assert outcome.marks["owner lost its vote"] >= 1


def test_a_node_is_a_stranger_for_a_while():
    """It is taken out while it cannot hear of it, stands for election when it is back, is told, and
    is let in again when all is well.
    """
    outcome = simulate(
        scenario(
            changes=(Reshape((2, 3), 1.5, 6.0, alone=True),),
            faults=(Partition(((1,), (2, 3)), 1.4, 4.0),),
            seconds=6.0,
        ),
        Depth.CORE,
    )
    assert outcome.failure is None
    assert outcome.marks["members changed"] >= 2
    assert outcome.marks["stranger asked for votes"] >= 1


def test_who_is_sent_away_with_a_read_does_not_ask_at_once_again():
    """A stranger takes for the leader who was it once, and is told that it is not."""
    story = scenario(
        nodes=4,
        changes=(Reshape((2, 3, 4), 1.5, 9.0, alone=True),),
        faults=(ClockDrift(2, 2.0, 0.0, 1.5), Crash(2, 3.0, 5.0)),
        seconds=9.0,
    )
    reads = (Read(6.0, "x", client) for client in range(1, 9))
    outcome = simulate(evolve(story, acts=(*story.acts, *reads)), Depth.CORE, keep=True)
    assert outcome.failure is None
    asked = [line for line in outcome.lines if line[2] == Kind.SENT and line[3][2] == "read?"]
    assert 5 < len(asked) < 100


ORDERED = {
    "a group is split": ((Split(0, 1.0),), {"group founded": 2, "slots moved": 16}),
    "all slots go, and the group ends": (
        (Tune((("slots_per_move", 1000),), 0.9), Split(0, 1.0), Drain(0, 1.5)),
        {"group ended": 1},
    ),
    "slots are sent to and fro": (
        (
            Tune((("balanced", 0), ("automatic", 0)), 0.9),
            Found((1, 2, 3), 1.0),
            Shift(1, 1.1, 1),
            Shift(0, 2.0, 2),
        ),
        {"slots moved": 2, "run moved to another group": 1},
    ),
    "a move is given up": (
        (Tune((("balanced", 0),), 0.9), Split(0, 1.0), Shift(1, 1.1, 1), Abort(1.12)),
        {"move given up": 1},
    ),
    "a node serves in another group": (
        (Join(4, 0.5), Enlist(4, 0, 2.5), Dismiss(1, 0, 3.0)),
        {"members changed": 2},
    ),
}


@pytest.mark.parametrize("name", ORDERED)
def test_groups_and_slots_change(name):
    """What was ordered is done, every order of the shop is paid once, and in the end each slot is
    served where the table says.
    """
    changes, marks = ORDERED[name]
    outcome = simulate(scenario(changes=changes), Depth.NODE)
    assert outcome.failure is None
    reached = {mark: outcome.marks.get(mark, 0) for mark in marks}
    assert all(reached[mark] >= least for mark, least in marks.items()), reached


WRONG = [
    ((Join(5, 1.0),), "name each once"),
    ((Join(4, 1.0), Join(4, 2.0)), "name each once"),
    ((Join(4, 1.0, (4,)),), "its seeds are other machines"),
    ((Join(4, 1.0, ()),), "its seeds are other machines"),
    ((Replace(1, 1.0, seeds=(7,)),), "there is no machine 7"),
    ((Remove(9, 1.0),), "there is no machine 9"),
    ((Found((1, 9), 1.0),), "there is no machine 9"),
    ((Found((2, 2), 1.0),), "names no machine, or one twice"),
    ((Reshape((), 1.0),), "names no machine, or one twice"),
    ((Restart(1, 2.0, 1.0),), "ends before it begins"),
    ((Restart(1, -1.0),), "before the run does"),
    ((Restart(1, 1.0, 3.0), Replace(1, 2.0, 3.0, (2,))), "has it down"),
    ((Restart(2, 9.0),), "begins after the faults end"),
]


@pytest.mark.parametrize(("changes", "complaint"), WRONG)
def test_changes_that_cannot_be_are_refused(changes, complaint):
    """Each complaint names the change and what is wrong with it."""
    with pytest.raises(ConfigurationError, match=complaint):
        scenario(changes=changes)


def test_a_fault_cannot_strike_a_node_that_is_stopped():
    """What is down because of a change cannot be brought down by a fault."""
    with pytest.raises(ConfigurationError, match="has it down"):
        scenario(Crash(1, 1.5, 2.5), changes=(Restart(1, 1.0, 2.0),))


def test_a_change_is_told_as_python():
    """The script of a scenario repeats its changes."""
    changed = scenario(nodes=1, changes=(Join(2, 1.0), Join(3, 1.5, (1, 2))), invariants=())
    script = script_of(changed, app="tests.simulation.flows:APP", depth=Depth.NODE)
    names = {}
    exec(script, names)  # it is what people paste
    assert names["SCENARIO"] == changed


def test_lost_disks_of_a_founded_cluster_excuse_nobody():
    """Two of five founders lose their disks long after the founding: of the others all is demanded
    as ever, and it takes them a while to come to rest.
    """
    faults = (Wipe(1, at=4.0), Wipe(2, at=5.0))
    outcome = simulate(scenario(nodes=5, faults=faults, seconds=6.0), Depth.NODE)
    assert outcome.failure is None
    assert outcome.marks.get("a majority was lost", 0) == 0
