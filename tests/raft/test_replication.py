"""Replication, commitment and the disk, rule by rule."""

import pytest

from flowactor.raft import (
    Append,
    AppendReply,
    EntriesLoaded,
    Entry,
    EntryKind,
    HardState,
    Propose,
    Receive,
    RefusalReason,
    Restored,
    Role,
    Tick,
    WritePersisted,
)
from flowactor.raft.log import ENTRY_OVERHEAD_BYTES
from flowactor.raft.progress import Flow
from tests.raft.cluster import Cluster, lone, restored_disk


def entry(index, term, data=b"x"):
    return Entry(term, index, EntryKind.PAYLOAD, data)


def follower(terms, term, commit=0, **settings):
    """A node with a log of these terms."""
    disk = restored_disk(terms, term, commit)
    restored = Restored(hard_state=disk.hard_state, entries=tuple(disk.entries))
    return lone(restored, **settings)


def terms(raft):
    log = raft._state.log
    return [entry.term for entry in log.between(log.first_index, log.last_index)]


def appends(cluster, peer):
    """Appends with entries that are under way to a node."""
    return [
        packet.message
        for packet in cluster.network
        if packet.receiver == peer and isinstance(packet.message, Append) and packet.message.entries
    ]


def test_term_durable_before_its_entries():
    """The write that brings the first entries of a new term holds the term, too, and what is said
    in that term waits for it (paper, figure 2; thesis 3.8).
    """
    node = follower([1], term=1)
    effects = node.step([Receive(2, Append(3, 1, 1, 0, 1, (entry(2, 3),)))])
    assert effects.messages == []
    assert effects.write.hard_state == HardState(3, 0, 0)
    assert effects.write.entries == (entry(2, 3),)
    heartbeat = node.step([Receive(2, Append(3, 1, 1, 0, 2, ()))])
    assert heartbeat.messages == []
    effects = node.step([WritePersisted(effects.write.number)])
    assert effects.messages == [(2, AppendReply(3, True, 2, 2))]


def test_ack_only_durable():
    """An append is acknowledged in the step of its own write, and nothing beyond it; a sole voter
    commits no earlier than that either (paper, figure 2; thesis 10.2.1).
    """
    node = follower([], term=1)
    first = node.step([Receive(2, Append(1, 0, 0, 0, 1, (entry(1, 1),)))])
    second = node.step([Receive(2, Append(1, 1, 1, 0, 1, (entry(2, 1),)))])
    assert first.messages == second.messages == []
    effects = node.step([WritePersisted(first.write.number)])
    assert effects.messages == [(2, AppendReply(1, True, 1, 1))]
    effects = node.step([Receive(2, Append(1, 2, 1, 0, 2, ()))])
    assert effects.messages == [(2, AppendReply(1, True, 1, 2))]

    alone = lone(voters=(1,))
    alone.step([WritePersisted(alone.step([Tick()]).write.number)])
    effects = alone.step([Propose(1, (b"x",))])
    assert effects.committed == []
    effects = alone.step([WritePersisted(effects.write.number)])
    assert [entry.data for entry in effects.committed] == [b"", b"x"]


