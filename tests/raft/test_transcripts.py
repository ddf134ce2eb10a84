"""Protocol scenarios as conversations one can read; the texts are in ``transcripts/``."""

from flowactor.raft import (
    Append,
    AppendReply,
    Propose,
    ReadIndex,
    RefusalReason,
    Role,
    ShareCommit,
    TransferLeadership,
    Vote,
    VoteReply,
    Wake,
)
from tests.raft.cluster import restored_disk
from tests.raft.transcript import Told


def test_election_with_pre_vote(transcript):
    """A node asks before it campaigns, votes leave only when durable, and the blank entry commits
    (paper 5.2, thesis 9.6).
    """
    cluster = Told()
    cluster.say("the election time-out of 1 passes")
    cluster.elect(1)
    assert cluster.status(1).commit_index == 1
    cluster.say("the commit index travels with the next heartbeat")
    cluster.tick(1, times=2)
    assert [cluster.status(node).commit_index for node in (1, 2, 3)] == [1, 1, 1]
    transcript("election", cluster.lines)


def test_read_path(transcript):
    """A read waits for the own term's commit and for a round that began after it (thesis 6.4)."""
    cluster = Told()
    cluster.telling = False
    cluster.lose = lambda packet: isinstance(packet.message, Append)
    cluster.elect(1)
    cluster.telling = True
    cluster.say("nothing of this term is committed: the read is queued")
    early = cluster.read(1)
    assert early not in cluster.members[1].reads
    cluster.lose = lambda packet: False
    cluster.tick(1, times=2)
    cluster.settle()
    assert cluster.members[1].reads == {early: 1}
    cluster.say("two reads in one step share a round; a proposal rides along")
    cluster.step(1, ReadIndex(101), Propose(103, (b"x",)), ReadIndex(102))
    cluster.settle()
    assert cluster.members[1].reads == {early: 1, 101: 1, 102: 1}
    cluster.say("somebody at 3 waits for the commit index")
    cluster.step(1, ShareCommit((3,)))
    cluster.settle()
    assert cluster.status(3).commit_index == 2
    transcript("read_path", cluster.lines)


FIGURE_7 = {
    1: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6],
    2: [1, 1, 1, 4, 4, 5, 5, 6, 6],
    3: [1, 1, 1, 4],
    4: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    5: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    6: [1, 1, 1, 4, 4, 4, 4],
    7: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
}


def test_followers_converge_figure7(transcript):
    """The logs (a) to (f) of figure 7 of the paper become the leader's, each after few refusals."""
    disks = {node: restored_disk(terms, term=7) for node, terms in FIGURE_7.items()}
    cluster = Told(7, disks=disks)
    cluster.say("figure 7: 1 is to lead term 8, 2 to 7 are its followers (a) to (f)")
    cluster.logs()
    cluster.telling = False
    cluster.lose = lambda packet: isinstance(packet.message, Append)
    cluster.elect(1)
    cluster.telling = True
    for node in range(2, 8):
        cluster.say(f"1 and ({'abcdef'[node - 2]}), which is node {node}")
        cluster.lose = lambda packet, node=node: node not in {packet.sender, packet.receiver}
        cluster.between = {1, node}
        cluster.tick(1, times=2)
    cluster.telling = False
    cluster.lose = lambda packet: False
    cluster.tick(1, times=2)
    cluster.say("all logs are the leader's")
    cluster.logs()
    for node in FIGURE_7:
        assert cluster.terms(node) == FIGURE_7[1] + [8]
        assert cluster.status(node).commit_index == 11
    transcript("figure_7", cluster.lines)


def figure_8():
    """Figure 8 up to (c): an entry of term 2 is on a majority, and its new leader in term 4."""
    disks = {node: restored_disk([1], term=1) for node in range(1, 6)}
    cluster = Told(5, disks=disks, append_bytes_max=1)
    cluster.about = (Append, AppendReply)
    cluster.say("(a) 1 leads term 2, its entry 2 reaches only 2")
    cluster.lose = lambda packet: isinstance(packet.message, Append) and packet.receiver > 2
    cluster.elect(1)
    cluster.logs()
    cluster.say("(b) 1 stops; 5 leads term 3, its own entry 2 reaches nobody")
    cluster.crash(1)
    cluster.lose = lambda packet: isinstance(packet.message, Append)
    cluster.elect(5, among=(3, 4))
    cluster.logs()
    cluster.say("(c) 5 stops; 1 comes back, learns the term from who refuses, and leads term 4")
    cluster.crash(5)
    cluster.start(1)
    cluster.lose = lambda packet: (
        isinstance(packet.message, Append)
        and (packet.receiver == 4 or any(entry.term == 4 for entry in packet.message.entries))
    )
    cluster.forget_leader(2, 3, 4)
    cluster.campaign(1)
    cluster.settle()
    cluster.elect(1)
    cluster.tick(1, times=2)
    cluster.logs()
    holding = [node for node in (1, 2, 3) if cluster.members[node].disk.holds(2, 2)]
    assert holding == [1, 2, 3], "entry 2 of term 2 is on a majority"
    assert cluster.status(1).commit_index == 0
    return cluster


