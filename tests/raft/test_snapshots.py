"""A snapshot takes the place of a log, rule by rule (paper 7, thesis 5)."""

import pytest

from flowactor.raft import (
    Append,
    AppendReply,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    InstallSnapshot,
    Receive,
    Restored,
    Snapshot,
    SnapshotStaged,
    Tick,
    WritePersisted,
)
from flowactor.raft.membership import configuration_entry
from flowactor.raft.progress import Flow
from tests.raft.cluster import Cluster, lone, restored_disk

VOTERS = Configuration((1, 2, 3))


def install(index, term=1, configuration=VOTERS, place=0, *, leader_term=2):
    return InstallSnapshot(leader_term, 1, Snapshot(index, term, configuration, place))


def follower(terms=(), term=1, commit=0):
    disk = restored_disk(list(terms), term, commit)
    return lone(Restored(hard_state=disk.hard_state, entries=tuple(disk.entries)))


def left_behind(count=30, keep=3):
    """A leader whose log begins after what node 3 needs, on disk and in memory."""
    cluster = Cluster(3, cache_bytes_max=300, append_bytes_max=400)
    cluster.elect(1)
    cluster.isolate(3)
    for _ in range(count):
        cluster.propose(1, b"x" * 36)
        cluster.settle()
    member = cluster.members[1]
    member.durable_applied = member.applied
    member.disk.purge_to(member.applied - keep)
    return cluster


def test_a_follower_left_behind_gets_a_snapshot():
    """Rule slow_follower_recovers: the leader's log no longer has what a follower needs; it probes,
    finds nothing to send, has a snapshot brought, and then goes on with entries.
    """
    cluster = left_behind()
    cluster.heal()
    cluster.tick(times=6)
    assert cluster.marks["snapshot installed"] == 1
    assert cluster.status(3).commit_index == cluster.status(1).commit_index
    assert cluster.state(1).role.peers[3].flow is Flow.REPLICATE
    cluster.propose(1, b"after")
    cluster.tick(times=3)
    assert cluster.members[3].applied == cluster.status(1).last_index


def test_a_throttled_follower_is_passed_by_compaction():
    """The log is compacted past a follower that replicates slowly: its flow goes from replicate
    through probe to snapshot, and never stalls (etcd raft#31).
    """
    cluster = left_behind(count=5)
    cluster.heal()
    cluster.tick(times=4)
    assert cluster.state(1).role.peers[3].flow is Flow.REPLICATE
    cluster.cut = {(3, 1)}
    for _ in range(40):
        cluster.propose(1, b"x" * 36)
        cluster.settle()
    cluster.cut = {(1, 3)}
    for _ in range(40):
        cluster.propose(1, b"x" * 36)
        cluster.settle()
    member = cluster.members[1]
    member.durable_applied = member.applied
    member.disk.purge_to(member.applied - 1)
    cluster.heal()
    cluster.tick(times=8)
    assert cluster.status(3).commit_index == cluster.status(1).commit_index
    assert cluster.marks["snapshot installed"] == 2


def test_one_snapshot_is_asked_for_at_a_time():
    """However many heartbeats pass while a snapshot is brought, the driver is asked once; they go
    on, so that nobody is deposed meanwhile.
    """
    cluster = left_behind()
    cluster.heal()
    cluster.bring = lambda node: None
    cluster.settle = lambda *frozen: _settle_without_bringing(cluster)
    cluster.tick(times=30)
    assert cluster.members[1].snapshots == [3]
    assert cluster.leader() == 1


def _settle_without_bringing(cluster):
    while cluster.network or any(m.queue or m.loads for m in cluster.members.values()):
        if cluster.network:
            cluster.deliver(cluster.network.pop(0))
        for node, member in cluster.members.items():
            if member.queue:
                cluster.sync(node)
            elif member.loads:
                cluster.load(node)


def test_a_transfer_that_fails_is_begun_again():
    """A snapshot that could not be brought is asked for again, after a heartbeat."""
    cluster = left_behind()
    cluster.heal()
    failed = []

    def fail_once(node, bring=cluster.bring):
        if failed:
            bring(node)
        else:
            failed.append(cluster.members[node].snapshots.pop(0))
            cluster.step(node, SnapshotStaged(3, None))

    cluster.bring = fail_once
    cluster.tick(times=10)
    assert failed == [3]
    assert cluster.status(3).commit_index == cluster.status(1).commit_index


def test_a_snapshot_from_before_its_members_were_known_is_not_sent():
    """The founders stand in no entry: a newcomer that got the log from its beginning, leads, and
    has not applied any change of members cannot say who they were, and says nothing. Once it has
    applied more, it can (rule snapshot_carries_config).
    """
    cluster = left_behind(count=1, keep=0)
    cluster.heal()
    role = cluster.state(1).role
    role.peers[3].flow = Flow.SNAPSHOT
    cluster.network.clear()
    cluster.step(1, SnapshotStaged(3, Snapshot(1, 1, Configuration())))
    assert not any(isinstance(packet.message, InstallSnapshot) for packet in cluster.network)
    assert role.peers[3].flow is Flow.PROBE
    cluster.tick(times=6)
    assert cluster.status(3).commit_index == cluster.status(1).commit_index


