"""Steps: typed calls, failures as values, policies, and what a body can know."""

import datetime as dt
import math
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest

import flowactor as fa
from flowactor.codec import records
from flowactor.limits import FAILURE_BYTES_MAX, NANOSECONDS
from flowactor.machine.commands import RetryRule, ScheduleStep
from flowactor.machine.events import Failure
from flowactor.workflow import encode_failure
from tests.workflow.driver import Driver, complete
from tests.workflow.flows import (
    ONCE,
    Fatal,
    Order,
    OutOfStock,
    PaymentDeclined,
    charge_card,
    decline,
    echo,
)


@fa.workflow
class Charge:
    async def run(self, order: Order) -> list[str]:
        return [
            await charge_card(order),
            await charge_card(order, "USD"),
            await charge_card(order, urgent=True),
            await charge_card(currency="CHF", order=order),
        ]


def test_a_step_takes_positional_keyword_and_default_arguments():
    """However a step is called, its body gets the arguments that were meant."""
    driver = Driver(Charge, Order("o-1", amount=3))
    assert driver.run() == ["o-1 3 EUR", "o-1 3 USD", "o-1 3 EUR urgent", "o-1 3 CHF"]
    assert [count for _, _, count in driver.recorded] == [0, 1, 2, 3]


def test_outside_a_workflow_a_step_is_its_function():
    """Called anywhere else, a step just runs."""
    assert complete(charge_card(Order("o-2"))) == "o-2 1 EUR"
    assert charge_card.__name__ == "charge_card"


@fa.workflow
class Misuses:
    async def run(self, kind: str) -> str:
        calls: dict[str, Callable[[], Any]] = {
            "missing": charge_card,
            "unknown": lambda: charge_card(Order("a"), colour="red"),
            "many": lambda: charge_card(Order("a"), "EUR", True, 4),
            "type": lambda: charge_card(Order("a", amount="3")),
            "socket": lambda: charge_card(socket.socket),
        }
        try:
            return str(await calls[kind]())
        except fa.InvalidInput as error:
            return str(error)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("missing", "the parameters are (order, currency, urgent), given were 0 by position"),
        ("unknown", "given were 1 by position, colour="),
        ("many", "given were 4 by position"),
        ("type", "arguments of step charge_card: $.order.amount: expected int, got '3'"),
        ("socket", "$.order: a value of type type cannot be stored"),
    ],
)
def test_wrong_arguments_are_refused_at_the_call(kind: str, text: str):
    """A wrong call raises where it is written, names what is wrong, and schedules nothing."""
    driver = Driver(Misuses, kind)
    assert text in driver.run()
    assert not driver.recorded


@fa.workflow
class Catches:
    async def run(self, order_id: str) -> list[object]:
        try:
            await decline(order_id)
        except PaymentDeclined as error:
            cause = error.__cause__
            assert isinstance(cause, ConnectionResetError)
            return [
                error.order_id,
                error.code,
                str(error),
                error.__notes__,
                cause.errno,
                str(cause),
            ]
        return []


def test_exceptions_keep_type_fields_cause_and_notes():
    """A7: a custom error is caught by its type, with fields, cause and note, also on replay;
    nothing of the stack trace is recorded.
    """
    driver = Driver(Catches, "o-1")
    driver.fail_over()
    assert driver.run() == [
        "o-1",
        51,
        "order o-1 was declined with code 51",
        ["the bank was asked twice"],
        104,
        "[Errno 104] reset by peer",
    ]
    assert "Traceback" not in repr(driver.history)
    assert "flows.py" not in repr(driver.history)


@fa.step(retry=ONCE)
async def opens_socket() -> Any:
    return socket.socket.__new__(socket.socket)


@fa.workflow
class Unencodable:
    async def run(self) -> str:
        try:
            await opens_socket()
        except fa.UnencodableValue as error:
            return str(error)
        return ""


def test_a_result_that_cannot_be_stored_fails_its_step_at_once():
    """A8: the failure names step and type and is final."""
    driver = Driver(Unencodable)
    assert (
        driver.run()
        == "result of step opens_socket: a value of type socket.socket cannot be stored: use an "
        "attrs class, a dataclass, an enum or builtins"
    )
    assert list(driver.attempts.values()) == [1]


@fa.workflow
class ReturnsRubbish:
    async def run(self) -> int:
        return "not a number"  # type: ignore[return-value]


