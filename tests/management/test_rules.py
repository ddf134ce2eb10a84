"""The rules one by one: fences, refusals, moves, roles, and the steps of the reconciler."""

import pytest

from flowactor.errors import StorageRefused
from flowactor.limits import SLOTS
from flowactor.machine.replies import Done, Rejected
from flowactor.management import (
    ChangeMembership,
    CloseReplica,
    GroupsChanged,
    Liveness,
    LocalGroup,
    Management,
    Membership,
    MovesChanged,
    NodesChanged,
    NodeState,
    OpenReplica,
    OperationIgnored,
    Phase,
    Pin,
    Propose,
    SettingsChanged,
    SlotsChanged,
    TransferLeadership,
    desired_management_configuration,
    steps_for_group_leader,
    steps_for_management_leader,
    steps_for_node,
)
from flowactor.management.operations import (
    AbortMove,
    AddMember,
    AdvanceMove,
    AnnounceMember,
    ChangeSettings,
    CreateGroup,
    DeclareLiveness,
    DrainGroup,
    ManagementRequest,
    MoveMember,
    MoveSlots,
    PinNode,
    Placement,
    RemoveMember,
    RemoveNode,
    ReportGroup,
    SetMetadata,
    SetPlacement,
    SplitGroup,
)
from flowactor.management.roles import next_membership
from tests.management.cluster import Cluster, Rows


@pytest.fixture
def settled(cluster):
    """Three nodes, and group 1 with a leader that reports."""
    cluster.join(3)
    cluster.obey()
    return cluster


@pytest.fixture
def moving(settled):
    """A second group, and slot 7 on its way there, as move 1."""
    settled.ask(ChangeSettings((("balanced", 0),)))
    settled.ask(SplitGroup(1))
    settled.report(2)
    assert settled.ask(MoveSlots((7,), 2)) == Done()
    return settled


def ignored(applied):
    return [notice for notice in applied.notices if isinstance(notice, OperationIgnored)]


# -- once, and never late -------------------------------------------------------------------------


def test_a_request_is_applied_once(settled):
    """A second arrival of a sequence gets the first reply, and creates no second group."""
    request = ManagementRequest("s", 99, 99, SplitGroup(1))
    first = settled.apply(request)
    assert settled.apply(request).replies == first.replies
    assert sorted(settled.topology.groups) == [1, 2]


def test_liveness_counts_in_its_term_and_epoch_only(settled):
    """A declaration of another term or epoch, or a second one, changes nothing."""
    assert ignored(settled.apply(DeclareLiveness(2, 1, 0, False), term=2))
    assert ignored(settled.apply(DeclareLiveness(2, 1, 7, False)))
    assert ignored(settled.apply(DeclareLiveness(9, 1, 0, False)))
    assert settled.declare(2, alive=False).notices == (NodesChanged((2,)),)
    assert ignored(settled.apply(DeclareLiveness(2, 1, 0, True)))
    assert settled.topology.nodes[2].liveness is Liveness.SUSPECT


def test_a_late_announcement_changes_nothing(settled):
    """What a node said before it said something newer does not come back."""
    old = AnnounceMember(2, "disk 2", 1, "late", "old address", 1)
    settled.announce(2, incarnation="second", address="new address")
    assert ignored(settled.apply(old))
    assert settled.topology.nodes[2].address == "new address"
    assert ignored(settled.announce(2, disk="another"))


@pytest.mark.parametrize("back", ["term", "index", "configuration_index", "version"])
def test_a_stale_report_changes_nothing(settled, back):
    """A report that is behind in any respect is ignored, and so is one that says nothing new."""
    settled.report(1, term=5, index=50, configuration_index=40, version=9)
    known = settled.topology.reports[1]
    again = {"term": 5, "index": 50, "configuration_index": 40, "version": 9}
    assert ignored(settled.report(1, **again))
    assert ignored(settled.report(1, **(again | {"voters": (1,)} | {back: 3})))
    assert settled.topology.reports[1] == known
    assert ignored(settled.apply(ReportGroup(8, 1, 1, 1, 1, (1,), ())))


def test_notices_name_what_changed(settled):
    """An apply says which nodes, groups, moves, and which version of the slots to look at."""
    applied = settled.apply()
    assert applied.notices == ()
    settled.ask(SplitGroup(1))
    version = settled.topology.slots_version
    assert settled.report(2).notices == (GroupsChanged((2,)), MovesChanged((1,)))
    settled.apply(AdvanceMove(1, Phase.FREEZE))
    copied = settled.apply(AdvanceMove(1, Phase.COPY))
    assert copied.notices == (MovesChanged((1,)), SlotsChanged(version + 1))
    assert (
        SettingsChanged()
        in settled.apply(
            ManagementRequest("s", 50, 50, ChangeSettings((("split_size", 2),)))
        ).notices
    )


