"""Awaiting or entering something that is not flowactor's: refused with file, line and what to write
instead.
"""

import asyncio
import inspect
import math
import signal
from collections.abc import Generator
from typing import Any

import pytest
import trio
import trio.testing

import flowactor as fa
from flowactor.cluster.runs.outside import outside_trio
from flowactor.observability.events import ActorFailed
from tests.cluster.harness import cluster
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

    async def trio_forever(self) -> None:
        with fa.move_on_after(5):
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
    ("trio_forever", "trio.sleep_forever", "await fa.sleep_forever()"),
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
    lines, start = inspect.getsourcelines(getattr(driver.definition.cls, what))
    line = start + next(i for i, source in enumerate(lines) if "# here" in source)
    assert f"test_foreign.py:{line} uses {name}" in text
    assert f"Write instead: {cure}" in text


@pytest.mark.parametrize(("what", "name", "cure"), CASES)
async def test_foreign_awaits_are_refused_under_trio(what: str, name: str, cure: str):
    """With Trio's loop around the interpreter, which must come to no harm."""
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


# -- scopes -------------------------------------------------------------------------------------


async def no_step() -> None:
    """Whatever runs this wanted to run it outside the run."""


@fa.workflow
class Scopes:
    """Each of these would leave something open, or running, in the node's own task."""

    async def run(self, what: str) -> str:
        await echo(1)
        await getattr(self, what)()
        return "went on"

    async def move_on_after(self) -> None:
        with trio.move_on_after(0.01):  # here
            await fa.sleep(3)

    async def fail_after(self) -> None:
        with trio.fail_after(0.01):  # here
            await fa.sleep(3)

    async def cancel_scope(self) -> None:
        scope = trio.CancelScope(shield=True)
        with scope:  # here
            await echo(2)

    async def nursery(self) -> None:
        async with trio.open_nursery() as nursery:  # here
            nursery.start_soon(no_step)

    async def system_task(self) -> None:
        trio.lowlevel.spawn_system_task(no_step)  # here

    async def clock(self) -> None:
        await fa.sleep(trio.current_time())  # here

    async def loop(self) -> None:
        trio.run(no_step)  # here

    async def timeout(self) -> None:
        async with asyncio.timeout(1):  # here
            await fa.sleep(3)

    async def group(self) -> None:
        async with asyncio.TaskGroup():  # here
            await fa.sleep(3)


_STEP = "put the call into an async function marked @fa.step"
_MOVE_ON = "with fa.move_on_after(seconds): ..."
_FAIL = "with fa.fail_after(seconds): ..."
_NURSERY = "async with fa.open_nursery() as nursery: ..."
SCOPES = [
    ("move_on_after", "trio.CancelScope", _MOVE_ON),
    ("fail_after", "trio.fail_after", _FAIL),
    ("cancel_scope", "trio.CancelScope", _MOVE_ON),
    ("nursery", "trio.open_nursery", _NURSERY),
    ("system_task", "trio.spawn_system_task", _STEP),
    ("clock", "trio.current_time", "fa.now()"),
    ("loop", "trio.run", _STEP),
    ("timeout", "asyncio.timeout", _FAIL),
    ("group", "asyncio.TaskGroup", _NURSERY),
]


@pytest.mark.parametrize(("what", "name", "cure"), SCOPES)
async def test_scopes_of_other_libraries_are_refused(what: str, name: str, cure: str):
    """As on a node: refused where it is entered, and nothing of it is left in the task outside."""
    with trio.CancelScope():  # noqa: ASYNC100  # Trio complains here of what was left open inside
        check(Driver(Scopes, what, outside=outside_trio), what, name, cure)
    assert trio.current_effective_deadline() == math.inf
    await trio.testing.wait_all_tasks_blocked()


@fa.workflow
class Everywhere:
    """Its handlers do what ``run`` may not do either."""

    async def run(self) -> None:
        await fa.sleep(60)

    @fa.signal
    async def later(self) -> None:
        with trio.move_on_after(1):
            await fa.sleep(3)

    @fa.signal
    def at_once(self) -> None:
        with trio.CancelScope():  # noqa: ASYNC100  # it would have no effect
            pass

    @fa.query
    def asked(self) -> float:
        return trio.current_time()


