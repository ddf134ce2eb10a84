"""One course for all: replay, comparison, time and chance, log lines, and leaving memory."""

import asyncio
import contextvars
import datetime as dt
import gc
import logging
import random
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flowactor as fa
from flowactor.machine.commands import ArmTimer, CompleteRun, FailRun, ScheduleStep
from flowactor.machine.events import Failure, RunStarted
from flowactor.workflow import Interpreter, compare, definition_of, replay
from tests.workflow.driver import START_NS, Driver
from tests.workflow.flows import ONCE, echo, refund

ROOT = Path(__file__).parents[2]

# -- code that changed --------------------------------------------------------------------------


@fa.step(retry=ONCE)
async def first(value: int) -> int:
    return value + 1


first_again = fa.step(name="first", retry=fa.RetryPolicy(maximum_attempts=9), start_to_close=99)(
    first.function
)


@fa.step(retry=ONCE)
async def second(value: int) -> int:
    return value * 2


@fa.workflow(name="Changing")
class Recorded:
    async def run(self, value: int) -> int:
        value = await first(value)
        await fa.sleep(5)
        return await second(value)


@fa.workflow(name="Changing")
class ChangedSafely:
    """Another retry policy and limit, other lines, a new handler, a rewritten body."""

    async def run(self, value: int) -> int:
        result = await first_again(value)
        await fa.sleep(5)

        return await second(result)

    @fa.query
    def fresh(self) -> int:
        return 1


@fa.workflow(name="Changing")
class ChangedOrder:
    async def run(self, value: int) -> int:
        value = await second(value)
        await fa.sleep(5)
        return await first(value)


@fa.workflow(name="Changing")
class ChangedArguments:
    async def run(self, value: int) -> int:
        return await first(value + 1)


@fa.workflow(name="Changing")
class ChangedTimer:
    async def run(self, value: int) -> int:
        await first(value)
        await fa.sleep(6)
        return 0


@fa.workflow(name="Changing")
class EndsEarly:
    async def run(self, value: int) -> int:
        await first(value)
        await fa.sleep(5)
        return value


@fa.workflow(name="Changing")
class AsksMore:
    async def run(self, value: int) -> int:
        async with fa.open_nursery() as nursery:
            nursery.start_soon(refund, "x")
            await first(value)
        return 0


@pytest.fixture
def recorded() -> Driver:
    driver = Driver(Recorded, 3)
    assert driver.run() == 8
    return driver


def test_safe_changes(recorded: Driver):
    """F3: a step's body, its retry policy and limits, moved lines and new handlers are no
    mismatch."""
    interpreter = replay(definition_of(ChangedSafely), recorded.info, recorded.history)
    assert interpreter.closed
    assert interpreter.query("fresh", b"\x80") == b"\x01"


@pytest.mark.parametrize(
    ("changed", "both_sides"),
    [
        (
            ChangedOrder,
            [
                "recorded: step first with arguments [3] at",
                "this code: step second with arguments [3] at",
            ],
        ),
        (
            ChangedArguments,
            ["recorded: step first with arguments [3]", "this code: step first with arguments [4]"],
        ),
        (
            ChangedTimer,
            ["activation 1:", "timer sleep due at 1700000005", "timer sleep due at 1700000006"],
        ),
        (EndsEarly, ["recorded: step second with arguments [4]", "this code: complete with 3"]),
        (
            AsksMore,
            [
                "(command 2 of an activation)",
                "recorded: nothing more",
                "this code: step 0/refund with",
            ],
        ),
    ],
)
def test_a_mismatch_shows_both_sides(recorded: Driver, changed: Any, both_sides: list[str]):
    """Other steps, arguments, timers, or an earlier end: told with both sides and their lines."""
    with pytest.raises(fa.DeterminismViolation) as raised:
        replay(definition_of(changed), recorded.info, recorded.history)
    text = str(raised.value)
    for expected in both_sides:
        assert expected in text
    assert "Changing v1, run run-1, activation" in text
    assert f"in {changed.__qualname__}.run" in text
    assert "at tests.workflow.test_determinism, line " in text


