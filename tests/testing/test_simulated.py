"""A simulated cluster in the hands of an async test: time, faults, clients, and how it fails."""

import functools
import time

import pytest
import trio

import flowactor as fa
from flowactor.simulation.failure import Deadlocked, SimulationEscape
from flowactor.simulation.faults import Crash, Loss, Partition
from flowactor.testing import CheckFailed, simulate_test
from tests.testing.shop import (
    Approval,
    Careful,
    Careless,
    Escaping,
    Hanging,
    Reminders,
    app,
    each_order_charged_once,
)

DAY = 86_400


def simulated(**settings):
    """The test function is called with a cluster, in a simulation."""

    def decorate(body):
        @functools.wraps(body)
        def test():
            simulate_test(body, app=app, **settings)

        del test.__wrapped__  # or pytest asks for a fixture named cluster
        return test

    return decorate


# -- time ---------------------------------------------------------------------------------------


@simulated(nodes=1)
async def test_a_month_leaps_from_timer_to_timer(cluster):
    """Each timer of thirty days fires within a second of its time, and nothing is awaited."""
    begun = cluster.now
    handle = await cluster.client.start(Reminders.run, 30, id="a")
    await cluster.sleep(days=15, hours=12)
    entries = cluster.world.ledger("reminders").entries
    assert [effect.value for effect in entries] == [f"day {number}" for number in range(1, 16)]
    late = [effect.at_ns / 1e9 - begun - DAY * n for n, effect in enumerate(entries, 1)]
    assert min(late) > 0
    assert max(late) < 15  # what fifteen steps took, and the timers between them
    assert (await handle.describe()).status.is_open
    await cluster.sleep(days=15)
    assert await handle.result() == 30
    assert cluster.now - begun == pytest.approx(30.5 * DAY, abs=1)


def test_a_month_is_cheap():
    """So many virtual seconds take next to no steps: the clocks leap, heartbeats are left out."""
    steps = []

    async def body(cluster):
        before = cluster._runtime.steps
        await cluster.sleep(days=30)
        steps.append(cluster._runtime.steps - before)

    simulate_test(body, app=app)
    assert steps[0] < 5_000


@simulated()
async def test_time_does_not_leap_over_what_a_fault_sets_off(cluster):
    """After a fault the clocks go on as they are: elections and leases take their time."""
    await cluster.sleep(days=1)
    before, left_out_ns = cluster.leader, cluster._calendar.left_out_ns
    cluster.isolate(before)
    await cluster.sleep(4)
    assert cluster.leader not in (0, before)
    assert cluster._calendar.left_out_ns == left_out_ns > 0


@simulated()
async def test_workflows_see_the_time_that_was_left_out(cluster):
    """A run that was started after a leap says so with its own clock."""
    one = await cluster.client.start(Approval.run, id="a")
    await cluster.sleep(days=3)
    other = await cluster.client.start(Approval.run, id="b")
    first, second = (await one.describe()).started_ns, (await other.describe()).started_ns
    assert (second - first) / 1e9 == pytest.approx(3 * DAY, abs=1)
    for handle in (one, other):
        await handle.signal(Approval.approve, "me")


# -- faults -------------------------------------------------------------------------------------


@simulated()
async def test_a_run_survives_the_crash_of_its_owner(cluster):
    """Another node becomes the owner, the effect happens once, and the old one comes back."""
    handle = await cluster.client.start(Careful.run, "tea", id="a")
    await cluster.sleep(0.5)
    owner = cluster.owner(handle)
    cluster.crash(owner)
    assert owner not in cluster.serving
    assert await handle.result() == 1
    assert cluster.owner("a") not in (0, owner)
    await cluster.restart(owner)
    assert cluster.serving == cluster.nodes == (1, 2, 3)
    assert cluster.world.ledger("payments").values == ["tea"]


def test_an_effect_without_a_key_happens_twice():
    """The user's check finds it once all has come to rest, and the error shows the way there."""

    async def body(cluster):
        handle = await cluster.client.start(Careless.run, "tea", id="a")
        await cluster.sleep(1.5)
        assert cluster.world.ledger("payments").values == ["tea"]
        await handle.result()

    simulate_test(body, app=app, invariants=[each_order_charged_once])

    async def cut_off(cluster):
        handle = await cluster.client.start(Careless.run, "tea", id="a")
        await cluster.sleep(0.9)
        cluster.isolate(cluster.owner(handle))
        await cluster.sleep(3)

    with pytest.raises(CheckFailed, match="'tea' happened twice") as caught:
        simulate_test(cut_off, app=app, seed=4, invariants=[each_order_charged_once])
    notes = "\n".join(caught.value.__notes__)
    assert "simulated with seed 4 on 3 nodes" in notes
    assert "FAULT Partition" in notes
    assert "effect on payments" in notes
    assert "FAILED ledger payments: 'tea' happened twice" in notes


@simulated()
async def test_a_paused_node_stands_still_and_goes_on(cluster):
    """It serves nobody meanwhile, and afterwards as before."""
    follower = next(node for node in cluster.nodes if node != cluster.leader)
    cluster.pause(follower)
    await cluster.sleep(3)
    assert follower not in cluster.serving
    cluster.resume(follower)
    await cluster.sleep(1)
    assert follower in cluster.serving


@simulated()
async def test_a_pause_that_is_over_at_once_leaves_nothing(cluster):
    """Asked for in this order, in one moment, the node goes on."""
    cluster.pause(2)
    cluster.resume(2)
    await cluster.sleep(1)
    assert cluster.serving == (1, 2, 3)


