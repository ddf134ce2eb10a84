"""A leader hands over, rule by rule (thesis 3.10)."""

import pytest

from flowactor.raft import Receive, RefusalReason, Role, Tick, TimeoutNow, Vote
from tests.raft.cluster import Cluster, lone


@pytest.fixture
def cluster():
    """Three voters, led by node 1."""
    cluster = Cluster(3)
    cluster.elect(1)
    return cluster


def test_the_target_leads_without_a_time_out(cluster):
    """Before a single tick has passed the target leads, although the others have just heard the
    old leader; nothing that was accepted before is lost.
    """
    cluster.propose(1, b"x")
    cluster.transfer(1, 3)
    assert cluster.status(1).transferring == 3
    cluster.settle()
    assert cluster.status(3).role is Role.LEADER
    assert cluster.status(1).role is Role.FOLLOWER
    cluster.tick(times=3)
    assert {member.applied for member in cluster.members.values()} == {3}


def test_without_a_target_the_furthest_log_leads(cluster):
    """Who has most is next; of several the lowest id."""
    cluster.isolate(2)
    cluster.propose(1, b"x")
    cluster.settle()
    cluster.transfer(1)
    cluster.settle()
    assert cluster.leader() == 3


def test_the_target_gets_everything_first(cluster):
    """Who lags is told to campaign only when it has all that was accepted."""
    cluster.isolate(3)
    for _ in range(5):
        cluster.propose(1, b"x")
    cluster.settle()
    cluster.transfer(1, 3)
    cluster.heal()
    cluster.tick(times=4)
    assert cluster.leader() == 3
    assert cluster.status(3).commit_index == 7


def test_transfer_times_out(cluster):
    """A target that does not answer is given up after an election time-out, proposals are refused
    until then and taken afterwards, and the "time-out now" that arrives late is harmless.
    """
    cluster.isolate(3)
    cluster.propose(1, b"x")
    cluster.settle()
    cluster.transfer(1, 3)
    token = cluster.propose(1, b"refused")
    assert cluster.members[1].refused[token] is RefusalReason.TRANSFERRING
    cluster.tick(1, 2, times=cluster.members[1].config.election_ticks_max)
    assert cluster.status(1).transferring == 0
    assert cluster.leader() == 1
    token = cluster.propose(1, b"taken")
    cluster.settle()
    assert token in cluster.members[1].accepted

    cluster.heal()
    term = cluster.status(1).term
    cluster.tick(times=4)
    cluster.step(3, Receive(1, TimeoutNow(term)))
    cluster.settle()
    cluster.tick(times=4)
    assert cluster.leader() == 3
    assert len({tuple(cluster.terms(node)) for node in cluster.members}) == 1


@pytest.mark.parametrize(("sender", "term"), [(2, 1), (1, 0)])
def test_time_out_now_of_the_past_changes_nothing(cluster, sender, term):
    """Only the leader that is followed, and in its term, may have a node campaign."""
    before = cluster.status(3).term
    cluster.step(3, Receive(sender, TimeoutNow(before - 1 + term)))
    cluster.settle()
    assert (cluster.leader(), cluster.status(3).term) == (1, before)


def test_who_cannot_lead_is_no_target(cluster):
    """A learner, a stranger, the leader itself: refused at once. So is a node that does not lead,
    and a cluster of one has nobody to hand over to.
    """
    cluster.join(4)
    cluster.change(1, 1, 2, 3, learners=(4,))
    cluster.settle()
    for target in (1, 4, 9):
        token = cluster.transfer(1, target)
        assert cluster.members[1].refused[token] is RefusalReason.NO_VOTER
    token = cluster.transfer(2, 3)
    assert cluster.members[2].refused[token] is RefusalReason.NOT_LEADER
    alone = Cluster(1)
    alone.elect(1)
    token = alone.transfer(1)
    assert alone.members[1].refused[token] is RefusalReason.NO_VOTER


def test_a_learner_told_to_campaign_does_not():
    """A "time-out now" makes no voter of who is none."""
    node = lone(node=4)
    node.step([Tick()])
    effects = node.step([Receive(1, TimeoutNow(0))])
    assert effects.messages == []
    assert node.status().role is Role.LEARNER


def test_reads_under_way_are_refused_by_who_steps_down(cluster):
    """A read that a leader could not confirm before it handed over has a definite answer."""
    cluster.cut = {(2, 1), (3, 1)}
    read = cluster.read(1)
    cluster.transfer(1, 2)
    cluster.settle()
    cluster.heal()
    cluster.tick(times=4)
    assert cluster.leader() == 2
    assert cluster.members[1].refused[read] is RefusalReason.LOST_LEADERSHIP


def test_who_campaigns_for_a_transfer_knows_no_leader_of_its_term(cluster):
    """The leader that handed over leads the term before: until somebody leads the new one nobody
    is sent to it, and no vote is refused for its sake.
    """
    cluster.isolate(2)
    term = cluster.status(3).term
    cluster.step(3, Receive(1, TimeoutNow(term)))
    status = cluster.status(3)
    assert (status.role, status.term) == (Role.CANDIDATE, term + 1)
    assert (status.leader, status.previous_leader) == (0, 1)
    cluster.sync(3)
    cluster.network.clear()
    cluster.step(3, Receive(2, Vote(term + 2, 9, term + 1, pre=False)))
    assert cluster.status(3).term == term + 2


def test_asking_again_does_not_move_the_deadline(cluster):
    """However often the same transfer is asked for, it is given up when the first would have been
    (rule transfer_times_out): who insists does not keep the group from working.
    """
    cluster.isolate(3)
    cluster.propose(1, b"x")
    cluster.settle()
    for _ in range(cluster.members[1].config.election_ticks_max):
        assert cluster.leader() == 1
        cluster.transfer(1, 3)
        cluster.tick(1, 2)
    assert cluster.status(1).transferring == 0
    assert cluster.propose(1, b"taken") in cluster.members[1].accepted


def test_a_target_that_is_no_voter_any_more_is_given_up(cluster):
    """The end of a joint change takes the target's vote: the transfer ends with it, not only at
    its deadline.
    """
    for node in (4, 5):
        cluster.join(node)
    cluster.change(1, 1, 2, 3, learners=(4, 5))
    cluster.settle()
    cluster.tick(times=25)
    cluster.change(1, 1, 4, 5)
    cluster.cut = {(3, 1)}
    cluster.transfer(1, 3)
    assert cluster.status(1).transferring == 3
    cluster.settle()
    assert cluster.status(1).configuration.voters == (1, 4, 5)
    assert not cluster.status(1).configuration.is_joint
    assert cluster.status(1).transferring == 0
    assert cluster.propose(1, b"x") in cluster.members[1].accepted


def test_who_is_silent_is_not_handed_the_lead(cluster):
    """In an idle group the dead have everything too: without a target, and when a leader removes
    itself, the lead goes to who was heard of late.
    """
    cluster.isolate(2)
    cluster.tick(1, 3, times=cluster.members[1].config.election_ticks_min + 2)
    cluster.transfer(1)
    assert cluster.status(1).transferring == 3
    cluster.settle()
    assert cluster.leader() == 3
