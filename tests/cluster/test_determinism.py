"""Every node checks the code it runs against what is recorded, all the time."""

import re

import pytest
import trio

import flowactor as fa
from flowactor.machine.replies import RunStatus
from flowactor.observability.events import RunDiverged, RunParked
from tests.cluster.harness import OUTSIDE, cluster


@fa.step
async def gated(name: str) -> str:
    OUTSIDE.bump(name)
    await OUTSIDE.gate(name)
    return name


@fa.step(name="gated", retry=fa.RetryPolicy(maximum_attempts=9), start_to_close=900)
async def gated_differently(name: str) -> str:
    OUTSIDE.bump(name)
    return f"{name}!"


@fa.workflow(version=1, name="Order")
class Original:
    def __init__(self) -> None:
        self.notes: list[str] = []

    async def run(self) -> str:
        return await gated("pack") + await gated("ship")

    @fa.signal
    def note(self, text: str) -> None:
        self.notes.append(text)

    @fa.query
    def noted(self) -> list[str]:
        return self.notes


@fa.workflow(version=1, name="Order")
class Changed(Original):
    async def run(self) -> str:
        return await gated("weigh") + await gated("ship")


@fa.workflow(version=1, name="Order")
class Improved(Original):
    """What may change: a step's body, its retries and limits, a new handler."""

    async def run(self) -> str:
        packed = await gated_differently("pack")
        return packed + await gated_differently("ship")

    @fa.query
    def how_many(self) -> int:
        return len(self.notes)


@fa.workflow(version=1)
class Chance:
    async def run(self) -> list[str]:
        drawn = [str(fa.random().random()), str(fa.uuid4()), fa.now().isoformat()]
        await fa.variable("drawn", drawn)
        await gated("between")
        drawn += [str(fa.random().random()), str(fa.uuid4())]
        await fa.variable("drawn again", drawn)
        await gated("after")
        return drawn


ORIGINAL, CHANGED = fa.App([Original]), fa.App([Changed])
IMPROVED = fa.App([Improved])


ASKED = "step gated with arguments ['{}'] at tests.cluster.test_determinism, line {}, in {}"


def line_of(cls: type) -> int:
    """Where ``run`` asks for its steps."""
    return cls.run.__code__.co_firstlineno + 1


async def restart(c, app: fa.App) -> None:
    await c.stop()
    await c.start(app=app)
    await c.settle()


async def test_mismatch_parks_the_run_until_the_code_is_mended(tmp_path, autojump_clock):
    """Code that asks for something else than is recorded parks the run and shows both sides, each
    with its file and line; nothing of the wrong code is executed; mended, the run goes on by an
    operator's word.
    """
    async with cluster(tmp_path, ORIGINAL) as c:
        run = await c.client(1).start(Original.run, id="order")
        OUTSIDE.open("pack")
        await c.until(lambda: OUTSIDE.count("ship"), "the second step runs")

        await restart(c, CHANGED)
        await c.until(lambda: c.owner(run) == 0, "it is parked")
        for number in c.running:
            view = await c.client(number).get_handle("order").describe()
            assert view.status is RunStatus.PARKED
            recorded, produced = re.findall(r"(?:recorded|this code): (.*)", view.reason)
            assert recorded == ASKED.format("pack", line_of(Original), "Original.run")
            assert produced == ASKED.format("weigh", line_of(Changed), "Changed.run")
        await c.client(2).get_handle("order").signal(Original.note, "kept meanwhile")
        assert OUTSIDE.count("weigh") == 0
        assert len(c.seen(RunParked)) == 3

        await restart(c, ORIGINAL)
        mended = c.client(2).get_handle("order", result_type=str)
        assert (await mended.describe()).status is RunStatus.PARKED
        OUTSIDE.open("ship")
        assert await mended.resume()
        assert not await mended.resume()
        assert await mended.result() == "packship"
        assert await mended.query(Original.noted) == ["kept meanwhile"]
        assert OUTSIDE.count("pack") == 1
        await c.converge()


