"""Nodes that were taken out of a group, deleted their logs, and belong to it again."""

from itertools import product

import pytest

from flowactor.raft import Append, AppendReply, Configuration, EntryKind, HardState, Receive, Role
from flowactor.simulation.checks.durable import DurableLog
from tests.raft.cluster import Cluster


@pytest.fixture
def cluster():
    """Three nodes, of which the first leads."""
    made = Cluster(3)
    made.elect(1)
    return made


def voters(cluster, node):
    """The voters of the configuration that the node goes by."""
    return cluster.status(node).configuration.voters


@pytest.mark.parametrize("keeps", [True, False])
def test_who_comes_back_remembers_its_votes(keeps):
    """Node 3 votes for 1, is removed, drops its log and its state, and is started again to be a
    learner; then a vote request of 2 arrives that was under way all the while. With its term and
    vote kept 3 refuses; without, 2 leads the same term as 1 (rule vote_is_durable_before_reply).
    """
    cluster = Cluster(5)
    cluster.campaign(2)
    while cluster.status(2).term == 0:
        cluster.deliver(cluster.network.pop(0))
    cluster.network.clear()
    cluster.sync(2)
    asked = {packet.receiver: Receive(2, packet.message) for packet in cluster.network}
    cluster.network.clear()
    cluster.step(5, asked[5])
    cluster.sync(5)
    (vote_of_5,) = [packet.message for packet in cluster.network]
    cluster.isolate(2, 5)
    cluster.elect(1, among=(3, 4))
    assert cluster.status(1).term == cluster.status(2).term == 1
    cluster.heal()
    cluster.isolate(2)
    cluster.tick(1, 3, 4, 5, times=4)
    cluster.change(1, 1, 2, 4, 5)
    cluster.settle()
    cluster.tick(1, 3, 4, 5, times=4)
    assert voters(cluster, 3) == (1, 2, 4, 5)
    assert cluster.status(1).commit_index == cluster.status(1).configuration_index

    promised = HardState(1, cluster.state(3).vote)
    cluster.crash(3, applied=0)
    cluster.checker.lost(3)
    cluster.members[3].disk = DurableLog(configuration=Configuration())
    if keeps:
        cluster.members[3].disk.hard_state = promised
    cluster.start(3)
    cluster.network.clear()
    cluster.step(3, asked[3])
    cluster.sync(3)
    (answer,) = [packet.message for packet in cluster.network]
    assert answer.granted is not keeps
    cluster.step(2, Receive(5, vote_of_5))
    if keeps:
        cluster.step(2, Receive(3, answer))
        assert cluster.status(2).role is not Role.LEADER
    else:
        with pytest.raises(AssertionError, match="I1"):
            cluster.step(2, Receive(3, answer))


@pytest.fixture
def comeback(cluster):
    """Node 3 is removed, drops its log, and is a member again before the leader has forgotten it;
    it has not heard of that yet.
    """
    cluster.propose(1, b"x")
    cluster.settle()
    cluster.isolate(3)
    cluster.change(1, 1, 2)
    cluster.settle()
    cluster.drop(3)
    cluster.change(1, 1, 2, learners=(3,))
    cluster.settle()
    return cluster


def test_who_comes_back_with_nothing_is_sent_everything(comeback):
    """What the leader knew of it before it left counts no more: it would take each refusal of the
    empty log for one of the past.
    """
    comeback.heal()
    comeback.tick(times=4)
    assert comeback.status(3).last_index == comeback.status(1).last_index
    assert voters(comeback, 3) == (1, 2)


def test_who_comes_back_and_then_drops_its_log_is_sent_everything(cluster):
    """Node 3 is a learner again and has answered, when it reads that it was removed, and deletes
    its replica. The leader notices, by an answer that is newer than what it knows; one that was
    under way since before says nothing.
    """
    cluster.propose(1, b"x")
    cluster.settle()
    cluster.isolate(3)
    cluster.change(1, 1, 2)
    cluster.settle()
    cluster.change(1, 1, 2, learners=(3,))
    cluster.settle()
    cluster.heal()
    cluster.tick(times=2)
    status, leader = cluster.status(1), cluster.state(1).role
    match = dict(status.peers)[3].match_index
    assert match > 0
    cluster.step(1, Receive(3, AppendReply(status.term, False, 0, leader.round - 1, match)))
    assert dict(cluster.status(1).peers)[3].match_index == match
    cluster.network.clear()
    cluster.drop(3)
    cluster.tick(times=6)
    assert cluster.status(3).last_index == cluster.status(1).last_index
    assert dict(cluster.status(1).peers)[3].match_index == cluster.status(1).last_index
    assert voters(cluster, 3) == (1, 2)


@pytest.fixture
def forgetful():
    """Node 2 was cut off when 4 was added and 3 removed, and an entry was committed by 1 and 4.
    Node 3 has dropped its log, and is opened anew. Then 2 and 3, two of the three voters that 2
    knows, are alone.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.propose(1, b"x")
    cluster.settle()
    cluster.isolate(2)
    cluster.admit(1, 4)
    cluster.isolate(2)
    cluster.change(1, 1, 2, 4)
    cluster.settle()
    assert voters(cluster, 3) == (1, 2, 4)
    cluster.propose(1, b"precious")
    cluster.settle()
    assert b"precious" in [entry.data for entry in cluster.checker.committed]
    cluster.drop(3)
    cluster.network.clear()
    cluster.heal()
    for near, far in product((2, 3), (1, 4)):
        cluster.cut |= {(near, far), (far, near)}
    return cluster


def test_who_dropped_its_log_votes_as_if_it_had_it(forgetful):
    """It has acknowledged the configuration in which 2 and 3 decide nothing: it gives no vote to
    whoever has not heard of that (paper 5.4.1), though its own log is empty.
    """
    forgetful.tick(2, 3, times=60)
    assert forgetful.status(2).role is not Role.LEADER
    forgetful.heal()
    forgetful.isolate(3)
    forgetful.tick(1, 2, 4, times=60)
    assert forgetful.status(2).last_index == forgetful.status(1).last_index


def test_who_dropped_its_log_does_not_campaign_before_it_has_it_again(forgetful):
    """With the beginning of the log it takes itself for a voter; it would elect itself with 2."""
    term, log = forgetful.state(1).term, forgetful.state(1).log
    entries = tuple(log.between(1, 3))
    assert [entry.kind for entry in entries][-1] is EntryKind.CONFIGURATION
    forgetful.step(3, Receive(1, Append(term, 0, 0, 3, forgetful.state(1).role.round, entries)))
    forgetful.sync(3)
    forgetful.network.clear()
    assert forgetful.status(3).last_index == 3
    forgetful.tick(2, 3, times=60)
    assert Role.LEADER not in (forgetful.status(2).role, forgetful.status(3).role)


def test_what_was_said_before_leaving_counts_no_more(comeback):
    """An answer of its earlier membership, which was under way all the while, proves nothing."""
    term, round_before = comeback.status(1).term, comeback.state(1).role.round - 1
    comeback.step(1, Receive(3, AppendReply(term, True, 2, round_before)))
    assert dict(comeback.status(1).peers)[3].match_index == 0