# -- moves ----------------------------------------------------------------------------------------


def test_a_move_goes_through_its_phases(moving):
    """The table changes once, when everything is copied; a report counts in its own phase only."""
    topology = moving.topology
    version = topology.slots_version
    for phase, home in [
        (Phase.FREEZE, 1),
        (Phase.COPY, 1),
        (Phase.ACTIVATE, 2),
        (Phase.FORGET, 2),
    ]:
        assert topology.moves[1].phase is phase
        assert topology.group_of(7) == home
        for other in Phase:
            if other is not phase:
                assert ignored(moving.apply(AdvanceMove(1, other)))
        moving.apply(AdvanceMove(1, phase))
    assert not topology.moves
    assert topology.slots_version == version + 1
    assert topology.slot_versions[7] == version + 1
    assert ignored(moving.apply(AdvanceMove(1, Phase.FREEZE)))


def test_a_move_is_aborted_before_activation_only(moving):
    """Until the table has changed, the source thaws and the target discards; then no more."""
    moving.apply(AdvanceMove(1, Phase.FREEZE))
    assert moving.ask(AbortMove(1)) == Done()
    assert moving.topology.moves[1].phase is Phase.THAW
    assert ignored(moving.apply(AdvanceMove(1, Phase.COPY)))
    assert moving.ask(MoveSlots((7,), 2)).code == "AlreadyExists"
    moving.apply(AdvanceMove(1, Phase.THAW))
    assert moving.ask(MoveSlots((7,), 2)) == Done()
    moving.apply(AdvanceMove(1, Phase.DISCARD))
    moving.apply(AdvanceMove(2, Phase.FREEZE))
    moving.apply(AdvanceMove(2, Phase.COPY))
    assert moving.ask(AbortMove(2)).code == "AlreadyClosed"
    assert moving.ask(AbortMove(1)).code == "NotFound"
    assert moving.topology.group_of(7) == 2


def test_a_group_that_drains_takes_no_more(moving):
    """Slots on their way to a group turn back when it begins to drain; then it ends."""
    moving.apply(AdvanceMove(1, Phase.FREEZE))
    assert moving.ask(DrainGroup(2)) == Done()
    assert moving.topology.moves[1].phase is Phase.THAW
    moving.obey()
    assert moving.counts() == {1: SLOTS}


def test_a_group_without_leader_gets_no_slots(settled):
    """Slots wait until the new group reports enough voters."""
    settled.ask(SplitGroup(1))
    assert not settled.topology.moves
    assert settled.ask(MoveSlots((7,), 2)).code == "InvalidInput"
    settled.report(2, voters=(1,), learners=(2, 3))
    assert not settled.topology.moves
    settled.report(2)
    assert [move.source for move in settled.topology.moves_in_order()] == [1]


# -- refusals -------------------------------------------------------------------------------------

REFUSED = [
    (RemoveNode(9), "NotFound", "no node 9; `members list` names them"),
    (PinNode(9, Pin.VOTER), "NotFound", "no node 9; `members list` names them"),
    (CreateGroup(()), "InvalidInput", "1 to 6 different nodes"),
    (CreateGroup((1, 1)), "InvalidInput", "different"),
    (CreateGroup((1, 9)), "NotFound", "no node 9"),
    (SplitGroup(9), "NotFound", "group 9 is unknown"),
    (DrainGroup(1), "InvalidInput", "create another first"),
    (AddMember(1, 9), "NotFound", "no node 9"),
    (RemoveMember(1, 9), "NotFound", "not in group 1"),
    (MoveMember(1, 1, 9), "NotFound", "no node 9"),
    (SetMetadata(1, "", "x"), "InvalidInput", "1 to"),
    (SetMetadata(1, "x", "y" * 100_000), "InvalidInput", "at most"),
    (MoveSlots((), 1), "InvalidInput", "from 0 to 1023"),
    (MoveSlots((SLOTS,), 1), "InvalidInput", "from 0 to 1023"),
    (MoveSlots((1,), 9), "NotFound", "no active group 9; `groups list` names them"),
    (AbortMove(1), "NotFound", "no move 1"),
    (ChangeSettings((("colour", 1),)), "InvalidInput", "there are: group_size_target"),
    (ChangeSettings((("shared", 2),)), "InvalidInput", "0 (no) or 1 (yes)"),
    (ChangeSettings((("group_size_max", 3),)), "InvalidInput", "must hold"),
    (ChangeSettings((("split_size", 5),)), "InvalidInput", "both parts"),
    (ChangeSettings((("slots_per_move", 0),)), "InvalidInput", "at least 1"),
    (ChangeSettings((("slots_per_move", 2**70),)), "InvalidInput", "from 0 to"),
]


