"""The state on its way from a leader to its followers, chunk by chunk."""

import pytest
from attrs import evolve

from flowactor.cluster.protocol.envelopes import SnapshotChunk, SnapshotOffer
from flowactor.limits import RESEND_SECONDS, SNAPSHOT_PATIENCE_SECONDS, SNAPSHOT_PAUSE_SECONDS
from flowactor.observability.events import SnapshotFailed, SnapshotReceived, SnapshotSent
from flowactor.raft import InstallSnapshot, SnapshotStaged
from tests.cluster.transfers import INDEX, PACE, Follower, Leader, exchange


@pytest.fixture
def leader(tmp_path):
    return Leader(tmp_path / "leader")


@pytest.fixture
def follower(tmp_path):
    return Follower(2, tmp_path / "two")


def begin(leader, *peers):
    """These need the state; the first tick has it copied, the second has it offered."""
    leader.sending.need(peers)
    leader.tick(*peers)
    leader.tick(*peers)


def size_of(chunks):
    return sum(len(chunk.data) for chunk in chunks)


def lose_after(count):
    """A wire that breaks when so many chunks have passed."""
    passed = []

    def alter(envelope):
        passed.extend([envelope] * isinstance(envelope, SnapshotChunk))
        return envelope if len(passed) <= count else None

    return alter


def test_the_state_arrives(leader, follower):
    """Each byte is sent once; the core hears of it when all is durable; the copy is deleted once
    the follower works with it.
    """
    begin(leader, 2)
    chunks = exchange(leader, follower)
    (staged,) = leader.told
    assert (staged.peer, staged.snapshot.index) == (2, INDEX)
    assert [chunk.offset for chunk in chunks] == sorted({chunk.offset for chunk in chunks})
    assert follower.receiving.admits(InstallSnapshot(3, 1, staged.snapshot), 0)
    assert follower.rows() == leader.states.current.scan("rows")
    assert leader.sending.held_index == INDEX
    leader.match[2] = INDEX
    leader.tick(2)
    assert leader.observed == [SnapshotSent(1, 2, INDEX, size_of(chunks))]
    assert leader.sending.held_index is None
    assert leader.copies_kept == []


def test_a_cut_is_mended_from_where_it_was(leader, follower):
    """Rule *snapshot_resumes*: after a cut the follower says how far it is, and no more than a
    window is sent twice.
    """
    begin(leader, 2)
    first = exchange(leader, follower, alter=lose_after(9))
    assert leader.told == []
    leader.tick(2, seconds=RESEND_SECONDS)
    second = exchange(leader, follower)
    assert isinstance(leader.told[0], SnapshotStaged)
    size = follower.observed[-1].size_bytes
    assert 0 < size_of(first) + size_of(second) - size <= PACE.window_bytes_max
    resumed = [event.offset for event in follower.observed if isinstance(event, SnapshotReceived)]
    assert resumed == [0, 9 * PACE.chunk_bytes]


@pytest.mark.parametrize("chunks", [7, 1000])
def test_the_receiver_dies(leader, follower, tmp_path, chunks):
    """Rule *snapshot_resumes*: its next life goes on where the last was, also if that had all."""
    begin(leader, 2)
    first = exchange(leader, follower, alter=lose_after(chunks))
    follower.die()
    leader.told.clear()
    leader.sending.need([2])  # the core hears nothing of its installation, if it came so far
    again = Follower(2, tmp_path / "two")
    leader.tick(2, seconds=RESEND_SECONDS)
    second = exchange(leader, again)
    assert isinstance(leader.told[0], SnapshotStaged)
    size = again.observed[-1].size_bytes
    assert size_of(first) + size_of(second) - size <= PACE.window_bytes_max
    assert again.rows() == leader.states.current.scan("rows")


def test_a_damaged_chunk_is_sent_again(leader, follower):
    """What does not fit its checksum changes nothing, and is wanted again."""

    def damage(envelope):
        if isinstance(envelope, SnapshotChunk) and envelope.offset == 5000 and not hurt:
            hurt.append(envelope)
            return evolve(envelope, data=b"\xff" + envelope.data[1:])
        return envelope

    hurt = []
    begin(leader, 2)
    exchange(leader, follower, alter=damage)
    leader.tick(2, seconds=RESEND_SECONDS)
    exchange(leader, follower)
    assert hurt
    assert follower.rows() == leader.states.current.scan("rows")


