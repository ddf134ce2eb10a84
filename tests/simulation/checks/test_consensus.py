"""The judge of consensus: sound stories pass, and of each invariant the stories that break it are
refused, under its name, at the very act that breaks it.
"""

from functools import partial

import pytest

from flowactor.raft import (
    Append,
    AppendReply,
    HardState,
    LoadEntries,
    ReadIndex,
    Receive,
    RefusalReason,
    Role,
    Tick,
    Vote,
    VoteReply,
    WritePersisted,
)
from flowactor.simulation.failure import CheckFailed
from tests.simulation.checks.consensus_story import Story, begun, entry


@pytest.fixture
def story():
    """Nothing has happened yet."""
    return Story()


# -- what is sound --------------------------------------------------------------------------------


def test_a_sound_story_passes(story):
    """Elections, replication, a cut, a read, a restart and a lost disk: nothing is refused, and all
    is in the record.
    """
    blank = begun(story)
    story.step(1, ReadIndex(7), messages=[(2, Append(1, 1, 1, 1, 2, ()))])
    story.step(1, Receive(2, AppendReply(1, True, 1, 2)), reads=[(7, 1)])
    tail = entry(2, 1)
    story.step(1, entries=[tail])
    story.sync(1)
    after = story.elect(2, 2, 3)
    story.sync(2)
    story.append(3, 2, None, blank)
    story.append(3, 2, blank, after)
    story.step(2, commit=2, committed=[blank, after])
    leaving = {"role": Role.FOLLOWER, "term": 2, "state": HardState(2, 0, 0)}
    story.step(1, story.appended(2, 1, 1, after), cut=2, entries=[after], **leaving)
    story.sync(1)
    story.step(1, story.appended(2, 2, 2), commit=2, committed=[after])
    story.start(1, after, state=HardState(2, 0, 0), first_index=2, previous_index=1,
                previous_term=1, applied=1)  # fmt: skip
    story.checker.lost(3)
    story.start(3)
    assert story.checker.committed == [blank, after]
    assert story.checker.leaders == {1: 1, 2: 2}
    assert story.checker.last_term == 2
    assert [story.checker.committed_term(index) for index in range(4)] == [0, 1, 2, 0]
    assert story.marks["leader changed"] == story.marks["follower truncated"] == 1


def test_an_acknowledgement_counts_though_its_disk_was_lost_since(story):
    """A leader cannot know that: what was durable on a majority once may be committed (I8)."""
    blank = begun(story)
    after = story.elect(2, 2, 3)
    story.sync(2)
    story.append(3, 2, None, blank)
    story.append(3, 2, blank, after)
    story.checker.lost(3)
    story.step(2, commit=2, committed=[blank, after])
    assert story.checker.committed == [blank, after]


def test_what_survived_without_a_promise_is_taken(story):
    """A restart may find the beginning of what was under way: nothing, one write, even a cut."""
    blank = begun(story)
    story.step(2, state=HardState(2, 0, 0), term=2)
    story.step(2, state=HardState(2, 3, 0))
    story.start(2, blank, state=HardState(2, 3, 0))
    assert story.marks["unsynced write survived"] == 2
    one, other = entry(2, 2), entry(2, 3)
    story.append(2, 2, blank, one, entry(3, 2))
    story.step(2, story.appended(3, 1, 1, other), term=3, state=HardState(3, 0, 0), cut=2,
               entries=[other])  # fmt: skip
    story.start(2, blank, other, state=HardState(3, 0, 0))
    assert story.checker.disks[2].entries == [blank, other]


def test_a_leader_may_lack_what_a_later_term_has_committed(story):
    """Votes that are long on their way make a leader of a term that is over: it has no power, and
    need not hold what was decided since (I7 speaks of earlier terms).
    """
    story.vote(3, 1, 3)
    story.vote(2, 1, 3)
    after = story.elect(1, 2, 2)
    story.sync(1)
    story.append(2, 2, None, after)
    story.step(1, commit=1, committed=[after])
    story.step(3, role=Role.LEADER, entries=[entry(1, 1)])
    assert story.checker.leaders == {1: 3, 2: 1}
    assert story.checker.committed == [after]


