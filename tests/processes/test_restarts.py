"""All three processes end and start again, at once, with runs under way."""

import signal

import pytest

import flowactor as fa
from tests.processes.cluster import assert_recorded_once
from tests.processes.flows import (
    STEPS,
    Bill,
    CardDeclined,
    Gated,
    Journey,
    Pause,
    Pay,
    expected_total,
    step_name,
)

pytestmark = pytest.mark.processes

HOW = pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)


@HOW
async def test_full_stop_and_start(cluster, how):
    """Three runs, each owned by another node, are in the middle when all nodes are ended at once;
    after a start of all they come to the right results, with every step recorded once.
    """
    names = [f"{how.name}-{number}" for number in cluster.nodes]
    async with cluster.clients() as clients:
        for name, client in zip(names, clients, strict=True):
            await client.start(Journey.run, STEPS, [], id=name)
    for name in names:
        await cluster.executed(name, step_name(4))
    codes = cluster.end(how)
    assert codes == [0 if how is signal.SIGTERM else -how] * 3
    cluster.start()
    async with cluster.client() as client:
        for name in names:
            run = client.get_handle(name, result_type=int)
            with cluster.awaiting(f"the result of {name}"):
                assert await run.result() == expected_total(STEPS)
            assert len(await assert_recorded_once(cluster, run)) == STEPS


async def test_b1_durable_timer(cluster):
    """B1: a run sleeps while all nodes are down; it wakes at the moment that was recorded when it
    fell asleep, not later by what the restart took, and once.
    """
    async with cluster.client() as client:
        run = await client.start(Pause.run, 3.0, id="nap")
        before = await cluster.until_seen(run, "sleeps", lambda view: view.timers)
    cluster.end(signal.SIGKILL)
    cluster.start()
    async with cluster.client() as client:
        run = client.get_handle("nap", result_type=float)
        view = await run.describe()
        assert view.timers == before.timers or view.inbox or view.position > before.position
        with cluster.awaiting("the run wakes and ends"):
            assert await run.result() >= 3.0
        kinds = [event.kind for event in await run.history()]
    assert (kinds.count("timer_armed"), kinds.count("timer_fired")) == (1, 1)
    assert len(cluster.outside.executions("nap")) == 2


async def test_a4_a5_starts_and_results_are_durable(cluster):
    """A4: three starts were answered, and in that instant all nodes were killed: each run is there
    again, under its id, and runs to its end exactly once. A5: runs that had ended before give every
    node that asks, repeatedly, the same value, or the same error with type, message and fields.
    """
    names = [f"kept-{number}" for number in cluster.nodes]
    async with cluster.clients() as clients:
        assert await clients[0].execute(Pay.run, Bill("green", 5), id="good") == "charged 5"
        with pytest.raises(fa.WorkflowFailed):
            await clients[0].execute(Pay.run, Bill("red", 5000), id="bad")
        started = [
            await client.start(Gated.run, name, id=name)
            for name, client in zip(names, clients, strict=True)
        ]
    cluster.end(signal.SIGKILL)
    for name in names:
        cluster.outside.open(name)
    cluster.start()
    async with cluster.clients() as clients:
        for before in started:
            run = clients[0].get_handle(before.id, result_type=list[str])
            with cluster.awaiting(f"the result of {before.id}"):
                assert await run.result() == ["1", before.id, "5"]
            assert (await run.describe()).run_id == before.run_id
            await assert_recorded_once(cluster, run)
        page = await clients[1].list(type=Gated)
        assert sorted(view.workflow_id for view in page.runs) == names
        for client in clients * 2:
            await assert_results_survived(client)
    assert len(cluster.outside.executions("good")) == 1
    assert len(cluster.outside.executions("bad")) == 1


async def assert_results_survived(client: fa.Client) -> None:
    assert await client.get_handle("good").result() == "charged 5"
    with pytest.raises(fa.WorkflowFailed, match="card red declined for 5000") as caught:
        await client.get_handle("bad").result()
    cause = caught.value.__cause__
    assert isinstance(cause, CardDeclined)
    assert (cause.card, cause.cents) == ("red", 5000)


async def test_a_r15_type_unregistered_later(new_cluster):
    """A-R15: a run whose type no node has any more after a restart is parked, visibly, with the
    reason; other runs go on; when the type is registered again, it continues by itself.
    """
    await new_cluster.settle()
    async with new_cluster.client() as client:
        await client.start("Shipping", "road", id="parked")
        await new_cluster.executed("parked", "gated")
    new_cluster.end(signal.SIGTERM)
    new_cluster.start(app="tests.processes.flows:without_shipping")
    async with new_cluster.client() as client:
        run = client.get_handle("parked")
        parked = await new_cluster.until_seen(
            run, "parked", lambda view: view.status is fa.RunStatus.PARKED
        )
        assert "has registered 'Shipping' version 1" in parked.reason
        with pytest.raises(fa.UnknownWorkflowType, match="Pay v1"):
            await client.start("Shipping", "road")
        assert await client.execute(Pay.run, Bill("green", 5), id="meanwhile") == "charged 5"
    new_cluster.end(signal.SIGTERM)
    new_cluster.outside.open("road")
    new_cluster.start(app="tests.processes.flows:app")
    async with new_cluster.client() as client:
        with new_cluster.awaiting("the run continues"):
            assert await client.get_handle("parked").result() == "version 1 via road"


async def test_a_r24_upgrade_one_by_one(new_cluster):
    """A-R24: while a run of version 1 is under way, all nodes are replaced one by one by a release
    with versions 1 and 2: the run ends on the path of version 1, a new one takes that of version 2.
    """
    await new_cluster.settle()
    async with new_cluster.client() as client:
        await client.start("Shipping", "sea", id="old")
        await new_cluster.executed("old", "gated")
    for number in new_cluster.nodes:
        assert new_cluster.end(signal.SIGTERM, number) == [0]
        new_cluster.start(number, app="tests.processes.flows:upgraded")
        await new_cluster.settle()
    async with new_cluster.client() as client:
        old = client.get_handle("old")
        new = await client.start("Shipping", "sea", id="new")
        new_cluster.outside.open("sea")
        with new_cluster.awaiting("both runs end"):
            assert await old.result() == "version 1 via sea"
            assert await new.result() == "version 2 checked via sea"
        assert (await old.describe()).version == 1
        assert (await new.describe()).version == 2
        await assert_recorded_once(new_cluster, old)
