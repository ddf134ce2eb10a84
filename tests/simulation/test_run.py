"""One run, at either depth: what it finds, how fast virtual time goes, and how it ends."""

import gc
import re
from time import perf_counter

import pytest

from flowactor.simulation.faults import (
    Crash,
    DiskFull,
    DiskSlow,
    DiskStall,
    Partition,
    Pause,
    Wipe,
)
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import (
    AskQuery,
    Cancel,
    Depth,
    Scenario,
    Signal,
    Start,
    Terminate,
)
from flowactor.simulation.strike import Strike
from flowactor.simulation.trace import Kind
from tests.simulation import flows
from tests.simulation.flows import APP

FORGOTTEN_MAX = 100
"""Objects in cycles that libraries leave behind, as Trio does; a run makes hundreds and more."""
EVERY = 3
"""Of the positions of a crash, a test strikes at one in so many."""


@pytest.fixture(params=Depth, ids=lambda depth: depth.value)
def depth(request):
    return request.param


@pytest.fixture
def play(depth):
    def play(*acts, strike=None, **changes):
        told = {"app": APP, "seed": 3, "acts": acts, "seconds": 2.0, "sockets": False}
        return simulate(Scenario(**(told | changes)), depth, keep=True, strike=strike)

    return play


def answers(outcome):
    return [line[3][2] for line in outcome.lines if line[2] == Kind.ANSWERED]


def test_clients_use_all_that_a_run_offers(play):
    """Signals, queries, cancellation and termination go through the real client."""
    results = {}
    outcome = play(
        Start(0.5, "Patient", "a"),
        AskQuery(1.5, "a", "noted"),
        Signal(1.9, "a", "note", ("hello",)),
        Start(0.5, "Patient", "b"),
        Cancel(1.0, "b"),
        Start(0.5, "Patient", "c"),
        Terminate(1.0, "c"),
        invariants=(lambda world: results.update(world.results),),
    )
    assert outcome.failure is None
    assert "[]" in answers(outcome)
    assert results["a"] == ["hello"]
    assert (results["b"].value, results["c"].value) == ("cancelled", "terminated")


def test_a_signal_that_comes_before_its_run_waits_for_it(play):
    """A client insists while a run that it asks about may still be started."""
    outcome = play(Signal(0.3, "a", "note", ("early",)), Start(1.0, "Patient", "a", client=2))
    assert outcome.failure is None


def test_a_run_that_waits_for_ever_is_counted_where_it_waits(play):
    """It breaks no promise, so the run passes; its line is told, and those that end are not."""
    outcome = play(Start(0.0, "Patient", "run-1", ()), Start(0.0, "Patient", "run-2", ()))
    code = flows.Patient.run.__code__
    (place,) = outcome.waiting
    assert outcome.failure is None
    assert (outcome.runs, outcome.waiting[place]) == (2, 2)
    assert place == f"{code.co_filename}:{code.co_firstlineno + 1}"
    ended = play(Start(0.0, "Patient", "run-1", ()), Signal(0.5, "run-1", "note", ("x",)))
    assert (ended.runs, ended.waiting) == (1, {})


def test_a_month_passes_in_no_time(play):
    """While all nodes are down nothing happens, and that costs nothing, however long it takes."""
    begun = perf_counter()
    down = tuple(Crash(node, at=2.0, until=30 * 86_400.0) for node in (1, 2, 3))
    outcome = play(
        Start(0.5, "Long", "a", (30,)),
        faults=down,
        seconds=30 * 86_400.0 + 10,
        invariants=(lambda world: dict(world.results)["a"] == "done",),
    )
    assert outcome.failure is None
    assert outcome.virtual_seconds > 30 * 86_400
    assert perf_counter() - begun < 20


def test_an_effect_that_happens_twice_is_found(depth):
    """A step without an idempotency key: some crash of its owner has it do its work twice, and the
    user's check says so.
    """
    scenario = Scenario(
        app=APP,
        seed=3,
        acts=(Start(0.5, "Careless", "a"),),
        seconds=1.0,
        sockets=False,
        invariants=(lambda world: world.ledger("parcels").check_each_step_once(),),
    )
    plain = simulate(scenario, depth)
    assert plain.failure is None
    struck = [
        simulate(scenario, depth, keep=True, strike=Strike("owner-crash", point))
        for point in range(1, plain.points + 1, EVERY)
    ]
    found = [outcome.failure.checker for outcome in struck if outcome.failure]
    assert set(found) == {"ledger parcels"}
    assert len(found) < len(struck)
    for outcome in struck:
        assert kinds_of_the_dead(outcome) == [Kind.STOPPED]


def kinds_of_the_dead(outcome):
    """What is told of a node from its crash on, until it is started again."""
    lines = outcome.lines
    at = next(number for number, line in enumerate(lines) if line[2] == Kind.FAULT)
    dead = int(re.search(r"node=(\d)", lines[at][3][1])[1])
    told = [line[2] for line in lines[at:] if line[1] == dead]
    return told[: told.index(Kind.STARTED)]


def test_an_escape_fails_the_run_with_its_line(play):
    """A step that looks at the real clock is named by file and line, and what to write instead."""
    failure = play(Start(0.5, "Escaping", "a")).failure
    line = flows.look_at_the_clock.function.__code__.co_firstlineno + 3
    assert failure.checker == "escape"
    assert failure.message.startswith(f"{flows.__file__}:{line} calls time.time")


REACH = flows.reach_out.function.__code__.co_firstlineno


