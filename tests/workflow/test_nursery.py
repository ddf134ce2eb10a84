"""Branches: fan-out, races, exception groups, and identity that does not depend on who is
faster."""

import random
from typing import Any

import pytest

import flowactor as fa
from flowactor.identity import describe_key
from flowactor.machine.commands import CancelStep
from flowactor.machine.events import StepCompleted
from tests.workflow.driver import Driver
from tests.workflow.flows import ONCE, echo


class Unlucky(Exception):
    pass


@fa.step(retry=ONCE)
async def maybe(value: int) -> int:
    if value % 50 == 7:
        raise Unlucky(value)
    return value


@fa.workflow
class FanOut:
    async def run(self, count: int, collect: bool) -> list[str]:
        calls = (maybe(value) for value in range(count))
        if collect:
            return [repr(r) for r in await fa.gather(*calls, return_exceptions=True)]
        try:
            return [repr(r) for r in await fa.gather(*calls)]
        except ExceptionGroup as group:
            return [repr(error) for error in group.exceptions]


@pytest.mark.parametrize("seed", [1, 2])
def test_fan_out_collect(seed: int):
    """D4: 500 branches of which 10 fail give 490 results and 10 errors in input order, whatever the
    order of completion and with a fail-over in the middle.
    """
    driver = Driver(FanOut, 500, True, replays=False)
    assert len(driver.steps) == 500
    chance = random.Random(seed)
    driver.run(until=lambda: len(driver.steps) == 250, shuffle=chance)
    driver.fail_over()
    results = driver.run(shuffle=chance)
    assert results == [f"Unlucky({n})" if n % 50 == 7 else str(n) for n in range(500)]
    assert driver.replay().closed


def test_fan_out_fail_fast():
    """D4: the first failure cancels all branches that still wait and leaves in a group."""
    driver = Driver(FanOut, 500, False, replays=False)
    driver.run()
    assert driver.result() == ["Unlucky(7)"]
    cancelled = [c.step for c in driver.history[-1].commands if isinstance(c, CancelStep)]
    assert [path for path, _, _ in cancelled] == [(n,) for n in range(8, 500)]


@fa.workflow
class FirstWins:
    async def run(self) -> list[int]:
        winner = await fa.race(echo(1), echo(2), echo(3))
        return [winner, await echo(10)]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_race_first_wins(first: int):
    """D6: the first to end wins, also on replay; the losers are cancelled and heard no more."""
    driver = Driver(FirstWins)
    keys = list(driver.steps)
    late = [StepCompleted(key, 1, b"\x09") for key in keys if key != keys[first]]
    driver.finish_step(describe_key(keys[first]), first + 1)
    assert driver.activate(*late) == ()
    assert driver.run() == [first + 1, 10]