@fa.workflow
class Initial:
    """Already its beginning does it."""

    def __init__(self) -> None:
        self.since = trio.current_time()

    async def run(self) -> None:
        """Never gets there."""


@fa.workflow
class Condition:
    """A predicate is user code too."""

    async def run(self) -> None:
        await fa.wait_condition(lambda: trio.current_time() > 0)


@pytest.mark.parametrize("handler", [Everywhere.later, Everywhere.at_once])
async def test_handlers_are_held_to_it_too(handler: Any):
    """Signal handlers, async and plain, fail the run with the same words."""
    driver = Driver(Everywhere, outside=outside_trio)
    driver.signal(handler)
    with pytest.raises(fa.ForeignAwait, match=r"uses trio\.CancelScope"):
        driver.result()


async def test_a_query_is_told_what_to_write():
    """It fails for whoever asked; the run goes on."""
    driver = Driver(Everywhere, outside=outside_trio)
    with pytest.raises(fa.ForeignAwait, match=r"uses trio\.current_time.*Write instead: fa\.now"):
        driver.query(Everywhere.asked)
    assert driver.status == "running"


@pytest.mark.parametrize("workflow", [Initial, Condition])
async def test_code_that_is_no_task_is_held_to_it_too(workflow: type):
    """``__init__`` and the predicate of a condition get the same refusal."""
    driver = Driver(workflow, outside=outside_trio)
    with pytest.raises(fa.ForeignAwait, match=r"uses trio\.current_time"):
        driver.result()


@fa.workflow
class Stubborn:
    """Catches the refusal, and cleans up with what was refused."""

    async def run(self) -> str:
        try:
            with trio.move_on_after(1):
                await fa.sleep(3)
        except RuntimeError:
            return str(await echo(1))
        return "not refused"


async def test_code_that_catches_the_refusal_goes_on_unharmed():
    """Nothing was entered, so nothing has to be undone."""
    with trio.CancelScope():  # noqa: ASYNC100  # Trio complains here of what was left open inside
        assert Driver(Stubborn, outside=outside_trio).run() == "1"


async def test_trio_is_back_after_an_error():
    """Whatever the function raises: the task is what it was."""
    task = trio.lowlevel.current_task()
    with pytest.raises(ZeroDivisionError):
        outside_trio(divmod, 1, 0)
    assert trio.lowlevel.current_task() is task
    assert outside_trio(outside_trio, divmod, 7, 2) == (3, 1)


def test_ctrl_c_still_interrupts_code_that_never_ends():
    """Trio decides by its task whether it may, which the code is out of reach of."""

    async def main() -> None:
        outside_trio(signal.raise_signal, signal.SIGINT)
        raise AssertionError("nothing came of it")

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)


# -- on a node ----------------------------------------------------------------------------------


@fa.workflow(version=1)
class Ordinary:
    """What else the node has to do meanwhile."""

    async def run(self) -> int:
        return await echo(7)


@fa.workflow(version=1)
class Trapped:
    """Waits inside a scope of Trio's; asked, it enters another."""

    async def run(self) -> None:
        with trio.move_on_after(0.01):
            await fa.sleep(3)

    @fa.query
    def asked(self) -> bool:
        with trio.CancelScope() as scope:  # noqa: ASYNC100  # it would have no effect
            return scope.cancel_called


async def test_the_run_fails_and_the_node_goes_on(tmp_path, autojump_clock):
    """On owner and standbys, live, replayed and queried: the run fails with the refusal, none is
    parked, and no actor crashes.
    """
    async with cluster(tmp_path, fa.App([Trapped, Ordinary])) as c:
        run = await c.client(1).start(Trapped.run, id="trapped")
        with pytest.raises(fa.WorkflowFailed) as raised:
            await run.result(timeout=60)
        assert "uses trio.CancelScope" in str(raised.value)
        assert "Write instead: with fa.move_on_after(seconds)" in str(raised.value)
        with pytest.raises(fa.ForeignAwait, match=r"uses trio\.CancelScope"):
            await run.query(Trapped.asked)
        assert await c.client(1).execute(Ordinary.run) == 7
        await c.converge()
        assert not c.seen(ActorFailed)