@pytest.mark.parametrize(("body", "code", "words"), REFUSED)
def test_a_command_that_cannot_be_is_refused_clearly(settled, body, code, words):
    """The refusal says what is wrong; nothing changes but the session."""
    before = list(settled.topology.groups.items()), dict(settled.topology.nodes)
    reply = settled.ask(body)
    assert isinstance(reply, Rejected)
    assert reply.code == code
    assert words in reply.message
    assert (list(settled.topology.groups.items()), dict(settled.topology.nodes)) == before


def test_a_node_that_cannot_be_admitted_is_told_why(settled):
    """Taken ids, missing names and old versions are refused at the door."""
    assert settled.admit("x", node=2).code == "AlreadyExists"
    assert settled.admit("disk 2", node=3).code == "AlreadyExists"
    assert settled.admit("x", node=-1).code == "InvalidInput"
    assert settled.admit("x" * 2000).code == "InvalidInput"
    for node in (1, 2, 3):
        settled.announce(node, feature_level=2, labels=(("zone", "a"),))
    assert settled.topology.feature_level == 2
    refused = settled.admit("x")
    assert "upgrade it first" in refused.message
    settled.announce(1, feature_level=1)
    assert settled.topology.feature_level == 2, "it never falls"


def test_nodes_leave_or_are_removed():
    """One that is alive leaves when nothing needs it; a silent one is gone at once; the last one,
    and the only one that has what a group holds, stay.
    """
    cluster = Cluster(shared=0)
    cluster.join(1)
    assert cluster.ask(RemoveNode(1)).code == "InvalidInput"
    cluster.obey()
    cluster.join(1)
    cluster.obey()
    cluster.ask(RemoveMember(1, 2))
    cluster.declare(1, alive=False)
    assert "Start it again" in cluster.ask(RemoveNode(1)).message
    cluster.declare(1, alive=True)
    assert cluster.ask(RemoveNode(2)) == Done()
    assert cluster.topology.nodes[2].state is NodeState.LEAVING
    cluster.obey()
    assert cluster.topology.nodes[2].state is NodeState.LEFT
    assert cluster.ask(RemoveNode(2)) == Done(changed=False)
    cluster.join(1)
    cluster.declare(3, alive=False)
    assert cluster.ask(RemoveNode(3)) == Done()
    assert cluster.topology.nodes[3].state is NodeState.REMOVED
    assert ignored(cluster.declare(3, alive=True))
    assert ignored(cluster.apply(AnnounceMember(3, "disk 3", 1, "again", "a", 1)))
    cluster.check()


def test_what_an_operator_placed_stays(settled):
    """The planner leaves the members of a placed group alone until it is given back."""
    settled.join(1)
    settled.ask(MoveMember(1, 3, 4))
    settled.ask(RemoveMember(1, 2))
    assert settled.members()[1] == [1, 4]
    settled.join(2)
    assert settled.members()[1] == [1, 4]
    assert settled.ask(SetPlacement(1, Placement.PLANNER)) == Done()
    assert len(settled.members()[1]) == 3


def test_a_group_whose_founders_are_gone_ends(settled):
    """A group that never had a leader and cannot get one any more ends, if it has no slots."""
    settled.join(1)
    assert settled.ask(CreateGroup((4,))).group == 3
    settled.declare(4, alive=False)
    assert settled.ask(RemoveNode(4)) == Done()
    assert 3 not in settled.topology.groups


# -- roles ----------------------------------------------------------------------------------------