def test_comparison_ignores_what_may_differ():
    """Sites and policies are free; of a failure, type and message count, not its details."""
    rule = fa.RetryPolicy().rule()
    other = fa.RetryPolicy(maximum_attempts=3).rule()
    left = ScheduleStep(((), "a", 0), "a", b"\x80", rule, 1, 2, site="x:y:1")
    right = ScheduleStep(((), "a", 0), "a", b"\x80", other, site="x:y:2")
    assert compare([left], [right]) is None
    failed = FailRun(Failure("builtins.ValueError", "x", b"1"))
    assert compare([failed], [FailRun(Failure("builtins.ValueError", "x", b"2"))]) is None
    assert compare([failed], [FailRun(Failure("builtins.ValueError", "y"))]) is not None
    missing = compare([left], [])
    assert missing is not None
    assert "this code: nothing more" in str(missing)
    assert compare([ArmTimer(((), "t", 0), 1)], [ArmTimer(((), "t", 1), 1)]) is not None
    assert compare([CompleteRun(b"\x01")], [CompleteRun(b"\xff")]) is not None


# -- time and chance ----------------------------------------------------------------------------


@fa.workflow
class Ambient:
    async def run(self) -> list[str]:
        before = [
            str(fa.uuid4()),
            str(fa.random().random()),
            fa.now().isoformat(),
            str(fa.time_ns()),
        ]
        await fa.sleep(1.5)
        await fa.sleep_until(fa.now() + dt.timedelta(days=1))
        return [*before, str(fa.uuid4()), fa.now().isoformat(), fa.workflow_info().run_id]


def test_time_random_uuid():
    """F7: time, chance and identifiers are the same after replay elsewhere, and differ between
    runs."""
    driver = Driver(Ambient)
    driver.fail_over()
    result = driver.run()
    assert driver.replay().closed
    assert result[2] == "2023-11-14T22:13:20+00:00"
    assert result[5] == "2023-11-15T22:13:21.500000+00:00"
    assert Driver(Ambient).run() == result
    assert Driver(Ambient, run_id="run-2").run()[0] != result[0]
    assert uuid.UUID(result[0]).version == 4


@fa.workflow
class Escapes:
    async def run(self, what: str) -> str:
        calls: dict[str, Any] = {
            "time": time.time,
            "now": lambda: dt.datetime.now(dt.UTC),
            "random": random.random,
            "randint": lambda: random.randint(1, 6),
            "uuid4": uuid.uuid4,
            "open": lambda: Path(__file__).read_bytes(),
            "log": lambda: fa.logger.info("fine"),
            "own": lambda: fa.random().randint(1, 6),
        }
        calls[what]()
        return "fine"


@pytest.mark.parametrize(
    ("what", "cure"),
    [
        (
            "time",
            "calls time.time, which differs from node to node and on replay. Write instead: fa.n",
        ),
        ("now", "calls datetime.now"),
        ("random", "Write instead: fa.random()"),
        ("randint", "calls random,"),
        ("uuid4", "fa.uuid4()"),
        ("open", "a step"),
    ],
)
def test_escapes_are_reported_in_test_mode(what: str, cure: str):
    """F7: in strict mode a call of the process's clock, chance or files fails with file and
    line."""
    driver = Driver(Ambient)
    interpreter = Interpreter(definition_of(Escapes), driver.info, strict=True)
    (command,) = interpreter.activate(
        START_NS, [RunStarted(definition_of(Escapes).run.encode((what,), {}))]
    ).commands
    assert isinstance(command, FailRun)
    assert command.failure.error_type == "flowactor.errors.DeterminismViolation"
    assert "test_determinism.py:" in command.failure.message
    assert cure in command.failure.message


@pytest.mark.parametrize("what", ["log", "own"])
def test_strict_mode_lets_flowactors_own_calls_pass(what: str):
    """Logging and the run's own generator are no escapes."""
    driver = Driver(Ambient)
    interpreter = Interpreter(definition_of(Escapes), driver.info, strict=True)
    interpreter.live = True
    (command,) = interpreter.activate(
        START_NS, [RunStarted(definition_of(Escapes).run.encode((what,), {}))]
    ).commands
    assert isinstance(command, CompleteRun)


@fa.workflow
class Logs:
    async def run(self) -> int:
        fa.logger.info("before %s", 1)
        await echo(1)
        fa.logger.warning("after")
        return 0

    @fa.query
    def look(self) -> int:
        fa.logger.warning("looked")
        return 0


