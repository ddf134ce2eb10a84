"""A node that is told to stop hands everything over first: nobody waits for a time-out."""

from itertools import pairwise

import pytest
import trio

import flowactor as fa
from flowactor.client import remote
from flowactor.limits import ELECTION_TICKS_MIN, OWNER_LEASE_SECONDS, TICK_SECONDS
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
