from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing

from flowactor.actors import (
    ChildEnded,
    ChildRestarting,
    ChildSpec,
    ChildStarted,
    GaveUp,
    Restart,
    Strategy,
    Supervisor,
    SupervisorEvent,
    SupervisorGaveUp,
)
from flowactor.errors import MalformedDataError

Clock = trio.testing.MockClock


class Log:
    """What happened when, on the virtual clock."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, str]] = []

    def add(self, text: str) -> None:
        self.lines.append((round(trio.current_time(), 6), text))

    def sleeper(self, name: str) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            self.add(f"{name} begins")
            try:
                await trio.sleep_forever()
            finally:
                self.add(f"{name} ends")

        return run

    def crasher(self, name: str, *after_seconds: float) -> Callable[[], Awaitable[None]]:
        """Crashes after each of the given times, one per life; then lives for ever."""
        lives = iter(after_seconds)

        async def run() -> None:
            self.add(f"{name} begins")
            await trio.sleep(next(lives, float("inf")))
            raise MalformedDataError(f"{name} crashed")

        return run


async def test_h4_three_crashes_in_five_seconds_with_limit_two_escalate(
    autojump_clock: Clock,
) -> None:
    """Scenario H4: the third crash leaves the block as ``SupervisorGaveUp`` from the last error."""
    log = Log()
    events: list[SupervisorEvent] = []
    with pytest.raises(SupervisorGaveUp, match=r"crasher crashed with .* the limit is 2") as caught:  # noqa: PT012  # the block is what raises
        async with Supervisor(
            "top",
            restarts_max=2,
            within_seconds=5,
            backoff_initial_seconds=0.5,
            on_event=events.append,
        ) as supervisor:
            supervisor.start_child(ChildSpec("sibling", log.sleeper("sibling")))
            supervisor.start_child(ChildSpec("crasher", log.crasher("crasher", 1, 1, 1)))
    assert isinstance(caught.value.__cause__, MalformedDataError)
    assert log.lines == [
        (0, "sibling begins"),
        (0, "crasher begins"),
        (1.5, "crasher begins"),
        (3.5, "crasher begins"),
        (4.5, "sibling ends"),
    ]
    assert [type(event) for event in events] == [
        ChildStarted,
        ChildStarted,
        *[ChildEnded, ChildRestarting, ChildStarted] * 2,
        ChildEnded,
        GaveUp,
    ]
    assert [event.delay_seconds for event in events if isinstance(event, ChildRestarting)] == [
        0.5,
        1.0,
    ]


async def test_crashes_further_apart_than_the_window_never_escalate(autojump_clock: Clock) -> None:
    """The limit counts restarts within the window only, and so does the back-off."""
    log = Log()
    async with Supervisor(
        "top", restarts_max=1, within_seconds=5, backoff_initial_seconds=1
    ) as supervisor:
        supervisor.start_child(ChildSpec("crasher", log.crasher("crasher", 10, 10, 10)))
        await trio.sleep(40)
        assert supervisor.statistics().restarts == 3
        assert supervisor.statistics().restarts_recent == 0
        supervisor.stop()
    assert [time for time, _ in log.lines] == [0, 11, 22, 33]


async def test_one_for_one_leaves_siblings_alone(autojump_clock: Clock) -> None:
    """Only the child that crashed is restarted."""
    log = Log()
    async with Supervisor("top", backoff_initial_seconds=0) as supervisor:
        supervisor.start_child(ChildSpec("a", log.sleeper("a")))
        supervisor.start_child(ChildSpec("b", log.crasher("b", 1)))
        await trio.sleep(10)
        assert log.lines == [(0, "a begins"), (0, "b begins"), (1, "b begins")]
        supervisor.stop()


@pytest.mark.parametrize("repeat", range(10))
async def test_one_for_all_restarts_all_in_order(autojump_clock: Clock, repeat: int) -> None:
    """The others are stopped youngest first, then all start again eldest first, after the delay,
    however Trio shuffles tasks."""
    log = Log()
    async with Supervisor("top", Strategy.ONE_FOR_ALL, backoff_initial_seconds=0.25) as supervisor:
        supervisor.start_child(ChildSpec("a", log.sleeper("a")))
        supervisor.start_child(ChildSpec("b", log.crasher("b", 1)))
        supervisor.start_child(ChildSpec("c", log.sleeper("c")))
        await trio.sleep(10)
        assert log.lines == [
            (0, "a begins"),
            (0, "b begins"),
            (0, "c begins"),
            (1, "c ends"),
            (1, "a ends"),
            (1.25, "a begins"),
            (1.25, "b begins"),
            (1.25, "c begins"),
        ]
        supervisor.stop()


async def test_restart_kinds(autojump_clock: Clock) -> None:
    """Permanent restarts after every end, transient after a crash only, temporary never."""
    starts: dict[str, int] = {}

    def child(name: str, restart: Restart, *, crashes: bool) -> ChildSpec:
        async def run() -> None:
            starts[name] = starts.get(name, 0) + 1
            await trio.sleep(1)
            if crashes and starts[name] == 1:
                raise ValueError(name)
            if name == "permanent" and starts[name] == 3:
                await trio.sleep_forever()

        return ChildSpec(name, run, restart)

    async with Supervisor("top", restarts_max=9) as supervisor:
        supervisor.start_child(child("permanent", Restart.PERMANENT, crashes=False))
        supervisor.start_child(child("transient", Restart.TRANSIENT, crashes=True))
        supervisor.start_child(child("transient-well", Restart.TRANSIENT, crashes=False))
        supervisor.start_child(child("temporary", Restart.TEMPORARY, crashes=True))
        await trio.sleep(20)
        assert supervisor.statistics().children == ("permanent",)
        supervisor.stop()
    assert starts == {"permanent": 3, "transient": 2, "transient-well": 1, "temporary": 1}


async def test_the_block_waits_for_its_children(autojump_clock: Clock) -> None:
    """Leaving the block waits until all children have ended, as a nursery does."""
    async with Supervisor("top") as supervisor:
        supervisor.start_child(ChildSpec("worker", partial(trio.sleep, 7), Restart.TEMPORARY))
    assert trio.current_time() == 7


@pytest.mark.parametrize("restart", list(Restart))
@pytest.mark.parametrize("grouped", [False, True])
async def test_a_broken_invariant_is_never_restarted(restart: Restart, grouped: bool) -> None:
    """An ``AssertionError``, bare or inside a group, leaves at once and as it was raised."""
    lives = 0
    error: Exception = AssertionError("two leaders in one term")
    if grouped:
        error = ExceptionGroup("inner nursery", [error])

    async def run() -> None:
        nonlocal lives
        lives += 1
        raise error

    with pytest.raises(type(error)) as caught:  # noqa: PT012  # the block is what raises
        async with Supervisor("top") as supervisor:
            supervisor.start_child(ChildSpec("child", run, restart))
            await trio.sleep_forever()
    assert caught.value is error
    assert lives == 1


async def test_escalation_is_a_crash_of_the_child_above(autojump_clock: Clock) -> None:
    """A nested supervisor that gives up is restarted whole by its parent."""
    log = Log()

    async def department() -> None:
        async with Supervisor("department", restarts_max=0) as inner:
            inner.start_child(ChildSpec("b", log.crasher("b", 1)))

    async with Supervisor("top", restarts_max=2, backoff_initial_seconds=0) as outer:
        outer.start_child(ChildSpec("department", department))
        with trio.move_on_after(2.5):
            await trio.sleep_forever()
        assert log.lines == [(0, "b begins"), (1, "b begins"), (2, "b begins")]
        outer.stop()


async def test_an_error_of_the_body_passes_as_from_a_nursery() -> None:
    """The body's own error cancels the children and leaves in a group, as Trio does it."""
    log = Log()
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  # the block is what raises
        async with Supervisor("top") as supervisor:
            supervisor.start_child(ChildSpec("a", log.sleeper("a")))
            await trio.testing.wait_all_tasks_blocked()
            raise ValueError("body")
    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    assert [text for _, text in log.lines] == ["a begins", "a ends"]


