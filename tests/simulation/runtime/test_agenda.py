"""Virtual time: it leaps, in order, and what it calls may do anything but break the loop.

MockClock does the same for Trio alone; here the world has an agenda too.
"""

from time import perf_counter

import pytest
import trio
import trio.testing

from flowactor.limits import NANOSECONDS
from flowactor.simulation.runtime import simulate


def test_a_month_takes_no_time():
    """Sleeping for thirty days costs milliseconds, and is exact."""
    begun = perf_counter()

    async def main(runtime):
        await trio.sleep(30 * 86_400)
        return trio.current_time(), runtime.time.now_ns

    assert simulate(main, seed=1) == (30 * 86_400.0, 30 * 86_400 * NANOSECONDS)
    assert perf_counter() - begun < 1


def test_events_and_deadlines_come_in_order():
    """Events of the agenda and deadlines of Trio share one time; at one moment events are first,
    in the order they were asked for.
    """

    async def main(runtime):
        seen = []
        time = runtime.time
        for name, seconds in (("c", 2), ("a", 1), ("b", 1)):
            time.at(seconds * NANOSECONDS, lambda name=name: seen.append((name, time.now_ns)))
        await trio.sleep(1)
        seen.append(("task", time.now_ns))
        await trio.sleep(5)
        return seen

    second = NANOSECONDS
    assert simulate(main, seed=1) == [
        ("a", second),
        ("b", second),
        ("task", second),
        ("c", 2 * second),
    ]


def test_an_event_wakes_a_task_at_its_moment():
    """A task that waits for what an event brings goes on at the event's time, not later."""

    async def main(runtime):
        woken = trio.Event()
        runtime.time.at(3 * NANOSECONDS, woken.set)
        runtime.time.at(4 * NANOSECONDS, lambda: None)
        await woken.wait()
        return trio.current_time()

    assert simulate(main, seed=1) == 3.0


def test_what_is_late_comes_now():
    """An event asked for in the past happens at this moment, behind what was asked for before;
    time never goes back.
    """

    async def main(runtime):
        await trio.sleep(2)
        seen, time = [], runtime.time
        time.at(2 * NANOSECONDS, lambda: seen.append(("in time", time.now_ns)))
        time.at(NANOSECONDS, lambda: seen.append(("late", time.now_ns)))
        await trio.sleep(1)
        return seen

    now = 2 * NANOSECONDS
    assert simulate(main, seed=1) == [("in time", now), ("late", now)]


def test_trouble_of_an_event_ends_the_run():
    """What an event raises is what the run fails with, not an internal error of Trio."""

    def break_down():
        raise AssertionError("found something")

    async def main(runtime):
        runtime.time.at(NANOSECONDS, break_down)
        await trio.sleep_forever()

    with pytest.raises(AssertionError, match="found something"):
        simulate(main, seed=1)


def test_idleness_comes_before_a_leap():
    """``wait_all_tasks_blocked`` returns without any time passing."""

    async def main(_):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 100)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return trio.current_time()

    assert simulate(main, seed=1) == 0.0


def test_awkward_fractions_do_not_stick():
    """Deadlines that are no whole number of nanoseconds are reached all the same."""

    async def main(_):
        for _ in range(1000):
            await trio.sleep(0.1 / 3)
        return trio.current_time()

    assert simulate(main, seed=1) == pytest.approx(100 / 3)
