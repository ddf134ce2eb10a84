"""The vigil of nodes over nodes: who is gone, who is back, and for how long there was silence;
and who is told what.
"""

import pytest

from flowactor.cluster.protocol.envelopes import Alive
from flowactor.cluster.vigil import Vigil, quiet_ticks, relied_on
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
from flowactor.raft import Configuration, Role, Status

OTHER = NodeId(2)


class Watched:
    """A vigil, the clock it goes by, whom its node relies on, and what it has told."""

    def __init__(self):
        self.seconds = 5.0
        self.told = []
        self.relied_on = {OTHER}
        self.vigil = Vigil(
            self,
            lambda: self.relied_on,
            lambda node, ticks: self.told.append((node, ticks)),
        )

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
    watched.vigil.look()
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


def test_the_silence_of_a_node_that_nobody_relies_on_is_none(watched):
    """It was not asked to say anything; that its link ends is told, and with no silence to count
    from.
    """
    watched.relied_on = {NodeId(3)}
    watched.beats(100)
    assert watched.told == []
    watched.vigil.unlinked(OTHER)
    assert watched.told == [(OTHER, 0)]


def test_silence_counts_from_when_it_matters(watched):
    """Who is relied on from now on is given the time that everybody has, however long there was
    nothing to say before: it does not lose at once what it owns.
    """
    watched.relied_on = set()
    watched.beats(100)
    watched.relied_on = {OTHER}
    watched.beats(2)
    assert watched.told == []
    watched.beats(1)
    assert watched.told == [(OTHER, round(SILENCE_SECONDS / TICK_SECONDS))]


def test_those_relied_on_are_asked(watched):
    """Alive or gone, as its answer is what tells that it is back."""
    assert watched.vigil.sign_for(OTHER) == Alive(asks=True)
    watched.beats(9)
    assert not watched.vigil.is_alive(OTHER)
    assert watched.vigil.sign_for(OTHER) == Alive(asks=True)
    assert watched.vigil.sign_for(NodeId(3)) is None


def test_who_was_given_up_is_asked_until_it_answers(watched):
    """Also if nothing depends on it any more: or it would be taken for dead for as long as it has
    no reason of its own to say anything.
    """
    watched.beats(9)
    watched.relied_on = set()
    watched.beats(9)
    assert watched.vigil.sign_for(OTHER) == Alive(asks=True)
    watched.vigil.heard(OTHER)
    watched.beats(9)
    assert watched.vigil.is_alive(OTHER)
    assert watched.vigil.sign_for(OTHER) is None


def test_who_asks_is_answered_for_as_long_as_it_does(watched):
    """An answer asks for none, or two nodes that need nothing of each other would go on for ever;
    and a question that comes late by two beats makes no gap.
    """
    watched.relied_on = set()
    watched.vigil.asked(OTHER)
    signs = []
    for _ in range(6):
        watched.beats(1)
        signs.append(watched.vigil.sign_for(OTHER))
    assert signs == [Alive(asks=False)] * 3 + [None] * 3


def test_who_does_not_know_that_it_is_relied_on_is_alive():
    """A leader takes no member for dead whose replica has not come yet; the member, which relies on
    nobody, is told nothing of that either.
    """
    leader, member = Watched(), Watched()
    member.relied_on = set()
    for watched in (leader, member):
        watched.vigil.linked(OTHER)
        watched.vigil.look()
        watched.told.clear()
    for _ in range(20):
        for one, other in ((leader, member), (member, leader)):
            one.beats(1)
            sign = one.vigil.sign_for(OTHER)
            if sign is not None:
                other.vigil.heard(OTHER)
                if sign.asks:
                    other.vigil.asked(OTHER)
    assert leader.vigil.is_alive(OTHER)
    assert leader.told == member.told == []


@pytest.mark.parametrize(
    ("role", "leader", "nodes"),
    [
        (Role.LEADER, 1, {1, 2, 3, 4, 5}),
        (Role.FOLLOWER, 2, {2}),
        (Role.LEARNER, 2, {2}),
        (Role.CANDIDATE, 0, {1, 2, 3, 4}),
    ],
)
def test_whose_silence_concerns_a_replica(role, leader, nodes):
    """A leader looks after all members, the others after it, and without one after each other."""
    members = Configuration((1, 2, 3), (5,), (2, 3, 4))
    assert set(relied_on(status(role, leader, members))) == nodes


def status(role, leader, members):
    return Status(
        role=role,
        term=1,
        leader=leader,
        previous_leader=0,
        leader_ticks_silent=0,
        last_index=0,
        commit_index=0,
        configuration=members,
        configuration_index=0,
        configuration_term=0,
        transferring=0,
        leads_from=0,
        peers=(),
    )


@pytest.mark.parametrize("lease_seconds", [1.0, OWNER_LEASE_SECONDS, 20.0])
def test_a_group_stays_awake_for_longer_than_a_lease(lease_seconds):
    """Who dies in an idle group has lost what it owned before its silence is counted no more."""
    ticks = quiet_ticks(lease_seconds)
    assert ticks >= max(QUIET_TICKS, lease_seconds / TICK_SECONDS + ELECTION_TICKS_MAX)