def test_a_leader_counts_itself_only_when_durable():
    """With one follower's acknowledgement and no durable write of its own, a leader of three does
    not commit; with two it does, but applies only after its own disk (thesis 10.2.1).
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.propose(1, b"x")
    cluster.settle(1)
    assert cluster.status(1).commit_index == 1
    cluster.heal()
    cluster.step(1, Tick(), Tick())
    cluster.settle(1)
    assert cluster.status(1).commit_index == 2
    assert cluster.members[1].applied == 1
    cluster.sync(1)
    assert cluster.members[1].applied == 2


def test_commit_at_most_matched():
    """A follower commits no further than the last entry this very message vouches for, however
    far the leader is (paper, figure 2, step 5).
    """
    node = follower([1, 1, 1, 1], term=1)
    node.step([Receive(2, Append(2, 2, 1, 4, 1, ()))])
    assert node.status().commit_index == 2
    node.step([Receive(2, Append(2, 2, 1, 4, 1, (entry(3, 1, b"1.3"),)))])
    assert node.status().commit_index == 3
    assert node.status().last_index == 4


def test_truncate_only_on_conflict():
    """Only an entry of another term is cut, with what follows it. Stale, short and doubled appends
    change nothing, and a previous entry below the window counts as a match (paper 5.3).
    """
    node = follower([1, 1, 2, 2], term=2, commit=2)
    old = node._state.log.between(1, 4)
    for stale in (
        Append(2, 1, 1, 0, 1, (old[1],)),
        Append(2, 0, 0, 0, 1, tuple(old[:3])),
        Append(2, 2, 1, 0, 1, ()),
        Append(1, 2, 1, 0, 1, (entry(3, 1),)),
    ):
        assert node.step([Receive(2, stale)]).write is None
    assert terms(node) == [1, 1, 2, 2]
    effects = node.step([Receive(2, Append(3, 2, 1, 0, 1, (entry(3, 3),)))])
    assert effects.write.truncate_from == 3
    assert terms(node) == [1, 1, 3]

    purged = lone(
        Restored(
            hard_state=HardState(2, 0, 6),
            first_index=6,
            entries=(entry(6, 2),),
            previous_index=5,
            previous_term=2,
            applied=5,
        ),
        seed=1,
    )
    known = [entry(index, 1) for index in (3, 4)]
    effects = purged.step([Receive(2, Append(2, 2, 1, 7, 1, (*known, entry(5, 2))))])
    assert effects.messages == [(2, AppendReply(2, True, 5, 1))]
    effects = purged.step(
        [Receive(2, Append(2, 4, 1, 7, 1, (entry(5, 2), entry(6, 2), entry(7, 2))))]
    )
    assert effects.write.entries == (entry(7, 2),)
    assert effects.write.truncate_from == 0


def test_committed_entries_are_never_cut():
    """A leader that contradicts a committed entry is a broken invariant, and stops the node."""
    node = follower([1, 1, 1], term=1, commit=3)
    with pytest.raises(AssertionError, match="contradicted"):
        node.step([Receive(2, Append(2, 1, 1, 0, 1, (entry(2, 2),)))])
    node = follower([1, 1, 1], term=1, commit=3)
    with pytest.raises(AssertionError, match="lacks entry 3"):
        node.step([Receive(2, Append(2, 3, 2, 0, 1, ()))])


def test_refusal_skips_whole_terms():
    """A follower with many entries of other terms is found in as many questions as there are terms
    to skip, not entries (paper, end of 5.3).
    """
    disks = {
        1: restored_disk([1] * 10 + [3] * 200, term=4),
        2: restored_disk([1] * 10 + [2] * 150, term=4),
        3: restored_disk([1] * 10 + [3] * 200, term=4),
    }
    refusals = []
    cluster = Cluster(3, disks=disks)
    original = cluster.deliver

    def counting(packet):
        if isinstance(packet.message, AppendReply) and not packet.message.success:
            refusals.append(packet.message)
        original(packet)

    cluster.deliver = counting
    cluster.elect(1)
    assert cluster.terms(2) == cluster.terms(1)
    assert len(refusals) == 1


def test_async_append_aba():
    """A write that completes after its entries were cut, and replaced at the same indexes,
    acknowledges and commits nothing (thesis 10.2.1).
    """
    node = follower([1], term=1)
    old = node.step([Receive(2, Append(1, 1, 1, 0, 1, (entry(2, 1), entry(3, 1))))]).write
    new = node.step([Receive(3, Append(2, 1, 1, 3, 1, (entry(2, 2), entry(3, 2))))]).write
    assert new.truncate_from == 2
    effects = node.step([WritePersisted(old.number)])
    assert (effects.messages, effects.committed) == ([], [])
    effects = node.step([WritePersisted(new.number)])
    assert effects.messages == [(3, AppendReply(2, True, 3, 1))]
    assert [(entry.index, entry.term) for entry in effects.committed] == [(2, 2), (3, 2)]


def test_a_deposed_leaders_late_write_counts_for_nothing():
    """A leader's own write that completes after its successor cut those entries is not counted by
    either of them.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.elect(2, among=(3,))
    cluster.propose(1, b"old")
    blank = cluster.state(2).log.between(2, 2)
    cluster.network.clear()
    cluster.step(1, Receive(2, Append(2, 1, 1, 0, 0, tuple(blank))))
    assert [write.truncate_from for write in cluster.members[1].queue] == [0, 2]
    cluster.sync(1, 1)
    assert cluster.network == []
    assert cluster.state(1).durable.index == 1
    cluster.sync(1, 1)
    assert cluster.network[0].message == AppendReply(2, True, 2, 0)


