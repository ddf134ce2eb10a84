"""Awaiting something that is not flowactor's: refused with file, line and what to write instead."""

import asyncio
import inspect
from collections.abc import Generator
from typing import Any

import pytest
import trio

import flowactor as fa
from tests.workflow.driver import Driver
from tests.workflow.flows import echo


class Custom:
    def __await__(self) -> Generator[str, None, None]:
        yield "something else"


class Iterator:
    def __await__(self) -> Any:
        return iter(["x"])


@fa.workflow
class Foreign:
    async def run(self, what: str) -> str:
        await echo(1)
        await getattr(self, what)()
        return "went on"

    async def trio_sleep(self) -> None:
        await trio.sleep(1)  # here

    async def trio_event(self) -> None:
        await trio.Event().wait()  # here

    async def trio_scope(self) -> None:
        with trio.move_on_after(5):
            await trio.sleep_forever()  # here

    async def asyncio_sleep(self) -> None:
        await asyncio.sleep(1)  # here

    async def asyncio_checkpoint(self) -> None:
        await asyncio.sleep(0)  # here

    async def custom(self) -> None:
        await Custom()  # here

    async def iterator(self) -> None:
        await Iterator()  # here

    async def helper(self) -> None:
        await trio.lowlevel.checkpoint()  # here

    async def branch(self) -> None:
        async with fa.open_nursery() as nursery:
            nursery.start_soon(self.helper)

    async def caught(self) -> None:
        try:
            await trio.sleep(1)
        except fa.ForeignAwait:
            assert await echo(2) == 2

    async def insists(self) -> None:
        for _ in range(3):
            try:
                await Custom()
            except fa.ForeignAwait:
                continue


CASES = [
    ("trio_sleep", "trio.sleep", "await fa.sleep(seconds)"),
    ("trio_event", "trio.Event.wait", "await fa.wait_condition(lambda: ...)"),
    ("trio_scope", "trio.sleep_forever", "await fa.sleep_forever()"),
    ("asyncio_sleep", "asyncio.sleep", "await fa.sleep(seconds)"),
    ("asyncio_checkpoint", "asyncio.sleep", "await fa.sleep(seconds)"),
    (
        "custom",
        "tests.workflow.test_foreign.Custom",
        "put the call into an async function marked @fa.step",
    ),
    ("iterator", "builtins.list_iterator", "put the call into an async function marked @fa.step"),
]


def check(driver: Driver, what: str, name: str, cure: str) -> None:
    driver.execute()
    with pytest.raises(fa.ForeignAwait) as raised:
        driver.result()
    text = str(raised.value)
    lines, start = inspect.getsourcelines(getattr(Foreign, what))
    line = start + next(i for i, source in enumerate(lines) if "# here" in source)
    assert f"test_foreign.py:{line} awaits {name}" in text
    assert f"Write instead: {cure}" in text


@pytest.mark.parametrize(("what", "name", "cure"), CASES)
async def test_foreign_awaits_are_refused_under_trio(what: str, name: str, cure: str):
    """As on a node: with Trio's loop around the interpreter, which must come to no harm."""
    check(Driver(Foreign, what), what, name, cure)
    with trio.fail_after(5):
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("what", "name", "cure"), [c for c in CASES if not c[0].startswith("trio")]
)
def test_foreign_awaits_are_refused_without_a_loop(what: str, name: str, cure: str):
    """As in a plain test or a replay on the command line."""
    check(Driver(Foreign, what), what, name, cure)


def test_trio_without_its_loop_is_explained_too():
    """Trio complains by itself when it does not run; the cure is told all the same."""
    check(Driver(Foreign, "trio_sleep"), "trio_sleep", "trio.sleep", "await fa.sleep(seconds)")


async def test_a_foreign_await_in_a_branch_fails_in_a_group():
    """In a nursery it is an error like any other."""
    driver = Driver(Foreign, "branch")
    driver.execute()
    with pytest.raises(ExceptionGroup) as raised:
        driver.result()
    assert isinstance(raised.value.exceptions[0], fa.ForeignAwait)


@pytest.mark.parametrize("what", ["caught", "insists"])
async def test_the_error_is_thrown_at_the_await(what: str):
    """The code can catch it there and go on."""
    driver = Driver(Foreign, what)
    assert driver.run() == "went on"
