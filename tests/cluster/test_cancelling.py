"""Cancelling runs lets them clean up; terminating them does not."""

import pytest
import trio

import flowactor as fa
from flowactor.machine.replies import RunStatus
from flowactor.observability.events import StepFinished
from tests.cluster.harness import OUTSIDE, cluster


@fa.step
async def gated(name: str) -> str:
    OUTSIDE.bump(name)
    try:
        await OUTSIDE.gate(name)
    except trio.Cancelled:
        OUTSIDE.bump(f"{name} told to stop")
        raise
    return name


@fa.workflow(version=1)
class CleansUp:
    async def run(self) -> str:
        try:
            return await gated("work")
        finally:
            with fa.CancelScope(shield=True):
                await gated("undo")


@fa.workflow(version=1)
class Blocks:
    """Waits at one of the places where a run can wait."""

    async def run(self, where: str) -> str:
        match where:
            case "step":
                await gated("work")
            case "sleep":
                await fa.sleep(3600)
            case "condition":
                await fa.wait_condition(lambda: False)
            case "forever":
                await fa.sleep_forever()
            case "nursery":
                async with fa.open_nursery() as nursery:
                    nursery.start_soon(fa.sleep, 3600)
                    nursery.start_soon(gated, "branch")
            case "backing off":
                await fails()
        return "went on"


@fa.step(retry=fa.RetryPolicy(initial_interval=3600))
async def fails() -> None:
    OUTSIDE.bump("fails")
    raise ConnectionError


@fa.workflow(version=1)
class Swallows:
    async def run(self) -> str:
        try:
            await fa.sleep(3600)
        except fa.Cancelled:
            return "as if nothing had been"
        return "slept"


@fa.workflow(version=1)
class Shields:
    async def run(self) -> str:
        with fa.CancelScope(shield=True):
            done = await gated("shielded")
            await fa.variable("done", done)
        await fa.checkpoint()
        return done


APP = fa.App([Blocks, CleansUp, Shields, Swallows])


@pytest.mark.parametrize("crash", [False, True], ids=["calm", "crash"])
async def test_cancel_runs_cleanup(tmp_path, autojump_clock, crash):
    """B9: cancelled inside a step, the run does its clean-up step to the end, even if the owner
    dies in it; it ends cancelled, and a second cancel changes nothing.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(CleansUp.run)
        await c.until(lambda: OUTSIDE.count("work"), "the work begins")
        assert await run.cancel("changed my mind")
        await c.until(lambda: OUTSIDE.count("undo"), "the clean-up begins")
        assert OUTSIDE.count("work told to stop") == 1
        assert not await run.cancel("really")
        if crash:
            owner = c.owner(run)
            c.kill(owner)
            await c.dead(owner)
            await c.until(lambda: OUTSIDE.count("undo") == 2, "the clean-up begins again")
        OUTSIDE.open("undo")
        seen = c.client(c.running[0]).get_handle(run.id)
        with pytest.raises(fa.WorkflowCancelled, match="changed my mind"):
            await seen.result()
        assert (await seen.describe()).status is RunStatus.CANCELLED
        assert OUTSIDE.count("work") == 1
        with pytest.raises(fa.AlreadyClosed):
            await seen.cancel()


@pytest.mark.parametrize(
    "where", ["step", "sleep", "condition", "forever", "nursery", "backing off"]
)
async def test_cancel_each_blocking_point(tmp_path, autojump_clock, where):
    """B10: wherever the run waits, cancellation reaches it at once, and nothing stays pending."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(2).start(Blocks.run, where)
        await c.until(lambda: c.node(2).group.machine.runs[run.run_id].position, "it waits")
        await trio.sleep(0.5)
        begun = trio.current_time()
        await run.cancel()
        with pytest.raises(fa.WorkflowCancelled):
            await run.result()
        assert trio.current_time() - begun < 1
        view = await run.describe()
        assert (view.steps, view.timers, view.inbox) == ((), (), 0)
        await c.converge()


async def test_cancel_swallowed(tmp_path, autojump_clock):
    """B11: a run that catches its cancellation and returns has completed with that result."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Swallows.run)
        await c.until(lambda: c.node(1).group.machine.runs[run.run_id].position, "it sleeps")
        await run.cancel()
        assert await run.result() == "as if nothing had been"
        assert (await run.describe()).status is RunStatus.COMPLETED


async def test_shielded_step_is_not_interrupted(tmp_path, autojump_clock):
    """B11: cancellation waits until a shielded step has ended, then strikes."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Shields.run)
        await c.until(lambda: OUTSIDE.count("shielded"), "the step runs")
        await run.cancel()
        await trio.sleep(5)
        assert OUTSIDE.count("shielded told to stop") == 0
        OUTSIDE.open("shielded")
        with pytest.raises(fa.WorkflowCancelled):
            await run.result()
        assert await run.variable("done", str) == "shielded"


async def test_terminate_no_cleanup(tmp_path, autojump_clock):
    """B12: a terminated run runs no more code, not even its clean-up; its step is told to stop."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(3).start(CleansUp.run)
        await c.until(lambda: OUTSIDE.count("work"), "the work begins")
        OUTSIDE.open("undo")
        assert await run.terminate("at once")
        with pytest.raises(fa.WorkflowTerminated, match="at once"):
            await run.result()
        await trio.sleep(5)
        assert OUTSIDE.count("work told to stop") == 1
        assert OUTSIDE.count("undo") == 0
        assert [event.outcome for event in c.seen(StepFinished)] == ["cancelled"]
        assert (await run.describe()).status is RunStatus.TERMINATED


async def test_cancel_before_it_begins(tmp_path, autojump_clock):
    """A run cancelled in the same instant as it is started ends cancelled, without its work."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Blocks.run, "step", id="brief")
        await run.cancel()
        with pytest.raises(fa.WorkflowCancelled):
            await run.result()
