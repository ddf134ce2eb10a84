"""Hypothesis strategies: what they draw can be played, and a bug shrinks to what it needs."""

import sys

import pytest
from hypothesis import HealthCheck, Phase, assume, find, given, settings
from hypothesis import strategies as st

import flowactor as fa
from flowactor.simulation.draw import lost_nodes
from flowactor.simulation.faults import KINDS, Crash, PowerCut, check_faults, kind_of, nodes_of
from flowactor.simulation.scenario import Scenario, Signal, Start
from flowactor.testing import (
    Depth,
    ScenarioFailed,
    check,
    clusters,
    deviations,
    fault_schedules,
    scenarios,
)
from flowactor.testing.strategies import playable
from flowactor.testing.tracing import unexplained
from tests.testing import shop
from tests.testing.shop import Approval, Careful, Careless, app, each_order_charged_once

SEARCH = settings(
    max_examples=500,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)

# -- schedules ----------------------------------------------------------------------------------


@given(nodes=st.integers(1, 5), data=st.data())
def test_schedules_can_be_played(nodes, data):
    """Every schedule is in order, contradicts nothing, and spoils a minority of disks at most."""
    faults = data.draw(fault_schedules(nodes=nodes, seconds=5))
    check_faults(faults, nodes)
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)
    assert all(fault.at <= 5 for fault in faults)
    assert 2 * len(lost_nodes(faults)) < nodes


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_fault_is_drawn(kind):
    """Asked for one kind, the smallest schedule that is not empty has one fault, of that kind."""
    [fault] = find(fault_schedules(nodes=3, kinds=(kind,)), bool, settings=SEARCH)
    assert kind_of(fault) == kind
    assert fault.at == 0


def test_schedules_of_no_kind_or_for_nobody_are_empty():
    """No faults are asked for, or a single node is to be cut off from itself."""
    empty = [fault_schedules(kinds=()), fault_schedules(nodes=1, kinds=("partition", "loss"))]
    for strategy in empty:
        assert find(strategy, lambda _: True, settings=SEARCH) == ()
    with pytest.raises(fa.ConfigurationError, match="there is no fault 'crsh'"):
        fault_schedules(kinds=("crsh",))


def test_what_no_cluster_can_be_is_refused_in_our_own_words():
    """Sizes that cannot be simulated are named; a single word is a kind, as on the command line."""
    with pytest.raises(fa.ConfigurationError, match="of 0 nodes: 1 to 9"):
        fault_schedules(nodes=0)
    with pytest.raises(fa.ConfigurationError, match="of no size"):
        clusters(sizes=())
    with pytest.raises(fa.ConfigurationError, match="of 12 nodes"):
        clusters(sizes=(3, 12))
    [fault] = find(fault_schedules(kinds="crash"), bool, settings=SEARCH)
    assert kind_of(fault) == "crash"


def test_of_two_that_contradict_the_first_stays():
    """Who is down already is left alone; who is up again is not."""
    first, second, third = Crash(1, 1.0, 3.0), PowerCut((1, 2), 2.0, 4.0), Crash(1, 3.0, 5.0)
    assert playable([second, third, first], 3) == (first, third)


@given(shape=clusters(sizes=(1, 3)))
def test_clusters_have_clocks_that_are_wrong_from_the_beginning(shape):
    """What ails a clock is a fault that any scenario of that size takes."""
    check_faults(shape.clocks, shape.nodes)
    assert shape.nodes in (1, 3)
    assert all(fault.at == 0 for fault in shape.clocks)


def test_the_simplest_order_of_tasks_is_first_come_first_served():
    """Deviations shrink to none at all, then to one; all batches shuffled are possible, too."""
    assert find(deviations(), lambda _: True, settings=SEARCH) == frozenset()
    assert find(deviations(), bool, settings=SEARCH) == frozenset({1})
    assert find(deviations(), lambda drawn: drawn is None, settings=SEARCH) is None


# -- scenarios ----------------------------------------------------------------------------------


@settings(max_examples=20)
@given(scenario=scenarios(app, Approval, seconds=3, runs=2))
def test_scenarios_start_runs_and_send_them_their_signals(scenario):
    """One or two runs, each with its signal no earlier than its start."""
    starts = {act.id: act.at for act in scenario.acts if isinstance(act, Start)}
    signals = {act.id: act.at for act in scenario.acts if isinstance(act, Signal)}
    assert starts.keys() == signals.keys() <= {"run-1", "run-2"}
    assert all(starts[run] <= at for run, at in signals.items())
    assert scenario.deviations is None


