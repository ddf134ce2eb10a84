"""A node that starts goes through the past of its runs by and by: of those that something concerns
at once, of the others when there is time.
"""

from collections.abc import Awaitable, Callable

import pytest
import trio

import flowactor as fa
from flowactor.cluster.runs import instances
from flowactor.limits import ACTIVATION_COMMANDS_MAX
from tests.cluster.harness import OUTSIDE, Cluster, cluster

LIVES: list[str] = []
"""Whose code was begun, here or there, for the first time or once more."""


@fa.step
async def gated(name: str) -> str:
    OUTSIDE.bump(name)
    await OUTSIDE.gate(name)
    return name


@fa.workflow(version=1)
class Waits:
    def __init__(self) -> None:
        self.got = ""

    async def run(self, name: str, seconds: float) -> str:
        LIVES.append(name)
        with fa.move_on_after(seconds):
            await fa.wait_condition(lambda: self.got)
        return self.got or "nothing"

    @fa.signal
    def give(self, what: str) -> None:
        self.got = what

    @fa.query
    def look(self) -> str:
        return f"got {self.got!r}"


@fa.workflow(version=1)
class Performs:
    async def run(self, name: str) -> str:
        LIVES.append(name)
        return await gated(name)


@fa.workflow(version=1)
class AsksForALot:
    """So much that it takes several activations, one right after the other."""

    async def run(self, name: str) -> int:
        LIVES.append(name)
        count = await fa.variable("count", 0)
        for number in range(3 * ACTIVATION_COMMANDS_MAX):
            await count.set(number)
        return count.value


APP = fa.App([AsksForALot, Performs, Waits])

Concern = Callable[[Cluster, fa.WorkflowHandle], Awaitable[None]]


async def signalled(_: Cluster, run: fa.WorkflowHandle) -> None:
    await run.signal(Waits.give, "it")
    assert await run.result() == "it"


async def queried(_: Cluster, run: fa.WorkflowHandle) -> None:
    assert await run.query(Waits.look) == "got ''"


async def timed_out(_: Cluster, run: fa.WorkflowHandle) -> None:
    assert await run.result() == "nothing"


async def cancelled(_: Cluster, run: fa.WorkflowHandle) -> None:
    await run.cancel()
    with pytest.raises(fa.WorkflowCancelled):
        await run.result()


async def terminated(_: Cluster, run: fa.WorkflowHandle) -> None:
    await run.terminate("enough")
    with pytest.raises(fa.WorkflowTerminated):
        await run.result()


@pytest.fixture
def nobody_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """No run is woken without a reason."""
    monkeypatch.setattr(instances, "INSTANCES_WOKEN_PER_TICK", 0)
    LIVES.clear()


async def again(c: Cluster) -> None:
    """All nodes are killed, and start again with what they stored."""
    await c.converge()
    await trio.sleep(1)  # rows are written behind
    c.kill(*c.running)
    await c.dead(*c.members)
    LIVES.clear()
    await c.start()
    await c.settle()


@pytest.mark.parametrize(
    ("concern", "woken"),
    [(signalled, 1), (queried, 1), (timed_out, 1), (cancelled, 1), (terminated, 0)],
)
async def test_what_concerns_a_run_wakes_it_alone(
    tmp_path, autojump_clock, nobody_woken, concern, woken
):
    """After a restart, a run that is asked, told, timed out or cancelled goes on where it stood,
    and nobody else's code is run; one that is terminated needs no code at all.
    """
    async with cluster(tmp_path, APP, 1) as c:
        await c.client(1).start(Waits.run, "this", 60.0, id="this")
        for number in range(5):
            await c.client(1).start(Waits.run, f"other {number}", 10**6)
        await again(c)
        assert len(c.node(1).instances) == 6
        await concern(c, c.client(1).get_handle("this", result_type=str))
        assert ["this"] * woken == LIVES


async def test_a_new_owner_wakes_for_what_is_to_be_done(tmp_path, autojump_clock, nobody_woken):
    """The owner of two runs dies soon after all nodes were restarted: who follows it executes the
    step of one, and leaves alone the other, which waits.
    """
    async with cluster(tmp_path, APP) as c:
        performs = await c.client(1).start(Performs.run, "performs", id="performs")
        await c.client(1).start(Waits.run, "waits", 10**6, id="waits")
        await c.until(lambda: OUTSIDE.count("performs") == 1, "the step runs")
        owner = c.owner(performs)
        await again(c)
        await c.until(lambda: OUTSIDE.count("performs") == 2, "it runs again")
        assert LIVES == ["performs"], "at its owner alone"
        c.kill(owner)
        await c.dead(owner)
        await c.until(lambda: OUTSIDE.count("performs") == 3, "it runs at another node")
        OUTSIDE.open("performs")
        (number, *_) = c.running
        assert await c.client(number).get_handle("performs").result() == "performs"
        assert "waits" not in LIVES


async def test_every_run_is_woken_in_the_end(tmp_path, autojump_clock, monkeypatch):
    """A few at a time, with nothing happening to any, owner and standbys go through all runs."""
    monkeypatch.setattr(instances, "INSTANCES_WOKEN_PER_TICK", 2)
    async with cluster(tmp_path, APP) as c:
        names = [f"waits {number}" for number in range(6)]
        for name in names:
            await c.client(1).start(Waits.run, name, 10**6)
        await again(c)
        await c.until(lambda: len(LIVES) == 3 * len(names), "all are followed, on every node")
        assert sorted(LIVES) == sorted(names * 3)


async def test_what_was_cut_short_goes_on(tmp_path, autojump_clock):
    """The process dies between two activations of a run that the machine cannot tell from one that
    waits: its code had more to ask for. After the restart it goes on by itself.
    """
    async with cluster(tmp_path, APP, 1) as c:
        run = await c.client(1).start(AsksForALot.run, "lot", id="lot")
        machine = c.node(1).group.machine
        while not machine.runs[run.run_id].position:
            await trio.lowlevel.checkpoint()  # it is over before time passes
        assert not machine.runs[run.run_id].inbox
        c.node(1).group.flush()
        c.kill(1)
        await c.dead(1)
        await c.start(1)
        assert run.run_id in c.node(1).group.machine.runs
        lot = c.client(1).get_handle("lot", result_type=int)
        assert await lot.result() == 3 * ACTIVATION_COMMANDS_MAX - 1
