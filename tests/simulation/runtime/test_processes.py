"""Stopped processes: nothing of them runs, everything of them happens when they wake. Time is
virtual here, as under MockClock.
"""

import trio

from flowactor.limits import NANOSECONDS
from flowactor.simulation.runtime import simulate


def at(runtime, seconds, action):
    runtime.time.at(round(seconds * NANOSECONDS), action)


async def tick(seen, name, seconds=1.0):
    while True:
        await trio.sleep(seconds)
        seen.append((name, trio.current_time()))


def test_a_stopped_process_makes_no_step_and_wakes_late():
    """While it stands still its timers pass unseen; the others go on; then it continues."""

    async def main(runtime):
        seen = []
        async with trio.open_nursery() as nursery:
            for machine in (1, 2):
                with runtime.processes.of(machine):
                    nursery.start_soon(tick, seen, machine)
            at(runtime, 1.5, lambda: runtime.processes.pause(1))
            at(runtime, 4.25, lambda: runtime.processes.thaw(1))
            await trio.sleep(5.5)
            nursery.cancel_scope.cancel()
        return seen

    seen = simulate(main, seed=1)
    assert [time for name, time in seen if name == 1] == [1.0, 4.25, 5.25]
    assert [time for name, time in seen if name == 2] == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_tasks_belong_to_the_machine_of_who_starts_them():
    """A child of a child is stopped too, also one that could have run already."""

    async def main(runtime):
        seen = []

        async def parent():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tick, seen, "child")
                await woken.wait()
                seen.append(("parent", trio.current_time()))

        woken = trio.Event()

        def wake_and_stop():
            woken.set()
            runtime.processes.pause(7)

        async with trio.open_nursery() as nursery:
            with runtime.processes.of(7):
                nursery.start_soon(parent)
            at(runtime, 0.5, wake_and_stop)
            at(runtime, 2.5, lambda: runtime.processes.thaw(7))
            await trio.sleep(3)
            nursery.cancel_scope.cancel()
        return sorted(seen)

    assert simulate(main, seed=1) == [("child", 2.5), ("parent", 2.5)]


def test_a_time_out_passes_while_its_process_stands_still():
    """A deadline that comes meanwhile has struck when the process wakes."""

    async def main(runtime):
        async def wait_a_second():
            with trio.move_on_after(1) as scope:
                await trio.sleep_forever()
            ended.append((scope.cancelled_caught, trio.current_time()))

        ended = []
        async with trio.open_nursery() as nursery:
            with runtime.processes.of(1):
                nursery.start_soon(wait_a_second)
            at(runtime, 0.5, lambda: runtime.processes.pause(1))
            at(runtime, 9, lambda: runtime.processes.thaw(1))
        return ended

    assert simulate(main, seed=1) == [(True, 9.0)]


def test_pausing_twice_and_waking_the_waking_change_nothing():
    """Both are idempotent, and leave no instrument behind."""

    async def main(runtime):
        processes = runtime.processes
        processes.thaw(1)
        processes.pause(1)
        processes.pause(1)
        assert processes.is_paused(1)
        processes.thaw(1)
        processes.thaw(1)
        assert not processes.is_paused(1)
        await trio.sleep(1)
        return "done"

    assert simulate(main, seed=1) == "done"