def test_inflight_bounded_in_bytes():
    """A follower that does not answer gets no more than the window in messages and in bytes, and
    the uncommitted tail is bounded, for the leader of the next term as well (thesis 10.2.1).
    """
    size = 100 + ENTRY_OVERHEAD_BYTES
    settings = {
        "append_bytes_max": 2 * size,
        "inflight_bytes_max": 5 * size,
        "inflight_appends_max": 4,
        "uncommitted_bytes_max": 12 * size,
    }
    cluster = Cluster(3, **settings)
    cluster.elect(1)
    for _ in range(20):
        cluster.propose(1, b"x" * 100)
    for peer in (2, 3):
        sent = appends(cluster, peer)
        assert len(sent) == 4
        assert sum(len(append.entries) for append in sent) <= 5
    refused = cluster.members[1].refused
    assert set(refused.values()) == {RefusalReason.OVERLOADED}
    assert len(refused) == 8
    cluster.settle()
    assert cluster.status(1).commit_index == 13

    cluster.isolate(1, 2)
    cluster.tick(1, times=2)
    cluster.isolate(1)
    for _ in range(12):
        cluster.propose(1, b"y" * 100)
    tail = cluster.state(1).role.uncommitted_bytes
    assert tail == 12 * size
    cluster.network.clear()
    cluster.sync(1)
    cluster.step(1, *[Tick()] * 20)
    assert cluster.status(1).role is Role.FOLLOWER
    cluster.network.clear()
    cluster.heal()
    cluster.forget_leader(2, 3)
    cluster.campaign(1)
    while cluster.status(1).role is not Role.LEADER:
        for node in (1, 2, 3):
            cluster.sync(node)
        cluster.deliver(cluster.network.pop(0))
    assert cluster.state(1).role.uncommitted_bytes == tail + ENTRY_OVERHEAD_BYTES
    token = cluster.propose(1, b"z")
    assert cluster.members[1].refused[token] is RefusalReason.OVERLOADED


def test_one_large_entry_still_travels():
    """An entry larger than the append limit, or the uncommitted limit, is sent alone."""
    cluster = Cluster(3, append_bytes_max=100, inflight_bytes_max=100, uncommitted_bytes_max=100)
    cluster.elect(1)
    cluster.propose(1, b"x" * 5000)
    cluster.propose(1, b"y")
    cluster.settle()
    cluster.tick(1, times=2)
    assert [member.applied for member in cluster.members.values()] == [2, 2, 2]


def test_window_opens_with_answers():
    """Appends follow each other without waiting; each answer lets as many more go."""
    cluster = Cluster(3, inflight_appends_max=2)
    cluster.elect(1)
    for _ in range(4):
        cluster.propose(1, b"x")
    assert [append.previous_index for append in appends(cluster, 2)] == [1, 2]
    cluster.settle()
    assert cluster.status(1).commit_index == 5


