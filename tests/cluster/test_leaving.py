"""A node that is told to stop hands everything over first: nobody waits for a time-out."""

from itertools import pairwise

import pytest
import trio

import flowactor as fa
from flowactor.client import remote
from flowactor.errors import Refused
from flowactor.limits import (
    ELECTION_TICKS_MAX,
    ELECTION_TICKS_MIN,
    OWNER_LEASE_SECONDS,
    TICK_SECONDS,
)
from flowactor.observability.events import LeaderChanged, StepFinished
from tests.cluster.harness import OUTSIDE, cluster

NOTICED_SECONDS = min(OWNER_LEASE_SECONDS, ELECTION_TICKS_MIN * TICK_SECONDS)
"""Nobody waits for as long as anybody would take to notice that the node is gone."""


@fa.step
async def work(name: str) -> str:
    OUTSIDE.bump(name)
    await trio.sleep(0.02)
    return name


@fa.workflow
class Works:
    async def run(self, name: str) -> str:
        for _ in range(100):
            await work(name)
        return name


APP = fa.App([Works])


@pytest.fixture
def redirects(monkeypatch):
    """How often each question of a client over the network was sent again."""
    counted = []
    resolve = remote.RemoteChannel._resolve

    def count(channel, link, response):
        pending = channel._pending.get(response.number)
        counted.extend([pending.sent - 1] if pending else [])
        resolve(channel, link, response)

    monkeypatch.setattr(remote.RemoteChannel, "_resolve", count)
    return counted


@pytest.mark.parametrize("leads", [True, False], ids=["leader", "follower"])
@pytest.mark.parametrize("for_good", [False, True], ids=["stops", "leaves"])
async def test_nobody_waits_for_a_time_out(tmp_path, autojump_clock, redirects, leads, for_good):
    """An owner is told to stop, or to leave for good, while its runs take steps and clients ask for
    their results: the steps go on elsewhere at once, no step was executed twice but those it was
    in, and no client is sent on more than once.
    """
    OUTSIDE.reset()
    async with cluster(tmp_path, APP) as c:
        leader = c.leader()
        stops = leader if leads else next(n for n in c.running if n != leader)
        others = [n for n in c.running if n != stops]
        names = [f"run-{number}" for number in range(6)]
        for name in names:
            await c.client(stops).start(Works.run, name, id=name)
        addresses = ",".join(c.members[n].address for n in (stops, *others))
        transport = c.wires.transport("memory:9")
        results = []

        async def ask(client, name):
            results.append(await client.get_handle(name, result_type=str).result())

        async with (
            fa.connect(addresses, transport=transport, request_timeout=10) as client,
            trio.open_nursery() as nursery,
        ):
            for name in names:
                nursery.start_soon(ask, client, name)
            await c.until(lambda: OUTSIDE.count(names[-1]) > 20, "they are in the midst of it")
            c.events.clear()
            if for_good:
                await client.cluster.remove(stops)
                await c.dead(stops)
            else:
                await c.stop(stops)
        assert sorted(results) == names
        assert c.seen(StepFinished, *others)
        assert c.seen(LeaderChanged, *others) or not leads
        executions = list(zip(OUTSIDE.done, OUTSIDE.times, strict=True))
        for name in names:
            mine = [at for (done, *_), at in executions if done == name]
            assert len(mine) <= 101
            assert max(after - before for before, after in pairwise(mine)) < NOTICED_SECONDS / 2
        assert max(redirects) == 1


async def write_for(client, seconds):
    """Write all the time; how long the slowest write took."""
    counter, slowest, end = client.variable("counter", int), 0.0, trio.current_time() + seconds
    while trio.current_time() < end:
        before = trio.current_time()
        await counter.set(1)
        slowest = max(slowest, trio.current_time() - before)
        await trio.sleep(0.05)
    return slowest


async def test_the_lead_is_not_offered_to_the_dead(tmp_path, autojump_clock):
    """Whoever does not answer cannot take the lead: that is said at once, and no write waits."""
    async with cluster(tmp_path, APP) as c:
        leader = c.leader()
        dead = next(number for number in c.running if number != leader)
        client = c.client(leader)
        c.kill(dead)
        await c.dead(dead)
        before = trio.current_time()
        with pytest.raises(Refused, match=f"node {dead} does not answer"):
            await client.cluster.transfer(1, dead)
        assert trio.current_time() - before < 0.1
        assert await write_for(client, 2.0) < 0.5
        assert await client.cluster.transfer(1)
        assert c.leader() not in (leader, dead)


async def test_a_lead_that_is_not_taken_is_kept(tmp_path, autojump_clock):
    """The other is alive and hears nothing, so nobody can know that it will not lead: one try, in
    which writes wait, and an answer.
    """
    async with cluster(tmp_path, APP) as c:
        leader = c.leader()
        deaf = next(number for number in c.running if number != leader)
        client, took = c.client(leader), []
        await client.variable("counter", int).set(0)

        async def write():
            took.append(await write_for(client, 10.0))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            c.silence([leader], [deaf])
            before = trio.current_time()
            with pytest.raises(Refused, match=f"node {deaf} "):
                await client.cluster.transfer(1, deaf)
            assert trio.current_time() - before < 5.0
        assert took[0] < 2 * ELECTION_TICKS_MAX * TICK_SECONDS
