"""The judge of runs: sound stories pass, and of each invariant the stories that break it are
refused, under its name, at the very act that breaks it.
"""

from functools import partial

import pytest

from flowactor.machine.commands import (
    ArmTimer,
    CancelTimer,
)
from flowactor.machine.events import StepCompleted, StepEnded, TimerFired
from flowactor.machine.notices import (
    InboxGrew,
    NodeAnnounced,
    OperationRefused,
    OwnerChanged,
    RunArrived,
    RunClosed,
    RunLeft,
    RunOpened,
    RunParked,
    RunResumed,
)
from flowactor.machine.operations import InboxRef
from flowactor.machine.replies import Done, RunStatus
from flowactor.simulation.checks.runs import DIGEST_ENTRIES
from flowactor.simulation.failure import CheckFailed
from tests.simulation.checks.runs_story import (
    BROKEN,
    FINAL,
    LATE,
    PAY,
    TIMER,
    Machine,
    Run,
    Story,
    answers,
    asks,
    starts,
)


@pytest.fixture
def story():
    """Nothing has happened yet."""
    return Story()


# -- what is sound --------------------------------------------------------------------------------


def test_a_sound_story_passes(story):
    """A run that starts, changes its owner, is parked and resumed, and ends as its code says."""
    story.open()
    story.advance(**starts(), **answers())
    story.apply(NodeAnnounced(1, "again"), OwnerChanged("r", 2, 2))
    assert story.given_away == []
    story.apply(OwnerChanged("r", 3, 3), term=4)
    assert story.given_away == [(4, 2)]
    story.apply(RunParked("r", "code"))
    assert list(story.checker.open) == ["r"]
    story.apply(RunResumed("r"), OwnerChanged("r", 1, 4), InboxGrew("r"))
    assert story.given_away == [(4, 2)]
    story.apply(RunClosed("r", RunStatus.COMPLETED))
    assert story.checker.open == {}
    assert story.checker.runs["r"].status is RunStatus.COMPLETED
    assert [kind for _, kind, *_ in story.told] == [
        "opened",
        "advanced",
        *["owner"] * 3,
        "closed",
    ]


def test_a_run_that_goes_on_in_the_entry_that_opened_it_was_nobody_elses(story):
    """The one who has it in the end was not the one who lost it."""
    story.machine.runs["r"] = Run("w", 2, "Answer")
    story.apply(RunOpened("r"), OwnerChanged("r", 2, 2))
    assert story.given_away == []
    assert story.checker.runs["r"].epoch == 2


def test_who_gives_a_run_away_was_not_given_up(story):
    """A node that hands over, or that is no voter any more, loses its runs without a lease."""
    story.open()
    story.machine.nodes[1].draining = True
    story.apply(OwnerChanged("r", 2, 2))
    story.machine.runs["r"].owner = 2
    story.apply(voters=(1, 3), outgoing=(1, 2, 3))
    assert story.marks["owner lost its vote"] == 0
    story.machine.voters, story.machine.runs["r"].owner = (1, 3), 3
    story.apply(OwnerChanged("r", 3, 3), voters=(1, 3))
    assert story.given_away == []
    assert story.marks["owner lost its vote"] == 1


def test_who_has_no_vote_loses_its_runs_when_that_is_committed(story):
    """In any other entry it is given up as everybody is, and for that there has to be a reason."""
    story.open(owner=2)
    story.machine.voters = (1, 3)
    story.apply(OwnerChanged("r", 3, 2))
    assert story.given_away == [(1, 2)]


def test_a_run_moves_to_another_group(story):
    """It leaves one group and arrives in another, which goes on where the first stopped; the books
    are of both.
    """
    story.open()
    story.advance(**starts(), **answers())
    story.apply(RunLeft("r", 2))
    assert story.checker.runs["r"].away
    other = Story(story.checker.books)
    other.machine.runs["r"] = Run("w", 0, position=1)
    other.apply(RunArrived("r", 2), OwnerChanged("r", 3, 3))
    assert other.given_away == []
    other.apply(RunClosed("r", RunStatus.COMPLETED))
    assert story.checker.open == {}