def test_lost_append_is_found_by_a_heartbeat():
    """A lost append with nothing after it is noticed by the next heartbeat, which asks about
    everything sent; the follower is probed, then replicated to again.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.propose(1, b"x")
    cluster.settle()
    cluster.heal()
    cluster.tick(1, times=2)
    assert cluster.status(3).last_index == 2
    progress = cluster.state(1).role.peers[3]
    assert (progress.flow, progress.match_index) == (Flow.REPLICATE, 2)


def test_transport_error_is_local():
    """A dead peer costs the others nothing: they commit, and what is sent to it stays bounded."""
    cluster = Cluster(3, inflight_appends_max=3)
    cluster.elect(1)
    cluster.crash(3)
    for _ in range(50):
        cluster.propose(1, b"x")
        cluster.settle()
    assert cluster.status(1).commit_index == 51
    assert len(cluster.state(1).role.peers[3].inflight) == 3


def filled(cache_bytes_max=600, count=30):
    """A leader whose memory has lost what node 3 still needs."""
    cluster = Cluster(3, cache_bytes_max=cache_bytes_max, append_bytes_max=400)
    cluster.elect(1)
    cluster.isolate(3)
    for _ in range(count):
        cluster.propose(1, b"x" * 36)
        cluster.settle()
    assert cluster.state(1).log.first_index > 2
    return cluster


def test_slow_follower_recovers():
    """A follower that needs entries below the leader's window gets them from the leader's disk,
    one load at a time, and then joins the pipeline (thesis 5, the part without snapshots).
    """
    cluster = filled()
    cluster.heal()
    for _ in range(2):
        cluster.step(1, Tick())
    for _ in range(200):
        if not cluster.network:
            break
        cluster.deliver(cluster.network.pop(0))
        assert len(cluster.members[1].loads) <= 1
    cluster.settle()
    cluster.tick(1, times=2)
    assert cluster.members[3].applied == 31
    assert cluster.state(1).role.peers[3].flow is Flow.REPLICATE


def test_memory_keeps_to_its_limit():
    """Applied entries beyond the limit leave memory; what is not applied stays."""
    cluster = filled()
    log = cluster.state(1).log
    assert log.bytes <= 600
    assert log.last_index == 31
    stuck = Cluster(3, cache_bytes_max=0)
    stuck.elect(1)
    stuck.isolate(1)
    for _ in range(10):
        stuck.propose(1, b"x")
    assert stuck.state(1).log.first_index <= 2
    assert stuck.state(1).log.last_index == 11


def test_a_probe_lost_while_the_window_moves_is_repeated():
    """If the one probe to a follower is lost and its place then leaves the window, the next
    heartbeat still asks about that place, and the follower recovers.
    """
    cluster = Cluster(3, cache_bytes_max=600, append_bytes_max=400)
    cluster.isolate(3)
    cluster.elect(1, among=(2,))
    for _ in range(30):
        cluster.propose(1, b"x" * 36)
        cluster.settle()
    progress = cluster.state(1).role.peers[3]
    assert (progress.flow, progress.asked) == (Flow.PROBE, True)
    assert progress.next_index < cluster.state(1).log.first_index
    cluster.heal()
    cluster.tick(1, times=6)
    assert cluster.members[3].applied == 31


def test_loads_that_come_too_late_are_dropped():
    """What was read for a follower that no longer needs it is not sent."""
    cluster = filled()
    cluster.heal()
    cluster.step(1, Tick(), Tick())
    while not cluster.members[1].loads:
        cluster.deliver(cluster.network.pop(0))
    load = cluster.members[1].loads.pop()
    entries = tuple(cluster.members[1].disk.entries[load.first : load.first + 2])
    cluster.network.clear()
    cluster.members[1].loads.clear()
    cluster.step(1, EntriesLoaded(3, 1, entries))
    assert cluster.network == []
    assert len(cluster.members[1].loads) == 1
    cluster.settle()
    cluster.step(1, EntriesLoaded(3, 1, entries))
    assert cluster.members[3].applied > 0


def test_restart_emits_nothing_twice():
    """After a restart what the state machine holds is not emitted again; what is known to be
    committed beyond it is, once (thesis 3.8).
    """
    disk = restored_disk([1, 1, 1, 1, 1], term=1, commit=4)
    restored = Restored(hard_state=disk.hard_state, entries=tuple(disk.entries), applied=2)
    node = lone(restored)
    assert [entry.index for entry in node.step([]).committed] == [3, 4]
    assert node.step([Tick()]).committed == []
    effects = node.step([Receive(2, Append(1, 5, 1, 5, 1, ()))])
    assert [entry.index for entry in effects.committed] == [5]

    ahead = Restored(hard_state=HardState(1, 0, 2), entries=restored.entries, applied=4)
    node = lone(ahead)
    assert node.step([]).committed == []
    assert node.status().commit_index == 4


def test_one_step_merges():
    """Many events in one step cost one write, one append per follower, one answer (design D11)."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.step(1, *[Propose(token, (b"x",)) for token in range(900, 910)])
    assert len(cluster.members[1].queue) == 1
    assert [len(append.entries) for append in appends(cluster, 2)] == [10]
    assert appends(cluster, 2)[0] is appends(cluster, 3)[0]
    accepted = cluster.members[1].accepted
    assert [accepted[token][1] for token in range(900, 910)] == list(range(2, 12))

    node = follower([], term=1)
    batch = [Receive(2, Append(1, i - 1, min(i - 1, 1), 0, i, (entry(i, 1),))) for i in range(1, 6)]
    write = node.step(batch).write
    assert len(write.entries) == 5
    assert node.step([WritePersisted(write.number)]).messages == [(2, AppendReply(1, True, 5, 5))]


def test_what_one_step_brings_and_cuts_is_never_written():
    """Entries that a later event of the same step replaces do not reach the disk."""
    node = follower([1], term=1)
    gone = Receive(2, Append(1, 1, 1, 0, 1, (entry(2, 1), entry(3, 1))))
    stays = Receive(3, Append(2, 1, 1, 0, 1, (entry(2, 2),)))
    write = node.step([gone, stays]).write
    assert (write.truncate_from, write.entries) == (0, (entry(2, 2),))


def test_writes_may_overlap():
    """Several writes under way are reported together by the highest number, and each by itself."""
    node = follower([], term=1)
    numbers = []
    for i in range(1, 4):
        append = Append(1, i - 1, min(i - 1, 1), 0, 1, (entry(i, 1),))
        numbers.append(node.step([Receive(2, append)]).write.number)
    assert numbers == [1, 2, 3]
    assert node.step([WritePersisted(2)]).messages == [(2, AppendReply(1, True, 2, 1))]
    assert node.step([WritePersisted(3)]).messages == [(2, AppendReply(1, True, 3, 1))]


def test_blank_entry_opens_a_term():
    """A new leader's first entry is blank and of its own term (thesis 6.4)."""
    cluster = Cluster(3)
    cluster.elect(2)
    assert cluster.state(2).log.between(1, 1) == [Entry(1, 1, EntryKind.BLANK, b"")]
