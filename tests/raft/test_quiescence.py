"""An idle group goes quiet and wakes, rule *quiet_group_wakes*."""

import pytest

from flowactor.raft import (
    Append,
    AppendReply,
    Configuration,
    EntriesLoaded,
    Propose,
    ReadIndex,
    Receive,
    RefusalReason,
    Role,
    SnapshotStaged,
    Tick,
    TimeoutNow,
    TransferLeadership,
    Vote,
    Wake,
    WritePersisted,
)
from flowactor.raft.membership import configuration_entry
from tests.raft.cluster import Cluster

QUIET = 10
PATIENCE = 20
"""The longest election time-out of these tests."""


def quiet(cluster):
    """Who is quiet."""
    up = [node for node, member in cluster.members.items() if member.raft is not None]
    return [node for node in up if cluster.status(node).quiet]


def lull(cluster):
    """Let time pass until nothing more comes of it."""
    cluster.tick(times=QUIET + 5)


@pytest.fixture
def cluster():
    """Three voters, led by node 1, that may go quiet."""
    cluster = Cluster(3, quiet_ticks=QUIET)
    cluster.elect(1)
    return cluster


@pytest.fixture
def asleep(cluster):
    """The same, all of them quiet."""
    cluster.propose(1, b"x")
    cluster.settle()
    lull(cluster)
    assert quiet(cluster) == [1, 2, 3]
    return cluster


def test_an_idle_group_goes_quiet(cluster):
    """Leader, followers and learners with equal logs and commit indexes go quiet; from then on time
    passes without a message, a write or a change, however much of it.
    """
    cluster.join(4)
    cluster.change(1, 1, 2, 3, learners=(4,))
    cluster.propose(1, b"x")
    cluster.settle()
    lull(cluster)
    assert quiet(cluster) == [1, 2, 3, 4]
    places = {(cluster.status(n).last_index, cluster.status(n).commit_index) for n in (1, 2, 3, 4)}
    assert places == {(3, 3)}
    for node, member in cluster.members.items():
        before = cluster.status(node)
        effects = member.raft.step([Tick()] * 1000)
        assert (effects.messages, effects.write, effects.status_changed) == ([], None, False)
        assert cluster.status(node) == before


