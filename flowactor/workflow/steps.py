"""Steps: the parts of a workflow that touch the world, run at least once and recorded once."""

import contextlib
import contextvars
import functools
import inspect
import math
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, Final, Generic, ParamSpec, TypeVar, TypeVarTuple, overload

from attrs import field, frozen

from flowactor.codec import payloads
from flowactor.errors import ConfigurationError, WorkflowMisuse
from flowactor.identity import RunId, StepKey, describe_key
from flowactor.limits import NANOSECONDS
from flowactor.machine.commands import CancelStep, RetryRule, ScheduleStep
from flowactor.machine.events import Failure
from flowactor.workflow import sites
from flowactor.workflow.context import ACTIVE, current
from flowactor.workflow.failures import decode_failure
from flowactor.workflow.names import checked_name
from flowactor.workflow.scheduler import Scheduler, Task, Wait, suspend
from flowactor.workflow.scopes import Span, span_ns
from flowactor.workflow.signatures import Signature, looks_async, signature_of

__all__ = [
    "PendingStep",
    "RetryPolicy",
    "Step",
    "StepCall",
    "StepInfo",
    "compute",
    "step",
    "step_context",
    "step_info",
]

P = ParamSpec("P")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


def _positive(_: Any, attribute: Any, value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and 0 <= value < math.inf):
        raise ConfigurationError(
            f"RetryPolicy.{attribute.name} is {value!r}, it must be a number from 0 up"
        )


def _whole(_: Any, attribute: Any, value: int) -> None:
    if type(value) is not int or value < 0:
        raise ConfigurationError(
            f"RetryPolicy.{attribute.name} is {value!r}, it must be a whole number from 0 up"
        )


def _error_types(
    given: Iterable[type[BaseException] | str],
) -> tuple[type[BaseException] | str, ...]:
    is_list = isinstance(given, tuple | list | set | frozenset)
    if not is_list or not all(_is_error_type(item) for item in given):
        raise ConfigurationError(
            f"RetryPolicy.non_retryable_error_types is {given!r}, it must be a list of exception "
            "classes or of their names, as in [ValueError]"
        )
    return tuple(given)


def _is_error_type(item: object) -> bool:
    return isinstance(item, str) or (isinstance(item, type) and issubclass(item, BaseException))


@frozen
class RetryPolicy:
    """When a failed step is tried again. Intervals are in seconds.

    ``maximum_attempts`` counts the first try; 0 is no limit. The n-th wait is ``initial_interval``
    times ``backoff_coefficient`` to the power n - 1, at most ``maximum_interval``.
    ``non_retryable_error_types`` are classes (with subclasses) or names; they end the step at once.
    """

    initial_interval: float = field(default=1.0, validator=_positive)
    backoff_coefficient: float = field(default=2.0, validator=_positive)
    maximum_interval: float = field(default=100.0, validator=_positive)
    maximum_attempts: int = field(default=0, validator=_whole)
    non_retryable_error_types: tuple[type[BaseException] | str, ...] = field(
        default=(), converter=_error_types
    )

    def rule(self) -> RetryRule:
        """The policy as replicated state."""
        return RetryRule(
            initial_ns=round(self.initial_interval * NANOSECONDS),
            coefficient_milli=round(self.backoff_coefficient * 1000),
            maximum_ns=round(self.maximum_interval * NANOSECONDS),
            attempts_max=self.maximum_attempts,
            non_retryable=tuple(
                item if isinstance(item, str) else f"{item.__module__}.{item.__qualname__}"
                for item in self.non_retryable_error_types
            ),
        )


@frozen
class _Plan:
    """What is the same for every call of one step."""

    name: str
    function: Callable[..., Any]
    retry: RetryRule
    start_to_close_ns: int = 0
    schedule_to_close_ns: int = 0
    local: bool = False
    where: str = field(init=False)

    @where.default
    def _where(self) -> str:
        return f"{'compute' if self.local else 'step'} {self.name}"


_DEFAULT_RETRY: Final = RetryPolicy()


def _limit_ns(where: str, name: str, seconds: Span | None) -> int:
    if seconds is None:
        return 0
    try:
        limit = span_ns(seconds)
    except (TypeError, ValueError, OverflowError):
        limit = 0
    if limit <= 0 or isinstance(seconds, bool):
        raise ConfigurationError(
            f"{where}: {name} is {seconds!r}, it must be a time span greater than 0: "
            "seconds, or a timedelta"
        )
    return limit


