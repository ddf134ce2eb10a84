"""The bug of 2015: what a change of members does that begins before an entry of the leader's own
term is committed (rule *config_needs_own_term_commit*).
"""

import pytest

from flowactor.raft import changes
from flowactor.raft.roles import Leader
from flowactor.simulation.checks.consensus import ConsensusChecker
from tests.raft.feud import Feud, Scene, harm, improvise, simplest

FOUND_BY = 906
"""The first seed from 0 on that does harm without the barrier; of ten thousand one more does."""

FOUND = [
    Scene(4, "campaigns", 3, (2, 3, 4)),
    Scene(4, "removes", 1, (3, 4)),
    Scene(1, "removes", 3, (1,)),
    Scene(1, "campaigns", 4, (1, 2)),
]
"""What is left of it when everything is left out that can be."""


@pytest.fixture
def without_the_barrier(monkeypatch):
    """A leader may begin a change at once, and no check but those of real harm minds."""
    objection = changes._objection

    def rash(state, wanted):
        role = state.role
        if not isinstance(role, Leader):
            return objection(state, wanted)
        kept, role.first_index = role.first_index, 0
        try:
            return objection(state, wanted)
        finally:
            role.first_index = kept

    monkeypatch.setattr(changes, "_objection", rash)
    monkeypatch.setattr(ConsensusChecker, "_changes_members", lambda *step: None)


def test_the_bug_of_2015():
    """4 removes 1, and 1, which knows nothing of it, removes 3: with the barrier neither does
    before it has committed in its own term, and whoever has not cannot be elected again.
    """
    assert harm(FOUND) == ""
    assert improvise(FOUND_BY)[1] == ""


@pytest.mark.usefixtures("without_the_barrier")
def test_the_bug_of_2015_without_the_barrier():
    """Two of {2, 3, 4} commit with leader 4, then two of {1, 2, 4} elect 1, which has nothing of
    that: an entry that is committed is lost.
    """
    assert "I7" in harm(FOUND)


@pytest.mark.usefixtures("without_the_barrier")
def test_the_search_finds_the_bug_of_2015():
    """By chance, and then by leaving out what does not matter."""
    story, found = improvise(FOUND_BY)
    assert "I7" in found
    assert simplest(story) == FOUND


@pytest.mark.usefixtures("without_the_barrier")
def test_either_half_of_the_bug_of_2015_is_harmless():
    """It takes both changes: any three of the scenes do no harm."""
    for place in range(len(FOUND)):
        assert harm(FOUND[:place] + FOUND[place + 1 :]) == ""


def test_scenes_do_what_they_say():
    """A change that only its leader hears of is in its log alone; one that a majority hears of is
    committed.
    """
    feud = Feud()
    feud.play(Scene(1, "removes", 4, (1,)))
    assert [feud.status(node).configuration.voters for node in (1, 2)] == [(1, 2, 3), (1, 2, 3, 4)]
    feud = Feud()
    feud.tick(times=3)
    feud.play(Scene(1, "removes", 4, (1, 2)))
    assert feud.status(1).commit_index == feud.status(1).configuration_index
