"""Wall clocks that are wrong: log time goes on, at the pace of real time."""

import pytest
import trio

import flowactor as fa
from tests.cluster.harness import OUTSIDE, cluster


@fa.step(retry=fa.RetryPolicy(initial_interval=0.5, maximum_attempts=5))
async def flaky() -> str:
    if OUTSIDE.bump("flaky") < 2:
        raise ValueError("again")
    return "ok"


@fa.workflow(version=1)
class Flaky:
    async def run(self) -> str:
        return await flaky()


@fa.workflow(version=1)
class Nap:
    async def run(self, seconds: float) -> float:
        begun = fa.now()
        await fa.sleep(seconds)
        return (fa.now() - begun).total_seconds()


APP = fa.App([Flaky, Nap])


@pytest.mark.parametrize("ahead_seconds", [3600, -3600])
async def test_a_leaders_clock_jumps_and_timers_go_on(tmp_path, autojump_clock, ahead_seconds):
    """One entry stamped an hour ahead, or a clock set back by one, delays no timer and no retry."""
    async with cluster(tmp_path, APP) as c:
        leader = c.members[c.leader()]
        away = next(number for number in c.running if number != leader.number)
        leader.clock.ahead_seconds = ahead_seconds
        await c.client(away).variable("x", int).set(1)
        leader.clock.ahead_seconds = 0.0
        begun = trio.current_time()
        assert await c.client(away).execute(Flaky.run) == "ok"
        assert trio.current_time() - begun < 1.5
        begun = trio.current_time()
        await c.client(away).execute(Nap.run, 20.0)
        assert 20 <= trio.current_time() - begun < 20.5


@pytest.mark.parametrize("ahead_seconds", [10, -10])
async def test_an_owners_wrong_clock_changes_no_timer(tmp_path, autojump_clock, ahead_seconds):
    """A sleep is measured in log time, whatever the owner's own wall clock shows."""
    async with cluster(tmp_path, APP) as c:
        away = next(number for number in c.running if number != c.leader())
        c.members[away].clock.ahead_seconds = ahead_seconds
        begun = trio.current_time()
        slept = await c.client(away).execute(Nap.run, 8.0)
        assert 8 - 1e-6 < trio.current_time() - begun < 8.5
        assert 8 <= slept < 8.5


async def test_log_time_catches_up_after_all_were_down(tmp_path, autojump_clock):
    """What fell due while no node ran fires when they are back, not that much later."""
    async with cluster(tmp_path, APP, seconds=9000) as c:
        await c.client(1).start(Nap.run, 60.0, id="nap")
        await trio.sleep(1)
        await c.stop()
        await trio.sleep(3600)
        await c.start()
        begun = trio.current_time()
        assert await c.client(2).get_handle("nap").result() >= 60
        assert trio.current_time() - begun < 5
