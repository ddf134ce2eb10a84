"""The judge of consensus about who belongs to a group (I13): a sound change passes, and whoever
changes, leads or campaigns against the rules is refused at that very act.
"""

from functools import partial

import pytest

from flowactor.raft import Append, AppendReply, Configuration, Receive, Role, Tick, Vote
from flowactor.raft.membership import configuration_entry
from flowactor.simulation.failure import CheckFailed
from tests.simulation.checks.consensus_story import Story, begun


def members(index, *voters, learners=()):
    """The entry of term 1 that brings these members."""
    return configuration_entry(1, index, Configuration(voters, learners))


@pytest.fixture
def story():
    """Three nodes, nothing has happened yet."""
    return Story()


def commits(story, entry, follower):
    """Node 1, which leads, appends a configuration at 2 and commits it with a follower, which has
    the blank before it already if it is node 2.
    """
    (blank,) = story.checker.committed
    story.step(1, entries=[entry])
    story.sync(1)
    if follower == 2:
        story.append(2, 1, blank, entry)
    else:
        story.append(follower, 1, None, blank, entry)
    story.step(1, Receive(follower, AppendReply(1, True, 2, 1)), commit=2)


def test_a_sound_change_passes(story):
    """A voter becomes a learner when an entry of the leader's term is committed."""
    begun(story)
    commits(story, members(2, 1, 2, learners=(3,)), 2)
    assert story.marks["members changed"] == 1
    assert story.checker.members == Configuration((1, 2), (3,))
    assert story.checker.is_able([1, 2])
    assert not story.checker.is_able([1, 3])


def change_before_an_entry_of_the_own_term_is_committed(story):
    story.elect(1, 1, 2, 3)
    return partial(story.step, 1, entries=[members(2, 1, 2)])


def change_inside_another(story):
    begun(story)
    story.step(1, entries=[members(2, 1, 2)])
    return partial(story.step, 1, entries=[members(3, 1)])


def vote_for_one_who_has_nothing(story):
    begun(story)
    return partial(story.step, 1, entries=[members(2, 1, 2, 3, 4)])


def change_to_voters_that_share_nobody(story):
    begun(story)
    return lambda: commits(story, members(2, 3), 3)


def leader_that_stays_when_it_is_removed(story):
    begun(story)
    blank, entry = story.checker.committed[0], members(2, 2, 3)
    story.append(3, 1, None, blank, entry)
    commits(story, entry, 2)
    return partial(story.step, 1, Tick())


def campaign_of_one_who_was_removed(story):
    begun(story)
    blank, entry = story.checker.committed[0], members(2, 1, 2)
    commits(story, entry, 2)
    append = Receive(1, Append(1, 0, 0, 2, 1, (blank, entry)))
    story.step(3, append, entries=[blank, entry], commit=2)
    story.sync(3)
    story.cores[3].members = Configuration((1, 2))
    story.vote(3, 2, 3)
    return lambda: story.step(3, messages=[(1, Vote(2, 2, 1, pre=False))])


def other_members_than_in_the_log(story):
    begun(story)
    story.step(1, entries=[members(2, 1, 2)])
    return partial(story.step, 1, role=Role.FOLLOWER)


WRONG = (
    change_before_an_entry_of_the_own_term_is_committed,
    change_inside_another,
    vote_for_one_who_has_nothing,
    change_to_voters_that_share_nobody,
    leader_that_stays_when_it_is_removed,
    campaign_of_one_who_was_removed,
    other_members_than_in_the_log,
)


@pytest.mark.parametrize("prepare", WRONG, ids=lambda prepare: prepare.__name__)
def test_a_wrong_story_is_refused(story, prepare):
    """Everything before the wrong act passes, and the act is refused as what it is."""
    wrong = prepare(story)
    with pytest.raises(CheckFailed) as caught:
        wrong()
    assert caught.value.checker == "I13"