def test_a_result_that_does_not_fit_fails_the_run():
    """A run whose code returns another type than it declares fails, naming both."""
    driver = Driver(ReturnsRubbish)
    with pytest.raises(
        fa.InvalidInput, match="result of ReturnsRubbish: expected int, got 'not a nu"
    ):
        driver.result()


attempts_seen: list[tuple[int, str]] = []


@fa.step(retry=fa.RetryPolicy(maximum_attempts=5))
async def flaky(succeed_at: int) -> int:
    info = fa.step_info()
    attempts_seen.append((info.attempt, info.idempotency_key))
    if info.attempt < succeed_at:
        raise RuntimeError(f"attempt {info.attempt}")
    return info.attempt


@fa.workflow
class Retries:
    async def run(self, succeed_at: int) -> int:
        return await flaky(succeed_at)


def test_a_body_knows_its_attempt_and_a_stable_key():
    """Attempts count from 1 and share one idempotency key; the code sees the final outcome only."""
    attempts_seen.clear()
    driver = Driver(Retries, 3)
    assert driver.run() == 3
    assert [attempt for attempt, _ in attempts_seen] == [1, 2, 3]
    assert len({key for _, key in attempts_seen}) == 1
    assert len(driver.history) == 2


def test_exhausted_retries_raise_the_last_error():
    """B5: after the last attempt the workflow gets the last attempt's error."""
    driver = Driver(Retries, 9)
    with pytest.raises(RuntimeError, match="attempt 5"):
        driver.run()


def test_step_info_outside_a_step_is_misuse():
    """Only a step's body is a step."""
    with pytest.raises(fa.WorkflowMisuse):
        fa.step_info()


@fa.step(
    start_to_close=2, schedule_to_close=10.5, retry=fa.RetryPolicy(0.5, 3, 20, 2, (ValueError,))
)
async def slow() -> None: ...


@fa.workflow
class TimesOut:
    async def run(self) -> str:
        try:
            await slow()
        except fa.StepTimedOut as error:
            return error.kind
        return "in time"


@pytest.mark.parametrize("kind", ["start_to_close", "schedule_to_close"])
def test_a_time_out_names_its_kind(kind: str):
    """B7: policies and limits travel with the command, and the error says which limit struck."""
    driver = Driver(TimesOut)
    (command,) = driver.steps.values()
    assert isinstance(command, ScheduleStep)
    assert command.retry == RetryRule(
        NANOSECONDS // 2, 3000, 20 * NANOSECONDS, 2, ("builtins.ValueError",)
    )
    assert (command.start_to_close_ns, command.schedule_to_close_ns) == (2 * 10**9, 10_500_000_000)
    driver.fail_step("slow", fa.StepTimedOut(f"{kind} passed", kind))
    assert driver.run() == kind


def test_late_results_are_ignored():
    """The outcome of a step nobody waits for any more changes nothing."""
    driver = Driver(TimesOut)
    (key,) = driver.steps
    late = driver.outcome(key)
    driver.activate(late)
    assert driver.status == "completed"
    assert driver.activate(late) == ()


@fa.workflow
class UnknownFailure:
    async def run(self) -> list[str]:
        try:
            await echo(1)
        except fa.StepFailed as error:
            return [str(error), error.error_type]
        return []


@pytest.mark.parametrize(
    "name", ["elsewhere.SomeError", "os.system", "builtins.KeyboardInterrupt", "x"]
)
def test_an_unknown_error_type_becomes_step_failed(name: str):
    """Only exceptions that are imported already are rebuilt; all else is named, not run."""
    driver = Driver(UnknownFailure)
    driver.fail_step("echo", Failure(name, "it broke"))
    assert driver.run() == ["it broke", name]


def round_trip(error: Exception) -> Exception:
    from flowactor.workflow import decode_failure

    return decode_failure(encode_failure(error))


