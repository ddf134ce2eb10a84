"""Cancel scopes, deadlines and cancellation of runs: Trio's rules, durably."""

from typing import Any

import pytest

import flowactor as fa
from flowactor.machine.commands import CancelStep, CancelTimer, RunEndedCancelled
from tests.workflow.driver import Driver
from tests.workflow.flows import echo, refund


@fa.workflow
class Race:
    def __init__(self) -> None:
        self.approved = False

    async def run(self) -> str:
        with fa.move_on_after(60) as scope:
            await fa.wait_condition(lambda: self.approved)
        return "timeout" if scope.cancelled_caught else "signal"

    @fa.signal
    def approve(self) -> None:
        self.approved = True


def test_timer_cancelled():
    """B3: a signal at 5 s beats a timer of 60 s; the timer is removed and the run ends at once."""
    driver = Driver(Race)
    assert list(driver.timers.values()) == [driver.now_ns + 60 * 10**9]
    driver.now_ns += 5 * 10**9
    commands = driver.signal(Race.approve)
    assert isinstance(commands[0], CancelTimer)
    assert not driver.timers
    assert (driver.result(), driver.seconds) == ("signal", 5)


@fa.workflow
class Sleeper:
    async def run(self) -> None:
        await fa.sleep(60)


def test_cancelling_names_no_line_outside_the_code():
    """No line of the code asked to end the timer that it waited for, and lines of the engine's are
    not shown instead.
    """
    commands = Driver(Sleeper).cancel()
    assert [command.site for command in commands if isinstance(command, CancelTimer)] == [""]


def test_the_deadline_strikes_if_nothing_else_does():
    """The same race, won by the timer."""
    driver = Driver(Race)
    driver.fire()
    assert (driver.result(), driver.seconds) == ("timeout", 60)


@fa.workflow
class Cleanup:
    async def run(self, order_id: str) -> str:
        try:
            return str(await echo(1))
        finally:
            with fa.CancelScope(shield=True):
                first = await refund(order_id)
                await fa.sleep(10)
                await refund(first)


@pytest.mark.parametrize("crash", [0, 1, 2, 3])
def test_cancel_runs_cleanup(crash: int):
    """B9: compensation under a shield runs to its end, through a fail-over at any point; a second
    cancel changes nothing; the run ends cancelled with the first reason.
    """
    driver = Driver(Cleanup, "o-1")
    commands = driver.cancel("customer left")
    assert isinstance(commands[0], CancelStep)
    for turn in range(3):
        if turn == crash:
            driver.fail_over()
        assert driver.activate() == ()
        driver.cancel("again")
        if driver.steps:
            driver.execute()
        else:
            driver.fire()
    assert driver.ended == RunEndedCancelled("customer left")
    assert [name for _, name, _ in driver.recorded] == ["refund", "refund"]
    assert driver.cancel("too late") == ()


@fa.workflow
class Blocks:
    def __init__(self) -> None:
        self.never = False

    async def run(self, where: str) -> str:
        await getattr(self, where)()
        return "went on"

    async def in_step(self) -> None:
        await echo(1)

    async def in_compute(self) -> None:
        await fa.compute("c", lambda: 1)

    async def in_sleep(self) -> None:
        await fa.sleep(10)

    async def in_sleep_until(self) -> None:
        await fa.sleep_until(fa.now().replace(year=2100))

    async def in_sleep_forever(self) -> None:
        await fa.sleep_forever()

    async def in_condition(self) -> None:
        await fa.wait_condition(lambda: self.never)

    async def in_condition_with_timeout(self) -> None:
        await fa.wait_condition(lambda: self.never, timeout=5)

    async def in_nursery(self) -> None:
        async with fa.open_nursery() as nursery:
            nursery.start_soon(echo, 1)
            nursery.start_soon(fa.sleep, 5)

    async def in_gather(self) -> None:
        await fa.gather(echo(1), fa.sleep(5), return_exceptions=True)

    async def in_race(self) -> None:
        await fa.race(echo(1), echo(2))

    async def in_scope(self) -> None:
        with fa.move_on_after(5):
            await echo(1)

    async def in_nested_child(self) -> None:
        async def inner() -> None:
            async with fa.open_nursery() as nursery:
                nursery.start_soon(fa.sleep_forever)
                await echo(1)

        async with fa.open_nursery() as nursery:
            nursery.start_soon(inner)


POINTS = [name for name in vars(Blocks) if name.startswith("in_")]


@pytest.mark.parametrize("where", POINTS)
def test_cancel_each_blocking_point(where: str):
    """B10: wherever the code waits, cancellation ends it in one activation and leaves nothing
    behind."""
    driver = Driver(Blocks, where)
    assert driver.status == "running"
    driver.cancel()
    assert driver.status == "cancelled"
    assert not driver.steps
    assert not driver.timers


@fa.workflow
class NeverBlocks:
    async def run(self, where: str) -> str:
        caught = []
        try:
            await fa.sleep(100)
        except fa.Cancelled:
            # Level triggered: whatever comes next is refused as well.
            for call in (
                echo(1),
                fa.sleep(0),
                fa.checkpoint(),
                fa.variable("v", 1),
                fa.sleep_forever(),
            ):
                try:
                    await call
                except fa.Cancelled:
                    caught.append("x")
        return "".join(caught)


def test_cancellation_is_level_triggered():
    """Every later await in a cancelled run raises again and asks for nothing."""
    driver = Driver(NeverBlocks, "x")
    commands = driver.cancel()
    assert driver.result() == "xxxxx"
    assert len(commands) == 2


