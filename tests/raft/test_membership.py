"""Members come and go, rule by rule (thesis 4)."""

import pytest

from flowactor.codec.records import encode
from flowactor.raft import (
    Append,
    AppendReply,
    ChangeConfiguration,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Receive,
    RefusalReason,
    Restored,
    Role,
    Tick,
    Vote,
    VoteReply,
    WritePersisted,
)
from flowactor.raft.membership import Membership, configuration_entry, next_configuration
from tests.raft.cluster import Cluster, lone


def voters(cluster, node):
    return cluster.status(node).configuration.voters


def refusal(cluster, node, token):
    return cluster.members[node].refused.get(token)


@pytest.fixture
def cluster():
    """Three voters, led by node 1, with an entry of its term committed."""
    cluster = Cluster(3)
    cluster.elect(1)
    return cluster


def test_one_becomes_three_becomes_five_becomes_three():
    """A cluster of one grows to five voters and shrinks to three others, its leader among those
    who go, with entries committed at each size; all that remain have all of them.
    """
    cluster = Cluster(1)
    cluster.elect(1)
    for size in (3, 5):
        cluster.propose(1, b"before")
        cluster.admit(1, *range(size - 1, size + 1))
        assert voters(cluster, 1) == tuple(range(1, size + 1))
    cluster.propose(1, b"five")
    cluster.settle()
    cluster.change(1, 3, 4, 5)
    cluster.settle()
    leader = cluster.leader()
    assert leader in (3, 4, 5)
    cluster.propose(leader, b"three")
    cluster.tick(times=3)
    for node in (3, 4, 5):
        assert voters(cluster, node) == (3, 4, 5)
        assert cluster.members[node].applied == cluster.status(leader).last_index
    assert cluster.marks["members changed"] >= 6


def test_a_learner_receives_and_does_not_count(cluster):
    """With one of three voters and a learner alive nothing is committed; the learner has it."""
    cluster.join(4)
    cluster.change(1, 1, 2, 3, learners=(4,))
    cluster.settle()
    assert cluster.status(4).role is Role.LEARNER
    cluster.isolate(2, 3)
    committed = cluster.status(1).commit_index
    cluster.propose(1, b"x")
    cluster.settle()
    assert cluster.status(4).last_index == cluster.status(1).last_index
    assert cluster.status(1).commit_index == committed


def test_learners_never_campaign(cluster):
    """However long a learner hears nothing, it asks nobody for a vote; nor does a node that
    belongs to nothing yet.
    """
    cluster.join(4)
    cluster.join(5)
    cluster.change(1, 1, 2, 3, learners=(4,))
    cluster.settle()
    cluster.isolate(4, 5)
    for node in (4, 5):
        for _ in range(100):
            cluster.step(node, Tick())
        assert (cluster.status(node).role, cluster.network) == (Role.LEARNER, [])


def test_learner_votes_when_asked():
    """Who takes itself for a learner votes: it may have been promoted without knowing (etcd#10998);
    so does a node whose configuration does not name the candidate.
    """
    learner = lone(node=4, voters=(1, 2, 3))
    effects = learner.step([Receive(5, Vote(2, 9, 1, pre=False))])
    (reply,) = [
        message
        for _, message in learner.step([_done(effects)]).messages
        if isinstance(message, VoteReply)
    ]
    assert reply.granted


def _done(effects):
    return WritePersisted(effects.write.number)


def test_promotion_only_after_catch_up(cluster):
    """A new voter that has not what the leader had an election time-out ago is refused, whether it
    was never heard of, hears nothing, or lags; once it has, it is taken.
    """
    assert refusal(cluster, 1, cluster.change(1, 1, 2, 3, 4)) is RefusalReason.NOT_CAUGHT_UP
    cluster.join(4)
    cluster.isolate(4)
    cluster.change(1, 1, 2, 3, learners=(4,))
    cluster.settle()
    for _ in range(3):
        cluster.propose(1, b"x")
        cluster.tick(times=10)
    assert refusal(cluster, 1, cluster.change(1, 1, 2, 3, 4)) is RefusalReason.NOT_CAUGHT_UP
    cluster.heal()
    cluster.tick(times=4)
    (status,) = [status for peer, status in cluster.status(1).peers if peer == 4]
    assert status.caught_up
    token = cluster.change(1, 1, 2, 3, 4)
    assert refusal(cluster, 1, token) is None
    cluster.settle()
    assert cluster.status(4).role is Role.FOLLOWER