def test_many_kinds_of_exceptions_survive():
    """Built-in, attrs and custom exceptions come back with type, text and fields."""
    for error in [
        ValueError("x"),
        ValueError(),
        KeyError("k"),
        OSError(2, "no such file", "f"),
        ZeroDivisionError(1, 2),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        StopAsyncIteration(3),
        fa.StepTimedOut("late", "schedule_to_close"),
        Fatal("no"),
        PaymentDeclined("o", code=3),
    ]:
        back = round_trip(error)
        assert type(back) is type(error)
        assert (back.args, str(back)) == (error.args, str(error))
        assert vars(back) == vars(error)
    stock = round_trip(OutOfStock("tea", 3, left_over=1))
    assert repr(stock) == repr(OutOfStock("tea", 3, left_over=1))
    group = round_trip(
        ExceptionGroup("both", [ValueError("a"), ExceptionGroup("in", [OutOfStock("tea", 1)])])
    )
    assert isinstance(group, ExceptionGroup)
    assert group.message == "both"
    assert repr(group.exceptions[1].exceptions) == repr((OutOfStock("tea", 1),))


def test_a_failure_is_always_encodable():
    """Fields that cannot be stored become the name of their type; addresses leave the text."""
    error = PaymentDeclined("o", code=1)
    error.code = object()  # type: ignore[assignment]
    back = round_trip(error)
    assert vars(back) == {"order_id": "o", "code": "<object>"}
    failure = encode_failure(ValueError(f"strange {object()}"))
    assert failure.message == "strange <object object>"
    loop = ValueError("loop")
    loop.__cause__ = loop
    assert encode_failure(loop).message == "loop"


def caused(depth: int) -> Exception:
    error = ValueError("x" * 100_000)
    if depth:
        error.__cause__ = caused(depth - 1)
    return error


def noted(count: int) -> Exception:
    error = ValueError()
    for _ in range(count):
        error.add_note("n" * 1000)
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("x" * 5_000_000), "x... (5000000 characters)"),
        (ValueError("\u00e4" * 60_000), "\u00e4... (60000 characters)"),
        (ValueError("\ud800"), "?"),
        (PaymentDeclined("o", code=bytes(2_000_000)), "characters)"),  # type: ignore[arg-type]
        (ValueError("x" * 2_000_000, [1] * 200_000), ""),
        (ExceptionGroup("all", [ValueError("y" * 70_000)] * 300), "all"),
        (ExceptionGroup("all", [ValueError("y")] * 20_000), "all"),
        (caused(16), "x... (100000 characters)"),
        (noted(5000), ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_is_never_too_large(error: Exception, text: str):
    """What is recorded of an error is bounded, whatever hangs on it, and still is of its type."""
    failure = encode_failure(error)
    assert len(records.encode(failure)) < FAILURE_BYTES_MAX * 1.1
    assert failure.message.endswith(text)
    back = round_trip(error)
    assert type(back) is type(error)


def test_large_fields_of_a_failure_are_named():
    """A field there is no room for is replaced by its type and size; the others are there."""
    back = round_trip(PaymentDeclined("o", code=bytes(2_000_000)))  # type: ignore[arg-type]
    assert vars(back) == {"order_id": "o", "code": "<bytes of 2000005 bytes>"}


@pytest.mark.parametrize("name", ["x" * 1025, "\u00e4" * 600, "\ud800", 5])
def test_names_are_checked_when_they_are_given(name: Any):
    """A name that cannot be recorded is refused where it is given."""
    with pytest.raises(fa.ConfigurationError, match="the name of a step"):
        fa.step(name=name)(echo.function)
    with pytest.raises(fa.ConfigurationError, match="the name of a workflow type"):
        fa.workflow(name=name)(UnknownFailure)


@pytest.mark.parametrize("attempts", [-1, 2.5, True, "3"])
def test_attempts_are_counted_in_whole_numbers(attempts: Any):
    """A number of attempts that replicated state cannot hold is refused where it is given."""
    with pytest.raises(fa.ConfigurationError, match="maximum_attempts"):
        fa.RetryPolicy(maximum_attempts=attempts)


@pytest.mark.parametrize(
    ("error", "listed", "retryable"),
    [
        (ValueError(), (), True),
        (ValueError(), (ValueError,), False),
        (UnicodeError(), (ValueError,), False),
        (UnicodeError(), ("ValueError",), False),
        (UnicodeError(), ("builtins.ValueError",), False),
        (KeyError(), (ValueError,), True),
        (Fatal(), (), False),
        (fa.InvalidInput(), (), False),
        (fa.Unavailable(), (), True),
    ],
)
def test_which_failures_are_final(error: Exception, listed: Any, retryable: bool):
    """B6: listed types with their subclasses, NonRetryableError and caller's errors end a step."""
    assert encode_failure(error, listed).retryable is retryable


class Calculator:
    def __init__(self, base: int) -> None:
        self.base = base

    def add(self, value: int) -> int:
        return self.base + value


async def add_later(left: int, right: int = 1) -> int:
    return left + right


@fa.workflow
class Computes:
    async def run(self) -> list[Any]:
        return [
            await fa.compute("method", Calculator(2).add, 3),
            await fa.compute("async", add_later, 3),
            await fa.compute("builtin", len, [1, 2, 3]),
            await fa.compute("star", max, 4, 9),
            await fa.compute("class", Order, "o-9"),
            await fa.compute("step", charge_card, Order("o")),
            await fa.compute("closure", lambda: {"a": (1, 2)}),
        ]


def test_compute_takes_any_callable():
    """Methods, async functions, builtins, classes and lambdas can be computed once."""
    driver = Driver(Computes)
    assert driver.run() == [5, 4, 3, 9, Order("o-9"), "o 1 EUR", {"a": (1, 2)}]


@fa.workflow
class MutatesArgument:
    async def run(self) -> list[int]:
        items = [1]
        await fa.compute("append", append_two, items)
        return items


def append_two(items: list[int]) -> None:
    items.append(2)


def test_a_body_gets_its_own_arguments():
    """What a body does to its arguments does not reach the workflow's objects."""
    assert Driver(MutatesArgument).run() == [1]


def test_call_of_an_unknown_step_is_not_found():
    """Only what the code waits for can be executed."""
    driver = Driver(MutatesArgument)
    with pytest.raises(fa.NotFound, match="does not wait for step nothing"):
        driver.interpreter.call_of(((), "nothing", 0))


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"initial_interval": "1"}, "initial_interval is '1', it must be a number from 0 up"),
        ({"backoff_coefficient": None}, "backoff_coefficient is None"),
        ({"maximum_interval": math.inf}, "maximum_interval is inf"),
        ({"maximum_interval": True}, "maximum_interval is True"),
        ({"initial_interval": -1}, "initial_interval is -1"),
        ({"non_retryable_error_types": ValueError}, "as in [ValueError]"),
        ({"non_retryable_error_types": "ValueError"}, "as in [ValueError]"),
        ({"non_retryable_error_types": [3]}, "non_retryable_error_types is [3]"),
    ],
)
def test_settings_of_a_policy_are_checked(setting: dict[str, Any], text: str):
    """A setting of a wrong type or size is refused by its name, with what it has to be."""
    with pytest.raises(fa.ConfigurationError, match=re.escape(text)):
        fa.RetryPolicy(**setting)