def test_staged_too_late_is_ignored():
    """Who no longer waits for a snapshot is not told to install one; nor does a follower tell."""
    cluster = left_behind(count=3, keep=4)
    cluster.heal()
    cluster.tick(times=4)
    snapshot = Snapshot(3, 1, VOTERS)
    for node in (1, 2):
        cluster.network.clear()
        cluster.step(node, SnapshotStaged(3, snapshot))
        assert cluster.network == []


def test_installed_as_one_write():
    """Log and members give way in the write that makes the snapshot durable; the answer, and the
    state to go on from, come when it is.
    """
    node = follower([1, 1], term=1, commit=1)
    members = Configuration((1, 2, 3), (4,))
    effects = node.step([Receive(2, install(9, configuration=members, place=7))])
    write = effects.write
    assert (write.snapshot, write.entries, write.truncate_from) == (
        Snapshot(9, 1, members, 7),
        (),
        0,
    )
    assert write.hard_state == HardState(2, 0, 9)
    assert (effects.messages, effects.restored, effects.committed) == ([], None, [])
    assert node.status().configuration == members
    effects = node.step([WritePersisted(write.number)])
    assert effects.restored == Snapshot(9, 1, members, 7)
    assert effects.messages == [(2, AppendReply(2, True, 9, 1))]
    effects = node.step([Receive(2, Append(2, 9, 1, 9, 2, ()))])
    assert effects.messages == [(2, AppendReply(2, True, 9, 2))]


def test_snapshot_carries_config():
    """A configuration that was appended above what is committed, and is not in the snapshot, is
    gone with the log (openraft#1808).
    """
    cluster = Cluster(3)
    cluster.elect(1)
    node = follower([1], term=1, commit=1)
    uncommitted = configuration_entry(1, 2, Configuration((1, 2, 3, 4)))
    node.step([Receive(2, Append(1, 1, 1, 1, 1, (uncommitted,)))])
    assert node.status().configuration.voters == (1, 2, 3, 4)
    node.step([Receive(3, install(5, term=2, leader_term=3))])
    assert node.status().configuration == VOTERS
    assert node.status().configuration_index == 0


def test_a_snapshot_of_what_is_here_installs_nothing():
    """Up to the commit index everything is known; and a log that has the snapshot's last entry
    keeps what follows it (paper, figure 13, step 6).
    """
    node = follower([1, 1, 1, 1], term=1, commit=2)
    effects = node.step([Receive(2, install(2))])
    assert effects.write is None or effects.write.snapshot is None
    assert node.status().last_index == 4
    effects = node.step([Receive(2, install(3))])
    assert (node.status().commit_index, node.status().last_index) == (3, 4)
    assert effects.write is None or effects.write.snapshot is None


def test_a_conflicting_tail_goes():
    """Entries that the snapshot contradicts are gone, and what was written of them vouches for
    nothing (rule async_append_aba).
    """
    node = follower([1], term=1, commit=1)
    late = node.step([Receive(2, Append(1, 1, 1, 1, 1, (Entry(1, 2, EntryKind.PAYLOAD, b"old"),)))])
    effects = node.step([Receive(3, install(6, term=2, leader_term=3))])
    assert node.status().last_index == 6
    after = node.step([WritePersisted(late.write.number)])
    assert all(message.index <= 1 for _, message in after.messages)
    after = node.step([WritePersisted(effects.write.number)])
    assert after.messages == [(3, AppendReply(3, True, 6, 1))]


def test_an_older_leader_installs_nothing():
    """A snapshot of a leader of the past is refused, and the refusal carries the term."""
    node = follower([], term=5)
    effects = node.step([Receive(2, install(9, leader_term=4))])
    assert effects.write is None
    assert effects.messages == [(2, AppendReply(5, False, 0, 1))]


@pytest.mark.parametrize("crash_before_sync", [True, False])
def test_a_crash_around_the_install(crash_before_sync):
    """Whether the write was durable or not, a follower that crashed comes back whole and catches
    up.
    """
    cluster = left_behind()
    cluster.heal()
    for _ in range(3):
        cluster.step(1, Tick())
    while not any(write.snapshot for write in cluster.members[3].queue):
        if cluster.network:
            cluster.deliver(cluster.network.pop(0))
            continue
        for node in (1, 2):
            cluster.sync(node)
            if cluster.members[node].loads:
                cluster.load(node)
            if cluster.members[node].snapshots:
                cluster.bring(node)
        if not cluster.members[3].queue:
            continue
        if not any(write.snapshot for write in cluster.members[3].queue):
            cluster.sync(3)
    if not crash_before_sync:
        cluster.sync(3)
    cluster.restart(3)
    cluster.tick(times=10)
    assert cluster.status(3).commit_index == cluster.status(1).commit_index


def test_a_newcomer_joins_by_snapshot():
    """A node that belongs to nothing learns from the snapshot who the members are, becomes a voter,
    and can lead.
    """
    cluster = left_behind(keep=0)
    cluster.heal()
    cluster.tick(times=6)
    cluster.members[1].durable_applied = cluster.members[1].applied
    cluster.members[1].disk.purge_to(cluster.members[1].applied)
    cluster.admit(1, 4)
    assert cluster.status(4).configuration.voters == (1, 2, 3, 4)
    cluster.tick(times=3)
    cluster.transfer(1, 4)
    cluster.settle()
    assert cluster.leader() == 4
