"""The judge of leadership: sound stories pass, and stories in which somebody leads, campaigns or is
given up against the rules are refused, at the very act that breaks them.
"""

from functools import partial

import pytest

from flowactor.limits import (
    ELECTION_TICKS_MAX,
    ELECTION_TICKS_MIN,
    NANOSECONDS,
    TICK_SECONDS,
)
from flowactor.raft import (
    Append,
    AppendReply,
    Configuration,
    Effects,
    Receive,
    Restored,
    Role,
    Tick,
    Vote,
    VoteReply,
    Wake,
    Write,
    WritePersisted,
)
from flowactor.simulation.checks.leadership import LEASE_TICKS, LeadershipChecker
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.faults import ClockDrift
from flowactor.simulation.marks import Marks
from flowactor.simulation.runtime import NodeClock
from tests.simulation.checks.consensus_story import Core

LEASE = int(LEASE_TICKS) + 1


def heartbeat(sender, term):
    return Receive(sender, Append(term, 0, 0, 0, 1, ()))


def answer(sender, term):
    return Receive(sender, AppendReply(term, True, 0, 1))


def would(sender, term):
    return Receive(sender, VoteReply(term, True, pre=True))


class Story:
    """Three nodes before the judge, and what a test lets them do."""

    def __init__(self):
        self.now_ns = 0
        self.checker = LeadershipChecker(Marks())
        self.clocks = {node: NodeClock(self) for node in (1, 2, 3)}
        self.cores = {node: Core() for node in (1, 2, 3)}
        restored = Restored(configuration=Configuration((1, 2, 3)))
        for node, clock in self.clocks.items():
            self.checker.recovered(node, restored, clock)

    def step(self, node, *events, messages=(), write=None, **status):
        """A core takes these events, and has this ``role``, ``term`` and ``leader`` now."""
        core = self.cores[node]
        before = core.role, core.term, core.leader
        for name, value in status.items():
            setattr(core, name, value)
        changed = before != (core.role, core.term, core.leader)
        effects = Effects(messages=list(messages), write=write, status_changed=changed)
        self.checker.stepped(node, core, events, effects)

    def lead(self, term=1):
        """Node 1 leads: it asked, and may."""
        self.step(1, would(2, term), role=Role.CANDIDATE, term=term)
        self.step(1, Receive(2, VoteReply(term, True, pre=False)), role=Role.LEADER, leader=1)

    def ticks(self, node, count, *heard):
        """Time passes for a node; in each tick it hears these messages."""
        for _ in range(count):
            self.step(node, *heard, Tick())

    def passes(self, ticks):
        """True time does, whoever ticks."""
        self.now_ns += round(ticks * TICK_SECONDS * NANOSECONDS)


@pytest.fixture
def story():
    """Nothing has happened yet."""
    return Story()


def test_a_sound_story_passes(story):
    """A leader that hears and is heard, a vain pre-vote, a node given up after a lease of silence,
    and a leader that goes when it hears of a later term.
    """
    story.lead()
    story.step(2, heartbeat(1, 1), term=1, leader=1)
    story.step(2, Receive(3, Vote(9, 0, 0, pre=False)))
    story.step(
        2, Receive(3, Vote(2, 0, 0, pre=True)), messages=[(3, VoteReply(1, False, pre=True))]
    )
    story.ticks(2, ELECTION_TICKS_MIN)
    may = VoteReply(2, True, pre=True)
    story.step(2, Receive(3, Vote(2, 0, 0, pre=True)), messages=[(3, may)])
    story.ticks(1, LEASE, answer(2, 1))
    story.checker.check_given_away(1, 3)
    story.step(1, write=Write(1, None, 0, ()))
    story.ticks(1, ELECTION_TICKS_MIN, answer(2, 1))
    story.step(1, WritePersisted(1))
    story.ticks(1, ELECTION_TICKS_MIN, answer(2, 1))
    story.step(1, answer(3, 4), role=Role.FOLLOWER, term=4, leader=0)
    story.step(1, heartbeat(2, 3), messages=[(2, AppendReply(4, False, 0, 1))])
    story.ticks(1, 2 * ELECTION_TICKS_MAX)
    story.step(1, Receive(3, Vote(5, 0, 0, pre=False)), term=5)


def test_what_waited_for_a_process_to_begin_was_heard_before(story):
    """The first messages of a life may be as old as that: a silence since before they are handled
    is none that is too long.
    """
    story.passes(LEASE)
    story.step(2, heartbeat(1, 1), term=1, leader=1)
    story.step(2, Wake(1, LEASE))


def test_who_waits_for_its_disk_speaks_when_it_may(story):
    """What is told to an older leader waits for the term to be durable; the step in which the disk
    comes back may have a tick, too, and the words come out of it.
    """
    later = Write(1, None, 0, ())
    story.step(2, would(1, 2), would(3, 2), role=Role.CANDIDATE, term=2, write=later)
    story.ticks(2, ELECTION_TICKS_MAX + 1, heartbeat(3, 1))
    told = (3, AppendReply(2, False, 0, 0))
    story.step(2, WritePersisted(1), Tick(), messages=[told])


def test_a_stranger_that_asks_again_at_once_did_so_before_it_was_told(story):
    """Its second question was under way when the leader spoke to it."""
    story.lead()
    asks, told = Receive(4, Vote(2, 0, 0, pre=True)), Append(1, 0, 0, 0, 1, ())
    story.step(1, asks, messages=[(4, told)])
    story.step(1, asks)
    story.ticks(1, ELECTION_TICKS_MIN - 1, answer(2, 1))
    story.step(1, asks)
    story.ticks(1, 2 * ELECTION_TICKS_MAX, answer(2, 1))