@pytest.mark.parametrize(
    ("way", "called", "line"),
    [
        ("datetime.now", "datetime.now", REACH + 7),
        ("time.monotonic", "time.monotonic", REACH + 7),
        ("random", "random", REACH + 7),
        ("posix.urandom", "posix.urandom", REACH + 8),
        ("child", "datetime.now", flows.child.__code__.co_firstlineno + 2),
    ],
)
def test_a_step_does_not_escape_by_another_name(play, way, called, line):
    """What was imported by its name, and what cannot be replaced, is noticed in bodies of steps and
    in tasks that they start.
    """
    failure = play(Start(0.5, "Reaching", "a", (way,))).failure
    assert failure.checker == "escape"
    assert failure.message.startswith(f"{flows.__file__}:{line} calls {called}, which leaves")


def test_a_step_may_log(play):
    """A log line shows in no trace, so it may have the real time."""
    assert play(Start(0.5, "Reaching", "a", ("log",))).failure is None


def test_a_run_that_hangs_is_no_liveness(play):
    """What does not end within the time for healing is named, and the run ends all the same."""
    outcome = play(Start(0.5, "Hanging", "a"), healing_seconds=5.0)
    failure, code = outcome.failure, flows.Hanging.run.__code__
    assert failure.checker == "I36"
    assert failure.at_seconds == pytest.approx(7.0)
    place = f" (at {code.co_filename}:{code.co_firstlineno + 1})"
    assert re.fullmatch(r"run 'a' \(\w+\) has not ended its step 'hang'", failure.recorded)
    assert failure.message == failure.recorded + place
    recorded = [line[3] for line in outcome.lines if line[2] == Kind.FAILED]
    assert recorded == [("I36", failure.recorded)], "the record is the same in every folder"


def test_a_run_without_an_end_is_named_with_its_line(play):
    """One that asks for a step again and again lets no node rest; told is the line that asks."""
    begin = Start(0.5, "Restless", "a")
    failure = play(begin, app=flows.RESTLESS, seconds=1.0, healing_seconds=2.0).failure
    code = flows.Restless.run.__code__
    assert failure.checker in {"I34", "I36"}, "as nodes are behind just then, or a step goes on"
    assert failure.message.endswith(f" (at {code.co_filename}:{code.co_firstlineno + 2})")


def test_a_failing_check_of_the_user_is_the_outcome(play):
    """An invariant that raises is reported as it is, with its line."""

    def never(_):
        raise AssertionError("never satisfied")

    failure = play(invariants=(never,)).failure
    line = never.__code__.co_firstlineno + 1
    assert failure.checker == "assertion"
    assert failure.message == f"never satisfied (at {__file__}:{line})"


def test_points_are_counted_and_struck_exactly(play, depth):
    """The same run without a strike has more points than the one that is struck at one of them;
    up to the point the two are the same, line by line.
    """
    plain = play(Start(0.5, "Order", "a", (2,)))
    scenario = Scenario(
        app=APP, seed=3, acts=(Start(0.5, "Order", "a", (2,)),), seconds=2.0, sockets=False
    )
    struck = simulate(scenario, depth, keep=True, strike=Strike("owner-crash", point=5))
    assert plain.points > 5
    assert plain.failure is None
    assert struck.failure is None
    at = next(number for number, line in enumerate(struck.lines) if line[2] == Kind.FAULT)
    assert struck.lines[:at] == plain.lines[:at]
    assert struck.lines[at][3][0] == "crash"


def test_a_strike_can_part_the_owner_from_all_others(depth):
    """A partition at a point isolates the owner, and everything ends well afterwards."""
    scenario = Scenario(
        app=APP, seed=3, acts=(Start(0.5, "Order", "a", (2,)),), seconds=2.0, sockets=False
    )
    outcome = simulate(scenario, depth, keep=True, strike=Strike("partition", point=3))
    assert outcome.failure is None
    assert [line[3][0] for line in outcome.lines if line[2] == Kind.FAULT] == ["partition"] * 2


def test_a_cluster_without_a_majority_makes_no_promise(play):
    """Where too many disks are lost nothing is awaited, and nothing that is wrong is shown."""
    faults = (Partition(((1,), (2, 3)), at=0.5),)
    assert play(faults=faults, nodes=3).failure is None


def test_a_run_leaves_nothing_behind(play):
    """What a run made is gone when its outcome is there: a campaign does not grow."""
    play(Start(0.5, "Patient", "a"), Signal(1.0, "a", "note", ("hello",)))
    gc.collect()
    outcome = play(Start(0.5, "Patient", "a"), Signal(1.0, "a", "note", ("hello",)))
    assert outcome.failure is None
    assert gc.collect() < FORGOTTEN_MAX


def test_what_ails_a_disk_ails_the_next_one_too(play):
    """A disk is lost while it stalls, and another stall is on: each fault ends for itself."""
    outcome = play(
        Start(0.5, "Order", "a", (1,)),
        faults=(
            DiskStall(3, 0.5, 1.2),
            DiskSlow(3, 0.1, 0.6, 1.9),
            Wipe(3, 0.8, 1.0),
            DiskStall(3, 0.9, 1.6),
            DiskFull(1, 0.7, 1.5),
            DiskFull(1, 0.8, 1.1),
        ),
    )
    assert outcome.failure is None


def test_who_is_not_healed_stands_still_for_ever(play):
    """Of three nodes two are healed: from then on nothing comes of the third, though the fault that
    had stopped it was to end at that moment.
    """
    outcome = play(Start(0.5, "Order", "a", (1,)), faults=(Pause(3, 1.0),), core=(1, 2))
    assert outcome.failure is None
    late = [line[2:] for line in outcome.lines if line[0] > 2_000_000_000 and line[1] == 3]
    said = [told for told in late if told[0] != Kind.RECEIVED]  # its kernel goes on
    assert said == [(Kind.STOPPED, ("the run is over",))]