def test_config_needs_own_term_commit():
    """No change before an entry of the leader's own term is committed, and none while another is
    not: two of them may have no majority in common (the bug of 2015).
    """
    cluster = Cluster(3)
    cluster.forget_leader(2, 3)
    cluster.campaign(1)
    while cluster.status(1).role is not Role.LEADER:
        if cluster.network:
            cluster.deliver(cluster.network.pop(0))
        for node in cluster.members:
            if cluster.members[node].queue and cluster.status(1).role is not Role.LEADER:
                cluster.sync(node)
    assert refusal(cluster, 1, cluster.change(1, 1, 2)) is RefusalReason.CHANGE_PENDING
    cluster.settle()
    assert refusal(cluster, 1, cluster.change(1, 1, 2)) is None
    assert refusal(cluster, 1, cluster.change(1, 1, 3)) is RefusalReason.CHANGE_PENDING
    cluster.settle()
    assert refusal(cluster, 1, cluster.change(1, 1)) is None


def test_only_a_leader_changes_members(cluster):
    """A follower refuses, and so does a leader that hands over."""
    assert refusal(cluster, 2, cluster.change(2, 1, 2)) is RefusalReason.NOT_LEADER
    cluster.isolate(2)
    cluster.propose(1, b"x")
    cluster.transfer(1, 2)
    assert refusal(cluster, 1, cluster.change(1, 1, 2)) is RefusalReason.TRANSFERRING


def test_two_clusters_of_2015():
    """Figure 1 of the mail of 2015: S1 adds itself a voter that nobody else hears of, S2 then
    removes one, and S1 comes back. With the barrier S2 must first commit in its own term, which
    shows S1's change to nobody, so that its own is refused until S1's can no longer be committed.
    """
    cluster = Cluster(4)
    cluster.elect(1)
    cluster.join(5)
    cluster.isolate(1, 5)
    cluster.change(1, 1, 2, 3, 4, learners=(5,))
    cluster.settle()
    cluster.forget_leader(2, 3, 4)
    cluster.isolate(4)
    cluster.campaign(2)
    cluster.settle()
    assert cluster.leader() != 2, "two of four are no majority"
    cluster.heal()
    cluster.isolate(1, 5)
    cluster.elect(2)
    cluster.change(2, 2, 3, 4)
    cluster.settle()
    assert voters(cluster, 2) == (2, 3, 4)
    cluster.heal()
    cluster.tick(times=30)
    assert cluster.leader() in (2, 3, 4)
    assert voters(cluster, cluster.leader()) == (2, 3, 4)


def test_a_change_that_is_cut_off_never_was(cluster):
    """A follower that took a configuration acts by it, and by the one before once it is cut off."""
    cluster.isolate(1, 2)
    cluster.change(1, 1, 2)
    cluster.settle()
    assert voters(cluster, 2) == (1, 2)
    assert cluster.status(1).commit_index == cluster.status(1).configuration_index

    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.change(1, 1, 2)
    assert voters(cluster, 1) == (1, 2)
    cluster.elect(2, among=(3,))
    cluster.heal()
    cluster.tick(times=3)
    assert voters(cluster, 1) == (1, 2, 3)
    assert cluster.status(1).configuration_index == 0


def test_replacing_two_of_three_is_joint(cluster):
    """A change of more than one voter goes through a configuration of both sets, in which each set
    must agree: with the new voters cut off nothing is committed, with the old ones neither.
    """
    for node in (4, 5):
        cluster.join(node)
    cluster.change(1, 1, 2, 3, learners=(4, 5))
    cluster.settle()
    cluster.tick(times=25)
    cluster.isolate(4, 5)
    cluster.change(1, 1, 4, 5)
    cluster.settle()
    status = cluster.status(1)
    assert status.configuration.is_joint
    assert status.configuration.outgoing == (1, 2, 3)
    assert status.commit_index < status.configuration_index
    cluster.heal()
    cluster.tick(times=3)
    for node in (1, 4, 5):
        assert cluster.status(node).configuration == Configuration((1, 4, 5))


def test_joint_left_only_when_committed():
    """A joint configuration recovered from disk is left by the next leader once it is committed,
    and not before (camunda#60086): here its first term's entry is not.
    """
    joint = Configuration((1, 4, 5), outgoing=(1, 2, 3))
    entry = configuration_entry(1, 1, joint)
    restored = Restored(hard_state=HardState(1, 1, 0), entries=(entry,))
    node = lone(restored)
    assert node.status().configuration == joint
    for _ in range(40):
        effects = node.step([Tick()])
        if effects.messages:
            break
    votes = [Receive(peer, VoteReply(2, True, pre=True)) for peer in (2, 4)]
    effects = node.step(votes)
    effects = node.step([_done(effects)])
    effects = node.step([Receive(peer, VoteReply(2, True, pre=False)) for peer in (2, 4)])
    assert node.status().role is Role.LEADER
    node.step([_done(effects)])
    effects = node.step([Receive(2, AppendReply(2, True, 2, 0))])
    assert node.status().configuration == joint, "nobody of the new voters has it"
    effects = node.step([Receive(4, AppendReply(2, True, 2, 0))])
    assert node.status().configuration == Configuration((1, 4, 5))
    assert [entry.kind for entry in effects.write.entries] == [EntryKind.CONFIGURATION]