def test_a_fast_clock_counts_more_silence(story):
    """A node knows no other time than that of its own clock."""
    story.clocks[2].begin(ClockDrift(2, 3.0, 0.0))
    story.step(2, heartbeat(1, 1), term=1, leader=1)
    story.passes(LEASE)
    story.step(2, Wake(1, 3 * LEASE))


# Each of these prepares a story, all of it sound, and returns the act that is not.


def a_later_term_ignored(story):
    return partial(story.step, 2, heartbeat(1, 3))


def a_term_between(story):
    return partial(story.step, 2, heartbeat(1, 3), would(3, 2), term=2)


def a_term_that_nobody_would_vote_in(story):
    return partial(story.step, 2, role=Role.CANDIDATE, term=1)


def a_term_after_promises_for_another(story):
    story.step(2, would(3, 1))
    return partial(story.step, 2, role=Role.CANDIDATE, term=2)


def a_living_leader_disturbed(story):
    story.step(2, heartbeat(1, 1), term=1, leader=1)
    story.ticks(2, ELECTION_TICKS_MIN - 1)
    return partial(story.step, 2, Receive(3, Vote(9, 0, 0, pre=False)), term=9)


def a_leader_disturbed_by_a_vote(story):
    story.lead()
    disturbing = Receive(3, Vote(9, 0, 0, pre=False))
    return partial(story.step, 1, disturbing, role=Role.FOLLOWER, term=9)


def a_promise_against_a_living_leader(story):
    story.step(2, heartbeat(1, 1), term=1, leader=1)
    story.ticks(2, ELECTION_TICKS_MIN - 1)
    promise = VoteReply(2, True, pre=True)
    return partial(story.step, 2, Receive(3, Vote(2, 0, 0, pre=True)), messages=[(3, promise)])


def a_leader_promises_its_vote(story):
    story.lead()
    promise = VoteReply(2, True, pre=True)
    return partial(story.step, 1, Receive(3, Vote(2, 0, 0, pre=True)), messages=[(3, promise)])


def a_refusal_in_another_term(story):
    story.step(2, heartbeat(1, 3), term=3)
    return partial(story.step, 2, messages=[(3, VoteReply(4, False, pre=True))])


def a_stranger_left_in_its_belief(story):
    story.lead()
    asks, told = Receive(4, Vote(2, 0, 0, pre=True)), Append(1, 0, 0, 0, 1, ())
    story.step(1, asks, messages=[(4, told)])
    story.ticks(1, ELECTION_TICKS_MAX + 1, answer(2, 1))
    story.step(1, asks)
    story.ticks(1, ELECTION_TICKS_MAX, answer(2, 1))
    return partial(story.ticks, 1, 1, answer(2, 1))


def a_leader_that_hears_nobody(story):
    story.lead()
    story.ticks(1, ELECTION_TICKS_MAX - 1)
    return partial(story.ticks, 1, 1)


def a_leader_whose_disk_hangs(story):
    story.lead()
    story.step(1, write=Write(1, None, 0, ()))
    story.ticks(1, ELECTION_TICKS_MIN, answer(2, 1))
    return partial(story.ticks, 1, 1, answer(2, 1))


def an_older_leader_left_in_its_belief(story):
    story.step(2, heartbeat(1, 3), term=3)
    story.step(2, heartbeat(3, 2))
    story.ticks(2, ELECTION_TICKS_MAX)
    return partial(story.ticks, 2, 1)


def runs_taken_from_one_who_was_heard(story):
    story.lead()
    story.ticks(1, LEASE, answer(2, 1), answer(3, 1))
    return partial(story.checker.check_given_away, 1, 3)


def runs_taken_too_early(story):
    story.lead()
    story.ticks(1, LEASE - 2, answer(2, 1))
    return partial(story.checker.check_given_away, 1, 3)


def a_silence_that_was_none(story):
    story.step(2, heartbeat(1, 1), term=1, leader=1)
    story.passes(LEASE)
    story.step(2, heartbeat(1, 1))
    return partial(story.step, 2, Wake(1, LEASE))


def a_slow_clock_that_counts_too_much(story):
    story.clocks[2].begin(ClockDrift(2, 0.5, 0.0))
    story.step(2, heartbeat(1, 1), term=1, leader=1)
    story.passes(2 * LEASE)
    return partial(story.step, 2, Wake(1, 2 * LEASE))


def runs_taken_in_another_term(story):
    story.lead()
    story.ticks(1, LEASE, answer(2, 1))
    return partial(story.checker.check_given_away, 2, 3)


WRONG = (
    ("I40", a_later_term_ignored),
    ("I40", a_term_between),
    ("I40", a_term_that_nobody_would_vote_in),
    ("I40", a_term_after_promises_for_another),
    ("I40", a_living_leader_disturbed),
    ("I40", a_leader_disturbed_by_a_vote),
    ("I40", a_refusal_in_another_term),
    ("I38", a_promise_against_a_living_leader),
    ("I38", a_leader_promises_its_vote),
    ("I38", a_stranger_left_in_its_belief),
    ("I38", a_leader_that_hears_nobody),
    ("I38", a_leader_whose_disk_hangs),
    ("I38", an_older_leader_left_in_its_belief),
    ("I21", runs_taken_from_one_who_was_heard),
    ("I21", runs_taken_too_early),
    ("I21", runs_taken_in_another_term),
    ("I21", a_silence_that_was_none),
    ("I21", a_slow_clock_that_counts_too_much),
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