def test_what_has_fired_in_one_group_may_be_heard_in_another(story):
    """Whose log time is behind: when the run left, the timer was due."""
    story.open()
    story.advance(commands=[ArmTimer(TIMER, 5)])
    story.machine.clock_ns = 5
    story.apply(RunLeft("r", 2))
    other = Story(story.checker.books)
    other.machine.runs["r"] = Run("w", 0, position=1)
    other.apply(RunArrived("r", 2), OwnerChanged("r", 3, 3))
    other.advance(1, epoch=3, events=[TimerFired(TIMER, 5)])
    assert story.checker.runs["r"].timers == {}


def test_steps_and_timers_in_order_pass(story):
    """Retries that follow failures, an end after the last one or a final one, timers that fire when
    they are due, also while they are being taken back.
    """
    story.open()
    story.advance(**asks(attempts_max=2))
    story.body(1, "failed")
    story.due(BROKEN)
    story.body(2, "completed")
    story.advance(1, events=[StepCompleted(PAY, 2, b"")], **asks(step=((), "pay", 1)))
    story.body(1, "failed", step="pay#1")
    story.advance(2, events=[StepEnded(((), "pay", 1), 1, FINAL)], commands=[ArmTimer(TIMER, 5)])
    story.machine.clock_ns = 5
    story.advance(3, commands=[CancelTimer(TIMER)])
    story.advance(4, events=[TimerFired(TIMER, 5)], commands=[ArmTimer(TIMER, 4)])
    story.advance(5, events=[TimerFired(TIMER, 4)], **asks(step=((), "pay", 2)))
    story.body(1, "timed out", step="pay#2")
    story.advance(6, events=[StepEnded(((), "pay", 2), 1, LATE)])


def test_refusals_and_repetitions_are_marked(story):
    """What was stale is counted, as is a request that was answered before; neither is wrong."""
    story.apply(OperationRefused("r", "Advance", "late"), replies=[("s", 1, Done())])
    story.apply(OperationRefused("", "AnnounceNode", "lost disk", stale=False))
    story.apply(replies=[("s", 1, Done())])
    assert +story.marks == {"stale epoch refused": 1, "duplicate answered": 1}
    assert story.checker.replied == {("s", 1)}


def test_all_nodes_are_compared(story):
    """The same entries with the same outcomes and states pass on every node, in any order."""
    for node in (1, 2):
        story.apply(InboxGrew("r"), node=node, index=1)
        story.apply(node=node, index=DIGEST_ENTRIES)
    story.apply(node=3, index=2)
    story.checker.compare_state(3, DIGEST_ENTRIES, story.machine)


# -- what is not ----------------------------------------------------------------------------------
# Each of these prepares a story, all of it sound, and returns the act that is not.


def another_outcome(story):
    story.apply(InboxGrew("r"))
    return partial(story.apply, InboxGrew("q"), node=2, index=1)


def another_state(story):
    story.apply(index=DIGEST_ENTRIES)
    story.machine.state = b"other"
    return partial(story.apply, node=2, index=DIGEST_ENTRIES)


def another_state_at_the_end(story):
    story.checker.compare_state(1, 7, story.machine)
    return partial(story.checker.compare_state, 2, 7, Machine(state=b"other"))


def run_that_is_opened_twice(story):
    story.open()
    return partial(story.apply, RunOpened("r"))


def second_run_of_a_workflow(story):
    story.open()
    return partial(story.open, "q")


def request_with_two_outcomes(story):
    story.apply(replies=[("s", 1, Done())])
    return partial(story.apply, replies=[("s", 1, Done(changed=False))])


def epoch_left_out(story):
    story.open()
    return partial(story.apply, OwnerChanged("r", 2, 3))