def test_leader_dies_inside_a_joint_change(cluster):
    """Who leads next finishes the change: a joint configuration is no state to stay in (I35)."""
    for node in (4, 5):
        cluster.join(node)
    cluster.change(1, 1, 2, 3, learners=(4, 5))
    cluster.settle()
    cluster.tick(times=25)
    cluster.change(1, 1, 4, 5)
    for _ in range(12):  # the entry spreads, and is not committed yet
        cluster.deliver(cluster.network.pop(0))
        for node in (2, 3, 4, 5):
            cluster.sync(node)
    cluster.crash(1)
    cluster.network.clear()
    cluster.tick(times=60)
    leader = cluster.leader()
    assert leader in (2, 3, 4, 5)
    cluster.start(1)
    cluster.tick(times=30)
    assert {cluster.status(node).configuration.is_joint for node in (1, 4, 5)} == {False}


def test_self_removed_leader(cluster):
    """A leader that removes itself leads until that is committed without counting itself, tells
    the others, hands over, and does not campaign again.
    """
    cluster.isolate(3)
    cluster.change(1, 2, 3)
    cluster.settle()
    assert cluster.status(1).role is Role.LEADER
    assert cluster.status(1).commit_index < cluster.status(1).configuration_index
    cluster.heal()
    cluster.tick(times=3)
    assert cluster.status(1).role is not Role.LEADER
    assert cluster.leader() in (2, 3)
    for node in (2, 3):
        assert cluster.status(node).commit_index >= cluster.status(1).configuration_index
    term = cluster.status(cluster.leader()).term
    for _ in range(100):
        cluster.step(1, Tick())
    cluster.settle()
    assert cluster.status(cluster.leader()).term == term


def test_self_removed_leader_that_alone_has_the_entry_campaigns_again():
    """Of two nodes the leader removes itself and restarts before the other has heard: the other
    cannot be elected, its log is shorter, so the one that goes has to lead once more
    (scylladb#10618, cowsql#150).
    """
    cluster = Cluster(2)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.change(1, 2)
    cluster.settle()
    cluster.restart(1)
    cluster.heal()
    assert voters(cluster, 1) == (2,)
    cluster.tick(times=60)
    assert cluster.leader() == 2
    assert voters(cluster, 2) == (2,)


def test_removed_node_does_not_disturb(cluster):
    """Who was removed and does not know it asks for votes in vain: the term stays."""
    cluster.isolate(3)
    cluster.change(1, 1, 2)
    cluster.settle()
    cluster.heal()
    cluster.cut = {(1, 3), (2, 3)}  # it speaks, and hears nothing
    term = cluster.status(1).term
    for _ in range(100):
        cluster.tick()
    assert (cluster.leader(), cluster.status(1).term) == (1, term)


def test_a_removed_node_is_told(cluster):
    """The leader goes on sending to whom it removed until that one knows, and then no more."""
    cluster.change(1, 1, 2)
    cluster.settle()
    cluster.tick(times=3)
    assert voters(cluster, 3) == (1, 2)
    assert cluster.status(3).commit_index == cluster.status(3).configuration_index
    assert [peer for peer, _ in cluster.status(1).peers] == [2]


def test_a_removed_node_that_asks_is_told(cluster):
    """Who was cut off when it was removed, for so long that the leader gave up on it, learns of it
    when it asks for votes; then it is forgotten, and asks no more.
    """
    cluster.isolate(3)
    cluster.change(1, 1, 2)
    cluster.settle()
    cluster.tick(1, 2, times=2 * cluster.members[1].config.election_ticks_max)
    assert [peer for peer, _ in cluster.status(1).peers] == [2]
    cluster.heal()
    cluster.tick(times=3 * cluster.members[1].config.election_ticks_max)
    assert voters(cluster, 3) == (1, 2)
    assert [peer for peer, _ in cluster.status(1).peers] == [2]
    for _ in range(100):
        cluster.step(3, Tick())
    assert cluster.network == []


