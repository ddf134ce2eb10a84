"""Elections, rule by rule."""

import pytest

from flowactor.raft import (
    Append,
    AppendReply,
    HardState,
    Propose,
    ReadIndex,
    Receive,
    RefusalReason,
    Restored,
    Role,
    Tick,
    Vote,
    VoteReply,
    WritePersisted,
)
from tests.raft.cluster import Cluster, lone, restored_disk

HEARTBEAT_1 = Append(1, 0, 0, 0, 1, ())


def core(term=0, vote=0, **settings):
    """A node that starts with this term and vote."""
    return lone(Restored(hard_state=HardState(term, vote, 0)), **settings)


def messages(effects, kind):
    return [(peer, message) for peer, message in effects.messages if isinstance(message, kind)]


def test_vote_is_durable_before_reply():
    """A vote is answered only in the step that learns that term and vote, one record, are durable,
    and a restarted node still has it (paper 5.2).
    """
    voter = core(term=1)
    effects = voter.step([Receive(2, Vote(2, 0, 0, pre=False))])
    assert effects.messages == []
    assert effects.write.hard_state == HardState(2, 2, 0)
    effects = voter.step([WritePersisted(effects.write.number)])
    assert effects.messages == [(2, VoteReply(2, True, pre=False))]
    again = core(term=2, vote=2)
    effects = again.step(
        [Receive(3, Vote(2, 9, 2, pre=False)), Receive(2, Vote(2, 0, 0, pre=False))]
    )
    assert effects.messages == [
        (3, VoteReply(2, False, pre=False)),
        (2, VoteReply(2, True, pre=False)),
    ]


def test_own_vote_is_durable_before_requests():
    """A candidate asks for votes, and counts its own, only once its vote for itself is durable."""
    cluster = Cluster(3)
    cluster.forget_leader(2, 3)
    cluster.campaign(1)
    while cluster.network:
        cluster.deliver(cluster.network.pop(0))
    assert cluster.status(1).term == 1
    assert cluster.network == []
    cluster.sync(1)
    assert [packet.receiver for packet in cluster.network] == [2, 3]


def test_vote_of_a_past_term_is_never_sent():
    """A vote whose write completes after the node moved to a later term is not sent any more."""
    voter = core()
    first = voter.step([Receive(2, Vote(1, 0, 0, pre=False))]).write
    second = voter.step([Receive(3, Vote(2, 0, 0, pre=False))]).write
    assert voter.step([WritePersisted(first.number)]).messages == []
    sent = voter.step([WritePersisted(second.number)]).messages
    assert sent == [(3, VoteReply(2, True, pre=False))]


def test_who_found_a_leader_asks_for_no_votes():
    """A candidate that hears its term's leader before its own vote is durable asks nobody."""
    candidate = core()
    candidate.step([Tick()] * 20)
    asking = candidate.step([Receive(2, VoteReply(1, True, pre=True))])
    assert (candidate.status().role, candidate.status().term) == (Role.CANDIDATE, 1)
    heard = candidate.step([Receive(3, HEARTBEAT_1)])
    assert (candidate.status().role, candidate.status().leader) == (Role.FOLLOWER, 3)
    durable = candidate.step([WritePersisted(asking.write.number)])
    assert [messages(effects, Vote) for effects in (asking, heard, durable)] == [[], [], []]


def test_one_vote_in_a_term():
    """Within a term the second candidate is refused, the first may ask again (paper 5.2)."""
    voter = core()
    asked = [Receive(2, Vote(1, 0, 0, pre=False)), Receive(3, Vote(1, 5, 0, pre=False))]
    write = voter.step([*asked, asked[0]]).write
    replies = messages(voter.step([WritePersisted(write.number)]), VoteReply)
    assert [(peer, reply.granted) for peer, reply in replies] == [(2, True), (3, False), (2, True)]


@pytest.mark.parametrize(
    ("last_index", "last_term", "granted"),
    [(3, 2, True), (2, 2, False), (4, 1, False), (1, 3, True), (4, 2, True)],
)
def test_only_an_up_to_date_log_is_voted_for(last_index, last_term, granted):
    """The later last term wins, then the longer log (paper 5.4.1)."""
    disk = restored_disk([1, 1, 2], term=2)
    restored = Restored(hard_state=disk.hard_state, entries=tuple(disk.entries))
    for pre in (True, False):
        voter = lone(restored)
        effects = voter.step([Receive(2, Vote(4, last_index, last_term, pre))])
        if effects.write:
            effects = voter.step([WritePersisted(effects.write.number)])
        assert [reply.granted for _, reply in effects.messages] == [granted]