def test_what_is_rare_is_marked(story):
    """Each rare state is counted when it comes up, and not before."""
    blank = story.elect(1, 1, 2, 3)
    assert not +story.marks
    story.step(1, ReadIndex(7))
    story.step(1, refused=[(8, RefusalReason.OVERLOADED)], loads=[LoadEntries(2, 1, 1, 9)])
    story.step(3, messages=[(1, VoteReply(1, False, pre=True))])
    story.step(1, *[Tick()] * 6, role=Role.FOLLOWER, refused=[(7, RefusalReason.LOST_LEADERSHIP)])
    story.sync(1)
    story.vote(3, 5, 3)
    story.step(3, messages=[(1, VoteReply(5, False, pre=True))])
    after = story.elect(1, 6, 2, 3)
    story.append(2, 6, None, blank)
    story.step(1, Receive(2, AppendReply(6, True, 1, 1)))
    story.step(1, role=Role.FOLLOWER)
    other = entry(2, 7)
    story.step(1, story.appended(7, 1, 1, other), term=7, state=HardState(7, 0, 0), cut=2,
               entries=[other])  # fmt: skip
    story.step(1, WritePersisted(story.numbers[1] - 1))
    assert after.index == other.index
    assert +story.marks == {
        "read before the first commit": 1,
        "uncommitted limit": 1,
        "entries read back": 1,
        "leader over its disk": 1,
        "read abandoned": 1,
        "pre-vote refused with a higher term": 1,
        "leader changed": 1,
        "figure 8": 1,
        "leader without a quorum": 1,
        "follower truncated": 1,
        "late write": 1,
    }


# -- what is not ----------------------------------------------------------------------------------
# Each of these prepares a story, all of it sound, and returns the act that is not.


def second_leader_of_a_term(story):
    story.elect(1, 1, 2)
    story.checker.lost(2)
    story.start(2)
    story.vote(3, 1, 3)
    return partial(story.step, 3, role=Role.LEADER)


def leader_by_its_own_vote(story):
    story.vote(1, 1, 1)
    return partial(story.step, 1, role=Role.LEADER)


def leader_with_votes_of_another_term(story):
    for node in (1, 2, 3):
        story.vote(node, 1, 1)
    return partial(story.step, 1, role=Role.LEADER, term=2)


def vote_that_is_not_durable(story):
    story.step(2, term=1, state=HardState(1, 3, 0))
    return partial(story.step, 2, messages=[(3, VoteReply(1, True, pre=False))])


def vote_for_another(story):
    story.vote(2, 1, 3)
    return partial(story.step, 2, messages=[(1, VoteReply(1, True, pre=False))])


def campaign_that_is_not_durable(story):
    story.step(2, role=Role.CANDIDATE, term=1, state=HardState(1, 2, 0))
    return partial(story.step, 2, messages=[(3, Vote(1, 0, 0, pre=False))])


def second_durable_vote(story):
    story.vote(2, 1, 3)
    story.step(2, state=HardState(1, 1, 0))
    return partial(story.sync, 2)


def vote_forgotten_by_a_restart(story):
    story.vote(2, 1, 3)
    return partial(story.start, 2, state=HardState(1, 0, 0))


def term_forgotten_by_a_restart(story):
    story.vote(2, 5, 3)
    return partial(story.start, 2, state=HardState(4, 3, 0))


def term_that_goes_back(story):
    story.vote(2, 5, 3)
    return partial(story.step, 2, term=4)


def durable_term_that_goes_back(story):
    story.vote(2, 5, 3)
    story.step(2, state=HardState(4, 0, 0))
    return partial(story.sync, 2)


def durable_commit_that_goes_back(story):
    story.vote(2, 1, 1)
    story.step(2, state=HardState(1, 1, 3))
    story.sync(2)
    story.step(2, state=HardState(1, 1, 2))
    return partial(story.sync, 2)


def commit_that_goes_back(story):
    begun(story)
    return partial(story.step, 1, commit=0)