async def test_stop_child_waits_for_the_end_and_frees_the_name(autojump_clock: Clock) -> None:
    """A child stopped on purpose is not restarted, be it running, about to restart or unborn."""
    log = Log()
    async with Supervisor("top", backoff_initial_seconds=3) as supervisor:
        supervisor.start_child(ChildSpec("a", log.sleeper("a")))
        await trio.sleep(1)
        await supervisor.stop_child("a")
        supervisor.start_child(ChildSpec("a", log.crasher("a", 1)))
        await trio.sleep(2)
        await supervisor.stop_child("a")
        supervisor.start_child(ChildSpec("a", log.sleeper("unborn")))
        await supervisor.stop_child("a")
        await supervisor.stop_child("nobody")
    assert trio.current_time() == 3
    assert log.lines == [(0, "a begins"), (1, "a ends"), (1, "a begins")]


async def test_task_names_show_the_tree() -> None:
    """Children are Trio tasks named ``supervisor/child``."""
    seen: list[str] = []

    async def run() -> None:
        seen.append(trio.lowlevel.current_task().name)

    async with Supervisor("top") as supervisor:
        supervisor.start_child(ChildSpec("link-2", run, Restart.TEMPORARY))
    assert seen == ["top/link-2"]


async def test_cancellation_passes_through(autojump_clock: Clock) -> None:
    """A cancel scope around the block ends children without restarts."""
    log = Log()
    with trio.move_on_after(5) as scope:
        async with Supervisor("top") as supervisor:
            supervisor.start_child(ChildSpec("a", log.sleeper("a")))
    assert scope.cancelled_caught
    assert log.lines == [(0, "a begins"), (5, "a ends")]