def test_receivers_share_a_copy(leader, tmp_path):
    """Three followers at once take one copy, and what is on its way to them is a window each."""
    followers = [Follower(node, tmp_path / f"node {node}") for node in (2, 3, 4)]
    begin(leader, 2, 3, 4)
    most = 0
    while len(leader.told) < 3:
        on_their_way = [e for _, e in leader.sent if isinstance(e, SnapshotChunk)]
        most = max(most, size_of(on_their_way))
        exchange(leader, *followers, rounds=1)
    assert leader.states.copies == 1
    assert 0 < most <= 3 * PACE.window_bytes_max
    for follower in followers:
        assert follower.rows() == leader.states.current.scan("rows")


def test_a_copy_is_for_those_it_helps(leader, tmp_path):
    """Who works with the copy, and lacks entries above it already, is not offered the same one
    again while another still receives it: it waits for the next.
    """
    quick, slow = Follower(2, tmp_path / "two"), Follower(3, tmp_path / "three")
    begin(leader, 2, 3)
    exchange(leader, quick, slow, rounds=8)
    leader.sent[:] = [(peer, envelope) for peer, envelope in leader.sent if peer == 2]
    exchange(leader, quick)
    leader.match[2] = INDEX
    leader.sending.need([2])
    leader.tick(2, 3)
    leader.tick(2, 3)
    assert [envelope for peer, envelope in leader.sent if peer == 2] == []
    for _ in range(3):
        leader.tick(2, 3, seconds=RESEND_SECONDS)
        exchange(leader, quick, slow)
    leader.match[3] = INDEX
    leader.tick(2, 3)
    assert leader.states.copies == 2


def test_the_window_fits_the_link(leader, follower):
    """Chunks that are answered within a tick follow each other in a window; where an answer takes
    longer, one is on its way at a time.
    """
    begin(leader, 2)
    exchange(leader, follower, rounds=6)
    assert size_of(e for _, e in leader.sent) == PACE.window_bytes_max
    sizes = []
    while leader.sent:
        leader.clock.ns += 2 * 10**8  # a slow link
        sizes.append(size_of(exchange(leader, follower, rounds=1)))
    assert max(sizes[4:]) == PACE.chunk_bytes


def test_so_much_in_a_tick(tmp_path, follower):
    """All transfers together send so much from one tick to the next."""
    leader = Leader(tmp_path / "slow", pace=evolve(PACE, tick_bytes_max=6000))
    begin(leader, 2)
    assert size_of(exchange(leader, follower)) == 6000
    leader.tick(2)
    assert size_of(exchange(leader, follower)) == 6000


def test_whoever_waits_for_its_turn_is_not_silent(tmp_path):
    """What may be sent in a tick goes to the first receiver as long as it takes all of it; the
    second is neither offered the copy again nor given up meanwhile, and is served then.
    """
    pace = evolve(PACE, tick_bytes_max=PACE.chunk_bytes)
    leader = Leader(tmp_path / "slow", rows=200, pace=pace)
    first, second = Follower(2, tmp_path / "two"), Follower(3, tmp_path / "three")
    begin(leader, 2, 3)
    ticks, offers = 0, []
    while len(leader.told) < 2:
        leader.match.update({staged.peer: INDEX for staged in leader.told})
        offers += [peer for peer, sent in leader.sent if isinstance(sent, SnapshotOffer)]
        exchange(leader, first, second)
        leader.tick(2, 3, seconds=0.5)
        ticks += 1
    assert ticks * 0.5 / 2 > SNAPSHOT_PATIENCE_SECONDS
    assert offers == [2, 3]
    assert second.rows() == leader.states.current.scan("rows")


def test_the_pace_may_change(leader, follower):
    """What is left of a transfer goes as fast as it may by now."""
    leader.pace = evolve(PACE, tick_bytes_max=3000)
    begin(leader, 2)
    assert size_of(exchange(leader, follower)) == 3000
    leader.pace = PACE
    leader.tick(2)
    exchange(leader, follower)
    assert isinstance(leader.told[0], SnapshotStaged)