async def test_resumed_too_early_it_is_parked_again(tmp_path, autojump_clock):
    """An operator's word that comes before the code is mended only parks the run again."""
    async with cluster(tmp_path, ORIGINAL) as c:
        run = await c.client(1).start(Original.run, id="order")
        await c.until(lambda: OUTSIDE.count("pack"), "the first step runs")
        await restart(c, CHANGED)
        await c.until(lambda: c.owner(run) == 0, "it is parked")
        seen = c.client(3).get_handle("order")
        for _ in range(3):
            assert await seen.resume()
            await c.until(lambda: c.owner(run) == 0, "it is parked again")
        view = await seen.describe()
        assert view.status is RunStatus.PARKED
        assert "Changed.run" in view.reason
        await c.converge()


async def test_standby_with_other_code_is_noticed_and_harms_nobody(tmp_path, autojump_clock):
    """A standby that would have done something else says so, with both sides; the run goes on at
    its owner, and questions to that node are answered by one that agrees.
    """
    async with cluster(tmp_path, {1: ORIGINAL, 2: ORIGINAL, 3: CHANGED}) as c:
        run = await c.client(1).start(Original.run)
        await run.signal(Original.note, "mine")
        await c.until(lambda: c.seen(RunDiverged, 3), "node 3 notices")
        assert not c.seen(RunDiverged, 1, 2)
        for number, diverged in [(1, False), (2, False), (3, True)]:
            seen = c.client(number).get_handle(run.id)
            shown = (await seen.describe()).diverged
            assert bool(shown) is diverged
            assert not diverged or ("Original.run" in shown and "Changed.run" in shown)
            assert await seen.query(Original.noted) == ["mine"]
        OUTSIDE.open("pack")
        OUTSIDE.open("ship")
        assert await run.result() == "packship"
        assert OUTSIDE.count("weigh") == 0
        await c.converge()


async def test_owner_with_other_code_parks_the_run(tmp_path, autojump_clock):
    """A run that comes to a node whose code disagrees is parked rather than done wrong."""
    async with cluster(tmp_path, {1: ORIGINAL, 2: CHANGED, 3: CHANGED}) as c:
        run = await c.client(1).start(Original.run)
        OUTSIDE.open("pack")
        await c.until(lambda: OUTSIDE.count("ship"), "the second step runs")
        c.kill(1)
        await c.dead(1)
        await c.until(lambda: c.seen(RunParked, 2, 3), "it is parked")
        view = await c.client(2).get_handle(run.id).describe()
        assert view.status is RunStatus.PARKED
        assert "Changed.run" in view.reason
        assert OUTSIDE.count("weigh") == 0


async def test_safe_changes(tmp_path, autojump_clock):
    """F3: a changed body, other retries and limits, a new handler: old runs go on, and use them."""
    async with cluster(tmp_path, ORIGINAL) as c:
        run = await c.client(1).start(Original.run, id="order")
        OUTSIDE.open("pack")
        await c.until(lambda: OUTSIDE.count("ship"), "the second step runs")
        await restart(c, IMPROVED)
        seen = c.client(3).get_handle(run.id, result_type=str)
        assert await seen.result() == "packship!"
        assert await seen.query(Improved.how_many) == 0
        assert not c.seen(RunDiverged)


@pytest.mark.parametrize("how", ["hot", "restarted"])
async def test_time_random_uuid(tmp_path, autojump_clock, how):
    """F7: the engine's time, chance and UUIDs are the same on a node that takes over, and after a
    replay from the history.
    """
    async with cluster(tmp_path, fa.App([Chance])) as c:
        run = await c.client(1).start(Chance.run, id="chance")
        await c.until(lambda: OUTSIDE.count("between"), "the first part is done")
        before = await run.variable("drawn", list[str])
        if how == "hot":
            c.kill(1)
            await c.dead(1)
        else:
            await restart(c, fa.App([Chance]))
        OUTSIDE.open("between")
        OUTSIDE.open("after")
        drawn = await c.client(2).get_handle("chance", result_type=list[str]).result()
        assert drawn[:3] == before
        assert len(set(drawn)) == 5
        await trio.sleep(1)
        assert not c.seen(RunDiverged)
        await c.converge()