def commit_beyond_the_log(story):
    begun(story)
    return partial(story.step, 1, commit=2)


def restart_that_knows_too_much(story):
    blank = begun(story)
    story.append(2, 1, blank, entry(2, 1))
    story.step(2, state=HardState(1, 1, 2))
    story.sync(2)
    return partial(story.start, 2, blank, entry(2, 1), state=HardState(1, 1, 2))


def entries_before_their_term(story):
    story.step(2, story.appended(1, 0, 0, entry(1, 1)), entries=[entry(1, 1)])
    return partial(story.sync, 2)


def leader_that_cuts(story):
    begun(story)
    story.step(1, entries=[entry(2, 1)])
    return partial(story.step, 1, cut=2)


def leader_that_sends_what_it_has_not(story):
    begun(story)
    return partial(story.step, 1, messages=[(2, Append(1, 1, 1, 1, 1, (entry(2, 1),)))])


def follower_that_commits_another_entry(story):
    begun(story)
    story.append(3, 1, None, entry(1, 1, b"other"))
    return partial(story.step, 3, story.appended(1, 1, 1), commit=1)


def follower_that_commits_unasked(story):
    blank = begun(story)
    story.append(3, 1, None, blank)
    return partial(story.step, 3, commit=1)


def follower_that_appends_after_another_entry(story):
    story.append(3, 0, None, entry(1, 0))
    return partial(story.append, 3, 1, entry(1, 1), entry(2, 1))


def leader_that_lacks_entries(story):
    begun(story)
    story.vote(3, 2, 3)
    story.vote(2, 2, 3)
    return partial(story.step, 3, role=Role.LEADER)


def leader_that_has_other_entries(story):
    begun(story)
    story.append(3, 1, None, entry(1, 1, b"other"))
    story.vote(3, 2, 3)
    story.vote(2, 2, 3)
    return partial(story.step, 3, role=Role.LEADER)


def vote_for_one_who_lacks_entries(story):
    begun(story)
    asked = Receive(3, Vote(2, 0, 0, pre=False))
    story.step(2, asked, term=2, state=HardState(2, 3, 0))
    return partial(story.sync, 2, messages=[(3, VoteReply(2, True, pre=False))])


def commit_of_an_older_term(story):
    first = story.elect(1, 1, 2)
    story.sync(1)
    story.append(2, 1, None, first)
    story.elect(2, 2, 3)
    return partial(story.step, 2, commit=1)


def commit_without_a_majority(story):
    story.elect(1, 1, 2)
    story.sync(1)
    return partial(story.step, 1, commit=1)


def commit_with_what_is_not_durable(story):
    blank = story.elect(1, 1, 2)
    story.append(2, 1, None, blank)
    return partial(story.step, 1, commit=1)


def follower_that_commits_first(story):
    blank = story.elect(1, 1, 2)
    story.append(2, 1, None, blank)
    return partial(story.step, 2, story.appended(1, 1, 1), commit=1)


def leader_that_counts_what_is_not_there(story):
    begun(story)
    story.cores[1].counted = {2: 1, 3: 1}
    return partial(story.step, 1, Tick())


def acknowledgement_before_durable(story):
    blank = story.elect(1, 1, 2)
    story.append(2, 1, None, blank, sync=False)
    return partial(story.step, 2, messages=[(1, AppendReply(1, True, 1, 1))])


def acknowledgement_of_another_entry(story):
    story.vote(3, 1, 3)
    story.append(3, 1, None, entry(1, 1))
    story.step(3, story.appended(2, 0, 0, entry(1, 2)), cut=1, entries=[entry(1, 2)])
    return partial(story.step, 3, messages=[(1, AppendReply(1, True, 1, 1))])


def acknowledgement_of_a_term_that_is_not_durable(story):
    story.step(2, term=1, state=HardState(1, 0, 0))
    return partial(story.step, 2, messages=[(1, AppendReply(1, True, 0, 1))])


def append_of_a_term_that_is_not_durable(story):
    story.step(1, term=1, state=HardState(1, 1, 0))
    return partial(story.step, 1, messages=[(2, Append(1, 0, 0, 0, 1, ()))])