def test_commit_only_own_term(transcript):
    """Figure 8 (d): an older term's entry on a majority is not committed, and rightly: it is
    overwritten by the next leader (paper 5.4.2).
    """
    cluster = figure_8()
    cluster.say("(d) 1 stops; 5 comes back, leads term 5, and overwrites entry 2 everywhere")
    cluster.crash(1)
    cluster.start(5)
    cluster.lose = lambda packet: False
    cluster.forget_leader(2, 3, 4)
    cluster.campaign(5)
    cluster.settle()
    cluster.elect(5)
    cluster.tick(5, times=2)
    cluster.start(1)
    cluster.tick(5, times=2)
    cluster.logs()
    assert all(cluster.terms(node) == [1, 3, 5] for node in range(1, 6))
    transcript("figure_8_d", cluster.lines)


def test_commit_of_own_term_keeps_what_is_before_it(transcript):
    """Figure 8 (e): once an entry of term 4 is on a majority, entry 2 is committed with it, and
    5 cannot be elected any more (paper 5.4.2).
    """
    cluster = figure_8()
    before = len(cluster.lines)
    cluster.say("(e) the entry of term 4 reaches 2 and 3, which commits entry 2 along with it")
    cluster.lose = lambda packet: isinstance(packet.message, Append) and packet.receiver == 4
    cluster.tick(1, times=2)
    assert cluster.status(1).commit_index == 3
    cluster.logs()
    cluster.about = (Vote, VoteReply)
    cluster.say("1 stops; 5 comes back and asks for votes twice, in vain")
    cluster.crash(1)
    cluster.start(5)
    cluster.lose = lambda packet: False
    cluster.forget_leader(2, 3, 4)
    for _ in range(2):
        cluster.campaign(5)
        cluster.settle()
    assert cluster.status(5).role is not Role.LEADER
    assert cluster.status(5).term == 4, "pre-votes in vain change no term"
    transcript("figure_8_e", cluster.lines[before:])


def led(count, **settings):
    """A group led by node 1, of which nothing is told so far."""
    cluster = Told(count, **settings)
    with cluster.untold():
        cluster.elect(1)
        cluster.tick(times=3)
    return cluster


def wait(cluster):
    """Enough time passes, untold, for a learner to have caught up."""
    with cluster.untold():
        cluster.tick(times=25)


def test_add_a_voter(transcript):
    """A newcomer is a learner until it has caught up; as a voter it counts from the moment the
    configuration is in the log (thesis 4.1, 4.2.1).
    """
    cluster = led(1)
    cluster.say("2 belongs to nothing yet; the leader makes it a learner")
    cluster.join(2)
    cluster.change(1, 1, learners=(2,))
    cluster.sync(1)
    cluster.say("it has nothing yet, and may not vote")
    early = cluster.change(1, 1, 2)
    assert cluster.members[1].refused[early] is RefusalReason.NOT_CAUGHT_UP
    cluster.settle()
    cluster.say("it has what there is: from its entry on the configuration counts it, here too")
    cluster.change(1, 1, 2)
    cluster.settle()
    assert cluster.status(1).commit_index == cluster.status(1).configuration_index
    transcript("add_a_voter", cluster.lines)


def test_remove_a_voter(transcript):
    """Who goes is told, and then forgotten (thesis 4.1)."""
    cluster = led(3)
    cluster.say("3 goes: from the log's new end on, 1 and 2 are all that count")
    cluster.change(1, 1, 2)
    cluster.settle()
    assert cluster.status(1).commit_index == 2
    cluster.say("the next heartbeat says that it is committed, to 3 too, for the last time")
    cluster.tick(1, times=2)
    assert [peer for peer, _ in cluster.status(1).peers] == [2]
    transcript("remove_a_voter", cluster.lines)