@fa.workflow
class Swallows:
    async def run(self) -> int:
        with fa.CancelScope(shield=True):
            value = await echo(20)
        try:
            await fa.sleep(5)
        except fa.Cancelled:
            return value + 1
        return value


def test_cancel_swallowed():
    """B11: a shielded step is not interrupted; a run that catches its cancellation completes."""
    driver = Driver(Swallows)
    assert driver.cancel() == ()
    driver.execute()
    assert (driver.status, driver.result()) == ("completed", 21)


@fa.workflow
class FailsInCleanup:
    async def run(self) -> None:
        try:
            await fa.sleep(5)
        finally:
            raise ValueError("clean-up broke")


def test_an_error_in_cleanup_fails_the_run():
    """What is raised during cancellation decides: the run is failed, not cancelled."""
    driver = Driver(FailsInCleanup)
    driver.cancel()
    with pytest.raises(ValueError, match="clean-up broke"):
        driver.result()


# -- scopes by themselves -----------------------------------------------------------------------


@fa.workflow
class Scopes:
    async def run(self, case: str) -> Any:
        return await getattr(self, case)()

    async def fail_after(self) -> str:
        try:
            with fa.fail_after(3):
                await fa.sleep_forever()
        except fa.TooSlowError as error:
            return str(error)
        return "no error"

    async def in_time(self) -> list[bool]:
        with fa.fail_after(3) as scope:
            await fa.sleep(1)
        with fa.move_on_at(fa.now()) as at_once:
            await fa.sleep(1)
        with fa.move_on_after(0) as zero:
            await fa.checkpoint()
        return [scope.cancelled_caught, at_once.cancelled_caught, zero.cancelled_caught]

    async def outer_wins(self) -> list[bool]:
        with fa.move_on_after(1) as outer:
            with fa.move_on_after(2) as inner:
                await fa.sleep_forever()
            return ["unreachable"]  # type: ignore[list-item]
        return [outer.cancelled_caught, inner.cancelled_caught]

    async def moved_deadline(self) -> float:
        began = fa.now()
        with fa.move_on_after(1) as scope:
            assert scope.deadline is not None
            scope.deadline = scope.deadline.replace(year=scope.deadline.year + 1)
            scope.deadline = fa.now() + (scope.deadline - scope.deadline)
            await fa.sleep_forever()
        return (fa.now() - began).total_seconds()

    async def unshielded(self) -> str:
        with fa.move_on_after(1):
            with fa.CancelScope(shield=True) as shield:
                await fa.sleep(2)
                shield.shield = False
                await fa.sleep(2)
            return "went on"
        return "cancelled when unshielded"

    async def cancelled_before(self) -> bool:
        scope = fa.CancelScope()
        scope.cancel()
        with scope:
            await fa.sleep(1)
        return scope.cancelled_caught

    async def cancelled_unused(self) -> list[bool]:
        with fa.CancelScope() as scope:
            scope.cancel()
        return [scope.cancel_called, scope.cancelled_caught]

    async def condition_times_out(self) -> list[bool]:
        return [
            await fa.wait_condition(lambda: False, timeout=1),
            await fa.wait_condition(lambda: True, 1),
        ]

    async def group_absorbed(self) -> list[Any]:
        try:
            with fa.CancelScope() as scope:
                async with fa.open_nursery() as nursery:
                    nursery.start_soon(fa.sleep_forever)
                    nursery.start_soon(self.fails_when_cancelled)
                    await fa.checkpoint()
                    scope.cancel()
        except ExceptionGroup as group:
            return [
                scope.cancelled_caught,
                [str(e) for e in group.exceptions],
                len(group.exceptions),
            ]
        return []

    async def fails_when_cancelled(self) -> None:
        try:
            await fa.sleep_forever()
        finally:
            raise ValueError("late")


@pytest.mark.parametrize(
    ("case", "result", "seconds"),
    [
        ("fail_after", "the block did not end by 2023-11-14 22:13:23+00:00", 3),
        ("in_time", [False, True, True], 1),
        ("outer_wins", [True, False], 1),
        ("moved_deadline", 0.0, 0),
        ("unshielded", "cancelled when unshielded", 2),
        ("cancelled_before", True, 0),
        ("cancelled_unused", [True, False], 0),
        ("condition_times_out", [False, True], 1),
        ("group_absorbed", [True, ["late"], 1], 0),
    ],
)
def test_scopes_follow_trios_rules(case: str, result: Any, seconds: float):
    """Deadlines, shields and absorption work as in Trio, with durable timers."""
    driver = Driver(Scopes, case)
    assert driver.run() == result
    assert driver.seconds == seconds
    assert not driver.timers


@fa.workflow
class Misnested:
    async def run(self, case: str) -> str:
        outer, inner = fa.CancelScope(), fa.CancelScope()
        try:
            if case == "order":
                outer.__enter__()
                inner.__enter__()
                outer.__exit__(None, None, None)
            elif case == "twice":
                with outer:
                    pass
                with outer:
                    pass
            elif case == "naive":
                fa.move_on_at(fa.now().replace(tzinfo=None))
            elif case == "nan":
                fa.move_on_after(float("nan"))
            else:
                await fa.sleep(-1)
        except (fa.WorkflowMisuse, ValueError) as error:
            return str(error)
        return "nothing"


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("order", "innermost first"),
        ("twice", "entered once"),
        ("naive", "no time zone"),
        ("nan", "not nan"),
        ("negative", "cannot sleep for -1"),
    ],
)
def test_wrong_use_of_scopes_is_explained(case: str, text: str):
    """Misuse raises at the line that does it, with the rule in the message."""
    assert text in Driver(Misnested, case).run()
