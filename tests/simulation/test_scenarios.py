"""The stories of ``simulations``: each is played once, and can tell when it fails."""

import re
from functools import partial

import pytest
import trio
from attrs import evolve
from click.testing import CliRunner

import flowactor as fa
from flowactor.errors import ConfigurationError
from flowactor.simulation.changes import Remove, Reshape
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.faults import Crash
from flowactor.simulation.marks import CHANGING, EXPECTED, RESHAPING
from flowactor.simulation.outcome import Failure
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario, Start
from flowactor.simulation.world import Effect, World
from simulations.__main__ import main
from simulations.chores import CHORES, FEW, INVARIANTS, chore, chores, registers
from simulations.directing import cut_off, deafen, kill_in_turn, let_lead, mute
from simulations.looks import leader_is_replaced, signals_in_order, term_stays
from simulations.record import Record
from simulations.story import Story, check_known, find_stories, play, play_once
from simulations.workflows import app

STORIES = find_stories()
EVERY = 12
"""Of a story that strikes at each of its points, a test plays one in so many."""
LONG = {
    "a-long-absence",
    "a-newcomer-at-night",
    "grows-and-shrinks",
    "leader-kill-loop",
    "leader-removed-while-partitioned",
    "lost-disk-as-a-new-node",
    "rolling-restart",
    "two-joiners",
}
"""Nodes that come and go for minutes. By default ``nodes/test_changes.py`` plays two joiners, a
node that goes and one with a new disk; ``tests/cluster`` long absences, leaders killed in a loop
and who relies on whom, and ``tests/processes`` rolling restarts.
"""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in STORIES],
)
def test_story(name):
    """Nothing is found that must never be, and what the story is about is seen."""
    _, story = STORIES[name]
    played = play(story, every=EVERY)
    assert [run.outcome.failure for run in played.failures] == []
    assert story.strike or played.missing == ()


@pytest.mark.parametrize("name", STORIES)
def test_story_is_told(name):
    """Every story says in a few lines what happens and which rule it protects, and names marks that
    there are.
    """
    text, story = STORIES[name]
    assert "\nProtects: " in text
    assert len(text.splitlines()) >= 5
    assert set(story.marks) <= {*EXPECTED, *CHANGING, *RESHAPING}


def test_every_chore_comes_to_its_result_in_fair_weather():
    """Without any fault each chore ends, as it should and with all that it is to do."""
    ended = {}
    scenario = Scenario(
        app=app,
        acts=chores(CHORES, every=0.05),
        seconds=5.0,
        invariants=(*INVARIANTS, lambda world: ended.update(world.results)),
    )
    assert simulate(scenario).failure is None
    assert sorted(ended) == sorted(f"{name}/1" for name in CHORES)


def test_few_chores_are_chores():
    """The short list names what the long one has."""
    assert set(FEW) <= set(CHORES)


def test_acts_of_registers_are_never_the_same_value():
    """The checker of linearizability needs values that are written once."""
    values = [act.value for act in registers(20) if hasattr(act, "value")]
    assert len(values) == len(set(values)) > 50


@pytest.mark.parametrize("nodes", [3, 5])
def test_directed_leader(nodes):
    """Whoever is to lead does, whatever the seed."""
    for seed in range(5):
        faults = let_lead(nodes, nodes=nodes)
        scenario = Scenario(app=app, nodes=nodes, seed=seed, faults=faults, seconds=2.0)
        record = Record(simulate(scenario, keep=True).lines)
        assert [led.node for led in record.leaders] == [nodes]
        assert record.leader_at(0.0) == 0


def test_directions():
    """The directions of a stage are plain faults."""
    assert cut_off(1, nodes=3, at=1.0, until=2.0).sides == ((1,), (2, 3))
    assert [(b.source, b.target) for b in mute(1, at=1.0)] == [(1, 2), (1, 3)]
    assert [(b.source, b.target) for b in deafen(1, at=1.0)] == [(2, 1), (3, 1)]
    killed = [fault for fault in kill_in_turn((5, 10)) if isinstance(fault, Crash)]
    assert killed == [Crash(1, 5, 7.0), Crash(2, 10, 12.0)]