def test_prevote_carries_term():
    """A refused pre-vote carries the refuser's term, which the asker adopts without voting; asking
    changes no term, no clock and no vote of anybody (thesis 9.6).
    """
    refuser = core(term=5, vote=3)
    before = (refuser._state.election_elapsed, refuser._state.vote)
    effects = refuser.step([Receive(1, Vote(2, 9, 9, pre=True))])
    assert effects.messages == [(1, VoteReply(5, False, pre=True))]
    assert effects.write is None
    assert (refuser._state.election_elapsed, refuser._state.vote) == before

    asker = core(term=1)
    while not messages(effects, Vote):
        effects = asker.step([Tick()])
    assert effects.write is None
    assert asker.status().term == 1
    effects = asker.step([Receive(2, VoteReply(5, False, pre=True))])
    assert effects.write.hard_state == HardState(5, 0, 0)
    assert asker.status().role is Role.FOLLOWER


def test_granted_prevote_changes_nothing_at_the_voter():
    """Who grants a pre-vote keeps its term, its vote and its election clock (thesis 9.6)."""
    voter = core(term=1)
    voter.step([Tick(), Tick()])
    effects = voter.step([Receive(2, Vote(2, 0, 0, pre=True))])
    assert effects.messages == [(2, VoteReply(2, True, pre=True))]
    assert effects.write is None
    assert voter._state.election_elapsed == 2
    assert (voter.status().term, voter._state.vote) == (1, 0)


def test_refused_candidate_waits():
    """A quorum of noes ends a campaign: the asker follows again, in its own term."""
    asker = core(term=1)
    while not messages(asker.step([Tick()]), Vote):
        pass
    assert asker.status().role is Role.CANDIDATE
    asker.step(
        [Receive(2, VoteReply(1, False, pre=True)), Receive(3, VoteReply(0, False, pre=True))]
    )
    assert (asker.status().role, asker.status().term) == (Role.FOLLOWER, 1)


def test_answers_to_older_questions_do_not_count():
    """Replies of another campaign, another term or another kind are no votes."""
    asker = core(term=3)
    while not messages(asker.step([Tick()]), Vote):
        pass
    stale = [VoteReply(3, True, pre=True), VoteReply(2, True, pre=False), VoteReply(3, True, False)]
    asker.step([Receive(2, reply) for reply in stale])
    assert (asker.status().role, asker.status().term) == (Role.CANDIDATE, 3)


def test_disruptive_server_ignored():
    """While a leader was heard within the minimum election time-out, and on a leader itself, vote
    requests of any term are ignored: no answer, no new term (thesis 4.2.3).
    """
    follower = core()
    write = follower.step([Receive(2, HEARTBEAT_1)]).write
    follower.step([WritePersisted(write.number), *[Tick()] * 9])
    effects = follower.step([Receive(3, Vote(9, 99, 9, pre=False))])
    assert (effects.messages, effects.write) == ([], None)
    assert follower.status().term == 1
    effects = follower.step([Receive(3, Vote(9, 99, 9, pre=True))])
    assert effects.messages == [(3, VoteReply(1, False, pre=True))]

    cluster = Cluster(3)
    cluster.elect(1)
    cluster.step(1, Receive(3, Vote(9, 99, 9, pre=False)))
    assert (cluster.status(1).role, cluster.status(1).term) == (Role.LEADER, 1)

    follower._state.election_ticks = 99
    follower.step([Tick()])
    assert follower.step([Receive(3, Vote(9, 99, 9, pre=False))]).write.hard_state.term == 9


def test_a_leader_stepping_aside_may_be_replaced_at_once():
    """A vote request that the leader itself asked for is heard in spite of its lease (3.10)."""
    follower = core()
    follower.step([Receive(2, HEARTBEAT_1)])
    effects = follower.step([Receive(3, Vote(2, 0, 0, pre=False, transfer=True))])
    assert effects.write.hard_state == HardState(2, 3, 0)


def test_check_quorum_steps_down():
    """A leader that hears no quorum for an election time-out follows again and refuses its reads,
    and all that comes later, with a definite answer (thesis 6.2).
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    token = cluster.read(1)
    cluster.tick(1, times=19)
    assert cluster.status(1).role is Role.LEADER
    assert token not in cluster.members[1].refused
    cluster.tick(1)
    assert (cluster.status(1).role, cluster.status(1).leader) == (Role.FOLLOWER, 0)
    assert cluster.members[1].refused[token] is RefusalReason.LOST_LEADERSHIP
    late = [cluster.propose(1, b"x"), cluster.read(1)]
    assert {cluster.members[1].refused[token] for token in late} == {RefusalReason.NOT_LEADER}


def test_a_quorum_keeps_its_leader():
    """One silent follower of two deposes nobody, however long it is silent."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.tick(1, 2, times=60)
    assert cluster.status(1).role is Role.LEADER