def epoch_used_twice(story):
    story.open()
    story.apply(OwnerChanged("r", 2, 2))
    return partial(story.apply, OwnerChanged("r", 3, 2))


def operation_that_makes_no_sense(story):
    return partial(story.apply, OperationRefused("r", "FailAttempt", "no such step", stale=False))


def advance_of_an_older_epoch(story):
    story.open()
    story.apply(OwnerChanged("r", 2, 2))
    return partial(story.advance, epoch=1)


def advance_at_the_same_position(story):
    story.open()
    story.advance()
    return partial(story.advance, 0)


def step_asked_for_twice(story):
    story.open()
    story.advance(**asks())
    return partial(story.advance, 1, **asks())


def step_with_two_outcomes(story):
    story.open()
    story.advance(**asks())
    story.body(1, "completed")
    story.advance(1, events=[StepCompleted(PAY, 1, b"")])
    return partial(story.advance, 2, events=[StepCompleted(PAY, 1, b"")])


def outcome_of_a_step_that_nobody_asked_for(story):
    story.open()
    return partial(story.advance, events=[StepEnded(PAY, 1, FINAL)])


def outcome_without_a_body(story):
    story.open()
    story.advance(**asks())
    return partial(story.advance, 1, events=[StepCompleted(PAY, 1, b"")])


def outcome_of_a_body_that_failed(story):
    story.open()
    story.advance(**asks())
    story.body(1, "failed")
    return partial(story.advance, 1, events=[StepCompleted(PAY, 1, b"")])


def end_of_a_body_that_completed(story):
    story.open()
    story.advance(**asks())
    story.body(1, "completed")
    return partial(story.advance, 1, events=[StepEnded(PAY, 1, FINAL)])


def step_given_up_too_early(story):
    story.open()
    story.advance(**asks(attempts_max=3))
    story.body(1, "failed")
    return partial(story.advance, 1, events=[StepEnded(PAY, 1, BROKEN)])


def step_given_up_that_has_no_limit(story):
    story.open()
    story.advance(**asks(attempts_max=0))
    story.body(1, "failed")
    return partial(story.advance, 1, events=[StepEnded(PAY, 1, BROKEN)])


def attempt_that_runs_twice(story):
    story.open()
    story.advance(**asks())
    story.body(1)
    return partial(story.body, 1)


def retry_of_what_did_not_fail(story):
    story.open()
    story.advance(**asks())
    story.body(1)
    return story.due


def retry_beyond_the_limit(story):
    story.open()
    story.advance(**asks(attempts_max=2))
    story.body(1, "failed")
    story.due(BROKEN)
    story.body(2, "failed")
    return partial(story.due, BROKEN)


def retry_of_what_is_final(story):
    story.open()
    story.advance(**asks())
    story.body(1, "failed")
    return partial(story.due, FINAL)


def retry_of_what_the_policy_says_is_final(story):
    story.open()
    story.advance(**asks(non_retryable=("OSError",)))
    story.body(1, "failed")
    return partial(story.due, BROKEN)


def body_before_its_step(story):
    story.open()
    return partial(story.body, 1)


def body_of_another_step(story):
    story.open()
    story.advance(**asks())
    return partial(story.body, 1, step="pay#1")


def code_that_says_something_else(story):
    story.open()
    story.advance(**starts(), **answers(41))
    return partial(story.apply, RunClosed("r", RunStatus.COMPLETED))


def advance_after_the_end(story):
    story.open(workflow_type="Unknown")
    story.apply(RunClosed("r", RunStatus.TERMINATED))
    return partial(story.advance)


def second_end(story):
    story.open(workflow_type="Unknown")
    story.apply(RunClosed("r", RunStatus.CANCELLED))
    return partial(story.apply, RunClosed("r", RunStatus.COMPLETED))


def run_given_to_a_node_without_a_vote(story):
    story.open()
    return lambda: story.apply(OwnerChanged("r", 4, 2))


