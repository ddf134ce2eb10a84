"""What must come of an order, on good days and on bad ones."""

import pytest
from hypothesis import given, settings
from shop import Order, app, charged_once

import flowactor as fa
from flowactor.testing import Scenario, SimulatedCluster, World, check, scenarios


@pytest.fixture
def flowactor_app() -> fa.App:
    return app


async def test_two_weeks_of_silence(
    simulated_cluster: SimulatedCluster, simulated_world: World
) -> None:
    client = simulated_cluster.client
    order = await client.start(Order.run, "lamp", 4200, id="order-1")
    await simulated_cluster.sleep(days=13)
    assert simulated_world.ledger("mails").values == []
    await simulated_cluster.sleep(days=2)
    assert simulated_world.ledger("mails").values == ["how is lamp?"]
    assert await order.result() == "payment 1"


@pytest.mark.simulated(seeds=5, invariants=[charged_once])
async def test_its_owner_dies_while_it_is_charged(simulated_cluster: SimulatedCluster) -> None:
    order = await simulated_cluster.client.start(Order.run, "lamp", 4200, id="order-1")
    await simulated_cluster.sleep(0.3)
    simulated_cluster.crash(simulated_cluster.owner(order))
    await order.signal(Order.review, 5)
    assert await order.result() == "payment 1"


@settings(max_examples=10, deadline=None)
@given(
    scenario=scenarios(
        app, Order, ("lamp", 4200), kinds=("crash", "partition"), invariants=[charged_once]
    )
)
def test_no_day_is_bad_enough(scenario: Scenario) -> None:
    check(scenario)
