"""Executing step bodies: the only place where the user's effects happen.

A body runs in the nursery of its run's instance, on the owner, after the activation that asked for
it is committed. It may run again elsewhere (at least once); its outcome is recorded once.
"""

from collections.abc import Callable
from typing import Final

import trio

from flowactor.errors import NonRetryableError, StepTimedOut
from flowactor.identity import StepKey, describe_key
from flowactor.limits import NANOSECONDS, STEPS_RUNNING_MAX
from flowactor.machine.events import Failure
from flowactor.machine.state import PendingStep, RunState
from flowactor.observability.events import Observer, StepFinished, StepStarted
from flowactor.workflow import StepCall, StepInfo, encode_failure, step_context

__all__ = ["Due", "StepRunner"]

Due = tuple[RunState, PendingStep]
"""A step that is to be executed now, as the log says up to where it is applied."""


class StepRunner:
    """Runs bodies, at most ``STEPS_RUNNING_MAX`` at once on this node; more wait their turn.

    Args:
        now_ns: log time, to know how much of ``schedule_to_close`` is left.
        observer: told when bodies start and finish.
    """

    def __init__(self, now_ns: Callable[[], int], observer: Observer) -> None:
        self._now_ns: Final = now_ns
        self._observer: Final = observer
        self._limiter: Final = trio.CapacityLimiter(STEPS_RUNNING_MAX)

    async def execute(
        self, call: StepCall, due: Callable[[], Due | None]
    ) -> bytes | Failure | None:
        """One attempt: the payload of the body's value, or its failure as a value. None if it is
        not due any more when its turn comes.
        """
        await self._take_turn()
        try:
            found = due()
            return None if found is None else await self._execute(call, *found)
        finally:
            self._limiter.release()

    async def _execute(
        self, call: StepCall, run: RunState, pending: PendingStep
    ) -> bytes | Failure:
        key, attempt = pending.command.step, pending.attempt
        name = describe_key(key)
        info = StepInfo(
            workflow_id=run.workflow_id,
            run_id=run.run_id,
            step=key,
            attempt=attempt,
            idempotency_key=idempotency_key(run, key),
        )
        outcome: bytes | Failure | None = None
        try:
            self._observer(StepStarted(run.run_id, name, attempt))
            outcome = await self._attempt(pending, call, info)
        finally:
            self._observer(StepFinished(run.run_id, name, attempt, _word(outcome)))
        return outcome

    async def _take_turn(self) -> None:
        try:
            self._limiter.acquire_nowait()  # nearly always, and a checkpoint costs more than it
        except trio.WouldBlock:
            await self._limiter.acquire()

    async def _attempt(
        self, pending: PendingStep, call: StepCall, info: StepInfo
    ) -> bytes | Failure:
        kind, seconds = self._limit(pending)
        name = pending.command.name
        # A body may well raise trio.TooSlowError of its own, so that is not how a limit shows.
        try:
            with step_context(info):
                if seconds is None:
                    return await call.invoke()
                with trio.move_on_after(seconds):
                    return await call.invoke()
        except Exception as error:  # noqa: BLE001  # whatever the user's body raises is its outcome
            return encode_failure(error)
        except BaseException as error:  # noqa: BLE001  # a node does not end because a body says so
            if stop := _not_its_own(error):
                raise stop from None
            final = NonRetryableError(f"step {name} raised {type(error).__name__}: {error}")
            final.__cause__ = error
            return encode_failure(final)
        text = f"step {name} exceeded {kind} of {seconds:g} s in attempt {info.attempt}"
        return encode_failure(StepTimedOut(text, kind))

    def _limit(self, pending: PendingStep) -> tuple[str, float | None]:
        """Which time-out strikes first, and after how many seconds, if there is one."""
        command = pending.command
        limits: list[tuple[int, str]] = []
        if command.start_to_close_ns:
            limits.append((command.start_to_close_ns, "start_to_close"))
        if pending.deadline_ns:
            left_ns = max(0, pending.deadline_ns - self._now_ns())
            limits.append((left_ns, "schedule_to_close"))
        if not limits:
            return "", None
        limit_ns, kind = min(limits)
        return kind, limit_ns / NANOSECONDS


def idempotency_key(run: RunState, step: StepKey) -> str:
    """The same for every attempt of this step on any node, and for no other step of any run.

    A name may hold any character. So all parts are always there: a run id is hexadecimal and ends
    at the first colon, a scope has no slash, an occurrence begins after the last ``#``.
    """
    scope, name, occurrence = step
    return f"{run.run_id}:{'.'.join(map(str, scope))}/{name}#{occurrence}"


def _not_its_own(error: BaseException) -> BaseException | None:
    """What of a body's error is meant for whoever runs it: it is cancelled, or the process ends."""
    stops = (trio.Cancelled, KeyboardInterrupt, GeneratorExit)
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(stops)
    return error if isinstance(error, stops) else None


def _word(outcome: bytes | Failure | None) -> str:
    if outcome is None:
        return "cancelled"
    if isinstance(outcome, bytes):
        return "completed"
    return "timed out" if outcome.error_type == "flowactor.errors.StepTimedOut" else "failed"