def test_stalled_disk_loses_leadership():
    """A leader whose oldest write does not finish stops its heartbeats and steps down, though it
    hears everybody, and does not campaign until the disk is back.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.propose(1, b"x")
    for _ in range(11):
        cluster.step(1, Tick())
        cluster.settle(1)
    assert cluster.status(1).role is Role.FOLLOWER
    for _ in range(60):
        cluster.step(1, Tick())
    assert cluster.network == []
    cluster.sync(1)
    cluster.step(1, Tick())
    assert [packet.message.pre for packet in cluster.network] == [True, True]


def test_stalled_disk_does_not_hold_the_group():
    """The others elect a leader that commits while the old one's disk still hangs (I38)."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.propose(1, b"x")
    for _ in range(80):
        for node in (1, 2, 3):
            cluster.step(node, Tick())
        cluster.settle(1)
    leader = cluster.leader()
    assert leader in (2, 3)
    token = cluster.propose(leader, b"y")
    cluster.settle(1)
    _, first, _ = cluster.members[leader].accepted[token]
    assert cluster.status(leader).commit_index == first


def test_a_stuck_later_term_is_resolved():
    """A node of a later term that cannot win makes the leader step down by its refusal, and the
    group goes on in a term that includes it (thesis 4.2.3, 9.6).
    """
    disks = {node: restored_disk([1, 1], term=1) for node in (1, 2)}
    cluster = Cluster(3, disks={**disks, 3: restored_disk([1], term=7)})
    cluster.isolate(3)
    cluster.elect(1)
    cluster.heal()
    cluster.tick(times=80)
    assert cluster.status(cluster.leader()).term > 7
    assert len({cluster.status(node).commit_index for node in (1, 2, 3)}) == 1


def test_sole_voter_leads_at_once():
    """A group of one campaigns at its first tick, and leads once its vote is durable."""
    node = core(voters=(1,))
    write = node.step([Tick()]).write
    assert node.status().role is Role.CANDIDATE
    node.step([WritePersisted(write.number)])
    assert node.status().role is Role.LEADER


def test_a_slow_disk_delays_a_sole_voter_only():
    """While its vote is on its way to the disk a node does not campaign anew: each campaign would
    ask for one more write, and a disk that takes longer than a tick would never be done.
    """
    node = core(voters=(1,))
    write = node.step([Tick()]).write
    for _ in range(5):
        assert node.step([Tick()]).write is None
    assert node.status().term == 1
    node.step([WritePersisted(write.number)])
    assert node.status().role is Role.LEADER


def test_election_time_outs_differ():
    """Time-outs stay within their bounds, vary, and are decided by the seed alone (paper 5.2)."""

    def waits(seed):
        node = lone(seed=seed)
        found, ticks = [], 0
        while len(found) < 50:
            ticks += 1
            if messages(node.step([Tick()]), Vote):
                found.append(ticks)
                ticks = 0
        return found

    first = waits(1)
    assert set(first) == set(range(10, 21))
    assert first == waits(1) != waits(2)


def test_silence_is_remembered_over_a_change_of_leader():
    """A new leader counts the old one's silence from when it was last heard, others' from now; who
    speaks is not silent any more.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.tick(1, times=2)
    cluster.crash(1)
    cluster.tick(2, times=5)
    assert cluster.status(2).leader_ticks_silent == 5
    cluster.elect(2)
    status = cluster.status(2)
    silent = {peer: known.ticks_silent for peer, known in status.peers}
    assert status.previous_leader == 1
    assert silent == {1: 6, 3: 0}
    cluster.tick(2)
    assert dict(cluster.status(2).peers)[1].ticks_silent == 7
    assert dict(cluster.status(2).peers)[3].ticks_silent == 1
    cluster.step(2, Receive(1, AppendReply(1, True, 0, 0)))
    assert dict(cluster.status(2).peers)[1].ticks_silent == 0


def test_strangers_are_heard_and_do_not_count():
    """Who is not in this node's configuration may be in a later one: it gets an answer, and is
    followed; but its own vote counts for nothing here (thesis 4.1).
    """
    node = core()
    effects = node.step([Receive(9, HEARTBEAT_1)])
    assert (node.status().leader, effects.write.hard_state.term) == (9, 1)
    candidate = core()
    while candidate.status().role is not Role.CANDIDATE:
        candidate.step([Tick()])
    candidate.step([Receive(9, VoteReply(1, granted=True, pre=True))])
    assert candidate.status().term == 0


def test_only_a_leader_accepts():
    """Proposals and reads at any other node are refused, and the hint is in the status."""
    node = core()
    node.step([Receive(2, HEARTBEAT_1)])
    effects = node.step([Propose(1, (b"x",)), ReadIndex(2)])
    assert effects.refused == [(1, RefusalReason.NOT_LEADER), (2, RefusalReason.NOT_LEADER)]
    assert node.status().leader == 2