@pytest.mark.parametrize("limit", ["x", 0, -1, math.nan, math.inf, True, dt.timedelta(0)])
def test_limits_of_a_step_are_time_spans(limit: Any):
    """A limit that is none is refused with the step it was written on, and what to write."""
    text = f"step add_later: start_to_close is {limit!r}, it must be a time span greater than 0"
    with pytest.raises(fa.ConfigurationError, match=re.escape(text)):
        fa.step(start_to_close=limit)(add_later)


@pytest.mark.parametrize("retry", [3, 0, True, {"maximum_attempts": 3}])
def test_a_retry_policy_is_no_number(retry: Any):
    """What others take as a number of retries is refused with what to write instead."""
    text = "step add_later: retry is .*, as in retry=fa.RetryPolicy"
    with pytest.raises(fa.ConfigurationError, match=text):
        fa.step(retry=retry)(add_later)


def test_policies_are_checked_when_written():
    """Bad decorations fail when the module is imported, with what to change."""
    with pytest.raises(fa.ConfigurationError, match="maximum_attempts is -1"):
        fa.RetryPolicy(maximum_attempts=-1)
    with pytest.raises(fa.ConfigurationError, match="start_to_close is 0"):
        fa.step(start_to_close=0)(add_later)
    with pytest.raises(fa.ConfigurationError, match="async def"):
        fa.step(append_two)  # type: ignore[arg-type]

    async def star(*numbers: int) -> None: ...
    async def method(self: object) -> None: ...

    with pytest.raises(fa.ConfigurationError, match=r"\*numbers: int cannot be recorded"):
        fa.step(star)
    with pytest.raises(fa.ConfigurationError, match="is a method"):
        fa.step(method)
