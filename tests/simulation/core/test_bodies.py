"""Step bodies at core depth: when they begin, and of whom."""

from random import Random

import trio

from flowactor.simulation.core.bodies import LATE_SECONDS_MAX, Bodies, ProcessDied


class Process:
    """What a body sees of the life that it is part of."""

    place = None

    def __init__(self):
        self.alive, self.paused = True, False
        self.woken = trio.Event()
        self.ended = 0
        self.scopes = {}

    def poke(self):
        self.ended += 1

    async def when_running(self):
        while self.paused:
            await self.woken.wait()
        if not self.alive:
            raise ProcessDied


async def begin(process, seed, bodies=50):
    """When each of so many bodies of a process had its first moment, in seconds."""
    times = []

    async def body():
        times.append(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        tasks = Bodies(nursery, Random(seed))
        began = trio.current_time()
        for _ in range(bodies):
            tasks.start(process, body, ())
    assert tasks.running == 0
    return times


async def test_some_runs_have_bodies_that_begin_late(autojump_clock):
    """In some runs all begin at once; in others some begin a while after they were started, most of
    these soon, and all in the end.
    """
    found = [await begin(Process(), seed) for seed in range(20)]
    late = [[seconds for seconds in times if seconds] for times in found]
    assert 4 <= sum(not times for times in late) <= 16
    assert max(len(times) for times in late) > 15
    assert {len(times) for times in found} == {50}
    delays = sorted(seconds for times in late for seconds in times)
    assert delays[-1] < LATE_SECONDS_MAX
    assert delays[len(delays) // 2] < LATE_SECONDS_MAX / 5


async def test_a_body_of_a_stopped_process_begins_when_it_goes_on(autojump_clock):
    """Whoever is late stands still with its process, and is late once more after that."""
    process, seconds = Process(), 10.0
    process.paused = True
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def go_on():
            await trio.sleep(seconds)
            process.paused = False
            process.woken.set()

        times = await begin(process, late_seed())
    assert len(times) == 50
    assert all(at == 0 or seconds < at < seconds + LATE_SECONDS_MAX for at in times)


async def test_a_body_of_a_dead_process_never_begins(autojump_clock):
    """Who dies while a body of it is late never has that body begin."""
    process = Process()
    process.alive = False
    times = await begin(process, late_seed())
    assert set(times) == {0.0}
    assert 15 < len(times) < 35
    assert process.ended == 50


def late_seed():
    """The first one in which about every other body is late."""
    return next(s for s in range(100) if Bodies(None, Random(s))._late_odds == 0.5)
