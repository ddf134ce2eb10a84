"""A state machine whose rules write a plan, which is played as one run."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

import flowactor as fa
from flowactor.simulation.faults import Crash, PowerCut
from flowactor.simulation.scenario import Start
from flowactor.testing import ScenarioFailed, SimulatedMachine
from tests.testing.shop import app

QUICK = settings(
    max_examples=40,
    stateful_step_count=6,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


class Orders(SimulatedMachine):
    """Some orders, some nights: the model knows what must have been charged."""

    app = app
    workflow = "Careful"

    def __init__(self):
        super().__init__()
        self.ordered = []

    @rule()
    def order(self):
        name = f"order-{len(self.ordered) + 1}"
        self.ordered.append(name)
        self.plan(Start(0.0, self.workflow, name, (name,)))

    @rule(nodes=st.sampled_from([(1, 2, 3), (1, 2), (2, 3)]))
    def black_out(self, nodes):
        self.plan(PowerCut(nodes, at=1.0, until=3.0))

    @invariant()
    def the_plan_can_be_played(self):
        assert len(self.scenario().acts) == len(self.ordered)

    def check_world(self, world):
        assert sorted(world.ledger("payments").values) == self.ordered
        assert sorted(world.results) == self.ordered


def test_what_holds_is_found_to_hold():
    """Careful code comes to what the model says, on all the days that are tried."""
    run_state_machine_as_test(Orders, settings=settings(QUICK, max_examples=5))


@pytest.mark.long
def test_a_bug_shrinks_to_the_fewest_rules():
    """Without the key: the smallest plan has one order, and one black-out while it is charged."""

    class CarelessOrders(Orders):
        workflow = "Careless"

    with pytest.raises(ScenarioFailed) as caught:
        run_state_machine_as_test(CarelessOrders, settings=QUICK)
    scenario = caught.value.scenario
    assert len(scenario.acts) == 1
    assert len(scenario.faults) == 1
    steps = "\n".join(caught.value.__notes__)
    assert steps.count("state.order()") == 1
    assert steps.count("state.black_out(") == 1
    assert "state.teardown()" in steps


def test_times_of_a_plan_count_from_where_it_has_come_to():
    """Time passes in the plan; a fault that contradicts it is left out, and that is told."""
    machine = Orders()
    machine.let_time_pass(milliseconds=1500)
    assert machine.plan(Crash(1, at=0.25, until=2.0))
    assert not machine.plan(Crash(1, at=0.5))
    machine.order()
    scenario = machine.scenario()
    assert scenario.faults == (Crash(1, at=1.75, until=3.5),)
    assert scenario.acts[0].at == 1.5
    assert scenario.seconds == 4.5


def test_a_rule_that_fails_is_not_hidden_by_the_plan():
    """The run is not played then: the error of the rule is what there is to see."""

    class Broken(SimulatedMachine):
        app = app

        @rule()
        def plan_and_fail(self):
            self.plan(Start(0.0, "Hanging", "a"))
            raise KeyError("tea")

    with pytest.raises(KeyError, match="tea"):
        run_state_machine_as_test(Broken, settings=QUICK)


def test_a_machine_without_an_app_says_so():
    """The name of the attribute stands in the error."""
    with pytest.raises(fa.ConfigurationError, match="SimulatedMachine has no app"):
        SimulatedMachine().scenario()
