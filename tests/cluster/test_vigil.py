"""The vigil of nodes over nodes: who is gone, who is back, and for how long there was silence."""

import pytest

from flowactor.cluster.vigil import Vigil, quiet_ticks
from flowactor.identity import NodeId
from flowactor.limits import (
    BEAT_SECONDS,
    ELECTION_TICKS_MAX,
    NANOSECONDS,
    OWNER_LEASE_SECONDS,
    QUIET_TICKS,
    SILENCE_SECONDS,
    TICK_SECONDS,
)

OTHER = NodeId(2)


class Watched:
    """A vigil, the clock it goes by, and what it has told."""

    def __init__(self):
        self.seconds = 5.0
        self.told = []
        self.vigil = Vigil(self, lambda node, ticks: self.told.append((node, ticks)))

    def now_ns(self):
        return 0

    def monotonic_ns(self):
        return round(self.seconds * NANOSECONDS)

    def beats(self, count, *heard):
        """Time passes, and everybody of ``heard`` gives a sign of life right before each look."""
        for _ in range(count):
            self.seconds += BEAT_SECONDS
            for node in heard:
                self.vigil.heard(node)
            self.vigil.look()


@pytest.fixture
def watched():
    """There is a link to one other node."""
    watched = Watched()
    watched.vigil.linked(OTHER)
    watched.told.clear()
    return watched


def test_a_node_that_says_something_is_alive(watched):
    """As long as anything comes, nobody is told anything."""
    watched.beats(100, OTHER)
    assert watched.vigil.is_alive(OTHER)
    assert watched.told == []


def test_a_silent_node_is_gone_once(watched):
    """Silence is told when it has lasted, with how long it has, and not again and again."""
    watched.beats(1)
    assert watched.told == []
    watched.beats(9)
    assert watched.told == [(OTHER, round(SILENCE_SECONDS / TICK_SECONDS))]
    assert not watched.vigil.is_alive(OTHER)


def test_a_node_that_is_heard_again_is_back(watched):
    """The first sign of life after a silence is told."""
    watched.beats(4)
    watched.told.clear()
    watched.beats(3, OTHER)
    assert watched.told == [(OTHER, 0)]
    assert watched.vigil.is_alive(OTHER)


def test_the_end_of_a_link_is_told_at_once(watched):
    """Nobody waits for a silence when the link says that the node is gone; that it lasts is no
    further news.
    """
    watched.beats(1, OTHER)
    watched.seconds += TICK_SECONDS
    watched.vigil.unlinked(OTHER)
    assert watched.told == [(OTHER, 1)]
    watched.vigil.unlinked(OTHER)
    watched.beats(9)
    assert watched.told == [(OTHER, 1)]


def test_a_new_link_is_told_even_if_nothing_was_missed(watched):
    """Perhaps the process at its other end is another one, which knows nothing."""
    watched.beats(3, OTHER)
    watched.vigil.linked(OTHER)
    assert watched.told == [(OTHER, 0)]


def test_who_overslept_concludes_nothing(watched):
    """What this process did not listen to is no silence: one that stood still for a minute gives
    everybody the time it always gives.
    """
    watched.beats(1, OTHER)
    watched.seconds += 60
    watched.vigil.look()
    assert watched.told == []
    watched.beats(1)
    assert watched.told == [(OTHER, round(SILENCE_SECONDS / TICK_SECONDS))]


def test_a_stranger_is_not_alive(watched):
    """Who was never heard is neither alive nor gone."""
    watched.beats(9, OTHER)
    assert not watched.vigil.is_alive(NodeId(3))
    assert watched.told == []


@pytest.mark.parametrize("lease_seconds", [1.0, OWNER_LEASE_SECONDS, 20.0])
def test_a_group_stays_awake_for_longer_than_a_lease(lease_seconds):
    """Who dies in an idle group has lost what it owned before its silence is counted no more."""
    ticks = quiet_ticks(lease_seconds)
    assert ticks >= max(QUIET_TICKS, lease_seconds / TICK_SECONDS + ELECTION_TICKS_MAX)
