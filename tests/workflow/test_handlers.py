"""Signals and queries: what reaches a run from outside, and what may look at it."""

import logging
from typing import Any

import pytest
from attrs import frozen

import flowactor as fa
from flowactor.machine.events import CancelRequested, RunStarted, SignalReceived
from flowactor.workflow import Interpreter
from tests.workflow.driver import START_NS, Driver
from tests.workflow.flows import Order, echo


@frozen
class Note:
    text: str
    stars: int = 0


@fa.workflow
class Notes:
    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.open = True
        self.busy = 0
        self.variable: fa.Variable[int] | None = None

    async def run(self, order: Order) -> list[str]:
        self.variable = await fa.variable("seen", 0)
        await fa.wait_condition(lambda: not self.open)
        return [note.text for note in self.notes]

    @fa.signal
    def add(self, note: Note) -> None:
        self.notes.append(note)

    @fa.signal(name="finish")
    def finish_up(self) -> None:
        self.open = False

    @fa.signal
    async def add_later(self, text: str, after: float = 5) -> None:
        self.busy += 1
        await fa.sleep(after)
        self.notes.append(Note(str(await echo(len(text)))))
        self.busy -= 1

    @fa.signal
    def explode(self) -> None:
        raise RuntimeError("bad signal")

    @fa.query
    def texts(self, prefix: str = "") -> list[str]:
        return [prefix + note.text for note in self.notes]

    @fa.query(name="count")
    def how_many(self) -> int:
        return len(self.notes)

    @fa.query
    def sets_attribute(self) -> None:
        self.open = False

    @fa.query
    def appends(self) -> None:
        self.notes.append(Note("sneaky"))

    @fa.query
    def starts_step(self) -> None:
        echo(1).send(None)

    @fa.query
    def enters_scope(self) -> None:
        with fa.move_on_after(1):
            pass

    @fa.query
    def rolls_dice(self) -> float:
        return fa.random().random()

    @fa.query
    def sets_variable(self) -> None:
        assert self.variable is not None
        self.variable.set(3).send(None)

    @fa.query
    def raises(self) -> None:
        raise LookupError("nothing here")

    @fa.query
    def wrong_type(self) -> int:
        return "x"  # type: ignore[return-value]

    @fa.query
    def clock(self) -> str:
        return f"{fa.now():%H:%M} {fa.workflow_info().workflow_id}"


@pytest.fixture
def driver() -> Driver:
    return Driver(Notes, Order("o-1"))


def test_signals_are_handled_in_order(driver: Driver):
    """Signals change the run's state one after another and wake its conditions."""
    for number in range(5):
        driver.signal(Notes.add, Note(str(number)))
    driver.signal(Notes.finish_up)
    assert driver.result() == ["0", "1", "2", "3", "4"]


def test_signal_before_wait():
    """C2: signals consumed together with the start, before the code waits for them, are not
    lost."""
    probe = Driver(Notes, Order("o-1"))
    first = probe.history[0]
    driver = Driver(Notes, Order("o-1"))
    interpreter = Interpreter(driver.definition, driver.info)
    arguments = driver.definition.signals["add"].signature.encode((Note("early"),), {})
    events = (*first.events, SignalReceived("add", arguments), SignalReceived("finish", b"\x80"))
    activation = interpreter.activate(START_NS, events)
    assert interpreter.closed
    assert activation.commands[-1].result == b"\x81eearly"  # type: ignore[union-attr]


def test_how_events_are_dealt_out_makes_no_difference():
    """One activation with many events gives the same commands as one activation each."""
    driver = Driver(Notes, Order("o-1"))
    driver.signal(Notes.add, Note("a"))
    driver.signal(Notes.add_later, "abc", 0)
    driver.signal(Notes.finish_up)
    driver.execute()
    together = Interpreter(driver.definition, driver.info)
    events = [event for activated in driver.history for event in activated.events]
    separately = [command for activated in driver.history for command in activated.commands]
    assert list(together.activate(START_NS, events).commands) == separately


def test_an_async_handler_is_a_branch_of_the_run(driver: Driver):
    """It can wait and take steps; the run ends only when it has ended."""
    driver.signal(Notes.add_later, "four")
    driver.signal(Notes.add_later, "fives")
    driver.signal(Notes.finish_up)
    assert driver.status == "running"
    assert driver.run() == []
    assert sorted(path for path, _, _ in driver.recorded) == [(-2,), (-1,)]
    assert sorted(driver.query(Notes.texts)) == ["4", "5"]


def test_cancel_reaches_handlers(driver: Driver):
    """Cancelling a run cancels its handlers too."""
    driver.signal(Notes.add_later, "four")
    driver.cancel()
    assert driver.status == "cancelled"
    assert not driver.timers


def test_an_error_in_a_handler_fails_the_run(driver: Driver):
    """Errors do not vanish: the run ends failed with the handler's error."""
    driver.signal(Notes.explode)
    with pytest.raises(RuntimeError, match="bad signal"):
        driver.result()


def test_unknown_and_malformed_signals_are_survived(
    driver: Driver, caplog: pytest.LogCaptureFixture
):
    """What the border should have refused is logged and changes nothing."""
    with caplog.at_level(logging.WARNING):
        assert driver.activate(SignalReceived("nonsense", b"\x80")) == ()
        assert driver.activate(SignalReceived("add", b"\x81\x01")) == ()
    assert "'nonsense' is not handled" in caplog.text
    assert "arguments of signal add: $.note: expected" in caplog.text
    assert driver.status == "running"