def test_quiet_is_only_for_those_who_ask_for_it():
    """Without ``quiet_ticks`` heartbeats go on for ever."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.tick(times=500)
    assert quiet(cluster) == []


def test_a_busy_group_is_not_quiet(cluster):
    """Neither proposals nor reads leave a group idle, be they ever so far apart."""
    for _ in range(10):
        cluster.propose(1, b"x")
        cluster.tick(times=QUIET - 2)
        cluster.read(1)
        cluster.tick(times=QUIET - 2)
        assert quiet(cluster) == []


def test_a_leader_is_quiet_last(cluster):
    """A leader goes on calling until everybody has answered: who missed the call, or whose answer
    was lost, is called again.
    """
    cluster.cut = {(1, 3)}
    cluster.tick(times=QUIET + 3)
    assert quiet(cluster) == [2]
    cluster.cut = {(3, 1)}
    cluster.tick(times=3)
    assert quiet(cluster) == [2, 3]
    cluster.heal()
    cluster.tick(times=3)
    assert quiet(cluster) == [1, 2, 3]


def test_a_single_voter_goes_quiet():
    """Who decides alone is quiet alone, and works when asked."""
    cluster = Cluster(1, quiet_ticks=QUIET)
    cluster.elect(1)
    cluster.tick(times=QUIET + 2)
    assert quiet(cluster) == [1]
    token = cluster.propose(1, b"x")
    cluster.settle()
    assert token in cluster.members[1].accepted
    assert cluster.members[1].applied == 2


@pytest.mark.parametrize("role", ["voter", "learner"])
def test_the_dead_are_not_waited_for(cluster, role):
    """A member that has been silent for longer than an election takes does not keep the others
    awake; when its node is found again the leader is woken, and brings it what it missed.
    """
    cluster.join(4)
    cluster.change(1, 1, 2, 3, learners=(4,))
    cluster.settle()
    lost = 3 if role == "voter" else 4
    others = [node for node in (1, 2, 3, 4) if node != lost]
    cluster.crash(lost)
    cluster.propose(1, b"x")
    cluster.tick(times=PATIENCE + 2 * QUIET)
    assert quiet(cluster) == others
    cluster.start(lost)
    for node in others:
        cluster.step(node, Wake())
    cluster.tick(times=5)
    assert cluster.members[lost].applied == cluster.members[1].applied == 3
    lull(cluster)
    assert quiet(cluster) == [1, 2, 3, 4]


def test_a_voter_that_returns_wakes_the_others_itself(asleep):
    """Who restarts among quiet nodes hears no leader, asks for votes, is refused, and hears one."""
    term = asleep.status(1).term
    asleep.restart(3)
    asleep.tick(times=PATIENCE + 3)
    assert (asleep.leader(), asleep.status(1).term, asleep.status(3).leader) == (1, term, 1)
    lull(asleep)
    assert quiet(asleep) == [1, 2, 3]


@pytest.mark.parametrize(
    "event", [Propose(7, (b"y",)), ReadIndex(7), TransferLeadership(7, 3), Wake()]
)
def test_whatever_is_asked_of_the_leader_wakes_everybody(asleep, event):
    """The leader tells the others in the same step, and does what it is asked."""
    asleep.step(1, event)
    asleep.settle()
    assert quiet(asleep) == []
    assert asleep.leader() == (3 if isinstance(event, TransferLeadership) else 1)
    assert (7 in asleep.members[1].reads) == isinstance(event, ReadIndex)
    asleep.tick(times=3)
    assert len({member.applied for member in asleep.members.values()}) == 1
    lull(asleep)
    assert quiet(asleep) == [1, 2, 3]


def test_asking_a_quiet_follower_wakes_the_group(asleep):
    """A follower refuses as ever, and wakes; without a word from the leader within an election
    time-out it wakes the others. Nobody is deposed.
    """
    term = asleep.status(1).term
    asleep.step(2, Propose(7, (b"y",)))
    assert asleep.members[2].refused[7] is RefusalReason.NOT_LEADER
    assert quiet(asleep) == [1, 3]
    asleep.tick(times=PATIENCE)
    assert quiet(asleep) == []
    assert (asleep.leader(), asleep.status(1).term) == (1, term)


@pytest.mark.parametrize("woken", [2, 3])
def test_loss_of_the_leaders_node_is_survived(asleep, woken):
    """One follower is told that the leader's node is gone: within three election time-outs there is
    another leader, which commits.
    """
    asleep.crash(1)
    asleep.tick(times=5 * PATIENCE)
    assert quiet(asleep) == [2, 3]
    asleep.step(woken, Wake())
    asleep.tick(times=3 * PATIENCE)
    leader = asleep.leader()
    assert leader in (2, 3)
    token = asleep.propose(leader, b"y")
    asleep.settle()
    assert token in asleep.members[leader].accepted
    assert asleep.members[leader].applied == asleep.status(leader).last_index


def test_a_quiet_follower_that_is_asked_for_its_vote_gives_it_in_the_end(asleep):
    """It wakes and refuses, because it cannot know better; it does not do so for ever."""
    asleep.crash(1)
    asleep.status(2)
    last = asleep.status(2)
    ask = Receive(3, Vote(last.term + 1, last.last_index, last.term, pre=True))
    asleep.step(2, ask)
    assert not asleep.status(2).quiet
    (refusal,) = asleep.network
    assert not refusal.message.granted
    asleep.network.clear()
    for _ in range(asleep.members[2].config.election_ticks_min):
        asleep.step(2, Tick())
    asleep.network.clear()
    asleep.step(2, ask)
    assert [packet.message.granted for packet in asleep.network] == [True]


def test_a_quiet_leader_that_was_cut_off_neither_reads_nor_commits(asleep):
    """Others have led since and it slept: asked for anything, it finds that it has no quorum."""
    asleep.isolate(1)
    for node in (2, 3):
        asleep.step(node, Wake())
    asleep.tick(times=3 * PATIENCE)
    assert asleep.status(1).quiet
    assert asleep.leader() in (2, 3)
    asleep.propose(asleep.leader(), b"new")
    asleep.settle()
    read, token = asleep.read(1), asleep.propose(1, b"old")
    asleep.tick(times=PATIENCE + 1)
    assert read not in asleep.members[1].reads
    assert asleep.members[1].refused[read] is RefusalReason.LOST_LEADERSHIP
    assert asleep.status(1).commit_index < asleep.members[1].accepted[token][1]
    assert asleep.status(1).role is not Role.LEADER


def test_a_leader_of_the_past_sleeps_until_its_node_is_found(asleep):
    """The others have another leader, and are quiet again without the old one: when the link is
    back, the new leader is woken, and the old one learns of it.
    """
    asleep.isolate(1)
    for node in (2, 3):
        asleep.step(node, Wake())
    asleep.tick(times=6 * PATIENCE)
    assert quiet(asleep) == [1, 2, 3]
    leader = asleep.leader()
    assert leader in (2, 3)
    asleep.heal()
    asleep.step(leader, Wake())
    lull(asleep)
    assert asleep.status(1).leader == leader
    assert quiet(asleep) == [1, 2, 3]


@pytest.mark.parametrize("lacks", ["entry", "commit", "write"])
def test_a_call_that_does_not_fit_leaves_a_follower_awake(cluster, lacks):
    """Who lacks an entry, does not know that all are committed, or has not written what it has,
    answers that it is awake.
    """
    cluster.propose(1, b"x")
    append = next(packet.message for packet in cluster.network if packet.receiver == 2)
    cluster.network = [packet for packet in cluster.network if packet.receiver == 3]
    while cluster.network or cluster.members[3].queue:
        if cluster.network:
            cluster.deliver(cluster.network.pop(0))
        cluster.sync(1)
        cluster.sync(3)
    assert cluster.status(1).commit_index == 2
    if lacks != "entry":
        cluster.step(2, Receive(1, append))
    if lacks != "write":
        cluster.sync(2)
    commit = 1 if lacks == "commit" else 2
    cluster.network.clear()
    cluster.step(2, Receive(1, Append(1, 2, 1, commit, 99, (), quiet=True)))
    assert not cluster.status(2).quiet
    assert [packet.message.quiet for packet in cluster.network] == [False]


def test_a_quiet_follower_wakes_by_a_call_that_does_not_fit(asleep):
    """Whatever the leader means by it, this follower is not where it takes it to be."""
    status = asleep.status(2)
    asleep.step(2, Receive(1, Append(status.term, 9, 1, 9, 99, (), quiet=True)))
    assert not asleep.status(2).quiet


def test_who_was_removed_and_asks_wakes_nobody(asleep):
    """A stranger's log that is not ahead says nothing new, however often it asks; one that is ahead
    shows that this node has missed who the members are.
    """
    status = asleep.status(2)
    for pre in (True, False):
        asleep.step(2, Receive(9, Vote(status.term + 5, status.last_index, status.term, pre=pre)))
    assert quiet(asleep) == [1, 2, 3]
    asleep.step(2, Receive(9, Vote(status.term + 5, 99, status.term + 4, pre=True)))
    assert quiet(asleep) == [1, 3]


def test_late_answers_wake_nobody(asleep):
    """What a quiet member said twice, and what the disk still has to say, changes nothing; that it
    is awake after all does.
    """
    status = asleep.status(1)
    late = AppendReply(status.term, True, status.last_index, 1, quiet=True)
    asleep.step(1, Receive(2, late), WritePersisted(1), Tick())
    asleep.step(1, EntriesLoaded(2, 0, ()), SnapshotStaged(2, None))
    assert (quiet(asleep), asleep.network) == ([1, 2, 3], [])
    asleep.step(1, Receive(2, AppendReply(status.term, True, status.last_index, 1)))
    assert quiet(asleep) == [2, 3]
    asleep.settle()
    assert quiet(asleep) == []


@pytest.mark.parametrize("message", [TimeoutNow(0), AppendReply(9, False, 0, 0)])
def test_any_other_message_wakes(asleep, message):
    """A later term, a hand-over, even one of the past: who is spoken to looks around."""
    asleep.step(1, Receive(2, message))
    assert not asleep.status(1).quiet


def test_a_member_found_behind_keeps_the_group_awake(cluster):
    """A member that answers and has not everything is worked for, not slept over, although it was
    dead when the leader first called for quiet.
    """
    cluster.crash(3)
    cluster.propose(1, b"x")
    cluster.tick(times=PATIENCE + QUIET - 3)
    assert quiet(cluster) == []
    cluster.start(3)
    cluster.tick(times=3)
    assert cluster.members[3].applied == 2
    lull(cluster)
    assert quiet(cluster) == [1, 2, 3]


def test_a_change_of_members_ends_before_quiet(cluster):
    """A joint configuration is left first, and the newcomers are quiet with the others."""
    for node in (4, 5):
        cluster.join(node)
    cluster.change(1, 1, 2, 3, learners=(4, 5))
    cluster.settle()
    cluster.tick(times=25)
    cluster.change(1, 1, 4, 5)
    cluster.settle()
    cluster.tick(times=3)
    lull(cluster)
    assert {1, 4, 5} <= set(quiet(cluster))
    assert not any(cluster.status(node).configuration.is_joint for node in (1, 4, 5))


def test_a_follower_wakes_by_entries(asleep):
    """An append with entries is work, and ends the quiet of who gets it."""
    status = asleep.status(2)
    entry = configuration_entry(status.term, status.last_index + 1, Configuration((1, 2, 3)))
    place = (status.last_index, status.term, status.commit_index)
    asleep.step(2, Receive(1, Append(status.term, *place, 99, (entry,))))
    assert not asleep.status(2).quiet