def test_voters_are_odd_few_and_stable():
    """Up to five voters, an odd number; newcomers and short silences change nothing, pins do."""
    cluster = Cluster(replace_after_seconds=60)
    voters = []
    for _ in range(7):
        cluster.join(1)
        voters.append(desired_management_configuration(cluster.topology).voters)
    assert voters[:4] == [(1,), (1,), (1, 2, 3), (1, 2, 3)]
    assert voters[4:] == [(1, 2, 3, 4, 5)] * 3
    cluster.declare(2, alive=False, at=1000)
    assert desired_management_configuration(cluster.topology).voters == (1, 2, 3, 4, 5)
    cluster.apply(at=1060)
    assert desired_management_configuration(cluster.topology).voters == (1, 3, 4, 5, 6)
    cluster.declare(2, alive=True)
    assert desired_management_configuration(cluster.topology).voters == (1, 3, 4, 5, 6)
    cluster.ask(PinNode(7, Pin.VOTER))
    cluster.ask(PinNode(1, Pin.LEARNER))
    desired = desired_management_configuration(cluster.topology)
    assert desired == Membership((2, 3, 4, 5, 7), (1, 6))
    for node in (2, 3, 4, 5):
        assert cluster.ask(PinNode(node, Pin.VOTER)) == Done()
    assert "unpin one" in cluster.ask(PinNode(6, Pin.VOTER)).message
    cluster.check()


def test_somebody_has_to_vote(settled):
    """The last node that may vote cannot be pinned as a learner."""
    settled.ask(PinNode(1, Pin.LEARNER))
    settled.ask(PinNode(2, Pin.LEARNER))
    assert "somebody has to vote" in settled.ask(PinNode(3, Pin.LEARNER)).message


def test_members_change_one_at_a_time_and_safely():
    """Learner, promotion after catch-up, then the surplus; never without a live majority."""
    everybody = frozenset({1, 2, 3, 4})
    actual, way = Membership((1, 2, 3)), []
    while step := next_membership(Membership((1, 2, 4)), actual, everybody, everybody):
        way.append(step)
        actual = step
    assert way == [
        Membership((1, 2, 3), (4,)),
        Membership((1, 2, 3, 4)),
        Membership((1, 2, 4)),
    ]
    waiting = Membership((1, 2, 3), (4,))
    assert next_membership(Membership((1, 2, 4)), waiting, everybody, frozenset({1})) is None
    alone = frozenset({1, 4})
    assert next_membership(Membership((1, 4)), Membership((1, 2, 3)), alone, alone) == waiting
    assert next_membership(Membership((1, 4)), waiting, alone, alone) is None, "2 of 4 is no quorum"
    assert next_membership(Membership(), actual, everybody, everybody) is None
    near = frozenset({1, 2})
    assert next_membership(Membership((1, 3)), Membership((1, 2, 3)), near, near) is None
    shrinking = Membership((1,)), Membership((1, 2))
    assert next_membership(*shrinking, frozenset({1, 2}), frozenset()) == Membership((1,))
    gone = Membership((1,)), Membership((1,), (2,)), frozenset({1, 2}), frozenset({1})
    assert next_membership(*gone, patient=True) is None
    assert next_membership(*gone) == Membership((1,))


# -- steps ----------------------------------------------------------------------------------------


def founding(_):
    """Of a replica whose log has no configuration but that of its founders."""
    return (0, 0)


def local(group, configuration, **more):
    members = frozenset(configuration.members)
    return LocalGroup(1, group, 1, 9, configuration, 9, False, members, members, **more)


def test_a_leader_that_is_to_go_hands_over_first(settled):
    """The node that leads does not remove itself; its heir does."""
    settled.join(1)
    settled.ask(MoveMember(1, 1, 4))
    full = Membership((1, 2, 3, 4))
    steps = steps_for_group_leader(settled.topology, local(1, full))
    assert steps[0] == TransferLeadership(1, 2)
    heir = LocalGroup(2, 1, 2, 9, full, 9, False, full.members, full.members)
    steps = steps_for_group_leader(settled.topology, heir)
    assert steps[0] == ChangeMembership(1, Membership((2, 3, 4)))


def test_nothing_is_said_while_a_configuration_changes(settled):
    """A leader with an open change neither begins another nor reports."""
    settled.join(1)
    settled.ask(AddMember(1, 4))
    members = frozenset({1, 2, 3, 4})
    changing = LocalGroup(1, 1, 7, 99, Membership((1, 2, 3)), 9, True, members, members)
    assert steps_for_group_leader(settled.topology, changing) == ()