# -- what must be so can be found not to be ------------------------------------------------------


def effect(value, *, step="charge#0", attempt=1, key=""):
    """An entry of a ledger."""
    return Effect(key, value, "r1", step, attempt, 1, 0)


WRONG = [
    ("results", "fibonacci/1 came to int 54", {"fibonacci/1": 54}, {}),
    ("results", "ping-wrong/1", {"ping-wrong/1": "pong"}, {}),
    ("results", "payment/2 came to str pay_payment/1", {"payment/2": "pay_payment/1"}, {}),
    ("deeds", "payment/1 did [] in payments", {"payment/1": "pay_payment/1"}, {}),
    ("deeds", "payment/1 did [4200, 4200]", {}, {"payments": [("payment/1", 4200)] * 2}),
    ("deeds", "should not have", {}, {"payments": [("ping/1", 1)]}),
    ("deeds", "trip/1 did", {}, {"trips": [("trip/1", "book car"), ("trip/1", "book flight")]}),
    ("ledger stock", "2 times", {}, {"stock": [("x", "a"), ("x", "b")]}),
    ("attempts", "attempt 1 of step charge#0", {}, {"calls": [("x", "charge")] * 2}),
    ("clean-up", "did ['take']", {"table/1": "left"}, {"tables": [("table/1", "take")]}),
]


@pytest.mark.parametrize(("checker", "words", "results", "ledgers"), WRONG)
def test_an_invariant_sees(checker, words, results, ledgers):
    """Each invariant of the chores finds what it is there for, and passes a world in which nothing
    happened.
    """
    world = World(lambda *_: None)
    for invariant in INVARIANTS:
        invariant(world)
    for workflow_id, outcome in results.items():
        world.ended(workflow_id, outcome)
    for name, values in ledgers.items():
        world.ledger(name).entries.extend(map(effect, values))
    found = []
    for invariant in INVARIANTS:
        try:
            invariant(world)
        except CheckFailed as failed:
            found.append(str(failed))
    assert any(text.startswith(f"{checker}: ") and words in text for text in found), found


# -- a story can fail ---------------------------------------------------------------------------

QUIET = Scenario(app=app, acts=chore("collect", 1.5), seconds=6.0, faults=let_lead(1))


def failure_of(story):
    """How one run of a story ends badly."""
    failure = play_once(story, 0).failure
    assert isinstance(failure, Failure)
    return failure


def test_a_mark_that_is_never_reached_fails_a_story():
    """A story that misses its point has not passed, although no run of it failed."""
    played = play(Story(scenario=QUIET, marks=("figure 8",)))
    assert (played.failures, played.missing, played.passed) == ((), ("figure 8",), False)


def test_whole_nodes_take_their_time():
    """At node depth a story is played without asking for its marks."""
    story = Story(scenario=evolve(QUIET, sockets=False), marks=("figure 8",))
    assert play(story, depth=Depth.NODE).passed


def test_a_story_in_which_the_cluster_changes_has_a_depth_of_its_own():
    """Who votes changes at core depth, who comes and goes at node depth, whatever is asked for."""
    reshaped = Story(scenario=evolve(QUIET, changes=(Reshape((1, 2), 2.0),)))
    assert [reshaped.at(depth) for depth in Depth] == [Depth.CORE] * 2
    removed = Story(scenario=evolve(QUIET, changes=(Remove(3, 2.0),)))
    assert [removed.at(depth) for depth in Depth] == [Depth.NODE] * 2
    assert [Story(scenario=QUIET).at(depth) for depth in Depth] == list(Depth)


def test_a_run_that_does_not_end_fails_a_story():
    """What is started has to end, unless the story says that it need not."""
    waits = evolve(QUIET, acts=(Start(1.5, "Collect", "forgotten", (1,)),))
    assert failure_of(Story(scenario=waits)).checker == "ends"
    assert play_once(Story(scenario=waits, open_ended=("forgotten",)), 0).failure is None