def with_learner(cluster, node, *voters):
    """A learner has caught up, untold."""
    with cluster.untold():
        cluster.join(node)
        cluster.change(1, *voters, learners=(node,))
        cluster.settle()
    wait(cluster)


def test_replace_a_voter(transcript):
    """Two voters change at once: through both sets of voters together, each of which must agree,
    and out of it as soon as that is committed (thesis 4.3).
    """
    cluster = led(2)
    with_learner(cluster, 3, 1, 2)
    cluster.say("3 for 2: first both {1,3} and {1,2} must agree to everything")
    cluster.change(1, 1, 3)
    cluster.settle()
    assert cluster.status(1).configuration.voters == (1, 3)
    assert cluster.status(1).commit_index == cluster.status(1).configuration_index
    transcript("replace_a_voter", cluster.lines)


def test_demote_the_leader(transcript):
    """A leader that is to be a learner leads until that is committed, without counting itself, and
    hands over with its last words (thesis 4.2.2).
    """
    cluster = led(2)
    cluster.say("1 makes itself a learner; only 2 counts")
    cluster.change(1, 2, learners=(1,))
    cluster.settle()
    assert cluster.leader() == 2
    transcript("demote_the_leader", cluster.lines)


def test_leader_dies_inside_a_joint_change(transcript):
    """The joint configuration has reached one other node, and is committed nowhere: who leads next
    needs both majorities, and finishes the change once its own term has committed it.
    """
    cluster = led(3)
    with_learner(cluster, 4, 1, 2, 3)
    cluster.lose = lambda packet: packet.receiver in {3, 4}
    cluster.say("4 for 1: the leader's entry reaches 2 alone")
    cluster.change(1, 2, 3, 4)
    cluster.settle()
    cluster.say("1 dies; 2 campaigns, by the configuration in its log")
    cluster.crash(1)
    cluster.lose = lambda packet: False
    with cluster.untold():
        cluster.forget_leader(3, 4)
    cluster.campaign(2)
    cluster.settle()
    assert cluster.leader() == 2
    with cluster.untold():
        cluster.tick(2, times=4)
    assert cluster.status(2).configuration.voters == (2, 3, 4)
    assert not cluster.status(2).configuration.is_joint
    cluster.logs()
    transcript("joint_change_leader_dies", cluster.lines)


def test_hand_over(transcript):
    """The leader proposes nothing more, waits until its successor has everything, and tells it to
    campaign; others vote although they have just heard a leader (thesis 3.10).
    """
    cluster = led(3)
    cluster.say("while 3 does not have x yet")
    with cluster.untold():
        cluster.propose(1, b"x")
    cluster.step(1, TransferLeadership(1, 3), Propose(2, (b"y",)))
    cluster.settle()
    assert cluster.leader() == 3
    transcript("hand_over", cluster.lines)


def test_snapshot_for_a_newcomer(transcript):
    """The entries a newcomer needs are gone: the driver brings the state, the snapshot takes the
    place of its log in one write, and entries follow (paper 7).
    """
    cluster = led(1)
    with cluster.untold():
        for payload in (b"x", b"y", b"z"):
            cluster.propose(1, payload)
            cluster.settle()
        member = cluster.members[1]
        member.durable_applied = member.applied
        member.disk.purge_to(member.applied)
        cluster.restart(1)
        cluster.elect(1)
    cluster.say("1 has compacted its log up to 4; 2 has nothing")
    cluster.join(2)
    cluster.change(1, 1, learners=(2,))
    cluster.settle()
    assert cluster.members[2].applied >= 4
    transcript("snapshot_for_a_newcomer", cluster.lines)


def test_quiet_and_awake(transcript):
    """An idle group goes quiet; its leader's node is found dead, and the others wake each other."""
    cluster = led(3, quiet_ticks=4)
    cluster.say("nothing happens")
    cluster.tick(1, times=6)
    assert all(cluster.status(node).quiet for node in (1, 2, 3))
    cluster.say("the node of 1 dies, which 2 is told")
    cluster.crash(1)
    cluster.step(2, Wake())
    cluster.say("its time-out passes; 3 wakes, and takes the leader to be alive for a while yet")
    cluster.campaign(2)
    cluster.settle()
    assert not cluster.status(3).quiet
    cluster.say("that while is over")
    cluster.about = (Vote, VoteReply)
    with cluster.untold():
        cluster.forget_leader(3)
    cluster.campaign(2)
    cluster.settle()
    assert cluster.leader() == 2
    transcript("quiet_and_awake", cluster.lines)
