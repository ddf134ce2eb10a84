"""Replicated variables: of runs, and on their own."""

import pytest
import trio

import flowactor as fa
from tests.cluster.harness import cluster


def doubled(value: int) -> int:
    return value * 2


@fa.workflow(version=1)
class Change:
    async def run(self, first: int, second: int) -> list[int]:
        value = await fa.variable("value", first)
        seen = [await value.get()]
        await value.set(second)
        return [*seen, await value.get()]


@fa.workflow(version=1)
class Update:
    async def run(self, first: int, increment: int) -> int:
        value = await fa.variable("value", first)
        return await value.update(lambda old: old + increment)


@fa.workflow(version=1)
class Computed:
    async def run(self, first: int) -> list[int]:
        value = await fa.variable("value", await fa.compute("initial", doubled, first))
        seen = [value.value]
        await value.set(100)
        return [*seen, value.value]


APP = fa.App([Change, Update, Computed])


@pytest.mark.parametrize("size", [1, 3])
async def test_variables_of_runs(tmp_path, autojump_clock, size):
    """A-R7: 42 is set to 100, 50 updated to 60, a computed 84 set to 100; every node shows it."""
    async with cluster(tmp_path, APP, size) as c:
        client = c.client(size)
        changed = await client.start(Change.run, 42, 100, id="changed")
        assert await changed.result() == [42, 100]
        updated = await client.start(Update.run, 50, 10, id="updated")
        assert await updated.result() == 60
        computed = await client.start(Computed.run, 42, id="computed")
        assert await computed.result() == [84, 100]
        for number in c.running:
            values = {
                name: await c.client(number).get_handle(name).variable("value", int)
                for name in ("changed", "updated", "computed")
            }
            assert values == {"changed": 100, "updated": 60, "computed": 100}


async def test_same_key_in_two_runs(tmp_path, autojump_clock):
    """A-R7: the same key in two runs is two variables, 100 and 200."""
    async with cluster(tmp_path, APP) as c:
        one = await c.client(1).start(Change.run, 1, 100)
        two = await c.client(2).start(Change.run, 2, 200)
        assert await one.result() == [1, 100]
        assert await two.result() == [2, 200]
        assert await one.variable("value", int) == 100
        assert await two.variable("value", int) == 200
        with pytest.raises(fa.NotFound, match="no variable 'other'; it has: value"):
            await one.variable("other", int)


@pytest.mark.parametrize("size", [1, 3])
async def test_stand_alone_variable(tmp_path, autojump_clock, size):
    """Get, set, update, compare-and-set and delete, each seen by all nodes at once."""
    async with cluster(tmp_path, APP, size) as c:
        handles = [c.client(number).variable("limit", int) for number in c.running]
        here, there = handles[0], handles[-1]
        with pytest.raises(fa.NotFound, match="no variable 'limit'"):
            await here.get()
        assert await here.set(42) == 1
        assert await there.get() == 42
        assert await there.set(100) == 2
        assert await here.get() == 100
        assert await here.update(lambda old: (old or 0) + 10) == 110
        held = await there.read()
        assert (held.value, held.version) == (110, 3)
        assert await here.compare_and_set(3, 1)
        assert not await there.compare_and_set(3, 2)
        assert await there.get() == 1
        assert await there.delete()
        assert not await here.delete()
        assert (await here.read()).version == 0


async def test_updates_of_many_lose_nothing(tmp_path, autojump_clock):
    """Sixty increments at once through all nodes end at sixty: compare-and-set loses none."""
    async with cluster(tmp_path, APP) as c:

        async def increment(number: int) -> None:
            await c.client(number).variable("sum", int).update(lambda old: (old or 0) + 1)

        async with trio.open_nursery() as nursery:
            for index in range(60):
                nursery.start_soon(increment, 1 + index % 3)
        assert await c.client(2).variable("sum", int).get() == 60


async def test_watch_ends_with_the_latest(tmp_path, autojump_clock):
    """A watcher sees versions only grow, and always the last one, across a change of leader too."""
    async with cluster(tmp_path, APP) as c:
        leader = c.leader()
        watcher, writer = [number for number in c.running if number != leader]
        seen = []

        async def watch() -> None:
            async for held in c.client(watcher).variable("news", str).watch():
                seen.append((held.version, held.value))
                if held.value == "last":
                    return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await c.until(lambda: seen, "the watcher watches")
            variable = c.client(writer).variable("news", str)
            for number in range(20):
                await variable.set(f"news {number}")
            c.kill(leader)
            await variable.set("last")
        assert seen[0] == (0, None)
        assert seen == sorted(seen, key=lambda held: held[0])
        assert seen[-1] == (21, "last")


async def test_variables_survive_a_full_stop(tmp_path, autojump_clock):
    """After all nodes were killed at once every acknowledged write of a variable is there."""
    async with cluster(tmp_path, APP) as c:
        for number in range(15):
            await c.client(1 + number % 3).variable(f"key{number}", str).set(f"value{number}")
        for number in (5, 10):
            await c.client(1).variable(f"key{number}", str).delete()
        c.kill(1, 2, 3)
        await c.dead(1, 2, 3)
        await c.start()
        await c.settle()
        for number in range(15):
            held = await c.client(2).variable(f"key{number}", str).read()
            assert held.value == (None if number in {5, 10} else f"value{number}")
