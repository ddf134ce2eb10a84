"""Linearizable reads: ReadIndex (thesis 6.4)."""

from flowactor.raft import Append, AppendReply, ReadIndex, Receive, RefusalReason, Role, Tick
from tests.raft.cluster import Cluster


def rounds(cluster, peer):
    return [
        packet.message.round
        for packet in cluster.network
        if packet.receiver == peer and isinstance(packet.message, Append)
    ]


def test_readindex_waits_for_own_term():
    """Before an entry of its own term is committed a leader queues reads; then they are served at
    an index that includes all earlier terms' commits, after a round that began later (thesis 6.4).
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.propose(1, b"committed before")
    cluster.settle()
    cluster.isolate(1)
    cluster.forget_leader(2, 3)
    cluster.campaign(2)
    while cluster.status(2).role is not Role.LEADER:
        for node in (2, 3):
            cluster.sync(node)
        cluster.deliver(cluster.network.pop(0))
    assert cluster.status(2).commit_index < 2
    token = cluster.read(2)
    cluster.step(2, Receive(3, AppendReply(2, True, 0, 99)))
    assert token not in cluster.members[2].reads
    cluster.settle()
    assert cluster.members[2].reads[token] == 3


def test_the_round_begins_after_the_read():
    """An answer to a heartbeat sent before the read arrived does not confirm it (thesis 6.4)."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.step(1, Tick(), Tick())
    before = list(cluster.network)
    cluster.network.clear()
    token = cluster.read(1)
    asked = list(cluster.network)
    cluster.network.clear()
    for packet in before:
        cluster.deliver(packet)
    cluster.settle()
    assert token not in cluster.members[1].reads
    for packet in asked:
        cluster.deliver(packet)
    cluster.settle()
    assert cluster.members[1].reads[token] == 1


def test_reads_of_a_step_share_a_round():
    """Fifty reads in one step cost one message to each follower."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.settle()
    cluster.step(1, *[ReadIndex(token) for token in range(50)])
    assert len(rounds(cluster, 2)) == len(rounds(cluster, 3)) == 1
    cluster.settle()
    assert set(cluster.members[1].reads) == set(range(50))


def test_sole_voter_reads_at_once():
    """A group of one needs no round: the read is served in its own step."""
    cluster = Cluster(1)
    cluster.elect(1)
    cluster.propose(1, b"x")
    cluster.settle()
    token = cluster.read(1)
    assert cluster.members[1].reads[token] == 2


def test_a_minority_leader_serves_no_read():
    """A leader cut off from its quorum never answers from what it has; it refuses when deposed."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    token = cluster.read(1)
    cluster.elect(2, among=(3,))
    cluster.propose(2, b"newer")
    cluster.settle()
    assert token not in cluster.members[1].reads
    cluster.heal()
    cluster.tick(2, times=2)
    assert cluster.members[1].refused[token] is RefusalReason.LOST_LEADERSHIP


def test_a_refusal_of_the_log_still_confirms():
    """A follower whose log does not match yet is in the leader's term all the same, so its answer
    confirms the round (thesis 6.4).
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(2)
    cluster.propose(1, b"not there yet")
    token = cluster.read(1)
    cluster.network.clear()
    cluster.step(1, Receive(3, AppendReply(1, False, 1, cluster.state(1).role.round, 2, 0)))
    assert token in cluster.members[1].reads


def test_share_commit_reaches_a_waiting_follower():
    """A nudge tells the commit index at once, and costs nothing where it is known already."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.propose(1, b"x")
    cluster.settle()
    assert cluster.status(2).commit_index < 2
    cluster.share_commit(1)
    cluster.settle()
    assert cluster.status(2).commit_index == cluster.status(3).commit_index == 2
    cluster.share_commit(1)
    assert cluster.network == []
    cluster.share_commit(2)
    assert cluster.network == []


def test_lost_round_is_asked_again():
    """A read whose round was lost is confirmed by the next heartbeat."""
    cluster = Cluster(3)
    cluster.elect(1)
    token = cluster.read(1)
    cluster.network.clear()
    cluster.tick(1, times=2)
    assert token in cluster.members[1].reads