def test_queries_see_state_at_any_time(driver: Driver):
    """C6: during the run and after its end, without a trace in the history."""
    driver.signal(Notes.add, Note("a"))
    length = len(driver.history)
    assert driver.query(Notes.texts, "-") == ["-a"]
    assert driver.query(Notes.how_many) == 1
    assert driver.query(Notes.clock) == "22:13 order-1"
    driver.signal(Notes.finish_up)
    assert driver.status == "completed"
    assert driver.query(Notes.texts) == ["a"]
    assert len(driver.history) == length + 1


@pytest.mark.parametrize(
    "query",
    [
        Notes.sets_attribute,
        Notes.appends,
        Notes.starts_step,
        Notes.enters_scope,
        Notes.rolls_dice,
        Notes.sets_variable,
    ],
)
def test_query_is_readonly(driver: Driver, query: Any):
    """C6: a query that changes state or asks for something fails, and the run is as it was."""
    driver.signal(Notes.add, Note("a"))
    with pytest.raises(fa.ReadOnlyViolation):
        driver.query(query)
    assert driver.query(Notes.texts) == ["a"]
    driver.signal(Notes.finish_up)
    assert driver.result() == ["a"]


def test_query_unknown(driver: Driver):
    """C7: unknown names and wrong arguments give typed errors that list what there is."""
    with pytest.raises(
        fa.NotFound, match="Notes has no query 'colour'; it has: appends, clock, count, "
    ):
        driver.interpreter.query("colour", b"\x80")
    with pytest.raises(
        fa.InvalidInput, match=r"arguments of query texts: \$.prefix: expected str, got 1"
    ):
        driver.interpreter.query("texts", b"\x81\x01")
    with pytest.raises(fa.InvalidInput, match="2 arguments given, the parameters are: prefix"):
        driver.interpreter.query("texts", b"\x82\x61a\x61b")
    with pytest.raises(LookupError, match="nothing here"):
        driver.query(Notes.raises)
    with pytest.raises(fa.InvalidInput, match="answer of query wrong_type: expected int, got 'x'"):
        driver.query(Notes.wrong_type)
    assert driver.status == "running"


def test_query_before_the_start():
    """A run that has not begun has no state to look at."""
    probe = Driver(Notes, Order("o-1"))
    with pytest.raises(fa.NotFound, match="has not started"):
        Interpreter(probe.definition, probe.info).query("count", b"\x80")


@fa.workflow
class Conditions:
    def __init__(self) -> None:
        self.value = 0
        self.order: list[int] = []

    async def run(self) -> list[int]:
        async with fa.open_nursery() as nursery:
            for limit in (3, 1, 2):
                nursery.start_soon(self.wait_for, limit)
            nursery.start_soon(self.broken)
        return self.order

    async def wait_for(self, limit: int) -> None:
        await fa.wait_condition(lambda: self.value >= limit)
        self.order.append(limit)

    async def broken(self) -> None:
        try:
            await fa.wait_condition(lambda: self.value and 1 // 0)
        except ZeroDivisionError:
            self.order.append(-1)
        try:
            await fa.wait_condition(fa.uuid4)
        except fa.ReadOnlyViolation:
            self.order.append(-2)

    @fa.signal
    def set(self, value: int) -> None:
        self.value = value


def test_conditions_are_asked_in_the_order_they_were_waited_for():
    """One change may wake several waiters; a predicate's error belongs to its waiter."""
    driver = Driver(Conditions)
    driver.signal(Conditions.set, 1)
    driver.signal(Conditions.set, 3)
    assert driver.run() == [1, -1, -2, 3, 2]


@fa.workflow
class TriesTooMuch:
    def __init__(self) -> None:
        self.errors: list[str] = []

    async def run(self) -> list[str]:
        await fa.wait_condition(lambda: self.errors)
        return self.errors

    @fa.signal
    def try_scope(self) -> None:
        try:
            with fa.move_on_after(3):
                pass
        except fa.WorkflowMisuse as error:
            self.errors.append(str(error))


def test_a_plain_handler_cannot_open_scopes():
    """What needs a task says so."""
    driver = Driver(TriesTooMuch)
    driver.signal(TriesTooMuch.try_scope)
    assert "a cancel scope needs a task" in driver.result()[0]


@fa.workflow
class BadStart:
    def __init__(self) -> None:
        raise ValueError("cannot be made")

    async def run(self, number: int = 3) -> int:
        return number


def test_an_error_before_the_first_line_fails_the_run():
    """Whether __init__ raises or the input does not fit: the run fails, nothing is stuck."""
    driver = Driver(BadStart)
    with pytest.raises(ValueError, match="cannot be made"):
        driver.result()
    bad = Interpreter(driver.definition, driver.info)
    (command,) = bad.activate(START_NS, [RunStarted(b"\x81\x61x")]).commands
    assert command.failure.message == "arguments of BadStart: $.number: expected int, got 'x'"  # type: ignore[union-attr]
    assert bad.closed


@fa.workflow
class CancelledAtOnce:
    async def run(self) -> str:
        await echo(1)
        return "no"


def test_cancel_arrives_with_the_start():
    """A cancellation consumed in the first activation ends the run there."""
    driver = Driver(CancelledAtOnce)
    interpreter = Interpreter(driver.definition, driver.info)
    started = driver.history[0].events
    activation = interpreter.activate(START_NS, (*started, CancelRequested("never mind")))
    assert [type(command).__name__ for command in activation.commands] == [
        "ScheduleStep",
        "CancelStep",
        "RunEndedCancelled",
    ]
