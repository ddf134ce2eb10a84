"""The cluster changes while it works: it grows, shrinks, and is restarted node by node."""

import signal

import pytest

from tests.processes.growing import GrowingCluster, orders

pytestmark = [pytest.mark.processes, pytest.mark.timeout(400)]


@pytest.fixture
def growing_cluster(tmp_path, starter):
    """Five nodes of a test's own, none of which has been started."""
    cluster = GrowingCluster(tmp_path, starter, size=5)
    try:
        yield cluster
    finally:
        cluster.close()


async def test_one_three_with_a_kill(growing_cluster):
    """1 -> 3 nodes while orders run, with a kill -9 of one that joins. Every order ends, with each
    step recorded once.
    """
    cluster = growing_cluster
    cluster.start(1)
    async with cluster.client() as client:
        async with orders(cluster) as load:
            await grow_to_three(cluster, client, load)
        await load.check(client)


async def grow_to_three(cluster, client, load):
    """Two join, and one of them is killed meanwhile."""
    await load.more(2)
    cluster.start(2, 3)
    assert {cluster.node_id(number) for number in (1, 2, 3)} == {1, 2, 3}
    cluster.restart(2)
    await cluster.until_size(client, 3)
    await load.more(2)


@pytest.mark.long
async def test_one_three_five_three_with_kills(growing_cluster):
    """1 -> 3 -> 5 -> 3 nodes while orders run, with a kill -9 in the middle of each change: of one
    that joins, of the leader that lets others in, of one that leaves. Every order ends, with each
    step recorded once, and those that left end with code 0.
    """
    cluster = growing_cluster
    cluster.start(1)
    async with cluster.client() as client, orders(cluster) as load:
        await grow_to_three(cluster, client, load)

        cluster.start(4, 5)
        leader = cluster.number((await client.status()).groups[0].leader)
        cluster.restart(leader)
        await cluster.until_size(client, 5)
        await load.more(2)

        led = (await client.status()).groups[1].leader
        other = next(cluster.node_id(n) for n in cluster.alive() if cluster.node_id(n) != led)
        leaving = [cluster.number(node) for node in (led, other)]
        for node in (led, other):
            assert await client.cluster.remove(node)
        staying = [number for number in cluster.alive() if number not in leaving]
        cluster.restart(staying[0])
        await cluster.until_size(client, 3)
        assert [cluster.nodes[number].wait_end(30) for number in leaving] == [0, 0]
        await load.more(2)
    async with cluster.client(*staying) as client:
        await load.check(client)


@pytest.mark.parametrize("nodes", [1, pytest.param(3, marks=pytest.mark.long)])
async def test_rolling_restart_under_load(new_cluster, nodes):
    """The leader (or, in the long test, each of three nodes) is told to stop, and started again,
    while orders run: no caller sees an error, and no order is lost or executed twice.
    """
    leader = await new_cluster.settle()
    async with orders(new_cluster) as load:
        for number in [leader] if nodes == 1 else new_cluster.nodes:
            await load.more(2)
            assert new_cluster.end(signal.SIGTERM, number) == [0]
            new_cluster.start(number)
            await new_cluster.settle()
        await load.more(2)
    assert load.troubles == []
    async with new_cluster.client() as client:
        await load.check(client)


async def test_who_was_given_up_while_away_ends(growing_cluster):
    """A node that was removed while its process was dead is told so when it comes back: it ends
    with code 4 and says why, then and at each later start. The others go on.
    """
    cluster = growing_cluster
    cluster.start(1)
    cluster.start(2, 3)
    async with cluster.client(1, 2) as client:
        await cluster.until_size(client, 3)
        cluster.nodes[3].kill()
        gone = cluster.node_id(3)

        def is_silent(view):
            return next(node for node in view.nodes if node.node == gone).liveness == "suspect"

        await cluster.until_like(client, "a silent node", is_silent)
        assert await client.cluster.remove(gone)
        await cluster.until_size(client, 2)
        for _ in range(2):
            cluster.nodes[3].spawn()
            assert cluster.nodes[3].wait_end(30) == 4
            assert "removed" in cluster.nodes[3].last_lines()
        await client.variable("x", int).set(1)
