"""The interpreter of one run: facts in, commands out (``design.md``, D6).

The same object serves owner, standby, query, replay test and simulator. It knows nothing of nodes,
logs or clocks, and never waits.
"""

import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, assert_never

from attrs import frozen

from flowactor.codec import payloads
from flowactor.errors import InvalidInput, NotFound, QueryFailed, ReadOnlyViolation
from flowactor.identity import StepKey, describe_key
from flowactor.machine.commands import Command, CompleteRun, FailRun, RunEndedCancelled
from flowactor.machine.events import (
    CancelRequested,
    Event,
    Failure,
    RunStarted,
    SignalReceived,
    StepCompleted,
    StepEnded,
    TimerFired,
)
from flowactor.workflow import escapes, foreign, sites
from flowactor.workflow.cancellation import Cancelled
from flowactor.workflow.context import ACTIVE, Outside, directly
from flowactor.workflow.definition import Handler, WorkflowDefinition
from flowactor.workflow.failures import encode_failure
from flowactor.workflow.logs import logger
from flowactor.workflow.scheduler import RunInfo, Scheduler, Task
from flowactor.workflow.steps import PendingStep, StepCall

__all__ = ["Activation", "Interpreter"]


@frozen
class Activation:
    """What the code asked for. ``more``: it was cut short because that is a lot; activate again,
    with no events, once it is recorded.
    """

    commands: tuple[Command, ...]
    more: bool = False


