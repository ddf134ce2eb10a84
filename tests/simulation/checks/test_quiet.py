"""The judge of sleep: what it lets pass, and what it names."""

from types import SimpleNamespace

import pytest

from flowactor.limits import NANOSECONDS
from flowactor.raft import Configuration, PeerStatus, Role, Status
from flowactor.simulation.checks.quiet import WAKE_NS, QuietChecker, check_falls_asleep
from flowactor.simulation.failure import CheckFailed

GROUP = 1
LATER_SECONDS = WAKE_NS / NANOSECONDS + 2


def status(role=Role.FOLLOWER, *, quiet=True, silent=0):
    """Of a member of three that node 1 leads; node 2 is silent for so many ticks."""
    peers = ((2, PeerStatus(5, 6, silent, True)), (3, PeerStatus(5, 6, 0, True)))
    return Status(
        role=role,
        term=1,
        leader=1,
        previous_leader=0,
        leader_ticks_silent=0,
        last_index=5,
        commit_index=5,
        configuration=Configuration((1, 2, 3)),
        configuration_index=0,
        configuration_term=0,
        transferring=0,
        leads_from=1,
        peers=peers if role is Role.LEADER else (),
        quiet=quiet,
    )


class Night:
    """A judge, and time that passes; whose process is there, the tests say."""

    def __init__(self):
        self.now_ns = 0
        self.due = []
        self.timer_ns = None
        self.judge = QuietChecker(self, self.serving, lambda node: node)

    def at(self, due_ns, action):
        self.due.append((due_ns, action))

    def serving(self):
        machine = SimpleNamespace(next_due_ns=self.timer_ns)
        clock = SimpleNamespace(now_ns=lambda: self.now_ns)
        group = SimpleNamespace(group=GROUP, is_leader=True, machine=machine, clock=clock)
        return dict.fromkeys((1, 2, 3), group)

    def passes(self, seconds):
        end_ns = self.now_ns + round(seconds * NANOSECONDS)
        while self.due and self.due[0][0] <= end_ns:
            self.now_ns, action = self.due.pop(0)
            action()
        self.now_ns = end_ns


@pytest.fixture
def night():
    """Nodes 1, which leads, and 3 sleep."""
    night = Night()
    night.judge.changed(1, GROUP, status(Role.LEADER))
    night.judge.changed(3, GROUP, status())
    return night


def test_who_sleeps_well_may_sleep(night):
    """Nothing happens, and nobody has to wake."""
    night.passes(100)


@pytest.mark.parametrize(("gone", "sleeper"), [(1, 3), (2, 1)])
@pytest.mark.parametrize("how", ["ended", "paused"])
def test_who_sleeps_through_a_loss_is_named(night, gone, sleeper, how):
    """A follower relies on its leader, a leader on its members: when their process is gone, or
    stands still, they have to wake.
    """
    getattr(night.judge, how)(gone)
    with pytest.raises(CheckFailed, match=f"sleeps on node {sleeper}"):
        night.passes(LATER_SECONDS)


def test_who_wakes_in_time_may(night):
    """It is enough to have been awake once since."""
    night.judge.ended(2)
    night.passes(1)
    night.judge.changed(1, GROUP, status(Role.LEADER, quiet=False))
    night.judge.changed(1, GROUP, status(Role.LEADER, silent=30))
    night.passes(100)


def test_a_short_pause_need_not_be_noticed(night):
    """Who stood still for a moment goes on among sleepers."""
    night.judge.paused(1)
    night.passes(0.4)
    night.judge.resumed(1)
    night.passes(100)


def test_a_timer_that_is_slept_through_is_named(night):
    """I26: a leader has an alarm for its timers."""
    night.timer_ns = 3 * NANOSECONDS
    with pytest.raises(CheckFailed, match="a timer is due"):
        night.passes(100)


def places(**changed):
    """A checker of consensus that knows how far all are: (term, last, committed, durable)."""
    known = {"one": (1, 5, 5, 5), "two": (1, 5, 5, 5), "three": (1, 5, 4, 5)} | changed
    by_node = dict(zip((1, 2, 3), known.values(), strict=True))
    return SimpleNamespace(place_of=by_node.__getitem__)


@pytest.mark.parametrize("one", [(1, 5, 4, 5), (1, 5, 5, 0)])
def test_who_has_work_may_not_go_quiet(one):
    """I16: nothing is left to commit, or to write."""
    with pytest.raises(CheckFailed, match="more to commit or to write"):
        check_falls_asleep(1, status(Role.LEADER), places(one=one))


def test_a_leader_leaves_nobody_behind():
    """I16: a member that lags, and is alive, is waited for; one that was given up, or follows
    somebody in a later term, is not.
    """
    leader = status(Role.LEADER)
    check_falls_asleep(1, leader, places())
    with pytest.raises(CheckFailed, match="node 2 has 4"):
        check_falls_asleep(1, leader, places(two=(1, 4, 4, 4)))
    check_falls_asleep(1, status(Role.LEADER, silent=10), places(two=(1, 4, 4, 4)))
    check_falls_asleep(1, leader, places(two=(2, 7, 4, 7)))
