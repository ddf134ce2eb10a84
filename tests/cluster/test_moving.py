"""Slots that move between groups, with the runs and variables in them, while all are in use."""

from collections import Counter

import pytest
import trio

import flowactor as fa
from flowactor.errors import AlreadyClosed, NotFound
from flowactor.identity import slot_of
from flowactor.limits import TICK_SECONDS
from flowactor.management.operations import (
    ChangeSettings,
    CreateGroup,
    DrainGroup,
    MoveSlots,
    RemoveNode,
)
from tests.cluster.harness import cluster

BODIES: Counter[tuple[str, int]] = Counter()


@fa.step
async def add(number: int, name: str) -> int:
    """What it returns tells which of the steps it was."""
    BODIES[name, number] += 1
    await trio.sleep(0.05)
    return number + 1


@fa.workflow
class Counts:
    """Takes steps, naps, takes another, and adds what it was told."""

    def __init__(self) -> None:
        self.extra = 0

    async def run(self, steps: int, name: str) -> int:
        number = 0
        for _ in range(steps):
            number = await add(number, name)
        await fa.sleep(1.0)
        return await add(number, name) + self.extra

    @fa.signal
    def tell(self, extra: int) -> None:
        self.extra += extra

    @fa.query
    def told(self) -> int:
        return self.extra


APP = fa.App([Counts])


@pytest.fixture(autouse=True)
def bodies():
    BODIES.clear()


def topology(c):
    return c.node(c.running[0]).steward.topology


async def two_groups(c):
    """A second group on all three nodes, with half of the slots, once nothing moves any more."""
    await c.client(1).manage(CreateGroup((1, 2, 3)))
    await c.until(lambda: Counter(topology(c).slots) == {1: 512, 2: 512} and not topology(c).moves)


async def test_runs_move_while_they_run(tmp_path, autojump_clock):
    """Half of all runs get another group in the midst of steps, sleeps and signals: each ends with
    what it would have ended with, each signal counts once, no step is recorded twice, and a list
    over both groups shows each run once.
    """
    async with cluster(tmp_path, APP) as c:
        names = [f"run-{number}" for number in range(20)]
        runs = [
            await c.client(1 + number % 3).start(Counts.run, 40, name, id=name)
            for number, name in enumerate(names)
        ]

        async def tell(run):
            for _ in range(5):
                await run.signal(Counts.tell, 100)
                await trio.sleep(0.3)

        async with trio.open_nursery() as nursery:
            for run in runs:
                nursery.start_soon(tell, run)
            await two_groups(c)
        assert {await run.result() for run in runs} == {541}
        homes = {topology(c).slots[slot_of(name)] for name in names}
        assert homes == {1, 2}
        page = await c.client(2).list(limit=100)
        assert (page.total, len(page.runs)) == (20, 20)
        for run in runs:
            events = await run.history()
            completed = [event for event in events if event.kind == "step_completed"]
            assert len(completed) == 41


async def test_variables_and_ends_move_along(tmp_path, autojump_clock):
    """What has ended, and what stands alone, is found by every node after the move; a new run of an
    id that is taken is refused wherever it is asked for.
    """
    async with cluster(tmp_path, APP) as c:
        for number in range(20):
            await c.client(1).variable(f"v{number}", int).set(number)
        runs = [await c.client(1).start(Counts.run, 1, "-", id=f"run-{n}") for n in range(10)]
        for run in runs:
            await run.result()
        await two_groups(c)
        for number in range(20):
            variable = c.client(2).variable(f"v{number}", int)
            assert await variable.get() == number
            await variable.set(number + 1)
            assert await c.client(3).variable(f"v{number}", int).get() == number + 1
        for number in range(10):
            run = c.client(3).get_handle(f"run-{number}")
            assert await run.result() == 2
            with pytest.raises(AlreadyClosed):
                await run.signal(Counts.tell, 1)
        with pytest.raises(NotFound):
            await c.client(2).get_handle("nobody").result()


async def test_a_drained_group_is_empty_when_it_ends(tmp_path, autojump_clock):
    """Runs wait in a group that is drained; it ends once all of them live in the other, and they go
    on there.
    """
    async with cluster(tmp_path, APP) as c:
        await two_groups(c)
        runs = [await c.client(1).start(Counts.run, 2, "-", id=f"run-{n}") for n in range(10)]
        await c.client(1).manage(DrainGroup(1))
        await c.until(lambda: 1 not in topology(c).groups, "group 1 has ended")
        await c.until(lambda: all(1 not in c.node(n)._hosting.groups for n in c.running))
        assert set(topology(c).slots) == {2}
        assert {await run.result() for run in runs} == {3}
        assert await c.client(3).execute(Counts.run, 1, "new") == 2


async def test_a_move_survives_its_leaders(tmp_path, autojump_clock):
    """Whoever leads is killed while slots move, again and again: others finish it, and nothing is
    lost.
    """
    async with cluster(tmp_path, APP) as c:
        runs = [await c.client(1).start(Counts.run, 30, "-", id=f"run-{n}") for n in range(10)]
        await c.client(1).manage(ChangeSettings((("slots_per_move", 4),)))
        await c.client(1).manage(CreateGroup((1, 2, 3)))
        for _ in range(3):
            await c.until(lambda: topology(c).moves, "slots move")
            victim = c.leader() or c.running[0]
            c.kill(victim)
            await c.dead(victim)
            await trio.sleep(2)
            await c.start(victim)
            await c.settle()
        await c.until(
            lambda: Counter(topology(c).slots) == {1: 512, 2: 512} and not topology(c).moves
        )
        handles = [c.client(2).get_handle(run.id) for run in runs]
        assert {await handle.result() for handle in handles} == {31}


async def test_some_slots_are_moved_by_hand(tmp_path, autojump_clock):
    """An operator moves the slot of one run; a client that asks meanwhile is answered."""
    async with cluster(tmp_path, APP) as c:
        await two_groups(c)
        run = await c.client(1).start(Counts.run, 5, "-", id="mine")
        slot = slot_of("mine")
        source = topology(c).slots[slot]
        await c.client(1).manage(MoveSlots((slot,), 3 - source))
        await run.signal(Counts.tell, 10)
        assert await run.query(Counts.told) == 10
        assert await run.result() == 16


async def test_a_node_that_leaves_takes_nothing_along(tmp_path, autojump_clock):
    """A node is taken out while its runs run: others own them at once, its process ends and says
    why, and the rest goes on as a cluster of two.
    """
    async with cluster(tmp_path, APP) as c:
        runs = [await c.client(2).start(Counts.run, 20, "-", id=f"run-{n}") for n in range(6)]
        await c.client(1).manage(RemoveNode(2))
        await c.until(lambda: 2 not in c.running, "it has ended")
        assert "taken out of the cluster" in str(c.members[2].failure)
        handles = [c.client(1).get_handle(run.id) for run in runs]
        assert {await handle.result() for handle in handles} == {21}
        assert await c.client(3).execute(Counts.run, 1, "new") == 2


async def test_a_move_waits_for_no_tick(tmp_path, autojump_clock):
    """Each stage of a move is looked at when it is reached: slots stand still for moments, however
    long a tick is. Ten moves take less time than ten ticks, where each has eight stages.
    """
    async with cluster(tmp_path, APP) as c:
        await two_groups(c)
        begun = trio.current_time()
        for slot in range(10):
            await c.client(1).manage(MoveSlots((slot,), 3 - topology(c).slots[slot]))
            await c.until(lambda: not topology(c).moves, "the move is over")
        assert trio.current_time() - begun < 10 * TICK_SECONDS