def _rule(where: str, retry: RetryPolicy | None) -> RetryRule:
    policy: object = _DEFAULT_RETRY if retry is None else retry
    if not isinstance(policy, RetryPolicy):
        raise ConfigurationError(
            f"{where}: retry is {policy!r}, it must be a policy, as in "
            "retry=fa.RetryPolicy(maximum_attempts=3)"
        )
    return policy.rule()


# -- what users decorate ------------------------------------------------------------------------


class Step(Generic[P, R]):
    """An async function that workflows call durably. Outside a workflow it is just that function.

    Attributes:
        name: what it is recorded as.
        function: the function itself.
    """

    def __init__(
        self,
        function: Callable[P, Coroutine[Any, Any, R]],
        *,
        name: str | None,
        retry: RetryPolicy | None,
        start_to_close: Span | None,
        schedule_to_close: Span | None,
    ) -> None:
        if not looks_async(function):
            shown = getattr(function, "__qualname__", repr(function))
            raise ConfigurationError(
                f"@step needs an async function: write 'async def {shown}(...)'"
            )
        self.name = checked_name(name or function.__name__, "step", ConfigurationError)
        self.function = function
        self.signature = Signature(function, f"arguments of step {self.name}")
        if self.signature.names[:1] == ("self",):
            raise ConfigurationError(
                f"step {function.__qualname__} is a method; make it a function of its module, "
                "so that any node can run it without the workflow object"
            )
        self._plan = _Plan(
            self.name,
            function,
            _rule(f"step {self.name}", retry),
            _limit_ns(f"step {self.name}", "start_to_close", start_to_close),
            _limit_ns(f"step {self.name}", "schedule_to_close", schedule_to_close),
        )
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        if ACTIVE.scheduler is None:
            if sys.is_finalizing():
                # The process ends and takes suspended workflow code with it: a ``finally`` block in
                # there must not execute steps as if it were outside a workflow.
                raise GeneratorExit
            return self.function(*args, **kwargs)
        return self._durably(args, kwargs)

    async def _durably(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        result: R = await _perform(self._plan, self.signature, args, kwargs)
        return result

    def __repr__(self) -> str:
        return f"<step {self.name}>"


@overload
def step(function: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    retry: RetryPolicy | None = None,
    start_to_close: Span | None = None,
    schedule_to_close: Span | None = None,
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Step[P, R]]: ...
def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retry: RetryPolicy | None = None,
    start_to_close: Span | None = None,
    schedule_to_close: Span | None = None,
) -> Any:
    """Make an async function a durable step.

    Args:
        function: when used without parentheses.
        name: what it is recorded as; the function's name, if not given.
        retry: when failed attempts are repeated; without limit, by default.
        start_to_close: how long one attempt may take, in seconds.
        schedule_to_close: how long all attempts and waits together may take.

    Raises:
        ConfigurationError: it is not an async function, or a setting is not what it has to be.
    """

    def decorate(function: Callable[..., Any]) -> Step[..., Any]:
        return Step(
            function,
            name=name,
            retry=retry,
            start_to_close=start_to_close,
            schedule_to_close=schedule_to_close,
        )

    return decorate if function is None else decorate(function)


@overload
async def compute(
    name: str,
    function: Callable[[*Ts], Coroutine[Any, Any, R]],
    *args: *Ts,
    retry: RetryPolicy | None = ...,
) -> R: ...
@overload
async def compute(
    name: str, function: Callable[[*Ts], R], *args: *Ts, retry: RetryPolicy | None = ...
) -> R: ...
async def compute(  # type: ignore[misc]  # mypy cannot match *args: Any with a TypeVarTuple
    name: str, function: Callable[..., Any], *args: Any, retry: RetryPolicy | None = None
) -> Any:
    """Call ``function(*args)`` once, on the node that owns the run, and record what it returns.

    A step without a name of its own, for small things: ``function`` may be a lambda or a method,
    sync or async. It runs outside the workflow code and must not change the workflow's state.
    """
    rule = _rule(f"compute {name}", retry)
    plan = _Plan(checked_name(name, "compute"), function, rule, local=True)
    return await _perform(
        plan, signature_of(function, f"arguments of compute {name}", len(args)), args, {}
    )


