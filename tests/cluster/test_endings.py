"""Runs that run out of time, and nodes that are stopped while runs are open."""

import pytest
import trio

import flowactor as fa
from flowactor.limits import NANOSECONDS
from flowactor.machine.replies import RunStatus
from flowactor.observability.events import (
    ActorFailed,
    NodeStopped,
    Recovered,
    StepFinished,
    StorageFailed,
)
from tests.cluster.harness import OUTSIDE, cluster


@fa.step
async def nap(seconds: float) -> float:
    OUTSIDE.bump("nap")
    await trio.sleep(seconds)
    OUTSIDE.bump("woke")
    return seconds


@fa.workflow(version=1)
class Naps:
    async def run(self, naps: int, seconds: float) -> int:
        for _ in range(naps):
            await nap(seconds)
        return naps


@fa.workflow(version=1)
class Waits:
    def __init__(self) -> None:
        self.word = ""

    async def run(self) -> str:
        await fa.wait_condition(lambda: self.word)
        return self.word

    @fa.signal
    def say(self, word: str) -> None:
        self.word = word


APP = fa.App([Naps, Waits])


async def test_workflow_timeout(tmp_path, autojump_clock):
    """B14: a run's time-out strikes at its moment, also when the leader dies a second before: the
    run has timed out then, on all nodes, and its step is told to stop.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Naps.run, 1, 3600, timeout=30)
        await trio.sleep(29)
        leader = c.leader()
        c.kill(leader)
        await c.dead(leader)
        for number in c.running:
            seen = c.client(number).get_handle(run.id)
            with pytest.raises(fa.WorkflowTimedOut, match="within its time-out of 30 s"):
                await seen.result()
            view = await seen.describe()
            assert view.status is RunStatus.TIMED_OUT
            assert view.closed_ns - view.started_ns == 30 * NANOSECONDS
        await trio.sleep(5)
        assert OUTSIDE.count("woke") == 0
        assert {event.outcome for event in c.seen(StepFinished, *c.running)} <= {"cancelled"}
        await c.converge()


@pytest.mark.parametrize("size", [1, 3])
async def test_workflow_timeout_in_its_third_step(tmp_path, autojump_clock, size):
    """A-X7: three steps of 400 ms with a second for all time out in the third."""
    async with cluster(tmp_path, APP, size) as c:
        run = await c.client(1).start(Naps.run, 3, 0.4, timeout=1)
        with pytest.raises(fa.WorkflowTimedOut):
            await run.result()
        assert (OUTSIDE.count("nap"), OUTSIDE.count("woke")) == (3, 2)


async def test_in_time_the_timeout_is_gone(tmp_path, autojump_clock):
    """A run that ended in time stays completed when its time-out would have struck."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(2).start(Naps.run, 1, 0.1, timeout=3)
        assert await run.result() == 1
        await trio.sleep(5)
        assert (await run.describe()).status is RunStatus.COMPLETED
        await c.converge()


@pytest.mark.parametrize("size", [1, 3])
async def test_clean_stop_while_runs_are_open(tmp_path, autojump_clock, size):
    """Nodes that are stopped in good order tell their steps to stop, report no trouble, and leave
    on disk all they had applied; started again, every run goes on.
    """
    async with cluster(tmp_path, APP, size) as c:
        sleepers = [await c.client(size).start(Naps.run, 1, 10) for _ in range(5)]
        waiters = [await c.client(1).start(Waits.run) for _ in range(5)]
        await c.until(lambda: OUTSIDE.count("nap") == 5, "all naps have begun")
        await c.converge()
        applied = {number: c.node(number).group.applied for number in c.running}
        await c.stop()
        assert c.running == []
        assert [member.failure for member in c.members.values()] == [None] * size
        assert len(c.seen(NodeStopped)) == size
        assert not c.seen(ActorFailed) + c.seen(StorageFailed)
        # Runs are handed over before a node stops, so some naps begin once more elsewhere.
        outcomes = [event.outcome for event in c.seen(StepFinished)]
        assert outcomes == ["cancelled"] * max(5, len(outcomes))

        await c.start()
        for number, before in applied.items():
            recovered = next(r for r in c.seen(Recovered, number) if r.group == 1)
            assert recovered.applied >= before
        await c.settle()
        for run in waiters:
            await c.client(1).get_handle(run.id).signal(Waits.say, "hello")
        for run in sleepers:
            assert await c.client(1).get_handle(run.id).result() == 1
        for run in waiters:
            assert await c.client(size).get_handle(run.id).result() == "hello"
        assert len(OUTSIDE.attempts("woke")) == 5
        assert min(OUTSIDE.attempts("woke")) > 1


async def test_stopped_owner_hands_over_within_a_lease(tmp_path, autojump_clock):
    """A-R26: an owner that is stopped in good order is replaced, and its runs end."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Naps.run, 2, 1)
        await c.until(lambda: OUTSIDE.count("nap"), "the first nap has begun")
        owner = c.owner(run)
        await c.stop(owner)
        begun = trio.current_time()
        other = c.running[0]
        assert await c.client(other).get_handle(run.id).result() == 2
        assert trio.current_time() - begun < 6
        assert OUTSIDE.count("woke") == 2