@simulated(nodes=5)
async def test_a_minority_is_cut_off_until_it_is_healed(cluster):
    """A client of the minority gets nothing, one of the majority everything, later both."""
    cluster.partition({1, 2}, {3, 4, 5})
    await cluster.sleep(3)
    assert cluster.leader in (3, 4, 5)
    alone = await cluster.client_of(1)
    with trio.move_on_after(2) as waiting:
        await alone.variable("x", int).set(1)
    assert waiting.cancelled_caught
    await (await cluster.client_of(4)).variable("x", int).set(2)
    cluster.heal()
    await cluster.sleep(3)
    assert await alone.variable("x", int).get() in (1, 2)


@simulated()
async def test_a_power_cut_takes_all_and_nothing_that_was_promised(cluster):
    """Days later every node comes back by itself, what was acknowledged is there, and what fell
    due meanwhile happens.
    """
    await cluster.client.variable("x", int).set(7)
    reminders = await cluster.client.start(Reminders.run, 1, id="a")
    await cluster.sleep(1)
    cluster.power_cut()
    assert cluster.serving == ()
    assert cluster.leader == 0
    await cluster.sleep(days=2)
    await cluster.restart(1, 3)
    assert await cluster.client.variable("x", int).get() == 7
    assert await reminders.result(timeout=10) == 1
    await cluster.restart()
    assert cluster.serving == (1, 2, 3)


@simulated()
async def test_a_schedule_is_played_from_now_on(cluster):
    """Faults begin and end at their times, counted from when they were handed over."""
    await cluster.sleep(10)
    cluster.play(Crash(1, at=1.0, until=3.0), Loss(2, 3, 0.5, at=0.5), Partition(((1,), (2, 3)), 5))
    await cluster.sleep(2)
    assert cluster.serving == (2, 3)
    await cluster.sleep(2)
    assert cluster.serving == (1, 2, 3)
    assert [round(fault.at - cluster.befell[0].at, 3) for fault in cluster.befell] == [0, 0.5]
    await cluster.sleep(2)
    assert len(cluster.befell) == 3


@simulated()
async def test_what_cannot_befall_a_cluster_is_refused(cluster):
    """Errors name the node and say what to do; nothing has happened then."""
    with pytest.raises(fa.ConfigurationError, match="there is no node 4, nodes are 1 to 3"):
        cluster.crash(4)
    with pytest.raises(fa.ConfigurationError, match="node 2 is not down"):
        await cluster.restart(2)
    cluster.crash(2)
    with pytest.raises(fa.ConfigurationError, match="node 2 is down already: restart it first"):
        cluster.crash(2)
    with pytest.raises(fa.ConfigurationError, match="while"):
        cluster.play(Crash(1, at=0), Crash(1, at=1))
    with pytest.raises(fa.NotFound, match="there is no run nope"):
        cluster.owner("nope")
    assert cluster.serving == (1, 3)


# -- how it ends --------------------------------------------------------------------------------


def test_what_the_body_raises_comes_out_as_it_is():
    """No group of a nursery is around it, and what it returns is returned."""

    async def fail(cluster):
        await cluster.sleep(1)
        raise KeyError("tea")

    with pytest.raises(KeyError, match="tea"):
        simulate_test(fail, app=app)

    async def count(cluster):
        await cluster.sleep(1)
        return len(cluster.nodes)

    assert simulate_test(count, app=app, nodes=5, sockets=True) == 5


def test_a_run_that_is_stuck_fails_the_test():
    """All that a test leaves behind must come to its end, unless that is not asked for."""

    async def body(cluster):
        await cluster.client.start(Hanging.run, id="a")

    with pytest.raises(CheckFailed, match=r"'a'.*has not ended its step 'hang'"):
        simulate_test(body, app=app, settle_seconds=5)
    simulate_test(body, app=app, settle_seconds=0)


def test_an_escape_is_named():
    """Neither a step nor the test itself can look at the real clock."""

    async def in_a_step(cluster):
        await cluster.client.execute(Escaping.run)

    async def in_the_test(cluster):
        await cluster.sleep(1)
        time.time()

    for body, place in ((in_a_step, "shop.py"), (in_the_test, "test_simulated.py")):
        with pytest.raises(SimulationEscape, match=rf"{place}:\d+ calls time.time"):
            simulate_test(body, app=app)


def test_a_test_that_hangs_is_shown_with_its_tasks():
    """A body that waits for ever ends at its limit, and the line it waits at is named."""

    async def wait_for_nothing(cluster):
        cluster.crash(1)
        await cluster.sleep(days=1)
        await trio.sleep_forever()

    line = wait_for_nothing.__code__.co_firstlineno + 3
    place = rf"has not ended after 30 s of virtual time.*\n(.*\n)+.*test_simulated.py:{line}\n"
    with pytest.raises(Deadlocked, match=place):
        simulate_test(wait_for_nothing, app=app, nodes=1, limit_seconds=30)


def test_the_same_seed_is_the_same_run():
    """Everything that a test can measure is equal, and differs for another seed."""

    async def body(cluster):
        handle = await cluster.client.start(Careful.run, "tea", id="a")
        cluster.crash(cluster.leader)
        await handle.result()
        return cluster.now, handle.run_id, cluster.leader

    one, same, other = (simulate_test(body, app=app, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other