def run_given_to_a_node_that_is_lost(story):
    story.open()
    story.machine.nodes[2].alive = False
    return lambda: story.apply(OwnerChanged("r", 2, 2))


def run_that_stays_with_a_node_without_a_vote(story):
    story.open(owner=2)
    story.machine.voters = (1, 3)
    return lambda: story.apply(voters=(1, 3))


def voters_that_are_not_those_of_the_log(story):
    return lambda: story.apply(voters=(1, 3))


def timer_that_fires_early(story):
    story.open()
    story.advance(commands=[ArmTimer(TIMER, 5)])
    story.machine.clock_ns = 4
    return partial(story.advance, 1, events=[TimerFired(TIMER, 5)])


def timer_that_fires_twice(story):
    story.open()
    story.machine.clock_ns = 5
    story.advance(commands=[ArmTimer(TIMER, 5)])
    story.advance(1, events=[TimerFired(TIMER, 5)])
    return partial(story.advance, 2, events=[TimerFired(TIMER, 5)])


def timer_that_fires_for_another_time(story):
    story.open()
    story.machine.clock_ns = 5
    story.advance(commands=[ArmTimer(TIMER, 5)])
    return partial(story.advance, 1, events=[TimerFired(TIMER, 3)])


def item_consumed_twice(story):
    story.open()
    story.advance(consumed=[InboxRef(1)])
    return partial(story.advance, 1, consumed=[InboxRef(1)])


def items_consumed_out_of_order(story):
    story.open()
    return partial(story.advance, consumed=[InboxRef(2), InboxRef(1)])


def run_that_arrives_twice(story):
    story.open()
    return lambda: story.apply(RunArrived("r", 1))


def run_that_leaves_twice(story):
    story.open()
    story.apply(RunLeft("r", 2))
    return lambda: story.apply(RunLeft("r", 3))


def run_that_lost_an_advance_on_its_way(story):
    story.open()
    story.advance(**starts())
    story.apply(RunLeft("r", 2))
    return lambda: story.apply(RunArrived("r", 2))


WRONG = (
    ("I9", another_outcome),
    ("I9", another_state),
    ("I9", another_state_at_the_end),
    ("I19", run_that_is_opened_twice),
    ("I19", second_run_of_a_workflow),
    ("I19", request_with_two_outcomes),
    ("I21", epoch_left_out),
    ("I21", epoch_used_twice),
    ("I21", run_given_to_a_node_without_a_vote),
    ("I21", run_given_to_a_node_that_is_lost),
    ("I21", run_that_stays_with_a_node_without_a_vote),
    ("I21", voters_that_are_not_those_of_the_log),
    ("I22", operation_that_makes_no_sense),
    ("I22", advance_of_an_older_epoch),
    ("I22", advance_at_the_same_position),
    ("I22", step_asked_for_twice),
    ("I22", step_with_two_outcomes),
    ("I22", outcome_of_a_step_that_nobody_asked_for),
    ("I22", outcome_without_a_body),
    ("I22", outcome_of_a_body_that_failed),
    ("I21", run_that_arrives_twice),
    ("I21", run_that_leaves_twice),
    ("I21", run_that_lost_an_advance_on_its_way),
    ("I22", end_of_a_body_that_completed),
    ("I22", step_given_up_too_early),
    ("I22", step_given_up_that_has_no_limit),
    ("I22", attempt_that_runs_twice),
    ("I22", retry_of_what_did_not_fail),
    ("I22", retry_beyond_the_limit),
    ("I22", retry_of_what_is_final),
    ("I22", retry_of_what_the_policy_says_is_final),
    ("I23", body_before_its_step),
    ("I23", body_of_another_step),
    ("I24", code_that_says_something_else),
    ("I25", advance_after_the_end),
    ("I25", second_end),
    ("I26", timer_that_fires_early),
    ("I26", timer_that_fires_twice),
    ("I26", timer_that_fires_for_another_time),
    ("I27", item_consumed_twice),
    ("I27", items_consumed_out_of_order),
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