@fa.workflow
class Groups:
    async def run(self, case: str) -> Any:
        return await getattr(self, case)()

    async def fail(self, text: str, after: float = 0) -> None:
        if after:
            await fa.sleep(after)
        raise ValueError(text)

    async def both(self) -> list[str]:
        try:
            async with fa.open_nursery() as nursery:
                nursery.start_soon(self.fail, "a")
                nursery.start_soon(self.fail, "b")
        except ExceptionGroup as group:
            return [str(error) for error in group.exceptions]
        return []

    async def strict(self) -> str:
        try:
            async with fa.open_nursery():
                raise ValueError("body")
        except ExceptionGroup as group:
            return repr(group.exceptions)
        return ""

    async def block_and_branch(self) -> list[str]:
        try:
            async with fa.open_nursery() as nursery:
                nursery.start_soon(self.fail, "branch", 5)
                await self.fail("block")
        except ExceptionGroup as group:
            return [str(error) for error in group.exceptions]
        return []

    async def cancel_all(self) -> str:
        async with fa.open_nursery() as nursery:
            nursery.start_soon(fa.sleep_forever)
            nursery.start_soon(echo, 1)
            await fa.checkpoint()
            nursery.cancel_scope.cancel()
        return "went on"

    async def nested(self) -> list[str]:
        try:
            async with fa.open_nursery() as outer:
                outer.start_soon(fa.sleep_forever)
                async with fa.open_nursery() as inner:
                    inner.start_soon(self.fail, "inner", 1)
        except ExceptionGroup as group:
            return [type(e).__name__ for e in group.exceptions]
        return []

    async def grows(self) -> list[int]:
        seen: list[int] = []

        async def spawn(nursery: fa.Nursery, depth: int) -> None:
            seen.append(await echo(depth))
            if depth < 3:
                nursery.start_soon(spawn, nursery, depth + 1)

        async with fa.open_nursery() as nursery:
            nursery.start_soon(spawn, nursery, 0)
        return seen

    async def empty(self) -> list[Any]:
        async with fa.open_nursery():
            pass
        return await fa.gather()

    async def race_of_none(self) -> str:
        try:
            await fa.race()
        except ValueError as error:
            return str(error)
        return ""

    async def misuse(self) -> list[str]:
        texts = []
        async with fa.open_nursery() as nursery:
            for call in (
                lambda: nursery.start_soon(echo(1)),  # type: ignore[arg-type]
                lambda: nursery.start_soon(len, [1]),  # type: ignore[arg-type]
            ):
                try:
                    call()
                except fa.WorkflowMisuse as error:
                    texts.append(str(error))
        try:
            nursery.start_soon(echo, 1)
        except fa.WorkflowMisuse as error:
            texts.append(str(error))
        return texts


@pytest.mark.parametrize(
    ("case", "result"),
    [
        ("both", ["a", "b"]),
        ("strict", "(ValueError('body'),)"),
        ("block_and_branch", ["block"]),
        ("cancel_all", "went on"),
        ("nested", ["ExceptionGroup"]),
        ("grows", [0, 1, 2, 3]),
        ("empty", []),
        ("race_of_none", "race needs something to run"),
        (
            "misuse",
            [
                "start_soon takes a function and its arguments: start_soon(f, x), not f(x)",
                "start_soon needs an async function; len returned 1",
                "this nursery is closed: start_soon works inside its async with block",
            ],
        ),
    ],
)
def test_nurseries_follow_trios_rules(case: str, result: Any):
    """Groups are strict, cancellation is absorbed by its scope, and a nursery waits for all."""
    driver = Driver(Groups, case)
    assert driver.run() == result
    assert not driver.steps
    assert not driver.timers


@fa.workflow
class SharedNursery:
    """Two branches that spawn into one nursery when their first step is done."""

    async def run(self) -> None:
        async def spawner(nursery: fa.Nursery, base: int) -> None:
            await echo(base)
            nursery.start_soon(echo, base + 1)
            await echo(base + 2)

        async with fa.open_nursery() as nursery:
            nursery.start_soon(spawner, nursery, 10)
            nursery.start_soon(spawner, nursery, 20)


def test_step_keys_do_not_depend_on_arrival_order():
    """Whichever branch is faster, each step has the same key with the same arguments."""
    seen = []
    for seed in range(10):
        driver = Driver(SharedNursery)
        driver.run(shuffle=random.Random(seed))
        commands = [
            c for activated in driver.history for c in activated.commands if hasattr(c, "arguments")
        ]
        seen.append({c.step: c.arguments for c in commands})
    assert all(keys == seen[0] for keys in seen)
    assert len(seen[0]) == 6


@fa.workflow
class FailingBranch:
    async def run(self) -> None:
        async with fa.open_nursery() as nursery:
            nursery.start_soon(maybe, 7)


def test_a_group_that_leaves_the_run_fails_it():
    """An exception group is a value like any other error."""
    driver = Driver(FailingBranch)
    with pytest.raises(ExceptionGroup) as raised:
        driver.run()
    (error,) = raised.value.exceptions
    assert isinstance(error, Unlucky)
    assert error.args == (7,)
