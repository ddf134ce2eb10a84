"""Stopping, killing and starting: one node, or the whole cluster, at any point of a run."""

from collections.abc import Callable

import pytest
import trio

import flowactor as fa
from flowactor.machine.replies import RunStatus
from flowactor.observability.events import Recovered
from tests.cluster.harness import OUTSIDE, Cluster, cluster


@fa.step
async def gather_ore(day: int) -> int:
    OUTSIDE.bump(f"ore {day}")
    await trio.sleep(0.02)
    return day * 10


@fa.step
async def gated(name: str) -> str:
    OUTSIDE.bump(name)
    await OUTSIDE.gate(name)
    return name


def refine(ore: int) -> int:
    OUTSIDE.bump(f"refine {ore}")
    return ore + 1


@fa.workflow(version=1)
class Mine:
    """One of everything: steps, a computation, a variable, a timer, chance, a signal, branches."""

    def __init__(self) -> None:
        self.paid = 0

    async def run(self, days: int) -> list[int]:
        yields = await fa.variable("yields", [])
        for day in range(days):
            ore = await gather_ore(day)
            await yields.set([*yields.value, await fa.compute("refine", refine, ore)])
        await fa.sleep(0.5)
        luck = fa.random().randrange(1000)
        more = await fa.gather(gather_ore(days), gather_ore(days + 1))
        await fa.wait_condition(lambda: self.paid)
        return [*yields.value, luck, *more, self.paid]

    @fa.signal
    def pay(self, amount: int) -> None:
        self.paid = amount


@fa.workflow(version=1)
class Waits:
    async def run(self) -> str:
        return await gated("step")


APP = fa.App([Mine, Waits])
EXPECTED = [1, 11, 21, 30, 40, 7]
"""All of a result but the luck."""

Point = tuple[str, Callable[[Cluster, str], object]]


def _position(c: Cluster, run_id: str) -> int:
    state = c.node(c.running[0]).group.machine.runs.get(run_id)
    return state.position if state is not None else 10**6


POINTS: list[Point] = [
    ("started", lambda c, run: True),
    ("first step runs", lambda c, run: OUTSIDE.count("ore 0")),
    ("first computation", lambda c, run: OUTSIDE.count("refine 0")),
    ("second step runs", lambda c, run: OUTSIDE.count("ore 1")),
    ("third computation", lambda c, run: OUTSIDE.count("refine 20")),
    ("timer armed", lambda c, run: _position(c, run) >= 7),
    ("branches run", lambda c, run: OUTSIDE.count("ore 4")),
    ("all but the signal", lambda c, run: _position(c, run) >= 9),
]


@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.parametrize(("point", "reached"), POINTS, ids=[name for name, _ in POINTS])
async def test_whole_cluster_down_and_up(tmp_path, autojump_clock, point, reached, how):
    """All nodes go down at once at this point and come back: the result is right, everything was
    recorded once, and nothing recorded ran again.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(2).start(Mine.run, 3, id="mine")
        await c.until(lambda: reached(c, run.run_id), point)
        if how == "killed":
            c.kill(1, 2, 3)
            await c.dead(1, 2, 3)
        else:
            await c.stop()
        await trio.sleep(1)
        await c.start()
        await c.settle()
        again = c.client(3).get_handle(run.id, result_type=list[int])
        await again.signal(Mine.pay, 7)
        result = await again.result()
        assert [*result[:3], *result[4:]] == EXPECTED
        await assert_once(again)
        for number in c.running:
            same = c.client(number).get_handle(run.id, result_type=list[int])
            assert await same.result() == result
        await c.converge()


async def assert_once(run: fa.WorkflowHandle) -> None:
    """Every step of the run has one result in its history, and ran no more than its attempts."""
    history = await run.history()
    completed = [event.detail for event in history if event.kind == "step_completed"]
    assert len(completed) == len(set(completed)) == 8
    for name in {name for name, _, _ in OUTSIDE.done}:
        assert OUTSIDE.count(name) <= max(OUTSIDE.attempts(name)), name
        assert len(OUTSIDE.keys(name)) == 1


@pytest.mark.parametrize("size", [1, 3])
async def test_restarted_owner_counts_its_attempts(tmp_path, autojump_clock, size):
    """A2: the owner is killed inside a step and comes back before anybody misses it: the step runs
    again as a second attempt, and never a second time as the first.
    """
    async with cluster(tmp_path, APP, size) as c:
        run = await c.client(1).start(Waits.run)
        await c.until(lambda: OUTSIDE.count("step") == 1, "the step runs")
        c.kill(1)
        await c.dead(1)
        await c.start(1)
        await c.settle()
        await c.until(lambda: OUTSIDE.count("step") == 2, "the step runs again")
        OUTSIDE.open("step")
        again = c.client(1).get_handle(run.id)
        assert await again.result() == "step"
        assert OUTSIDE.attempts("step") == [1, 2]
        assert len(OUTSIDE.keys("step")) == 1


async def test_restarted_owner_alone_does_nothing(tmp_path, autojump_clock):
    """An owner that comes back and reaches nobody starts no step: it cannot know whether the run is
    still its own.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Waits.run)
        await c.until(lambda: OUTSIDE.count("step") == 1, "the step runs")
        c.kill(1)
        await c.dead(1)
        await c.until(lambda: OUTSIDE.count("step") == 2, "the step runs elsewhere")
        await c.start(1)
        c.isolate(1)
        await trio.sleep(5)
        assert OUTSIDE.attempts("step") == [1, 2]
        c.heal()
        OUTSIDE.open("step")
        assert await c.client(2).get_handle(run.id).result() == "step"


