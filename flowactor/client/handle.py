"""One run, seen from outside."""

import math
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar, TypeVarTuple, overload

import trio

from flowactor.client import references
from flowactor.client.caller import Caller, expect
from flowactor.client.exports import ExportedHistory
from flowactor.client.streams import POLL_SECONDS, RunEventStream
from flowactor.cluster.protocol.requests import (
    DescribeRun,
    Ended,
    EventPage,
    EventView,
    ExportHistory,
    GetHistory,
    GetResult,
    HistoryPart,
    Query,
    QueryJson,
    ReadRunVariable,
    RunView,
    SignalJson,
    Value,
)
from flowactor.codec import payloads, records
from flowactor.errors import (
    DeadlineExceeded,
    InvalidInput,
    MalformedDataError,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowTerminated,
    WorkflowTimedOut,
)
from flowactor.identity import RunId
from flowactor.machine.operations import CancelRun, ResumeRun, SignalRun, TerminateRun
from flowactor.machine.replies import Done, RunStatus
from flowactor.workflow import HandlerKind, decode_failure

__all__ = ["WorkflowHandle", "outcome"]

R = TypeVar("R")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

ANSWER_SECONDS: Final = 1.0
"""The node waits until the caller's deadline; its answer may be under way for this much longer."""


class WorkflowHandle(Generic[R]):
    """A run of a workflow. Making one costs nothing and asks nobody.

    Attributes:
        id: the workflow id.
        run_id: which run of that id; empty means whichever is the current one.
    """

    def __init__(self, caller: Caller, workflow_id: str, run_id: str, result_type: Any) -> None:
        self.id = workflow_id
        self.run_id = run_id
        self._caller = caller
        self._result_type = result_type

    def __repr__(self) -> str:
        return f"<WorkflowHandle {self.id!r} run {self.run_id or 'current'}>"

    async def result(self, timeout: float | None = None) -> R:
        """Wait for the end of the run, for at most ``timeout`` seconds.

        Raises:
            WorkflowFailed: its code raised; the original error is ``__cause__``.
            WorkflowCancelled, WorkflowTerminated, WorkflowTimedOut: it ended that way.
            DeadlineExceeded: it goes on; ask again whenever you like.
            NotFound: there is no such run.
        """
        result: R = outcome(await self.wait(timeout), self._result_type)
        return result

    async def wait(self, timeout: float | None = None) -> Ended:
        """As ``result``, but how the run ended is returned. A time-out of 0 only looks."""
        deadline = math.inf if timeout is None else trio.current_time() + timeout
        with trio.move_on_at(deadline + ANSWER_SECONDS):
            is_last, standing = False, "it goes on"
            while not is_last:
                left = max(0.0, deadline - trio.current_time())
                is_last = left < POLL_SECONDS
                ended = await self._poll(min(left, POLL_SECONDS))
                if not ended.status.is_open:
                    return ended
                is_parked = ended.status is RunStatus.PARKED
                standing = f"it is parked: {ended.reason}" if is_parked else "it goes on"
        error = DeadlineExceeded(f"run {self.id!r} has not ended within {timeout} s; {standing}")
        error.outcome_unknown = False
        raise error

    async def _poll(self, seconds: float) -> Ended:
        body = GetResult(self.id, self.run_id, int(seconds * 1000))
        return expect(await self._caller.read(body, wait_seconds=seconds), Ended)

    @overload
    async def signal(
        self, signal: Callable[[Any, *Ts], Coroutine[Any, Any, None] | None], /, *args: *Ts
    ) -> None: ...
    @overload
    async def signal(self, signal: str, /, *args: object) -> None: ...
    async def signal(  # type: ignore[misc]  # mypy compares *Ts with *Any argument by argument
        self, signal: Callable[..., Any] | str, /, *args: Any
    ) -> None:
        """Send a signal, ``ProcessOrder.add_note`` or its name: returns once it is recorded.

        Raises:
            InvalidInput: an argument does not fit; the message names its path.
            NotFound: no such run. AlreadyClosed: the run has ended.
        """
        call = references.handler_call(HandlerKind.SIGNAL, signal, args)
        await self._caller.change(SignalRun(self.id, self.run_id, call.name, call.arguments))

    @overload
    async def query(self, query: Callable[[Any, *Ts], T], /, *args: *Ts) -> T: ...
    @overload
    async def query(self, query: str, /, *args: object) -> Any: ...
    async def query(  # type: ignore[misc]  # as for signal
        self, query: Callable[..., Any] | str, /, *args: Any
    ) -> Any:
        """Ask the run's own code, ``ProcessOrder.current_note`` or its name; changes nothing."""
        call = references.handler_call(HandlerKind.QUERY, query, args)
        answer = await self._caller.read(Query(self.id, self.run_id, call.name, call.arguments))
        return payloads.decode_payload(
            expect(answer, Value).payload, call.result_type, f"query {call.name}"
        )

    async def signal_json(self, name: str, arguments_json: str) -> None:
        """As ``signal``, with an array of arguments (or one value for one argument) as JSON."""
        await self._caller.change(SignalJson(self.id, self.run_id, name, arguments_json))

    async def query_json(self, name: str, arguments_json: str) -> Any:
        """As ``query``, with arguments and the answer in JSON's terms."""
        answer = await self._caller.read(QueryJson(self.id, self.run_id, name, arguments_json))
        return payloads.payload_to_json(expect(answer, Value).payload)

    async def cancel(self, reason: str = "") -> bool:
        """Ask the run to stop; its clean-up code runs. Returns False if that was asked before."""
        return await self._done(CancelRun(self.id, self.run_id, reason))

    async def terminate(self, reason: str = "") -> bool:
        """End the run at once; none of its code runs any more."""
        return await self._done(TerminateRun(self.id, self.run_id, reason))

    async def resume(self) -> bool:
        """Let a parked run go on, once what parked it is mended."""
        return await self._done(ResumeRun(self.id, self.run_id))

    async def _done(self, body: CancelRun | TerminateRun | ResumeRun) -> bool:
        return expect(await self._caller.change(body), Done).changed

    async def describe(self) -> RunView:
        """How the run stands now: status, owner, pending steps, timers, variables."""
        return expect(await self._caller.read(DescribeRun(self.id, self.run_id)), RunView)

    async def variable(self, name: str, type: type[T]) -> T:  # noqa: A002 - reads as fa.variable does
        """The committed value of one of the run's replicated variables.

        Raises:
            NotFound: the run has not set it.
        """
        answer = await self._caller.read(ReadRunVariable(self.id, self.run_id, name))
        payload = expect(answer, Value).payload
        value: T = payloads.decode_payload(payload, type, f"variable {name!r}")
        return value

    async def history(self, limit: int | None = None) -> tuple[EventView, ...]:
        """The run's recorded events, oldest first; with ``limit`` the newest that many."""
        if limit is None:
            recorded = RunEventStream(self._caller, self.id, self.run_id, follow=False)
            return tuple([event async for event in recorded])
        if limit < 1:
            raise InvalidInput(f"limit must be at least 1, not {limit}")
        body = GetHistory(self.id, self.run_id, 0, limit, newest=True)
        return expect(await self._caller.read(body), EventPage).events

    async def export(self) -> ExportedHistory:
        """The run's history as it is now, open or closed, to be replayed elsewhere
        (``flowactor.testing.replay``) or kept as a file (``to_bytes``).

        Raises:
            NotFound: there is no such run.
        """
        rows: list[bytes] = []
        run_id, started_ns, total, after, offset = self.run_id, 0, 1, 0, 0
        while after < total:
            body = ExportHistory(self.id, run_id, after, offset)
            part = expect(await self._caller.read(body), HistoryPart)
            if not part.pieces:
                raise MalformedDataError(f"a node has {after} rows of {total} of {self.id}")
            if not rows:  # what is recorded from here on is left out, or this might never end
                run_id, started_ns, total = part.run_id, part.started_ns, part.rows
            begun = rows.pop() if offset else b""
            rows += (begun + part.pieces[0], *part.pieces[1:])
            after, offset = part.next_after, part.next_offset
        facts = tuple(map(records.decode, rows[:total]))  # the last part may end in a row
        return ExportedHistory(RunId(run_id), started_ns, facts)

    def events(self) -> RunEventStream:
        """The run's history from its start, then what happens as it happens, until it has ended.

        Nothing is dropped, however slow the reader: what it has not taken is still in the history.
        """
        return RunEventStream(self._caller, self.id, self.run_id, follow=True)


def outcome(ended: Ended, result_type: Any) -> Any:
    """The result of a closed run, or the error it ended with, raised."""
    match ended.status:
        case RunStatus.COMPLETED:
            return payloads.decode_payload(ended.result, result_type, "result")
        case RunStatus.FAILED:
            assert ended.failure is not None, "a failed run says why"
            text = f"{ended.failure.error_type.removeprefix('builtins.')}: {ended.failure.message}"
            raise WorkflowFailed(text) from decode_failure(ended.failure)
        case RunStatus.CANCELLED:
            raise WorkflowCancelled(ended.reason or "cancelled")
        case RunStatus.TERMINATED:
            raise WorkflowTerminated(ended.reason or "terminated")
        case RunStatus.TIMED_OUT:
            raise WorkflowTimedOut(ended.reason or "the run's time-out passed")
        case RunStatus.RUNNING | RunStatus.PARKED:
            raise AssertionError(f"a run that is {ended.status.value} has no outcome")