def test_arguments_that_do_not_fit_are_refused_as_they_are_drawn():
    """The message names what the workflow takes."""
    with pytest.raises(fa.InvalidInput):
        find(scenarios(app, Careful, (1, 2, 3)), lambda _: True, settings=SEARCH)
    with pytest.raises(fa.UnknownWorkflowType):
        scenarios(app, "Nope")


@settings(max_examples=5, deadline=None)
@given(scenario=scenarios(app, Careful, ("tea",), runs=1, seconds=2, kinds=("crash", "partition")))
def test_sound_code_passes(scenario):
    """With its key the effect happens once on all of these days, and the outcome is returned."""
    assert check(scenario).failure is None


def careless_orders(nodes):
    return scenarios(
        app,
        Careless,
        ("tea",),
        runs=1,
        seconds=1.5,
        kinds=("crash", "power-cut"),
        shapes=clusters(sizes=(nodes,), wrong_clocks=False),
        invariants=(each_order_charged_once,),
    )


def charges_twice(scenario):
    try:
        check(scenario)
    except ScenarioFailed as error:
        return error.failure.checker == "ledger payments"
    return False


def test_a_planted_bug_is_found():
    """An effect without an idempotency key fails on a day that is drawn, and the error has the
    script of that day; ``test_stateful.py`` shows by default that bugs shrink.
    """
    first = settings(SEARCH, phases=[Phase.generate])
    found = find(careless_orders(nodes=1), charges_twice, settings=first)
    assert script_of(found) == found


def script_of(scenario):
    """What the script in the error makes, which tells the bug."""
    with pytest.raises(ScenarioFailed) as caught:
        check(scenario)
    assert "'tea' happened twice" in str(caught.value)
    written = {}
    exec(str(caught.value).partition("\n\n")[2], written)
    return written["SCENARIO"]


@pytest.mark.long
def test_a_planted_bug_shrinks_to_what_it_needs():
    """An effect without an idempotency key: one run, and one crash in the second it takes."""
    smallest = find(careless_orders(nodes=3), charges_twice, settings=SEARCH)
    [start] = smallest.acts
    assert (start.workflow, start.arguments, start.client) == ("Careless", ("tea",), 1)
    [crash] = smallest.faults
    assert len(nodes_of(crash)) == 1
    assert crash.until is None
    assert script_of(smallest) == smallest


def test_at_node_depth_the_order_of_tasks_is_drawn():
    """Only there it matters, and there it is a part of the scenario."""
    drawn = scenarios(app, Careful, ("tea",), depth=Depth.NODE)
    found = find(drawn, lambda scenario: bool(scenario.deviations), settings=SEARCH)
    assert found.deviations == frozenset({1})


def test_an_app_that_cannot_be_found_is_called_by_a_stand_in():
    """The script of a failure then says where to put the right name."""
    hidden = fa.App([shop.Hanging])
    scenario = Scenario(
        app=hidden, acts=(Start(0.0, "Hanging", "a"),), seconds=1, healing_seconds=2
    )
    with pytest.raises(ScenarioFailed, match="from your_module import app"):
        check(scenario)


def test_only_the_tracer_of_hypothesis_is_kept_out():
    """It explains failures line by line, at fifty times the price; coverage is still measured."""
    seen = []

    def look_on(frame, event, argument):
        seen.append(frame.f_code.co_name)

    class Explaining:
        __module__ = "hypothesis.internal.scrutineer"

        def explain(self, frame, event, argument):
            return look_on(frame, event, argument)

    def line():
        """Is seen by whoever traces."""

    before = sys.gettrace()
    for tracer, is_seen in ((Explaining().explain, False), (look_on, True)):
        seen.clear()
        sys.settrace(tracer)
        try:
            with unexplained():
                line()
            assert sys.gettrace() == tracer
        finally:
            sys.settrace(before)
        assert ("line" in seen) is is_seen


def test_nothing_is_drawn_while_a_run_goes_on():
    """A scenario is a value: it can be assumed away, kept, and played later."""
    kept = []

    @settings(max_examples=5)
    @given(scenario=scenarios(app, Careful, ("tea",)))
    def keep(scenario):
        assume(scenario.faults)
        kept.append(scenario)

    keep()
    assert kept
