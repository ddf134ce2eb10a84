"""Protocol scenarios as conversations one can read; the texts are in ``transcripts/``."""

from flowactor.raft import (
    Append,
    AppendReply,
    Propose,
    ReadIndex,
    Role,
    ShareCommit,
    Vote,
    VoteReply,
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