def synced_entries_gone_after_a_restart(story):
    begun(story)
    return partial(story.start, 2, state=HardState(1, 1, 0))


def other_data_after_a_restart(story):
    begun(story)
    return partial(story.start, 2, entry(1, 1, b"other"), state=HardState(1, 1, 0))


def more_than_was_written_after_a_restart(story):
    blank = begun(story)
    return partial(story.start, 2, blank, entry(2, 1), state=HardState(1, 1, 0))


def later_writes_without_earlier_ones_after_a_restart(story):
    blank = begun(story)
    story.append(2, 1, blank, entry(2, 1), sync=False)
    story.step(2, state=HardState(2, 0, 0), term=2)
    return partial(story.start, 2, blank, state=HardState(2, 0, 0))


def another_purged_term_after_a_restart(story):
    begun(story)
    found = {"first_index": 2, "previous_index": 1, "previous_term": 0, "applied": 1}
    return partial(story.start, 2, state=HardState(1, 1, 0), **found)


def entries_applied_out_of_order(story):
    blank = begun(story)
    tail = [entry(2, 1), entry(3, 1)]
    story.step(1, entries=tail)
    story.sync(1)
    story.append(2, 1, blank, *tail)
    story.step(1, commit=3)
    return partial(story.step, 1, committed=[tail[1]])


def an_entry_applied_twice(story):
    blank = begun(story)
    return partial(story.step, 1, committed=[blank])


def an_entry_left_out(story):
    blank = begun(story)
    tail = [entry(2, 1), entry(3, 1), entry(4, 1)]
    story.step(1, entries=tail)
    story.sync(1)
    story.append(2, 1, blank, *tail)
    return partial(story.step, 1, commit=4, committed=[tail[0], tail[2]])


def another_entry_applied(story):
    blank = begun(story)
    story.append(3, 1, None, blank)
    return partial(
        story.step, 3, story.appended(1, 1, 1), commit=1, committed=[entry(1, 1, b"other")]
    )


def applied_before_durable(story):
    blank = begun(story)
    story.append(3, 1, None, blank, sync=False)
    return partial(story.step, 3, story.appended(1, 1, 1), commit=1, committed=[blank])


def applied_above_its_commit(story):
    blank = begun(story)
    story.append(3, 1, None, blank)
    return partial(story.step, 3, committed=[blank])


def a_hole_in_the_log(story):
    blank = begun(story)
    return partial(story.append, 2, 1, blank, entry(3, 1), sync=False)


def more_in_memory_than_was_written(story):
    begun(story)
    story.cores[2].last_index = 5
    return partial(story.step, 2, term=2, state=HardState(2, 0, 0))


def a_cut_of_what_is_committed(story):
    begun(story)
    story.append(2, 1, entry(1, 1), entry(2, 1))
    story.step(2, story.appended(1, 1, 1), commit=1)
    return partial(story.append, 2, 2, None, entry(1, 2), cut=1)


def a_cut_without_a_conflict(story):
    blank = begun(story)
    story.append(2, 1, blank, entry(2, 1), entry(3, 1))
    return partial(story.append, 2, 1, blank, entry(2, 1), cut=2)


def a_read_that_misses_a_commit(story):
    blank = story.elect(1, 1, 2)
    story.append(2, 1, None, blank)
    story.sync(1, commit=1)
    story.step(1, ReadIndex(7), messages=[(2, Append(1, 1, 1, 1, 2, ()))])
    return partial(story.step, 1, Receive(2, AppendReply(1, True, 1, 2)), reads=[(7, 0)])


def a_read_of_one_who_was_deposed(story):
    blank = begun(story)
    after = story.elect(2, 2, 3)
    story.sync(2)
    story.append(3, 2, None, blank, after)
    story.step(2, commit=2)
    story.step(1, ReadIndex(7), messages=[(2, Append(1, 1, 1, 1, 2, ()))])
    return partial(story.step, 1, Receive(2, AppendReply(1, True, 1, 2)), reads=[(7, 1)])


