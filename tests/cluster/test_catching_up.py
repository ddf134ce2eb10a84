"""A fourth node joins while a run is under way: it takes what was recorded, and goes on with it."""

import pytest
import trio

import flowactor as fa
from flowactor.cluster.group.compaction import Compaction
from flowactor.management.operations import ChangeSettings
from flowactor.management.state import NodeState
from flowactor.observability.events import SnapshotInstalled, StepStarted
from tests.cluster.harness import OUTSIDE, cluster


@fa.step
async def ten_times(number: int, gated: int) -> int:
    OUTSIDE.bump(f"{number}")
    await trio.sleep(0.01)
    if number == gated:
        await OUTSIDE.gate("on")
    return 10 * number


@fa.workflow
class Adds:
    """Adds 10 * i, each of them from a step, and keeps i in a variable; step ``gated`` lasts until
    the gate is opened.
    """

    async def run(self, iterations: int, gated: int = -1) -> int:
        total = 0
        counter = await fa.variable("counter", 0)
        for number in range(iterations):
            total += await ten_times(number, gated)
            await counter.set(number)
        return total


APP, NO_CODE = fa.App([Adds]), fa.App([])


async def joins_when(c, iterations):
    """A node joins once so many steps have begun, and is given a vote in the group of the runs."""
    await c.until(lambda: len(OUTSIDE.done) >= iterations)
    balanced = ChangeSettings((("balanced", 0),))
    await c.client(1).manage(balanced)  # the run stays in the group that it is in
    number = await c.join(APP)
    assert number == 4
    await c.until(lambda: topology(c).nodes[number].state is NodeState.MEMBER)
    assert await c.client(1).cluster.add_to_group(1, number)
    await c.until(lambda: votes(c, number), "it votes")


def topology(c):
    return c.node(1).steward.topology


def votes(c, number):
    group = c.node(number).groups.get(1)
    return group is not None and number in group.status.configuration.voters


async def test_a_r8_joins_in_the_middle(tmp_path, autojump_clock):
    """A-R8: ten iterations, node 4 joins after some of them: 450, and it has the same state."""
    OUTSIDE.reset()
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Adds.run, 10)
        await joins_when(c, 5)
        assert await run.result() == 450
        assert await c.client(4).get_handle(run.id).result() == 450
        await c.converge()
        assert not c.seen(StepStarted, 4)


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.long)])
async def test_a_r11_the_past_is_not_executed_again(tmp_path, autojump_clock, count):
    """A-R11: of a thousand iterations (a hundred by default) node 4 takes half from the history and
    executes nothing, follows the others live, and then becomes their owner: the counter ends at the
    last, and no step was executed twice but that which was under way when the owner ended.
    """
    OUTSIDE.reset()
    async with cluster(tmp_path, {1: APP, 2: NO_CODE, 3: NO_CODE}) as c:
        run = await c.client(1).start(Adds.run, count, id="adds")
        await joins_when(c, count // 2)
        assert c.node(4).group.machine.find("adds", "").position > 0
        await c.until(lambda: len(OUTSIDE.done) >= count * 95 // 100)
        assert not c.seen(StepStarted, 4)
        c.kill(1)  # nobody else has the code but node 4
        end = c.client(4).get_handle("adds", result_type=int)
        assert await end.result() == 10 * sum(range(count))
        assert await end.variable("counter", int) == count - 1
        assert run.id == "adds"
        assert c.seen(StepStarted, 4)
        assert len(OUTSIDE.done) <= count + 1
        assert {name for name, _, _ in OUTSIDE.done} == {f"{number}" for number in range(count)}


@pytest.mark.parametrize("kept", [100, pytest.param(1000, marks=pytest.mark.long)])
async def test_a_r9_joins_by_a_snapshot(tmp_path, autojump_clock, kept):
    """A-R9, A-R10: of 1,100 iterations the log keeps the last 1,000 entries (by default of 110 the
    last 100): node 4 joins by a snapshot, reports the same end, and has the same state.
    """
    OUTSIDE.reset()
    count, gated = kept * 11 // 10, kept * 21 // 20
    rule = Compaction(entries_max=kept, trailing_entries=kept // 10, cache_bytes_max=0)
    async with cluster(tmp_path, APP, compaction=rule) as c:
        run = await c.client(1).start(Adds.run, count, gated)
        await joins_when(c, gated + 1)
        assert c.seen(SnapshotInstalled, 4)
        OUTSIDE.open("on")
        end = c.client(4).get_handle(run.id, result_type=int)
        assert await end.result() == 10 * sum(range(count))
        assert (await end.describe()).status is fa.RunStatus.COMPLETED
        await c.converge()
        assert not c.seen(StepStarted, 4)
        assert len(OUTSIDE.done) == count