def test_a_full_disk_is_waited_for(leader, follower):
    """A receiver without space says nothing, is offered the copy again, and goes on when there is
    room.
    """
    begin(leader, 2)
    exchange(leader, follower, rounds=8)
    follower.full = True
    for _ in range(3):
        leader.tick(2, seconds=RESEND_SECONDS)
        exchange(leader, follower)
    assert leader.told == []
    follower.full = False
    leader.tick(2, seconds=RESEND_SECONDS)
    exchange(leader, follower)
    assert isinstance(leader.told[0], SnapshotStaged)
    assert any(isinstance(event, SnapshotFailed) for event in follower.observed)
    assert follower.failed == []


def test_the_silent_are_given_up(leader, follower):
    """Who takes nothing for long is given up, with the copy; nobody makes a copy for the dead, nor
    at once again.
    """
    begin(leader, 2)
    exchange(leader, follower, alter=lose_after(5))
    for _ in range(int(SNAPSHOT_PATIENCE_SECONDS) + 1):
        leader.tick(2, seconds=1.0)
        leader.sent.clear()
    assert leader.told == [SnapshotStaged(2, None)]
    assert leader.sending.held_index is None
    leader.sending.need([2])
    leader.tick(2)
    assert leader.states.copies == 1
    leader.silent[2] = 100
    leader.tick(2, seconds=SNAPSHOT_PAUSE_SECONDS)
    assert leader.states.copies == 1
    leader.silent[2] = 0
    leader.tick(2)
    assert leader.states.copies == 2


def test_who_leads_no_more_sends_nothing(leader, follower):
    """With the lead ends all sending, whatever is under way, and the copy is gone."""
    begin(leader, 2)
    exchange(leader, follower, rounds=5)
    leader.sending.stop()
    leader.sent.clear()
    leader.tick(2, seconds=RESEND_SECONDS)
    assert leader.sent == []
    assert leader.sending.held_index is None
    assert leader.copies_kept == []


def test_a_log_that_could_not_be_held(leader, follower):
    """A copy that the log does not continue is of no use: another is made."""
    leader.log.reaches = False
    begin(leader, 2)
    leader.log.reaches = True
    leader.tick(2)
    leader.tick(2)
    exchange(leader, follower)
    assert isinstance(leader.told[0], SnapshotStaged)
    assert leader.states.copies > 1


def test_only_what_is_held_is_installed(leader, follower):
    """The core sees no installation of a state that is not here, and while one is under way nothing
    touches its file.
    """
    begin(leader, 2)
    exchange(leader, follower, rounds=5)
    staged = leader.sending._ready.snapshot
    install = InstallSnapshot(3, 1, staged)
    assert not follower.receiving.admits(install, 0)
    assert follower.receiving.admits(install, INDEX)
    exchange(leader, follower)
    assert follower.receiving.admits(install, 0)
    assert not follower.receiving.admits(evolve(install, snapshot=evolve(staged, index=41)), 0)
    follower.receiving.installing()
    leader.sending.need([2])
    leader.tick(2)
    exchange(leader, follower)
    assert follower.sent == []
    assert follower.rows() == leader.states.current.scan("rows")


def test_another_leader_brings_another_copy(leader, follower, tmp_path):
    """What has arrived of the old leader's copy is dropped for that of the new one."""
    begin(leader, 2)
    exchange(leader, follower, rounds=5)
    other = Leader(tmp_path / "other", rows=20)
    begin(other, 2)
    exchange(other, follower)
    exchange(leader, follower)  # the old one goes on for a while
    assert isinstance(other.told[0], SnapshotStaged)
    assert follower.rows() == other.states.current.scan("rows")


def test_what_is_known_already_needs_no_state(leader, follower):
    """A follower that has got on by itself says so, and takes nothing."""
    follower.commit = INDEX
    begin(leader, 2)
    assert exchange(leader, follower) == []
    assert isinstance(leader.told[0], SnapshotStaged)
