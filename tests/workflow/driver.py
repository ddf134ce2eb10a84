"""A tiny owner: activates an interpreter, really runs the steps, keeps the history, and after every
activation replays that history from scratch and compares (invariant I24 on every test).
"""

import random
from collections.abc import Callable, Coroutine
from typing import Any

from flowactor.codec.payloads import decode_payload, encode_payload
from flowactor.identity import NodeId, RunId, StepKey, TimerKey, describe_key
from flowactor.limits import NANOSECONDS
from flowactor.machine.commands import (
    ArmTimer,
    CancelStep,
    CancelTimer,
    Command,
    CompleteRun,
    FailRun,
    RunEndedCancelled,
    ScheduleStep,
    SetVariable,
)
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
from flowactor.workflow import (
    Activated,
    HandlerKind,
    Interpreter,
    Outside,
    RunInfo,
    StepInfo,
    decode_failure,
    definition_of,
    encode_failure,
    handler_of,
    replay,
    step_context,
)
from flowactor.workflow.context import directly

START_NS = 1_700_000_000 * NANOSECONDS
NOBODY = NodeId(0)


def complete(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never really waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise AssertionError("the coroutine waits for something")


class Driver:
    """One run. ``replays`` False saves the replay after each activation in long tests."""

    def __init__(
        self,
        workflow: Any,
        *args: Any,
        run_id: str = "run-1",
        replays: bool = True,
        outside: Outside = directly,
    ) -> None:
        self.definition = definition_of(workflow)
        self.info = RunInfo(
            "order-1", RunId(run_id), self.definition.name, self.definition.version, START_NS
        )
        self.outside = outside
        self.interpreter = Interpreter(self.definition, self.info, outside)
        self.interpreter.live = True
        self.replays = replays
        self.now_ns = START_NS
        self.history: list[Activated] = []
        self.steps: dict[StepKey, ScheduleStep] = {}
        self.timers: dict[TimerKey, int] = {}
        self.variables: dict[str, list[Any]] = {}
        self.attempts: dict[StepKey, int] = {}
        self.recorded: list[StepKey] = []
        self.ended: Command | None = None
        self.activate(RunStarted(self.definition.run.encode(args, {})))

    # -- one turn ---------------------------------------------------------------------------------

    def activate(self, *events: Event) -> tuple[Command, ...]:
        """One activation (and those that follow because it was cut); what was asked for."""
        asked: list[Command] = []
        activation = self.interpreter.activate(self.now_ns, events)
        self._record(events, activation.commands)
        asked.extend(activation.commands)
        while activation.more:
            activation = self.interpreter.activate(self.now_ns, ())
            self._record((), activation.commands)
            asked.extend(activation.commands)
        if self.replays:
            self.replay().close()
        return tuple(asked)

    def _record(self, events: tuple[Event, ...], commands: tuple[Command, ...]) -> None:
        self.history.append(Activated(self.now_ns, events, commands))
        for command in commands:
            assert self.ended is None, "nothing follows the end of a run"
            self._apply(command)

    def _apply(self, command: Command) -> None:
        match command:
            case ScheduleStep():
                assert command.step not in self.attempts, "a step key is used once"
                self.steps[command.step] = command
                self.attempts[command.step] = 0
            case CancelStep():
                del self.steps[command.step]
            case ArmTimer():
                assert command.timer not in self.timers
                self.timers[command.timer] = command.due_ns
            case CancelTimer():
                del self.timers[command.timer]
            case SetVariable():
                value = decode_payload(command.value, None, command.name)
                self.variables.setdefault(command.name, []).append(value)
            case CompleteRun() | FailRun() | RunEndedCancelled():
                self.ended = command

    def replay(self) -> Interpreter:
        """A fresh interpreter that went through the whole history and agreed with it."""
        return replay(self.definition, self.info, self.history, self.outside)

    def fail_over(self) -> None:
        """Another node goes on, with an interpreter of its own."""
        self.interpreter.close()
        self.interpreter = self.replay()
        self.interpreter.live = True

    # -- what can happen to a run ------------------------------------------------------------------

    def signal(self, handler: Any, *args: Any) -> tuple[Command, ...]:
        found = handler_of(handler, HandlerKind.SIGNAL)
        return self.activate(SignalReceived(found.name, found.signature.encode(args, {})))

    def query(self, handler: Any, *args: Any) -> Any:
        found = handler_of(handler, HandlerKind.QUERY)
        answer = self.interpreter.query(found.name, found.signature.encode(args, {}))
        return decode_payload(answer, found.signature.returns, "answer")

    def cancel(self, reason: str = "enough") -> tuple[Command, ...]:
        return self.activate(CancelRequested(reason))

    def fire(self) -> tuple[Command, ...]:
        """Let time pass until the next timer, and fire it."""
        key, due = min(self.timers.items(), key=lambda item: (item[1], item[0]))
        del self.timers[key]
        self.now_ns = max(self.now_ns, due)
        return self.activate(TimerFired(key, due))

    def execute(self, key: StepKey | None = None) -> tuple[Command, ...]:
        """Run the body of a pending step (the oldest), with its retries, and record the outcome."""
        key = next(iter(self.steps)) if key is None else key
        return self.activate(self.outcome(key))

    def outcome(self, key: StepKey) -> Event:
        command = self.steps.pop(key)
        while True:
            self.attempts[key] += 1
            attempt = self.attempts[key]
            info = StepInfo("order-1", self.info.run_id, key, attempt, describe_key(key))
            call = self.interpreter.call_of(key)
            try:
                with step_context(info):
                    result = complete(call.invoke())
            except Exception as error:  # noqa: BLE001  # whatever a body raises is its outcome
                failure = encode_failure(error)
                limit = command.retry.attempts_max
                if failure.retryable and (limit == 0 or attempt < limit):
                    continue
                self.recorded.append(key)
                return StepEnded(key, attempt, failure)
            self.recorded.append(key)
            return StepCompleted(key, attempt, result)

    def finish_step(self, name: str, value: Any) -> tuple[Command, ...]:
        """Record a result for the pending step of this name (as ``describe_key`` writes it)."""
        key = next(key for key in self.steps if describe_key(key) == name)
        del self.steps[key]
        return self.activate(StepCompleted(key, 1, encode_payload(value, None, "result")))

    def fail_step(self, name: str, error: Exception | Failure) -> tuple[Command, ...]:
        key = next(key for key in self.steps if describe_key(key) == name)
        del self.steps[key]
        failure = error if isinstance(error, Failure) else encode_failure(error)
        return self.activate(StepEnded(key, 1, failure))

    def run(
        self, *, until: Callable[[], object] = lambda: False, shuffle: random.Random | None = None
    ) -> Any:
        """Execute steps, then fire timers, until the run ends; returns as ``result`` does."""
        while self.ended is None and not until():
            if self.steps:
                keys = list(self.steps)
                self.execute(keys[0] if shuffle is None else shuffle.choice(keys))
            elif self.timers:
                self.fire()
            else:
                raise AssertionError("the run waits for something that will not come")
        return self.result() if self.ended is not None else None

    # -- what came of it ---------------------------------------------------------------------------

    @property
    def status(self) -> str:
        match self.ended:
            case None:
                return "running"
            case CompleteRun():
                return "completed"
            case FailRun():
                return "failed"
            case _:
                return "cancelled"

    def result(self) -> Any:
        """What the run returned; raises what it raised."""
        assert self.ended is not None, (
            f"still running: steps {list(self.steps)}, timers {self.timers}"
        )
        if isinstance(self.ended, FailRun):
            raise decode_failure(self.ended.failure)
        if isinstance(self.ended, CompleteRun):
            return decode_payload(self.ended.result, self.definition.run.returns, "result")
        assert isinstance(self.ended, RunEndedCancelled)
        return self.ended

    @property
    def pending(self) -> list[str]:
        return [describe_key(key) for key in self.steps]

    @property
    def seconds(self) -> float:
        return (self.now_ns - START_NS) / NANOSECONDS