def test_logs_once(caplog: pytest.LogCaptureFixture):
    """F8: lines go out once, from the owner's first activation, through any number of replays."""
    caplog.set_level(logging.INFO, logger="flowactor.run")
    driver = Driver(Logs)
    driver.fail_over()
    driver.query(Logs.look)
    driver.run()
    for _ in range(5):
        driver.replay()
    assert [record.getMessage() for record in caplog.records] == ["before 1", "after"]
    record: Any = caplog.records[0]
    assert (record.workflow_id, record.run_id, record.funcName) == ("order-1", "run-1", "run")


# -- leaving memory -----------------------------------------------------------------------------

acted: list[str] = []


@fa.step(retry=ONCE)
async def really_refund() -> None:
    acted.append("refund")
    print("refunded")  # noqa: T201  # seen by the test of a process that ends


@fa.workflow
class Interrupted:
    async def run(self) -> None:
        async with fa.open_nursery() as nursery:
            nursery.start_soon(self.branch)
            try:
                with fa.move_on_after(60):
                    await fa.sleep_forever()
            finally:
                acted.append("main")
                await really_refund()

    async def branch(self) -> None:
        try:
            async for _ in self.endless():
                await echo(1)
        finally:
            acted.append("branch")
            with fa.CancelScope(shield=True):
                await really_refund()

    async def endless(self) -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            acted.append("generator")


@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_a_run_that_leaves_memory_does_not_act(how: str):
    """Closing or dropping an interpreter runs plain clean-up code, but never a step's body: another
    node goes on with the run.
    """
    driver = Driver(Interrupted, replays=False)
    acted.clear()
    if how == "closed":
        driver.interpreter.close()
        assert driver.interpreter.activate(START_NS, ()).commands == ()
    else:
        del driver.interpreter
        gc.collect()
    assert sorted(acted) == ["branch", "generator", "main"]


@fa.workflow
class Contexts:
    async def run(self) -> str:
        async def branch() -> None:
            CONTEXT.set("branch")
            await fa.checkpoint()

        async with fa.open_nursery() as nursery:
            nursery.start_soon(branch)
        return CONTEXT.get("untouched")


CONTEXT: contextvars.ContextVar[str] = contextvars.ContextVar("CONTEXT")


def test_context_variables_do_not_leak():
    """Branches have contexts of their own, and nothing of the node's context reaches a run."""
    token = CONTEXT.set("node")
    try:
        assert Driver(Contexts).run() == "untouched"
        assert CONTEXT.get() == "node"
    finally:
        CONTEXT.reset(token)


@fa.workflow
class Exits:
    async def run(self) -> None:
        raise KeyboardInterrupt


def test_keyboard_interrupt_passes_through():
    """What is meant for the process is not recorded as the run's end."""
    with pytest.raises(KeyboardInterrupt):
        Driver(Exits)


# -- any program ----------------------------------------------------------------------------------

Node = tuple[Any, ...]


def programs() -> st.SearchStrategy[Node]:
    leaf = st.one_of(
        st.tuples(st.just("step"), st.integers(0, 9)),
        st.tuples(st.just("fail"), st.integers(0, 9)),
        st.tuples(st.just("sleep"), st.integers(0, 5)),
        st.tuples(st.just("checkpoint")),
        st.tuples(st.just("variable"), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.integers(1, 3)),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.tuples(st.just("seq"), st.lists(inner, max_size=3)),
            st.tuples(st.just("par"), st.lists(inner, max_size=4)),
            st.tuples(st.just("race"), st.lists(inner, min_size=1, max_size=3)),
            st.tuples(st.just("timeout"), st.integers(0, 4), inner),
            st.tuples(st.just("shield"), inner),
            st.tuples(st.just("guard"), inner, inner),
        ),
        max_leaves=12,
    )


@fa.step(retry=ONCE)
async def fails(value: int) -> int:
    raise ValueError(value)