def test_looks_see_what_is_wrong():
    """A term that grows, a leader that stays: each look fails a story in which they happen."""
    crash = evolve(QUIET, faults=(*let_lead(1), Crash(1, 3.0, 4.0)))
    assert failure_of(Story(scenario=crash, looks=(term_stays(1.5),))).checker == "calm"
    stays = Story(scenario=QUIET, looks=(leader_is_replaced(1, at=3.0, within=2.0),))
    assert failure_of(stays).checker == "hostage"


def test_lost_and_late_signals_are_seen():
    """A record in which an acknowledged signal is missing, or is seen after a later one, fails."""
    lines = play_once(Story(scenario=QUIET), 0).lines
    signals_in_order(Record(lines))
    effects = [line for line in lines if line[2] == "effect"]
    missing = [line for line in lines if line is not effects[3]]
    with pytest.raises(CheckFailed, match="3 was acknowledged, collect/1 lost it"):
        signals_in_order(Record(missing))
    first, second = (lines.index(effect) for effect in effects[:2])
    swapped = list(lines)
    swapped[first], swapped[second] = lines[second], lines[first]
    with pytest.raises(CheckFailed, match="sees 0 after a later one"):
        signals_in_order(Record(swapped))


def test_unknown_story():
    """A name that is no story's is refused, with those there are."""
    with pytest.raises(ConfigurationError, match=r"no story 'figure-9': .*figure-8"):
        check_known(["figure-9"], STORIES)
    result = CliRunner().invoke(main, ["figure-9"])
    assert result.exit_code == 2
    assert "figure-9" in result.output


def test_command(tmp_path):
    """The command plays what it is asked for, and draws it."""
    arguments = ["back-off-is-kept", "--timeline", str(tmp_path)]
    result = CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert [page.name for page in tmp_path.iterdir()] == ["back-off-is-kept.html"]


def test_command_lists_stories():
    """The list tells every story."""
    result = CliRunner().invoke(main, ["--list"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for name in STORIES:
        assert f"{name}\n" in result.output


async def later(world):
    raise ValueError("never seen")


def returned(check, world):
    return check(world)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"seconds": float("nan")}, "seconds=nan is no length of time"),
        ({"healing_seconds": float("inf")}, "healing_seconds=inf"),
        ({"faults": (Crash(1, float("nan"), 2.0),)}, "at=nan is no number"),
        ({"faults": (Crash(1, 1.0, float("inf")),)}, "until=inf is no number"),
        ({"acts": (Start(at=float("nan"), workflow="Greeting", id="a"),)}, "at some time"),
        ({"invariants": (later,)}, "the invariant later is async"),
        ({"invariants": (lambda: None,)}, "must take the world"),
    ],
)
def test_what_cannot_be_played_is_refused(wrong, text):
    """Times that are none, and checks that would check nothing, never get into a run."""
    with pytest.raises(ConfigurationError, match=re.escape(text)):
        Scenario(app=app, **wrong)


def test_an_invariant_that_returns_an_awaitable_fails_the_run():
    """What only shows when it is called is not taken for a check that passed."""
    failure = simulate(
        Scenario(app=app, seconds=1.0, invariants=(partial(returned, later),))
    ).failure
    assert failure is not None
    assert "checked nothing" in failure.message


def crashes(world):
    raise TypeError("a bug of its own")


def test_an_invariant_that_crashes_names_its_line():
    """Who writes a check finds the place of its bug in the report."""
    failure = simulate(Scenario(app=app, seconds=1.0, invariants=(crashes,))).failure
    line = crashes.__code__.co_firstlineno + 1
    assert failure.checker == "TypeError"
    assert failure.message == f"a bug of its own (at {__file__}:{line})"


@fa.step
async def nothing() -> None:
    await trio.lowlevel.checkpoint()


@fa.workflow
class Restless:
    async def run(self) -> None:
        while True:
            await nothing()


def test_a_run_that_never_rests_is_named():
    """A cluster that is kept busy by a run says which it is."""
    acts = (Start(at=0.1, workflow="Restless", id="busy-one"),)
    restless = fa.App([Restless])
    failure = simulate(Scenario(app=restless, acts=acts, seconds=0.5, healing_seconds=0.5)).failure
    assert failure is not None
    assert "runs that do not come to rest: 'busy-one'" in failure.message
