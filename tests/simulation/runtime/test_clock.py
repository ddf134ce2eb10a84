"""The clocks of machines: exact, wrong where they are told to be, never going back."""

import trio
from hypothesis import given
from hypothesis import strategies as st

from flowactor.limits import NANOSECONDS
from flowactor.simulation.faults import ClockDrift, ClockJump, ClockOffset
from flowactor.simulation.runtime import EPOCH_NS, NodeClock, simulate


class HandTime:
    """True time, moved by hand."""

    def __init__(self) -> None:
        self.now_ns = 0

    def at(self, due_ns, action):
        raise NotImplementedError


def test_an_offset_is_there_and_gone():
    """The wall clock is wrong meanwhile, the monotonic one never."""
    time = HandTime()
    clock, fault = NodeClock(time), ClockOffset(1, -30.0, at=0)
    clock.begin(fault)
    time.now_ns = 5 * NANOSECONDS
    assert (clock.now_ns(), clock.monotonic_ns()) == (EPOCH_NS - 25 * NANOSECONDS, 5 * NANOSECONDS)
    clock.end(fault)
    assert clock.now_ns() == EPOCH_NS + 5 * NANOSECONDS


def test_a_jump_stays():
    """A leap of the wall clock does not end with its fault."""
    clock, fault = NodeClock(HandTime()), ClockJump(1, 3600.0, at=0)
    clock.begin(fault)
    clock.end(fault)
    assert clock.now_ns() == EPOCH_NS + 3600 * NANOSECONDS


def test_a_drift_keeps_what_it_gained():
    """A clock that ran at twice the pace for ten seconds is ten seconds ahead for ever."""
    time = HandTime()
    clock, fault = NodeClock(time), ClockDrift(1, 2.0, at=0)
    clock.begin(fault)
    time.now_ns = 10 * NANOSECONDS
    clock.end(fault)
    time.now_ns = 15 * NANOSECONDS
    assert clock.monotonic_ns() == 25 * NANOSECONDS
    assert clock.now_ns() == EPOCH_NS + 25 * NANOSECONDS


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**12),
            st.floats(0.1, 10.0) | st.floats(-1e6, -0.001),
            st.booleans(),
        ),
        max_size=20,
    )
)
def test_the_monotonic_clock_never_goes_back(history):
    """Whatever goes wrong with it, and whenever that ends."""
    time = HandTime()
    clock = NodeClock(time)
    open_faults = []
    before = clock.monotonic_ns()
    for passed, value, ends in history:
        time.now_ns += passed
        if ends and open_faults:
            clock.end(open_faults.pop(0))
        else:
            fault = ClockDrift(1, value, at=0) if value > 0 else ClockOffset(1, value, at=0)
            clock.begin(fault)
            open_faults.append(fault)
        now = clock.monotonic_ns()
        assert now >= before
        before = now


def test_a_sleep_ends_at_its_moment():
    """Not before and not after, however often; time leaps there."""

    async def main(runtime):
        woken, clock = [], NodeClock(runtime.time)
        for _ in range(3):
            await clock.sleep(0.25)
            woken.append(trio.current_time())
        return woken

    assert simulate(main, seed=1) == [0.25, 0.5, 0.75]


def test_a_sleep_can_be_cancelled():
    """Its moment comes later, and wakes nobody."""

    async def main(runtime):
        clock = NodeClock(runtime.time)
        with trio.move_on_after(1.0) as scope:
            await clock.sleep(2.0)
        await clock.sleep(3.0)
        return scope.cancelled_caught, trio.current_time()

    assert simulate(main, seed=1) == (True, 4.0)


def test_a_stopped_process_oversleeps():
    """What sleeps in it goes on when the process does, like everything else in it."""

    async def main(runtime):
        woken, clock = [], NodeClock(runtime.time)

        async def sleeper():
            await clock.sleep(1.0)
            woken.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            with runtime.processes.of(1):
                nursery.start_soon(sleeper)
            runtime.time.at(NANOSECONDS // 2, lambda: runtime.processes.pause(1))
            runtime.time.at(3 * NANOSECONDS, lambda: runtime.processes.thaw(1))
        return woken

    assert simulate(main, seed=1) == [3.0]
