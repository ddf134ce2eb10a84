"""Code that never awaits ends, with its line; and Ctrl-C comes through from wherever it strikes.
Time is virtual here, as under MockClock.
"""

import signal
from contextlib import suppress

import pytest
import trio

from flowactor.simulation.failure import Endless
from flowactor.simulation.outcome import Failure
from flowactor.simulation.runtime import Limits, simulate

SHORT = Limits(turn_seconds=0.1)


def turn_in_circles():
    while True:
        pass


def test_a_loop_that_never_awaits_ends_with_its_line():
    """A task that works on and on is ended, and file, line and function are named."""

    async def main(_):
        await trio.sleep(1)
        turn_in_circles()

    with pytest.raises(Endless) as caught:
        simulate(main, seed=1, limits=SHORT)
    first = turn_in_circles.__code__.co_firstlineno
    assert str(caught.value).startswith(
        (f"{__file__}:{first + 1} in ", f"{__file__}:{first + 2} in ")
    )
    assert main.__code__.co_qualname in str(caught.value)
    assert Failure.of(caught.value, 1.0).checker == "endless"


def test_what_swallows_every_exception_ends_too():
    """The end comes again and again, and as no ``Exception``: no ``except Exception`` keeps it."""
    caught = []

    async def main(_):
        await trio.sleep(1)
        with suppress(Exception):
            turn_in_circles()
        caught.append("suppressed")

    with pytest.raises(Endless):
        simulate(main, seed=1, limits=SHORT)
    assert not caught


def test_an_action_of_the_agenda_that_never_ends_is_ended():
    """At core depth workflow code runs inside of Trio's clock: a loop there ends as well."""

    async def main(runtime):
        runtime.time.at(5, turn_in_circles)
        await trio.sleep(1)

    with pytest.raises(Endless, match="turn_in_circles"):
        simulate(main, seed=1, limits=SHORT)


@pytest.mark.parametrize("where", ["task", "agenda"])
def test_ctrl_c_comes_through_at_once(where):
    """An interrupt in code that never awaits ends the run as an interrupt, and is no failure."""

    def interrupted():
        signal.raise_signal(signal.SIGINT)
        turn_in_circles()

    async def main(runtime):
        if where == "agenda":
            runtime.time.at(5, interrupted)
        await trio.sleep(1)
        interrupted()

    with pytest.raises(KeyboardInterrupt):
        simulate(main, seed=1)


def test_signals_are_as_they_were():
    """After a run nothing is left of its timer and its handlers."""
    kinds = (signal.SIGINT, signal.SIGPROF)
    before = [signal.getsignal(kind) for kind in kinds]

    async def main(_):
        await trio.sleep(1)
        return [signal.getsignal(kind) for kind in kinds]

    inside = simulate(main, seed=1)
    assert all(one != other for one, other in zip(before, inside, strict=True))
    assert [signal.getsignal(kind) for kind in kinds] == before
    assert signal.getitimer(signal.ITIMER_PROF) == (0, 0)


def test_the_timer_changes_no_run():
    """Signals that are handled in the midst of a run add no step of any task."""

    def steps(signals):
        async def main(runtime):
            for _ in range(50):
                for _ in range(signals):
                    signal.raise_signal(signal.SIGPROF)
                await trio.lowlevel.checkpoint()
            return runtime.steps

        return simulate(main, seed=1)

    assert steps(1) == steps(0)