@pytest.mark.parametrize(
    ("known", "actual", "at_once"),
    [(0, 1, True), (2, 1, False), (2, 3, False), (10, 5, False), (1000, 501, False), (2, 0, True)],
)
def test_how_much_is_in_a_group_is_told_in_the_end(settled, known, actual, at_once):
    """A change by more than half at once; a smaller one when it has come to rest; none twice."""
    settled.report(1, configuration_index=9, runs=known)

    def told(runs, **more):
        report = settled.topology.reports[1]
        local = LocalGroup(1, 1, report.term, 99, report.configuration, 9, runs=runs, **more)
        return len(steps_for_group_leader(settled.topology, local))

    assert told(actual) == at_once
    assert told(actual, settled=True) == 1
    assert told(known, settled=True) == told(known) == 0


def test_a_replica_is_closed_on_its_leaders_word(settled):
    """A node that is to leave a group keeps its replica until a leader that knew of it reports a
    configuration without it; of a group that ended it closes at once, of one to come it keeps.
    """
    settled.join(1)
    settled.ask(MoveMember(1, 3, 4))
    topology = settled.topology
    assert steps_for_node(topology, 3, frozenset({1, 2}), founding) == ()
    settled.report(1, version=topology.groups[1].version, voters=(1, 2, 3, 4))
    assert steps_for_node(topology, 3, frozenset({1, 2}), founding) == ()
    settled.report(1)
    assert steps_for_node(topology, 3, frozenset({1, 2}), founding) == (CloseReplica(1),)
    assert steps_for_node(topology, 4, frozenset({9}), founding)[0] == OpenReplica(
        1, (1,), False, True
    )
    settled.ask(CreateGroup((4,)))
    settled.ask(DrainGroup(3))
    assert CloseReplica(3) in steps_for_node(topology, 4, frozenset({1, 2, 3}), founding)


def test_a_replica_stays_while_a_leader_may_yet_add_it(settled):
    """A report of a leader that had not heard of the change is no word on it."""
    settled.join(1)
    settled.ask(AddMember(1, 4))
    settled.ask(RemoveMember(1, 4))
    assert steps_for_node(settled.topology, 4, frozenset({1, 2}), founding) == ()
    settled.report(1)
    assert steps_for_node(settled.topology, 4, frozenset({1, 2}), founding) == (CloseReplica(1),)


def test_a_replica_stays_that_knows_better_than_a_report(settled):
    """A node that lags reads of its removal when its replica is a member again, by an entry that is
    newer than the report, committed or not: it may have acknowledged what counts. An entry that no
    later leader has counts no more; nor does a replica that is being opened or closed.
    """
    settled.join(1)
    settled.ask(MoveMember(1, 3, 4))
    settled.report(1, term=5, index=462)
    topology, replicas = settled.topology, frozenset({1, 2})
    for newer in ((5, 463), (6, 400), None):
        assert steps_for_node(topology, 3, replicas, lambda _, newer=newer: newer) == ()
    for older in ((5, 462), (4, 9000), (0, 0)):
        steps = steps_for_node(topology, 3, replicas, lambda _, older=older: older)
        assert steps == (CloseReplica(1),)


def test_a_founder_comes_back_as_a_joiner(settled):
    """A founder that was told to go does not act as one when it is wanted again."""
    settled.join(1)
    assert settled.topology.groups[1].founders == (1,)
    settled.ask(MoveMember(1, 1, 4))
    settled.report(1)
    settled.ask(MoveMember(1, 4, 1))
    steps = steps_for_node(settled.topology, 1, frozenset({2}), founding)
    assert steps == (OpenReplica(1, (1,), as_founder=False, all_slots=True),)


def test_the_management_leader_watches(settled):
    """Silence is declared once, its end too, and never of somebody who is gone."""
    topology = settled.topology
    known = local(0, Membership((1, 2, 3)))
    steps = steps_for_management_leader(topology, known, frozenset({2}))
    assert Propose(DeclareLiveness(2, 1, 0, False)) in steps
    settled.declare(2, alive=False)
    steps = steps_for_management_leader(topology, known, frozenset())
    assert Propose(DeclareLiveness(2, 1, 1, True)) in steps


# -- rows -----------------------------------------------------------------------------------------


def test_rows_of_another_schema_are_refused(settled):
    """A state of a newer version is not guessed at."""
    rows = Rows()
    rows.write(settled.flush())
    key = ("management",)
    rows.tables["meta"][key] = (99, *rows.tables["meta"][key][1:])
    with pytest.raises(StorageRefused, match="schema 99"):
        Management(rows)


def test_only_rows_that_changed_are_written(moving):
    """A report touches the row of its group and the clock's, whatever else there is."""
    moving.flush()
    moving.report(2, runs=5)
    assert [write.table for write in moving.flush()] == ["reports"]
    assert moving.flush() == []