async def test_start_is_durable(tmp_path, autojump_clock):
    """A4: a start was answered, then all nodes were killed in the same instant: the run is there
    and ends, once.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(3).start(Waits.run, id="kept")
        c.kill(1, 2, 3)
        await c.dead(1, 2, 3)
        OUTSIDE.open("step")
        await c.start()
        await c.settle()
        again = c.client(1).get_handle("kept")
        assert await again.result() == "step"
        assert (await again.describe()).run_id == run.run_id
        assert (await c.client(2).list()).total == 1


async def test_result_survives(tmp_path, autojump_clock):
    """A5: the result of a run that had ended is the same after all were killed, asked twice."""
    async with cluster(tmp_path, APP) as c:
        OUTSIDE.open("step")
        run = await c.client(1).start(Waits.run)
        assert await run.result() == "step"
        for _ in range(2):
            c.kill(1, 2, 3)
            await c.dead(1, 2, 3)
            await c.start()
            await c.settle()
            for number in c.running:
                seen = c.client(number).get_handle(run.id)
                assert await seen.result() == "step"
                assert await seen.result() == "step"
        assert OUTSIDE.count("step") == 1


async def test_restarted_node_catches_up(tmp_path, autojump_clock):
    """A node that was away while hundreds of entries were written applies them all, holds the same
    state as the others, and can own runs again.
    """
    async with cluster(tmp_path, APP) as c:
        away = next(number for number in c.running if number != c.leader())
        c.kill(away)
        await c.dead(away)
        other = c.running[0]
        for number in range(400):
            await c.client(other).variable("counter", int).set(number)
        OUTSIDE.open("step")
        ended = await c.client(other).start(Waits.run)
        assert await ended.result() == "step"
        await c.start(away)
        await c.settle()
        await c.converge()
        [recovered] = [event for event in c.seen(Recovered, away) if event.group == 1]
        assert recovered.applied <= recovered.last_index
        assert await c.client(away).get_handle(ended.id).result() == "step"
        own = await c.client(away).start(Waits.run)
        assert (await own.describe()).owner in {away, 0}
        assert await own.result() == "step"


async def test_all_down_one_after_another(tmp_path, autojump_clock):
    """Nodes are restarted one after another, twice round, as in a roll-out: runs go on through all
    of it, and end right.
    """
    async with cluster(tmp_path, APP) as c:
        runs = [await c.client(n).start(Mine.run, 3, id=f"mine-{n}") for n in (1, 2, 3)]
        for number in (1, 2, 3, 1, 2, 3):
            await c.stop(number)
            await c.start(number)
            await c.settle()
        for run in runs:
            again = c.client(1).get_handle(run.id, result_type=list[int])
            await again.signal(Mine.pay, 7)
            result = await again.result()
            assert [*result[:3], *result[4:]] == EXPECTED
            assert (await again.describe()).status is RunStatus.COMPLETED
        await c.converge()
