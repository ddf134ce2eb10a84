"""Runs that would never end do end, and say where they stood. Time is virtual here, as under
MockClock.
"""

import itertools

import pytest
import trio

from flowactor.limits import NANOSECONDS
from flowactor.simulation.failure import CheckFailed, Deadlocked
from flowactor.simulation.runtime import Limits, simulate


async def tick(runtime):
    for second in itertools.count(1):
        await trio.sleep(1)
        assert runtime.time.now_ns == second * NANOSECONDS


FEW = Limits(steps_max=20_000, instant_steps_max=2_000)


def test_a_deadlock_ends_with_the_tree_of_tasks():
    """Where every task waits for another, the run ends, and shows each with its line."""

    async def main(_):
        async def wait():
            await trio.Event().wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, name="philosopher 1")
            nursery.start_soon(wait, name="philosopher 2")

    texts = []
    for _ in range(2):
        with pytest.raises(Deadlocked) as caught:
            simulate(main, seed=1)
        texts.append(str(caught.value))
    assert texts[0] == texts[1], "no address, no number of an object"
    assert "nothing is going to happen" in texts[0]
    assert "philosopher 1 at simulation/runtime/test_watchdog.py:" in texts[0]
    assert "philosopher 2" in texts[0]


@pytest.mark.parametrize("shielded", [False, True])
def test_a_deadlock_ends_although_a_task_does_not_let_go(shielded):
    """Clean-up that waits for ever, even shielded, does not keep the run."""

    async def main(_):
        with trio.CancelScope(shield=shielded):
            await trio.sleep_forever()

    with pytest.raises(Deadlocked):
        simulate(main, seed=1)


def test_a_busy_loop_ends():
    """Tasks that go on and on while time stands still are noticed."""

    async def main(_):
        while True:
            await trio.lowlevel.checkpoint()

    with pytest.raises(Deadlocked, match="time stands still"):
        simulate(main, seed=1, limits=FEW)


def test_events_that_call_each_other_for_ever_end():
    """The agenda has no moment that never ends."""

    async def main(runtime):
        def again():
            runtime.time.at(0, again)

        again()
        await trio.sleep_forever()

    with pytest.raises(Deadlocked, match="time stands still"):
        simulate(main, seed=1, limits=FEW)


def test_a_run_without_end_ends():
    """A bound on all steps ends what time alone would not."""

    async def main(runtime):
        await tick(runtime)

    with pytest.raises(Deadlocked, match="no end"):
        simulate(main, seed=1, limits=FEW)


def test_the_first_failure_is_the_reason():
    """What fails while the run is being ended hides nothing."""

    def check():
        raise CheckFailed("I8", "no quorum")

    async def main(runtime):
        runtime.time.at(NANOSECONDS, check)
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in the ruins")

    with pytest.raises(CheckFailed, match="no quorum"):
        simulate(main, seed=1)