def test_a_removed_node_of_a_later_term_is_not_told(cluster):
    """Its answer would depose the leader: a removed node may not disturb, not even once."""
    cluster.isolate(3)
    cluster.change(1, 1, 2)
    cluster.settle()
    cluster.tick(1, 2, times=2 * cluster.members[1].config.election_ticks_max)
    cluster.heal()
    term = cluster.status(1).term
    cluster.step(1, Receive(3, Vote(term + 2, 1, 1, pre=True)))
    cluster.settle()
    assert [peer for peer, _ in cluster.status(1).peers] == [2]
    assert cluster.status(1).role is Role.LEADER


def test_a_removed_node_gets_no_snapshot(cluster):
    """Whom the log no longer reaches is not sent a whole state to learn that it does not belong."""
    cluster.isolate(3)
    cluster.change(1, 1, 2)
    for _ in range(5):
        cluster.propose(1, b"x")
        cluster.settle()
    member = cluster.members[1]
    member.durable_applied = member.applied
    member.disk.purge_to(member.applied)
    cluster.state(1).log.shrink(0, member.applied)
    cluster.heal()
    cluster.tick(times=3 * member.config.election_ticks_max)
    assert cluster.marks["snapshot installed"] == 0
    assert [peer for peer, _ in cluster.status(1).peers] == [2]


def test_learners_are_not_asked_for_votes(cluster):
    """A candidate asks those whose votes count in its configuration, and spares the others' disks:
    if one of them is a voter by now, this log is too short to win anyway.
    """
    cluster.join(4)
    cluster.change(1, 1, 2, 3, learners=(4,))
    cluster.settle()
    cluster.tick(times=3)
    cluster.crash(1)
    cluster.forget_leader(2, 3, 4)
    cluster.campaign(2)
    assert {packet.receiver for packet in cluster.network} == {1, 3}
    cluster.settle()
    assert cluster.leader() == 2
    assert cluster.state(4).vote == 0


def test_no_campaign_with_unapplied_config():
    """A configuration is in force from the moment it is in the log, so that nobody ever campaigns
    by an older one than its log has (etcd#12133 is about those that wait until it is applied).
    """
    entry = configuration_entry(1, 1, Configuration((1, 2)))
    node = lone(Restored(hard_state=HardState(1, 0, 0), entries=(entry,)))
    asked = set()
    for _ in range(40):
        asked |= {peer for peer, _ in node.step([Tick()]).messages}
    assert asked == {2}


def test_demoting_the_leader(cluster):
    """A leader that becomes a learner leads until that is committed, and then hands over."""
    cluster.change(1, 2, 3, learners=(1,))
    cluster.settle()
    cluster.tick(times=3)
    assert cluster.leader() in (2, 3)
    assert cluster.status(1).role is Role.LEARNER
    cluster.propose(cluster.leader(), b"x")
    cluster.tick(times=3)
    assert cluster.members[1].applied == cluster.status(cluster.leader()).last_index


def test_the_context_travels(cluster):
    """What the owner of a configuration wants agreed with it is agreed with it."""
    wanted = Configuration((1, 2, 3), context=b"addresses")
    cluster.step(1, ChangeConfiguration(99, wanted))
    cluster.settle()
    cluster.tick(times=3)
    assert {cluster.status(node).configuration.context for node in (1, 2, 3)} == {b"addresses"}


def test_a_configuration_entry_from_a_leader_is_in_force_at_once():
    """A follower takes its members from the append itself, committed or not."""
    node = lone()
    entry = Entry(1, 1, EntryKind.CONFIGURATION, encode(Configuration((1, 2, 3, 4))))
    effects = node.step([Receive(2, Append(1, 0, 0, 0, 1, (entry,)))])
    assert effects.status_changed
    assert node.status().configuration.voters == (1, 2, 3, 4)


def test_the_first_step_of_a_change_keeps_majorities_together():
    """One voter more or less is one step, anything else two."""
    present = Configuration((1, 2, 3), (4,))
    for wanted in (Configuration((1, 2, 3, 4)), Configuration((1, 2)), Configuration((1, 2, 3))):
        assert next_configuration(present, wanted) == wanted
    replaced = Configuration((1, 2, 4), (3,), context=b"c")
    step = next_configuration(present, replaced)
    assert step == Configuration((1, 2, 4), (3,), (1, 2, 3), b"c")


def test_the_past_of_a_membership_is_forgotten():
    """What is committed needs only its newest configuration."""
    founding, second, third = (Configuration((1,) * n) for n in (1, 2, 3))
    membership = Membership(1, [(0, founding)])
    membership.append([configuration_entry(1, 4, second), configuration_entry(1, 6, third)])
    membership.committed(5)
    assert membership.history == [(4, second), (6, third)]
    membership.cut_from(6)
    assert (membership.index, membership.current) == (4, second)