# -- inside the interpreter ---------------------------------------------------------------------


class PendingStep(Wait):
    """A step that was asked for and has no outcome yet; what its task waits for."""

    __slots__ = ("_scheduler", "arguments", "key", "plan", "signature", "site", "task")

    def __init__(
        self,
        scheduler: Scheduler,
        task: Task,
        key: StepKey,
        plan: _Plan,
        signature: Signature | None,
        arguments: bytes,
        site: str,
    ) -> None:
        self._scheduler = scheduler
        self.task = task
        self.key = key
        self.plan = plan
        self.signature = signature
        self.arguments = arguments
        self.site = site

    def abort(self) -> bool:
        del self._scheduler.steps[self.key]
        self._scheduler.emit(CancelStep(self.key, self.site))
        return True

    def call(self) -> "StepCall":
        """How to execute it, with arguments of its own."""
        return StepCall(
            name=self.plan.name,
            function=self.plan.function,
            arguments=self.arguments,
            signature=self.signature,
            where=self.plan.where,
        )


async def _perform(
    plan: _Plan, signature: Signature | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    scheduler = current(plan.where)
    task = scheduler.blocking_task(plan.where)
    if signature is not None:
        arguments = signature.encode(args, kwargs)
    else:
        arguments = payloads.encode_payload(list(args), None, f"arguments of {plan.where}")
    key = task.next_key(plan.name)
    site = sites.here(task.site)
    scheduler.emit(
        ScheduleStep(
            key,
            plan.name,
            arguments,
            plan.retry,
            plan.start_to_close_ns,
            plan.schedule_to_close_ns,
            plan.local,
            site,
        ),
        len(arguments),
    )
    pending = scheduler.steps[key] = PendingStep(
        scheduler, task, key, plan, signature, arguments, site
    )
    outcome: bytes | Failure = await suspend(pending)
    if isinstance(outcome, Failure):
        raise decode_failure(outcome)
    return payloads.decode_payload(
        outcome, signature and signature.returns, f"result of {plan.where}"
    )


# -- on the side that executes ------------------------------------------------------------------


@frozen
class StepCall:
    """One step, ready to be executed by the owner."""

    name: str
    function: Callable[..., Any]
    arguments: bytes
    signature: Signature | None
    where: str

    async def invoke(self) -> bytes:
        """Run the body, under whatever event loop awaits this; the payload of what it returns.

        Raises:
            InvalidInput: the result cannot be stored, or is not what the function's annotation
                says.
            Exception: whatever the body raises.
        """
        if self.signature is not None:
            args, kwargs = self.signature.decode(self.arguments)
        else:
            args, kwargs = tuple(payloads.decode_payload(self.arguments, None, self.where)), {}
        result = self.function(*args, **kwargs)
        if inspect.isawaitable(result):
            result = await _awaited(result)
        return payloads.encode_payload(
            result, self.signature and self.signature.returns, f"result of {self.where}"
        )


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


@frozen
class StepInfo:
    """What a step's body can know about itself. ``attempt`` counts from 1; ``idempotency_key`` is
    the same for all attempts of this step on any node, and for no other step.
    """

    workflow_id: str
    run_id: RunId
    step: StepKey
    attempt: int
    idempotency_key: str

    @property
    def name(self) -> str:
        """The step's key for people."""
        return describe_key(self.step)


_STEP_INFO: Final[contextvars.ContextVar[StepInfo]] = contextvars.ContextVar("flowactor_step_info")


def step_info() -> StepInfo:
    """What the running step is.

    Raises:
        WorkflowMisuse: the caller is not inside a step that a workflow started.
    """
    info = _STEP_INFO.get(None)
    if info is None or ACTIVE.scheduler is not None:
        raise WorkflowMisuse("step_info() works only in the body of a step that a workflow started")
    return info


@contextlib.contextmanager
def step_context(info: StepInfo) -> Iterator[None]:
    """For the side that executes: ``step_info()`` says ``info`` inside the block."""
    token = _STEP_INFO.set(info)
    try:
        yield
    finally:
        _STEP_INFO.reset(token)
