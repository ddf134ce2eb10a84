"""Nodes are killed, stopped in order, and frozen, one or two at a time, with runs under way."""

import signal
import time

import pytest
import trio

import flowactor as fa
from flowactor.limits import OWNER_LEASE_SECONDS
from tests.processes.cluster import assert_recorded_once, recorded_steps
from tests.processes.flows import STEPS, Counting, Gated, Journey, expected_total, step_name

pytestmark = pytest.mark.processes


async def test_a1_completed_step_is_not_rerun(cluster):
    """A1: the owner is killed when the result of the first step is recorded and the second waits to
    start: each step's body runs exactly once.
    """
    async with cluster.client() as client:
        run = await client.start(Journey.run, 2, [2], id="a1")
        await cluster.executed("a1", "advance")
        view = await cluster.until_seen(run, "waits", lambda view: not view.steps)
        cluster.nodes[view.owner].kill()
        await run.signal(Journey.permit, 2)
        with cluster.awaiting("the result"):
            assert await run.result() == expected_total(2)
        assert len(await assert_recorded_once(cluster, run)) == 2
    assert [e.attempt for e in cluster.outside.executions("a1")] == [1, 1]


async def test_a2_crash_inside_a_step(cluster):
    """A2, A-R22: the owner is killed while a step's body has acted on the world and not returned:
    the body runs a second time elsewhere, with a higher attempt and the same idempotency key; the
    step before it does not run again.
    """
    async with cluster.client() as client:
        run = await client.start(Gated.run, "a2", id="a2")
        await cluster.executed("a2", "gated")
        owner = (await run.describe()).owner
        killed = time.monotonic()
        cluster.nodes[owner].kill()
        await cluster.executed("a2", "gated", 2)
        assert time.monotonic() - killed > OWNER_LEASE_SECONDS / 2, "nobody takes a run in haste"
        cluster.outside.open("a2")
        with cluster.awaiting("the result"):
            assert await run.result() == ["1", "a2", "5"]
        await assert_recorded_once(cluster, run)
    assert [e.attempt for e in cluster.outside.executions("a2", "gated")] == [1, 2]
    assert len(cluster.outside.executions("a2", "advance")) == 1


async def test_a_r22_no_failure_no_second_execution(cluster):
    """A-R22: a follower that owns nothing of the run is killed and restarted meanwhile: the body of
    each step runs exactly once.
    """
    leader = await cluster.leader()
    async with cluster.client(leader) as client:
        run = await client.start(Gated.run, "a-r22", id="a-r22")
        await cluster.executed("a-r22", "gated")
        follower = leader % 3 + 1
        cluster.nodes[follower].kill()
        cluster.start(follower)
        await cluster.settle()
        cluster.outside.open("a-r22")
        with cluster.awaiting("the result"):
            assert await run.result() == ["1", "a-r22", "5"]
    assert [e.attempt for e in cluster.outside.executions("a-r22")] == [1, 1, 1]


