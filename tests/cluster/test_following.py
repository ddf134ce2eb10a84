"""What happens in many groups, followed as one stream; one run and one variable, as they move."""

from collections import Counter

import trio

from flowactor.identity import slot_of
from flowactor.management.operations import MoveSlots
from tests.cluster.harness import cluster
from tests.cluster.test_moving import APP, Counts, topology, two_groups


async def collect(stream, into):
    """Each item as it comes."""
    async for item in stream:
        into.append(item)


async def first_of(stream, count):
    with trio.fail_after(60):
        return [await anext(stream) for _ in range(count)]


async def test_the_stream_tells_of_all_groups(tmp_path, autojump_clock):
    """Every event of every run is told once, each run's in order, to whoever asks a node; a stream
    that is begun with the places of another goes on where that was left.
    """
    async with cluster(tmp_path, APP) as c:
        await two_groups(c)
        names = [f"run-{number}" for number in range(8)]
        assert {topology(c).slots[slot_of(name)] for name in names} == {1, 2}
        for name in names:
            run = await c.client(1).start(Counts.run, 2, name, id=name)
            await run.result()
        histories = {name: await c.client(2).get_handle(name).history() for name in names}
        total = sum(map(len, histories.values()))

        stream = c.client(2).events()
        told = await first_of(stream, 10)
        resumed = c.client(3).events(after=stream.places)
        told += await first_of(resumed, total - 10)
        for name, history in histories.items():
            mine = [event for event in told if event.workflow_id == name]
            assert mine == list(history)
        stamps = [event.stamp_ns for event in told[:10]]
        assert stamps == sorted(stamps)


async def test_the_stream_finds_a_new_group(tmp_path, autojump_clock):
    """Whoever follows from now on hears nothing of what was, and of a group that is created later
    everything.
    """
    async with cluster(tmp_path, APP) as c:
        await (await c.client(1).start(Counts.run, 1, "-", id="before")).result()
        told = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect, c.client(3).events(from_now=True), told)
            await trio.sleep(1)
            await two_groups(c)
            names = [f"run-{number}" for number in range(8)]
            for name in names:
                await (await c.client(1).start(Counts.run, 1, name, id=name)).result()
            await c.until(lambda: Counter(event.kind for event in told)["completed"] == len(names))
            nursery.cancel_scope.cancel()
        assert {event.group for event in told} == {1, 2}
        assert not [event for event in told if event.workflow_id == "before"]


async def test_a_run_is_followed_as_it_moves(tmp_path, autojump_clock):
    """Whoever follows a run is told all of it once and in order, though it gets another group in
    the middle.
    """
    async with cluster(tmp_path, APP) as c:
        name = "wanders"
        run = await c.client(1).start(Counts.run, 60, name, id=name)
        told = []
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(collect, c.client(3).get_handle(name).events(), told)
                await two_groups(c)
                other = 3 - topology(c).slots[slot_of(name)]
                await c.client(1).manage(MoveSlots((slot_of(name),), other))
                await run.result()
        kinds = Counter(event.kind for event in told)
        assert (kinds["step_completed"], told[-1].kind) == (61, "completed")
        places = [(event.kind, event.detail) for event in told]
        assert places == [(event.kind, event.detail) for event in await run.history()]


async def test_whoever_watches_a_variable_is_told_after_it_has_moved(tmp_path, autojump_clock):
    """A watcher asks the new group at once, and not only when its question has grown old."""
    async with cluster(tmp_path, APP) as c:
        await c.client(1).variable("v", int).set(1)
        seen = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect, c.client(3).variable("v", int).watch(), seen)
            await two_groups(c)
            other = 3 - topology(c).slots[slot_of("v")]
            await c.client(1).manage(MoveSlots((slot_of("v"),), other))
            await c.until(lambda: topology(c).slots[slot_of("v")] == other)
            await c.until(lambda: not topology(c).moves)
            await c.client(1).variable("v", int).set(2)
            written = trio.current_time()
            await c.until(lambda: seen[-1].value == 2)
            assert trio.current_time() - written < 1
            nursery.cancel_scope.cancel()
        assert [version.value for version in seen] == [1, 2]
