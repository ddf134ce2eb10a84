"""Durable timers: not early, once, whatever happened meanwhile."""

import pytest
import trio

import flowactor as fa
from flowactor.machine.replies import RunStatus
from tests.cluster.harness import Cluster, cluster

DAY = 86_400


@fa.workflow(version=1)
class Sleeps:
    async def run(self, seconds: float) -> float:
        begun = fa.now()
        await fa.sleep(seconds)
        return (fa.now() - begun).total_seconds()


@fa.workflow(version=1)
class Many:
    async def run(self, count: int) -> list[int]:
        woken: list[int] = []

        async def one(number: int, delay: float) -> None:
            await fa.sleep(delay)
            woken.append(number)

        delays = sorted((fa.random().randrange(1, 8000) / 1000, n) for n in range(count))
        async with fa.open_nursery() as nursery:
            for delay, number in sorted(delays, key=lambda pair: pair[1]):
                nursery.start_soon(one, number, delay)
        assert woken == [number for _, number in delays]
        return woken


@fa.workflow(version=1)
class Race:
    def __init__(self) -> None:
        self.word = ""

    async def run(self, seconds: float) -> str:
        with fa.move_on_after(seconds):
            await fa.wait_condition(lambda: self.word)
        return self.word or "too late"

    @fa.signal
    def say(self, word: str) -> None:
        self.word = word


APP = fa.App([Many, Race, Sleeps])


def _armed(c: Cluster, run: fa.WorkflowHandle) -> bool:
    return bool(c.node(1).group.machine.runs[run.run_id].timers)


@pytest.mark.parametrize("size", [1, 3])
async def test_durable_timer(tmp_path, autojump_clock, size):
    """B1: a sleep of 30 days, the cluster down from day 0 to 10 and to 30, wakes at day 30."""
    async with cluster(tmp_path, APP, size, seconds=30 * DAY + 60) as c:
        begun = trio.current_time()
        run = await c.client(1).start(Sleeps.run, 30 * DAY, id="month")
        await c.until(lambda: _armed(c, run), "the sleep is recorded")
        for day in (10, 30):
            await c.stop()
            await trio.sleep_until(begun + day * DAY - 2)
            await c.start()
            await c.settle()
            assert (await c.client(1).get_handle("month").describe()).status is RunStatus.RUNNING
        slept = await c.client(size).get_handle(run.id, result_type=float).result()
        assert 30 * DAY <= slept <= 30 * DAY + 1
        assert 30 * DAY <= trio.current_time() - begun <= 30 * DAY + 1


async def test_timer_that_fell_due_while_all_were_down(tmp_path, autojump_clock):
    """A deadline is absolute: a timer due while the cluster was down fires when it is back."""
    async with cluster(tmp_path, APP, seconds=3 * DAY + 60) as c:
        run = await c.client(1).start(Sleeps.run, DAY)
        await c.until(lambda: _armed(c, run), "the sleep is recorded")
        c.kill(1, 2, 3)
        await c.dead(1, 2, 3)
        await trio.sleep(3 * DAY)
        await c.start()
        slept = await c.client(1).get_handle(run.id, result_type=float).result(timeout=10)
        assert slept >= DAY


@pytest.mark.parametrize("count", [30, pytest.param(300, marks=pytest.mark.long)])
async def test_many_timers(tmp_path, autojump_clock, count):
    """B2: 300 timers of one run (30 by default), the owner killed twice, all fire in their order,
    once each.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Many.run, count)
        for _ in range(2):
            await trio.sleep(1.5)
            owner = c.owner(run)
            c.kill(owner)
            await c.dead(owner)
            await c.until(c.leader, "a leader")
            await c.start(owner)
            await c.settle()
        woken = await c.client(1).get_handle(run.id, result_type=list[int]).result()
        assert sorted(woken) == list(range(count))
        fired = [
            e for e in await c.client(1).get_handle(run.id).history() if e.kind == "timer_fired"
        ]
        assert len(fired) == len({event.detail for event in fired}) == count


async def test_timer_cancelled_by_a_signal(tmp_path, autojump_clock):
    """B3: a signal at 5 s wins against a timer of 60 s, which is gone: the run ends at 5 s."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(3).start(Race.run, 60)
        begun = trio.current_time()
        await trio.sleep(5)
        await run.signal(Race.say, "in time")
        assert await run.result() == "in time"
        assert trio.current_time() - begun < 6
        await trio.sleep(70)
        kinds = [event.kind for event in await run.history()]
        assert "timer_fired" not in kinds
        assert "timer_cancelled" in kinds


async def test_deadline_of_a_block(tmp_path, autojump_clock):
    """A durable deadline ends its block, also when the owner died while it ran."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Race.run, 5)
        begun = trio.current_time()
        c.kill(1)
        await c.dead(1)
        assert await c.client(2).get_handle(run.id).result() == "too late"
        assert 5 <= trio.current_time() - begun < 9


async def test_an_owner_learns_at_once_what_it_has_to_do(tmp_path, autojump_clock):
    """Timers and signals of a run reach its owner without waiting for the next heartbeat."""
    async with cluster(tmp_path, APP) as c:
        owner = next(number for number in c.running if number != c.leader())
        await c.client(owner).variable("session", int).set(1)
        for seconds in (0.23, 0.51, 1.07):
            begun = trio.current_time()
            await c.client(owner).execute(Sleeps.run, seconds)
            assert trio.current_time() - begun < seconds + 0.02