@pytest.mark.parametrize("count", [220, pytest.param(1100, marks=pytest.mark.long)])
async def test_a_r21_leader_killed_in_a_long_run(cluster, count):
    """A-R21: the leader is killed in the middle of 1,100 checkpoints (220 by default) of a run that
    another node owns: there is a new leader, no checkpoint is lost or doubled, and the result is
    right.
    """
    leader = await cluster.leader()
    async with cluster.client(leader % 3 + 1) as client:
        run = await client.start(Counting.run, count, id=f"a-r21-{count}")
        await cluster.until_seen(run, "in its middle", lambda view: view.position > count // 4, 40)
        cluster.nodes[leader].kill()
        assert (await run.describe()).status is fa.RunStatus.RUNNING
        with cluster.awaiting("the result", 40):
            assert await run.result() == 10 * sum(range(count))
        assert len(await recorded_steps(run)) == count
    assert await cluster.leader() != leader


async def test_a_f11_no_quorum(cluster):
    """A-F11: without its two followers a leader commits nothing and says so in time; when they are
    back, what was acknowledged before is there and the run under way goes on.
    """
    leader = await cluster.leader()
    followers = [number for number in cluster.nodes if number != leader]
    async with cluster.client(leader, request_timeout=1.0) as client:
        count = client.variable("a-f11", int)
        await count.set(1)
        run = await client.start(Journey.run, 3, [2], id="a-f11")
        await cluster.executed("a-f11", step_name(1))
        cluster.end(signal.SIGKILL, *followers)
        with cluster.awaiting("a refusal"):
            with pytest.raises((fa.Unavailable, fa.DeadlineExceeded)):
                await client.start(Journey.run, 1, [], id="a-f11-lonely")
            with pytest.raises((fa.Unavailable, fa.DeadlineExceeded)):
                await count.get()
    cluster.start(*followers)
    await cluster.settle()
    async with cluster.client() as client:
        assert await client.variable("a-f11", int).get() == 1
        run = client.get_handle("a-f11", result_type=int)
        await run.signal(Journey.permit, 2)
        with cluster.awaiting("the result"):
            assert await run.result() == expected_total(3)
        await assert_recorded_once(cluster, run)


async def test_a_r26_stopped_owner_hands_over(cluster):
    """A-R26: the owner of a run under way is stopped by Ctrl-C: it ends promptly with
    code 0, another node takes the run, and the rest keeps its quorum.
    """
    name = "stopped"
    async with cluster.client() as client:
        run = await client.start(Journey.run, STEPS, [STEPS], id=name)
        await cluster.executed(name, step_name(5))
        owner = (await run.describe()).owner
        begun = time.monotonic()
        assert cluster.nodes[owner].stop(signal.SIGINT) == 0
        assert time.monotonic() - begun < 3
        await run.signal(Journey.permit, STEPS)
        with cluster.awaiting("the result"):
            assert await run.result() == expected_total(STEPS)
        assert len(await assert_recorded_once(cluster, run)) == STEPS
    log = cluster.nodes[owner].log_text()
    assert "NodeStopped" in log
    assert "Traceback" not in log


async def test_frozen_owner_is_fenced(cluster):
    """The owner is frozen in the middle of a run, long enough to lose it, and thawed when another
    node goes on: it finds itself fenced, every step is recorded once, and it serves again.
    """
    async with cluster.client() as client:
        run = await client.start(Journey.run, STEPS, [12], id="frozen")
        await cluster.executed("frozen", step_name(6))
        owner = (await run.describe()).owner
        frozen = cluster.nodes[owner]
        frozen.send(signal.SIGSTOP)
    others = [number for number in cluster.nodes if number != owner]
    try:
        async with cluster.client(*others) as client:
            run = client.get_handle("frozen", result_type=int)
            await cluster.moved(run, owner)
            await cluster.executed("frozen", step_name(8))
    finally:
        frozen.send(signal.SIGCONT)
    async with cluster.client(owner) as client:
        run = client.get_handle("frozen", result_type=int)
        await run.signal(Journey.permit, 12)
        with cluster.awaiting("the result, from the node that was frozen"):
            assert await run.result() == expected_total(STEPS)
        assert len(await assert_recorded_once(cluster, run)) == STEPS
    await cluster.settle()


@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.long)])
async def test_j1_leader_killed_again_and_again(cluster, kills):
    """J1, H1: three times in a row (once by default) the leader is killed while three clients write
    to one variable: every acknowledged write is counted, and none twice.
    """
    name, acknowledged = f"j1-{kills}", 0
    finished = trio.Event()

    async def add(number: int) -> None:
        nonlocal acknowledged
        order = [number, number % 3 + 1, (number + 1) % 3 + 1]
        async with cluster.client(*order) as client:
            count = client.variable(name, int)
            while not finished.is_set():
                await count.update(lambda value: (value or 0) + 1)
                acknowledged += 1

    with cluster.awaiting("leaders killed under load", 40):
        async with trio.open_nursery() as nursery:
            for number in cluster.nodes:
                nursery.start_soon(add, number)
            for _ in range(kills):
                before = acknowledged
                await cluster.until(
                    "writes go on", lambda before=before: acknowledged > before + 20
                )
                leader = await cluster.leader()
                await trio.to_thread.run_sync(cluster.nodes[leader].kill)
                await trio.to_thread.run_sync(cluster.start, leader)
            finished.set()
    async with cluster.clients() as clients:
        values = [await client.variable(name, int).get() for client in clients]
    assert values == [acknowledged] * 3