class Interpreter:
    """One run's code, from its start to its end.

    Args:
        outside: calls the code, out of reach of the event loop in which the driver may run.
        strict: for tests: calls of the code to clocks, chance or files of this process are refused
            with their line (``escapes``).

    Attributes:
        definition: the code.
        info: which run.
        closed: the code has ended; further events change nothing.
        unfinished: the last activation was cut short (``Activation.more``).
        live: set by the owner for activations that happen for the first time, so that log lines
            written in them go out.
    """

    def __init__(
        self,
        definition: WorkflowDefinition,
        info: RunInfo,
        outside: Outside = directly,
        *,
        strict: bool = False,
    ) -> None:
        self.definition: Final = definition
        self.info: Final = info
        self.closed = False
        self.unfinished = False
        self.live = False
        self._strict: Final = strict
        self._outside: Final = outside
        self._events: list[Event] = []
        # Coroutines hold the scheduler and the scheduler holds them; nothing of theirs holds the
        # interpreter, so it goes first and can close them in order (see __del__).
        self._scheduler: Final = Scheduler(info)
        self._root: Final = _Root(self._scheduler)
        self._instance: Any = None

    def activate(self, now_ns: int, events: Sequence[Event]) -> Activation:
        """Let the code see ``events``, one after another, each until it waits again.

        How events are dealt out to activations makes no difference to what the code does, except
        for the time it sees.

        ``sys.exit()``, or whatever else it lets out that is no ``Exception``, ends the run at once,
        as failed: it would end one node after another if it ended the process.

        Args:
            now_ns: the stamp of this activation, not before that of the last one.
            events: facts in the order they are consumed; the first ever is ``RunStarted``.

        Raises:
            KeyboardInterrupt: meant for the process; the run is unusable after that.
        """
        if self.closed:
            return Activation(())
        scheduler = self._scheduler
        pending = iter([*self._events, *events])
        scheduler.live = self.live
        scheduler.begin(now_ns)
        with _AtWork(scheduler, strict=self._strict):
            settled = self._outside(self.consume, pending)
        self._events = list(pending)
        self.unfinished = not self._root.done and not settled
        if self._root.done:
            self._end()
        return Activation(tuple(scheduler.commands), self.unfinished)

    def query(self, name: str, arguments: bytes) -> bytes:
        """Ask a query method; the payload of its answer. The run is not changed by it.

        Raises:
            NotFound: no such query; lists those there are. Or the run has not started yet.
            InvalidInput: it does not take these arguments.
            ReadOnlyViolation: it tried to change the run.
            QueryFailed: the method raised what is no ``Exception``, as ``sys.exit()`` does.
            Exception: whatever the method raises.
        """
        handler = self.definition.query_named(name)
        args, kwargs = handler.signature.decode(arguments)
        if self._instance is None:
            raise NotFound("the run has not started yet")
        who = f"query {name}"
        self._scheduler.live = False
        try:
            with _AtWork(self._scheduler), _looking_only(self._instance, who) as view:
                answer = self._outside(
                    self._scheduler.read_only,
                    who,
                    lambda: handler.function(view, *args, **kwargs),
                )
        except KeyboardInterrupt:
            raise
        except Exception as error:
            explained = foreign.translated(error)
            if explained is error:
                raise
            raise explained from error
        except BaseException as error:
            raise QueryFailed(f"{who}: {type(error).__name__}: {error}") from error
        return payloads.encode_payload(answer, handler.signature.returns, f"answer of {who}")

    def call_of(self, step: StepKey) -> StepCall:
        """How to execute a pending step or ``compute``; its arguments are decoded afresh.

        Raises:
            NotFound: the code is not waiting for this step.
        """
        pending = self._scheduler.steps.get(step)
        if not isinstance(pending, PendingStep):
            raise NotFound(f"the run does not wait for step {describe_key(step)}")
        return pending.call()

    @property
    def places(self) -> tuple[str, ...]:
        """File and line where the code of the run waits: the await of each of its tasks."""
        return self._scheduler.places

    def close(self) -> None:
        """Take the run out of memory: its suspended code is closed and can no longer act."""
        self.closed = True
        with _AtWork(self._scheduler):
            self._outside(self._scheduler.dispose)

    def __del__(self) -> None:
        # A closed run has no suspended code left.
        if not getattr(self, "closed", True):
            self.close()

    # -- events ---------------------------------------------------------------------------------

    def consume(self, pending: Iterator[Event]) -> bool:
        """Run the code on ``pending``; False if the activation is full, and some may be left.

        A part of ``activate``, and the one in which the code of the user works.
        """
        scheduler = self._scheduler
        settled = True
        try:
            settled = scheduler.settle() if self.unfinished else True
            while settled and not self._root.done:
                event = next(pending, None)
                if event is None:
                    break
                self._deliver(event)
                settled = scheduler.settle()
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  # recorded as the run's end
            self._root.exit(error)
        return settled

    def _deliver(self, event: Event) -> None:
        scheduler = self._scheduler
        match event:
            case StepCompleted():
                self._step_done(event.step, event.result)
            case StepEnded():
                self._step_done(event.step, event.failure)
            case TimerFired():
                scheduler.fire_timer(event.timer)
            case SignalReceived():
                self._signal(event)
            case RunStarted():
                self._start(event)
            case CancelRequested():
                self._cancel(event.reason)
            case _:
                assert_never(event)

    def _step_done(self, step: StepKey, outcome: bytes | Failure) -> None:
        pending = self._scheduler.steps.pop(step, None)
        if isinstance(pending, PendingStep):
            self._scheduler.wake(pending.task, outcome)

    def _start(self, event: RunStarted) -> None:
        assert self._instance is None, "a run starts once"
        try:
            args, kwargs = self.definition.run.decode(event.arguments)
            self._instance = self.definition.cls()
            body = self._instance.run(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # __init__ is user code: its error is the run's
            self._root.fail(foreign.translated(error))
            return
        self._root.start(body, sites.of_function(self.definition.run.function))

    def _signal(self, event: SignalReceived) -> None:
        handler = self.definition.signals.get(event.name)
        if handler is None:
            logger.warning("signal %r is not handled by %s", event.name, self.definition.name)
            return
        try:
            args, kwargs = handler.signature.decode(event.arguments)
        except InvalidInput as error:
            # The border refuses these; a run must not die of one that was recorded all the same.
            logger.warning("signal %r is ignored: %s", event.name, error)
            return
        self._handle(handler, args, kwargs)

    def _handle(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            result = handler.function(self._instance, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  # user code: an error in a handler fails the run
            self._root.fail(foreign.translated(error))
            return
        if handler.is_async:
            self._root.start_handler(result, sites.of_function(handler.function))

    def _cancel(self, reason: str) -> None:
        root = self._scheduler.root
        if not root.called:
            root.called, root.reason = True, reason
            self._scheduler.deliver_cancellation(root)

    # -- the end --------------------------------------------------------------------------------

    def _end(self) -> None:
        self.closed = True
        self._events = []
        self._scheduler.emit(self._last_command())

    def _last_command(self) -> Command:
        root, site = self._root, sites.of_function(self.definition.run.function)
        error = root.error
        if error is None:
            try:
                where = f"result of {self.definition.name}"
                return CompleteRun(
                    payloads.encode_payload(root.result, self.definition.run.returns, where), site
                )
            except InvalidInput as invalid:
                return FailRun(encode_failure(invalid), site)
        if self._scheduler.root.called:
            if isinstance(error, BaseExceptionGroup):
                error = error.split(Cancelled)[1] or Cancelled()
            if isinstance(error, Cancelled):
                return RunEndedCancelled(self._scheduler.root.reason, site)
        return FailRun(encode_failure(error), sites.of_traceback(error.__traceback__) or site)


class _AtWork:
    """Inside the block the code's calls of flowactor reach this run. Async generators it leaves
    unfinished are nobody's but its own: without this the node's event loop would adopt them.
    """

    __slots__ = ("_before", "_hooks", "_profile", "_scheduler", "_strict")

    def __init__(self, scheduler: Scheduler, *, strict: bool = False) -> None:
        self._scheduler = scheduler
        self._strict = strict

    def __enter__(self) -> None:
        self._before, ACTIVE.scheduler = ACTIVE.scheduler, self._scheduler
        self._hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(None, None)
        if self._strict:
            self._profile = sys.getprofile()
            sys.setprofile(escapes.watch)

    def __exit__(self, *_: object) -> None:
        if self._strict:
            sys.setprofile(self._profile)
        sys.set_asyncgen_hooks(*self._hooks)
        ACTIVE.scheduler = self._before


class _Root:
    """What the run's own tasks report to: its main task and those of async signal handlers."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._scheduler: Final = scheduler
        self._main: Task | None = None
        self._main_ended = False
        self._open = 0
        self._handlers = 0

    @property
    def done(self) -> bool:
        return self._main_ended and not self._open

    def start(self, body: Any, site: str) -> None:
        self._open += 1
        self._main = self._scheduler.spawn(body, (), self, self._scheduler.root, site)

    def start_handler(self, body: Any, site: str) -> None:
        """Negative numbers name handlers, so that they never meet the branches of the main task."""
        self._open += 1
        self._handlers += 1
        self._scheduler.spawn(body, (-self._handlers,), self, self._scheduler.root, site)

    def child_finished(self, task: Task, value: Any, error: BaseException | None) -> None:
        self._open -= 1
        if task is self._main:
            self._main_ended = True
            self.result = value
            if self.error is None or isinstance(self.error, Cancelled):
                self.error = error
        elif error is not None and not isinstance(error, Cancelled):
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Code outside the main task failed: the main task is cancelled, cleans up, and the run
        ends with this error.
        """
        if self.error is None:
            self.error = error
        if self._main is None:
            self._main_ended = True
            return
        root = self._scheduler.root
        if not root.called:
            root.called, root.reason = True, "a signal handler failed"
            self._scheduler.deliver_cancellation(root)

    def exit(self, error: BaseException) -> None:
        """End the run now: tasks that are suspended are closed, and none is waited for."""
        self.error = error
        self._main_ended, self._open = True, 0
        self._scheduler.dispose()


# -- queries may only look ----------------------------------------------------------------------


@contextmanager
def _looking_only(instance: Any, who: str) -> Iterator[Any]:
    """A view of the workflow object that cannot change it: attributes are copies, and setting one
    is refused. Values changed in place are noticed afterwards; the run never sees either.

    Raises:
        ReadOnlyViolation: when the block is left, if something was changed in place.
    """
    fields = _fields_of(instance)
    memo: dict[int, Any] = {}
    view: Any = object.__new__(_view_class(instance.__class__))
    comparable: list[tuple[str, Any]] = []
    for name, value in fields.items():
        copied = _copied(value, memo)
        object.__setattr__(view, name, copied)
        if copied is not value and _equal(copied, value):
            comparable.append((name, copied))
    yield view
    for name, copied in comparable:
        if not _equal(copied, fields[name]):
            raise ReadOnlyViolation(f"{who} changed {name!r}; a query may only look")


def _fields_of(instance: Any) -> dict[str, Any]:
    slots = [name for cls in type(instance).__mro__ for name in getattr(cls, "__slots__", ())]
    values = {
        name: getattr(instance, name)
        for name in slots
        if hasattr(instance, name) and name[:2] != "__"
    }
    return values | dict(getattr(instance, "__dict__", {}))


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # noqa: BLE001  # scopes, nurseries and other things that exist once are shared
        return value


def _equal(left: Any, right: Any) -> bool:
    try:
        return bool(left == right)
    except Exception:  # noqa: BLE001  # a user's __eq__; what cannot be compared is not checked
        return False


@cache
def _view_class(cls: type) -> type:
    def refuse(_self: Any, name: str, _value: Any = None) -> None:
        raise ReadOnlyViolation(f"a query set {name!r}; it may only look")

    namespace: dict[str, Callable[..., None]] = {"__setattr__": refuse, "__delattr__": refuse}
    return type(cls.__name__, (cls,), namespace)