@fa.workflow
class Program:
    def __init__(self) -> None:
        self.signals = 0
        self.trace: list[str] = []

    async def run(self, program: Any) -> list[str]:
        try:
            await self.go(program)
        except* ValueError as group:
            self.trace.append(f"failed {len(group.exceptions)}")
        return self.trace

    async def go(self, node: Any) -> None:
        kind, *rest = node
        self.trace.append(kind)
        await getattr(self, f"do_{kind}")(*rest)

    async def do_step(self, value: int) -> None:
        self.trace.append(str(await echo(value)))

    async def do_fail(self, value: int) -> None:
        await fails(value)

    async def do_sleep(self, seconds: int) -> None:
        await fa.sleep(seconds)

    async def do_checkpoint(self) -> None:
        await fa.checkpoint()

    async def do_variable(self, name: int) -> None:
        counter = await fa.variable(f"v{name}", 0)
        await counter.update(lambda value: value + 1)

    async def do_wait(self, count: int) -> None:
        await fa.wait_condition(lambda: self.signals >= count, timeout=3)

    async def do_seq(self, nodes: list[Any]) -> None:
        for node in nodes:
            await self.go(node)

    async def do_par(self, nodes: list[Any]) -> None:
        async with fa.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(self.go, node)

    async def do_race(self, nodes: list[Any]) -> None:
        await fa.race(*(self.go(node) for node in nodes))

    async def do_timeout(self, seconds: int, node: Any) -> None:
        with fa.move_on_after(seconds):
            await self.go(node)

    async def do_shield(self, node: Any) -> None:
        with fa.CancelScope(shield=True):
            await self.go(node)

    async def do_guard(self, node: Any, cleanup: Any) -> None:
        try:
            await self.go(node)
        finally:
            with fa.CancelScope(shield=True):
                await self.go(cleanup)

    @fa.signal
    async def nudge(self) -> None:
        self.signals += 1
        await echo(100)


@settings(max_examples=150)
@given(
    program=programs(),
    choices=st.lists(st.integers(0, 5), max_size=30),
    cancel_at=st.one_of(st.none(), st.integers(0, 10)),
)
def test_any_program_replays(program: Node, choices: list[int], cancel_at: int | None):
    """I24: whatever branches, sleeps, scopes and races do and in whichever order things happen, a
    fresh interpreter asks for the same, after every activation; and every program ends.
    """
    driver = Driver(Program, list(program))
    for turn in range(300):
        if driver.ended is not None:
            break
        choice = choices[turn] if turn < len(choices) else 0
        keys = list(driver.steps)
        if turn == cancel_at:
            driver.cancel()
        elif choice == 5 and turn < len(choices):
            driver.signal(Program.nudge)
        elif keys and (choice < 4 or not driver.timers):
            driver.execute(keys[choice % len(keys)])
        elif driver.timers:
            driver.fire()
        else:
            raise AssertionError("the run is stuck")
    assert driver.ended is not None
    assert not driver.steps
    assert not driver.timers


def test_async_generators_stay_with_the_run():
    """The event loop around an interpreter does not adopt its generators, and keeps its hooks."""

    async def main() -> None:
        adopted: list[Any] = []
        sys.set_asyncgen_hooks(adopted.append, adopted.append)
        before = sys.get_asyncgen_hooks()
        Driver(Interrupted, replays=False).interpreter.close()
        gc.collect()
        assert not adopted
        assert sys.get_asyncgen_hooks() == before
        sys.set_asyncgen_hooks(None, None)

    asyncio.run(main())


@fa.workflow
class Stubborn:
    async def run(self) -> None:
        try:
            await fa.sleep_forever()
        finally:
            while True:
                try:
                    await fa.sleep(1)
                    break
                except Exception:  # noqa: BLE001  # what stubborn clean-up code does
                    continue


def test_clean_up_that_tries_again_for_ever_can_be_closed():
    """Leaving memory is no Exception, so a loop that catches those comes to its end."""
    driver = Driver(Stubborn)
    driver.interpreter.close()
    assert driver.interpreter.closed


@fa.workflow
class ExitsInNursery:
    async def run(self) -> None:
        async with fa.open_nursery() as nursery:
            nursery.start_soon(fa.sleep_forever)
            await fa.checkpoint()
            raise SystemExit(3)


def test_system_exit_ends_the_run_at_once():
    """Code that wants to end the process ends its run, on every node alike; branches do not hold
    that up, nor hide it in a group.
    """
    driver = Driver(ExitsInNursery)
    assert isinstance(driver.ended, FailRun)
    assert driver.ended.failure.error_type == "builtins.SystemExit"


AT_EXIT = """
from tests.workflow.driver import Driver
from tests.workflow.test_determinism import Interrupted
import builtins
builtins.kept = Driver(Interrupted, replays=False)
import tests.workflow.flows
"""


def test_a_process_that_ends_executes_no_steps():
    """Suspended code that dies with its process does not run step bodies on its way out."""
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
