"""What must hold of three processes over WebSockets, whichever of them is asked."""

import pytest
import trio

import flowactor as fa
from tests.processes.cluster import assert_recorded_once
from tests.processes.flows import Bill, Concat, Fibonacci, Gated, PingPong

pytestmark = pytest.mark.processes


async def test_a_r4_fibonacci_from_each_node(cluster):
    """A-R4: fibonacci(10), started from node 1, then 2, then 3, is 55 each; all three nodes report
    it as completed, with that result.
    """
    async with cluster.clients() as clients:
        for number, client in enumerate(clients, start=1):
            started = await client.start(Fibonacci.run, 10, id=f"fibonacci-{number}")
            assert (await started.describe()).owner in {number, 0}
            for asked in clients:
                run = asked.get_handle(started.id, result_type=int)
                with cluster.awaiting(f"the result of {run.id}"):
                    assert await run.result() == 55
                assert (await run.describe()).status is fa.RunStatus.COMPLETED


async def test_a_r12_concat_over_real_sockets(cluster):
    """A-R12: concat("hello", " world!") is completed on all three, with the whole text."""
    async with cluster.clients() as clients:
        started = await clients[0].start(Concat.run, "hello", " world!")
        for client in clients:
            run = client.get_handle(started.id)
            with cluster.awaiting("the text"):
                assert await run.result() == "hello world!"
            assert (await run.describe()).status is fa.RunStatus.COMPLETED


async def test_a_r13_ping_pong(cluster):
    """A-R13: "ping" gives "pong"; any other word fails the run with a text that names it."""
    async with cluster.client(2) as client:
        with cluster.awaiting("an answer"):
            assert await client.execute(PingPong.run, "ping") == "pong"
            run = await client.start(PingPong.run, "x", id="not-ping")
            with pytest.raises(fa.WorkflowFailed, match="Expected 'ping', got 'x'"):
                await run.result()
        assert (await run.describe()).status is fa.RunStatus.FAILED


async def test_a_r30_waiting_for_a_result(cluster):
    """A-R30: with a deadline, waiting is given up and the run goes on; 100 waiters at three nodes
    get the same result; who asks after the end gets it at once.
    """
    async with cluster.clients() as clients:
        run = await clients[0].start(Gated.run, "a-r30", id="a-r30")
        with pytest.raises(fa.DeadlineExceeded):
            await run.result(timeout=0.2)
        results = []

        async def wait(client: fa.Client) -> None:
            results.append(await client.get_handle("a-r30", result_type=list[str]).result())

        with cluster.awaiting("100 results"):
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(wait, clients[number % 3])
                cluster.outside.open("a-r30")
        assert results == [["1", "a-r30", "5"]] * 100
        assert (await run.wait(timeout=0)).status is fa.RunStatus.COMPLETED


async def test_a_r31_duplicate_start(cluster):
    """A-R31: 30 starts of one id at all nodes at once give one run, which executes once; the same
    id with another input is a conflict, whichever node is asked.
    """
    async with cluster.clients() as clients:
        runs = []

        async def start(client: fa.Client) -> None:
            runs.append(await client.start("Pay", Bill("green", 7), id="a-r31"))

        with cluster.awaiting("30 starts"):
            async with trio.open_nursery() as nursery:
                for number in range(30):
                    nursery.start_soon(start, clients[number % 3])
        assert len({run.run_id for run in runs}) == 1
        for client in clients:
            with pytest.raises(fa.AlreadyExists):
                await client.start("Pay", Bill("green", 8), id="a-r31")
        assert await runs[0].result() == "charged 7"
        assert len(cluster.outside.executions("a-r31")) == 1
        await assert_recorded_once(cluster, runs[0])


async def test_a_f10_read_at_once_everywhere(cluster):
    """A-F10: what one node has acknowledged, each other node shows at once."""
    async with cluster.clients() as clients:
        counter = [client.variable("a-f10", int) for client in clients]
        for value in range(30):
            await counter[value % 3].set(value)
            assert [await each.get() for each in counter] == [value] * 3


async def test_a_r29_every_event_reaches_a_slow_reader(cluster):
    """A-R29: a reader that is slower than the events sees every one of a run, in order."""
    async with cluster.clients() as clients:
        run = await clients[0].start("Counting", 300, id="a-r29")
        seen = []
        with cluster.awaiting("the last event"):
            async for event in clients[2].get_handle("a-r29").events():
                seen.append(event)
                if len(seen) % 50 == 0:
                    await trio.sleep(0.05)
        assert seen == list(await run.history())
        assert sum(event.kind == "step_completed" for event in seen) == 300
        assert seen[-1].kind == "completed"


async def test_idle_cluster_is_quiet(cluster):
    """Three nodes that have nothing to do stay in one term, and log nothing."""
    await cluster.settle()
    logs = [node.log_text() for node in cluster.nodes.values()]
    async with cluster.client() as client:
        term = (await client.status()).groups[0].term
        await trio.sleep(1.5)
        assert (await client.status()).groups[0].term == term
    assert [node.log_text() for node in cluster.nodes.values()] == logs