def a_read_that_nobody_confirmed(story):
    begun(story)
    story.step(1, ReadIndex(7), messages=[(2, Append(1, 1, 1, 1, 2, ()))])
    return partial(story.step, 1, Receive(2, AppendReply(1, True, 1, 1)), reads=[(7, 1)])


def a_read_served_twice(story):
    begun(story)
    story.step(1, ReadIndex(7), messages=[(2, Append(1, 1, 1, 1, 2, ()))])
    story.step(1, Receive(2, AppendReply(1, True, 1, 2)), reads=[(7, 1)])
    return partial(story.step, 1, reads=[(7, 1)])


def a_read_abandoned_twice(story):
    begun(story)
    lost = [(7, RefusalReason.LOST_LEADERSHIP)]
    story.step(1, ReadIndex(7))
    story.step(1, role=Role.FOLLOWER, refused=lost)
    return partial(story.step, 1, refused=lost)


def a_read_never_answered(story):
    begun(story)
    story.step(1, ReadIndex(7))
    return partial(story.step, 1, role=Role.FOLLOWER)


WRONG = (
    ("I1", second_leader_of_a_term),
    ("I1", leader_by_its_own_vote),
    ("I1", leader_with_votes_of_another_term),
    ("I2", vote_that_is_not_durable),
    ("I2", vote_for_another),
    ("I2", campaign_that_is_not_durable),
    ("I2", second_durable_vote),
    ("I2", vote_forgotten_by_a_restart),
    ("I3", term_forgotten_by_a_restart),
    ("I3", term_that_goes_back),
    ("I3", durable_term_that_goes_back),
    ("I3", durable_commit_that_goes_back),
    ("I3", commit_that_goes_back),
    ("I3", commit_beyond_the_log),
    ("I3", restart_that_knows_too_much),
    ("I3", entries_before_their_term),
    ("I4", leader_that_cuts),
    ("I4", leader_that_sends_what_it_has_not),
    ("I5", follower_that_commits_another_entry),
    ("I5", follower_that_commits_unasked),
    ("I5", follower_that_appends_after_another_entry),
    ("I6", another_entry_applied),
    ("I7", leader_that_lacks_entries),
    ("I7", leader_that_has_other_entries),
    ("I7", vote_for_one_who_lacks_entries),
    ("I8", commit_of_an_older_term),
    ("I8", commit_without_a_majority),
    ("I8", commit_with_what_is_not_durable),
    ("I8", follower_that_commits_first),
    ("I8", leader_that_counts_what_is_not_there),
    ("I10", acknowledgement_before_durable),
    ("I10", acknowledgement_of_another_entry),
    ("I10", acknowledgement_of_a_term_that_is_not_durable),
    ("I10", append_of_a_term_that_is_not_durable),
    ("I10", synced_entries_gone_after_a_restart),
    ("I10", other_data_after_a_restart),
    ("I10", more_than_was_written_after_a_restart),
    ("I10", later_writes_without_earlier_ones_after_a_restart),
    ("I10", another_purged_term_after_a_restart),
    ("I11", entries_applied_out_of_order),
    ("I11", an_entry_applied_twice),
    ("I11", an_entry_left_out),
    ("I11", applied_before_durable),
    ("I11", applied_above_its_commit),
    ("I11", a_hole_in_the_log),
    ("I11", more_in_memory_than_was_written),
    ("I12", a_cut_of_what_is_committed),
    ("I12", a_cut_without_a_conflict),
    ("I14", a_read_that_misses_a_commit),
    ("I14", a_read_of_one_who_was_deposed),
    ("I14", a_read_that_nobody_confirmed),
    ("I14", a_read_served_twice),
    ("I14", a_read_abandoned_twice),
    ("I14", a_read_never_answered),
)


@pytest.mark.parametrize(
    ("name", "prepare"), WRONG, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_wrong_story_is_refused(story, name, prepare):
    """Everything before the wrong act passes, and the act is refused as what it is."""
    wrong = prepare(story)
    with pytest.raises(CheckFailed) as caught:
        wrong()
    assert caught.value.checker == name
