"""The instance actor: one open run on this node, hot standby or owner.

It compares three things on every wake-up and closes the gaps between them: how far the run's
history is committed (the machine), how far this node's interpreter has followed, and what is being
executed here. It acts only after it has read its mailbox, so that nothing it was told is behind
what it sees. Notices only wake it; values come from applied state by position (rule
*one_delivery_path*), so a lost, late or repeated notice costs time at most.

A standby feeds every committed ``Advance`` to its own interpreter and compares the commands. The
owner runs one activation ahead, proposes it, and waits until it is committed: nothing it asked for
happens before (rule *effect_after_output_commit*). Whatever arrives meanwhile rides in the next
one.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final, assert_never

import trio
from attrs import frozen

from flowactor.actors import Mailbox, MailboxClosed, Overflow, Promise
from flowactor.cluster.group.actor import ExecutionGroup
from flowactor.cluster.group.tasks import Tasks
from flowactor.cluster.runs.outside import outside_trio
from flowactor.cluster.runs.past import past_of
from flowactor.cluster.runs.steps import Due, StepRunner
from flowactor.cluster.runs.unsettled import Unsettled
from flowactor.codec.records import encode
from flowactor.errors import DeterminismViolation, Overloaded, Unavailable
from flowactor.identity import NodeId, RunId, StepKey, describe_key
from flowactor.limits import (
    ACTIVATION_BYTES_MAX,
    INSTANCE_MESSAGES_MAX,
    OPERATION_BYTES_MAX,
    RESEND_SECONDS,
)
from flowactor.machine.commands import CancelStep
from flowactor.machine.events import Event, StepCompleted, TimerFired
from flowactor.machine.notices import Advanced, OperationRefused, OwnerChanged, StepsDue
from flowactor.machine.operations import (
    Advance,
    Consumed,
    FailAttempt,
    InboxRef,
    ParkRun,
    encode_kept,
)
from flowactor.machine.replies import RunStatus
from flowactor.machine.state import RunState, StepState
from flowactor.observability.events import Observer, RunDiverged
from flowactor.ports import Clock
from flowactor.workflow import (
    Interpreter,
    RunInfo,
    StepCall,
    WorkflowDefinition,
    compare,
    replay,
)

__all__ = ["InstanceActor", "InstanceMessage", "QueryAsked", "Wake"]


@frozen
class Wake:
    """Something about the run changed, or proposals may have been lost: those that were made
    ``lost_after_seconds`` ago count as lost.
    """

    lost_after_seconds: float = RESEND_SECONDS


@frozen
class QueryAsked:
    """Answer from committed state that has seen the inbox up to ``inbox_last``."""

    name: str
    arguments: bytes
    inbox_last: int
    promise: Promise[bytes]


InstanceMessage = Advanced | StepsDue | OwnerChanged | OperationRefused | Wake | QueryAsked

_RESULT_BYTES: Final = 64
"""What a result is counted as beside its payload."""
_TOO_LARGE: Final = (
    "one activation asks for {} bytes at once, more than a message carries: let the code wait (for"
    " fa.checkpoint, if nothing else) in between"
)
_ADVANCE: Final = "advance"
_PARK: Final = "park"


class InstanceActor:
    """One run on one node.

    Args:
        run_id: of a run that is open in ``group``'s machine.
        node: this one; ``incarnation``: of this process, as it is announced.
        definition: the code of the run's type and version, or None if it is not registered here:
            such an instance follows without interpreting.
        steps: executes step bodies.
        clock: for ``fa.now()`` and for noticing lost proposals.
        observer: told when this node's code disagrees with what is committed.
    """

    def __init__(
        self,
        run_id: RunId,
        *,
        node: NodeId,
        incarnation: str,
        group: ExecutionGroup,
        definition: WorkflowDefinition | None,
        steps: StepRunner,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self.run_id: Final = run_id
        self.name: Final = f"run {run_id}"
        self.mailbox: Final[Mailbox[InstanceMessage]] = Mailbox(
            self.name, INSTANCE_MESSAGES_MAX, Overflow.REFUSE
        )
        self.diverged = ""
        self._node: Final = node
        self._incarnation: Final = incarnation
        self._group: Final = group
        self._definition: Final = definition
        self._steps: Final = steps
        self._clock: Final = clock
        self._observer: Final = observer
        self._info: Final = _info_of(group.machine.runs[run_id])
        self._interpreter = self._fresh()
        self._followed = 0  # advances the interpreter has seen, not counting a proposed one
        self._tenure: tuple[int, bool] = (0, False)
        self._proposed: Advance | None = None  # what this owner is ahead of the log by
        self._unfinished = False  # the last activation was cut short and goes on by itself
        self._look_for_steps = True
        self._bodies: Final[dict[StepKey, tuple[int, trio.CancelScope]]] = {}
        self._results: Final[dict[StepKey, StepCompleted]] = {}
        # Keys are _ADVANCE, _PARK, and (step, attempt) of failed attempts.
        self._unsettled: Final = Unsettled(group.propose, clock)
        self._queries: Final[list[QueryAsked]] = []
        self._has_left = False

    def tell(self, message: InstanceMessage) -> None:
        """Queue a message; never raises. A query that is refused fails at once; whatever else is,
        the next wake-up finds in the state.
        """
        try:
            self.mailbox.put_nowait(message)
        except (Overloaded, MailboxClosed) as refusal:
            self._look_for_steps = True
            if isinstance(message, QueryAsked):
                message.promise.fail(refusal)

    def leave(self) -> None:
        """The run is of this group no more. If it comes back, then to another actor."""
        self._has_left = True
        self.tell(Wake())

    @property
    def awaits_commit(self) -> bool:
        """Whether something proposed by this instance has had no outcome yet."""
        return bool(self._unsettled)

    async def run(self) -> None:
        """Follow the run until it is closed; step bodies live in a nursery of this task."""
        try:
            async with trio.open_nursery() as nursery:
                try:
                    self.tell(Wake())
                    while self.turn(await self.mailbox.drain(), nursery):
                        pass
                finally:
                    self.mailbox.close()  # bodies may take their time to end; nobody reads it now
                nursery.cancel_scope.cancel()
        finally:
            self.close()

    def close(self) -> None:
        """Take the run out of memory."""
        self._forget()
        for query in self._queries:
            query.promise.fail(Unavailable("the run stopped here while a query waited"))

    def turn(self, messages: Sequence[InstanceMessage], tasks: Tasks) -> bool:
        """Handle everything that the mailbox held; False once the run is closed. Step bodies are
        started among ``tasks``.
        """
        for message in messages:
            self._take(message)
        run = self._group.machine.runs.get(self.run_id)
        if run is None or self._has_left:
            self._answer_queries(None)
            return False
        self._catch_up(run)
        self._act(run, tasks)
        return True

    def _take(self, message: InstanceMessage) -> None:
        match message:
            case Advanced():
                self._feed(message)
            case StepsDue() | OwnerChanged():
                self._look_for_steps = True
            case OperationRefused():
                self._check_refusal(message)
            case QueryAsked():
                self._queries.append(message)
            case Wake(lost_after_seconds):
                self._unsettled.repeat(lost_after_seconds)
            case _:
                assert_never(message)

    # -- following --------------------------------------------------------------------------------

    def _catch_up(self, run: RunState) -> None:
        """Bring the interpreter to the committed position, if facts that were told did not."""
        if self._interpreter is not None and self._followed != run.position:
            self._forget()
        if self._interpreter is None and not self.diverged:
            self._rebuild(run)

    def _fresh(self) -> Interpreter | None:
        """An interpreter for a run that has not moved yet, so that following needs no history."""
        run = self._group.machine.runs[self.run_id]
        if run.position or not self._follows(run):
            return None
        assert self._definition is not None
        return Interpreter(self._definition, self._info, outside_trio)

    def _follows(self, run: RunState) -> bool:
        """Whether this node is to interpret the run: it has the code, and owns it or stands by."""
        definition = self._definition
        return definition is not None and (definition.standby == "hot" or run.owner == self._node)

    def _forget(self) -> None:
        """Drop the interpreter; its next use begins with the committed history."""
        if self._interpreter is not None:
            self._interpreter.close()
        self._interpreter = None
        self._proposed = None
        self._unsettled.settle(_ADVANCE)

    def _feed(self, fact: Advanced) -> None:
        """Follow one committed activation, if it is the next one: else it was followed already, or
        others before it were missed.
        """
        # It may have begun or cancelled steps.
        self._look_for_steps |= bool(fact.advance.commands)
        interpreter = self._interpreter
        if interpreter is None or fact.advance.position != self._followed:
            return
        proposed, self._proposed = self._proposed, None
        self._unsettled.settle(_ADVANCE)
        self._followed += 1
        if proposed is not None:
            if proposed == fact.advance:
                return
            # Another owner's activation stands where ours was to be: what we ran ahead is void.
            self._forget()
            return
        activation = interpreter.activate(fact.advance.now_ns, fact.events)
        self._unfinished = activation.more
        mismatch = compare(fact.advance.commands, activation.commands)
        if mismatch is not None:
            self._disagree(str(mismatch))

    def _disagree(self, mismatch: str) -> None:
        self._forget()
        self.diverged = mismatch
        self._observer(RunDiverged(self.run_id, self._info.workflow_id, mismatch))

    def _rebuild(self, run: RunState) -> None:
        """A fresh interpreter, fed with the whole committed history."""
        if self._definition is None or not self._follows(run):
            return
        past = past_of(self._group, self.run_id)
        try:
            self._interpreter = replay(self._definition, self._info, past, outside_trio)
        except DeterminismViolation as violation:
            self._disagree(str(violation))
            return
        self._followed = len(past)
        self._unfinished = self._interpreter.unfinished
        assert self._followed == run.position, "the history holds every activation"

    # -- owning -----------------------------------------------------------------------------------

    def _act(self, run: RunState, tasks: Tasks) -> None:
        owning = self._is_owner(run)
        if (run.epoch, owning) != self._tenure:
            self._change_tenure(run, owning)
        self._answer_queries(run)
        if not owning:
            return
        if self._interpreter is None:
            self._give_up(run)
            return
        if self._look_for_steps:
            self._look_for_steps = False
            self._start_steps(run, tasks)
        self._settle_failures(run)
        if self._proposed is None:
            self._activate(run, self._interpreter)

    def _is_owner(self, run: RunState) -> bool:
        """Whether this process is to perform the run. One that has not announced itself may only
        know of an earlier process of its node: it performs nothing, so that what ran then runs
        again under a new epoch, as a further attempt.
        """
        known = self._group.machine.nodes.get(self._node)
        return (
            run.owner == self._node
            and run.status is RunStatus.RUNNING
            and known is not None
            and known.incarnation == self._incarnation
        )

    def _change_tenure(self, run: RunState, owning: bool) -> None:
        """Another epoch: what was executed or decided under the old one counts no more."""
        self._tenure = (run.epoch, owning)
        for _, scope in self._bodies.values():
            scope.cancel()
        self._bodies.clear()
        self._results.clear()
        self._unsettled.clear()
        self._look_for_steps = True
        if self._proposed is not None or (owning and self.diverged):
            # An owner whose standby disagreed replays once more: parking shows both sides.
            self.diverged = ""
            self._forget()
            self._rebuild(run)

    def _give_up(self, run: RunState) -> None:
        if self._definition is None:
            reason = (
                f"{run.workflow_type} version {run.version} is not registered on node {self._node}"
            )
        else:
            reason = self.diverged
        if _PARK not in self._unsettled:
            self._unsettled.add(_PARK, encode(ParkRun(self.run_id, run.epoch, reason)))

    def _activate(self, run: RunState, interpreter: Interpreter) -> None:
        assert self._followed == run.position, "code that is behind its history may not go on"
        consumed: list[Consumed] = []
        events: list[Event] = []
        for number in sorted(run.inbox):
            consumed.append(InboxRef(number))
            events.append(run.inbox[number])
        for result in self._next_results(run):
            consumed.append(result)
            events.append(result)
        if not events and not self._unfinished:
            return
        now_ns = self._time_of(run, events)
        interpreter.live = True
        activation = interpreter.activate(now_ns, events)
        interpreter.live = False
        self._unfinished = activation.more
        advance = Advance(
            self.run_id, run.epoch, run.position, now_ns, tuple(consumed), activation.commands
        )
        encoded = encode_kept(advance)
        if len(encoded) > OPERATION_BYTES_MAX:
            self._forget()
            self.diverged = _TOO_LARGE.format(len(encoded))
            self._give_up(run)
            return
        self._proposed = advance
        self._unsettled.add(_ADVANCE, encoded)

    def _next_results(self, run: RunState) -> list[StepCompleted]:
        """Results for the next activation, at least one; what is too much for it stays for later.

        Each is kept until it is recorded, so that none is lost with a proposal.
        """
        for step in [step for step in self._results if step not in run.steps]:
            del self._results[step]
        chosen: list[StepCompleted] = []
        size = 0
        for result in self._results.values():
            size += len(result.result) + _RESULT_BYTES
            if chosen and size > ACTIVATION_BYTES_MAX:
                break
            chosen.append(result)
        return chosen

    def _time_of(self, run: RunState, events: list[Event]) -> int:
        """``fa.now()`` of the next activation: never before the past, nor before a timer that
        fired.
        """
        dues = (event.due_ns for event in events if isinstance(event, TimerFired))
        return max(self._group.clock.now_ns(), run.now_ns, *dues)

    def _check_refusal(self, refused: OperationRefused) -> None:
        """A stale proposal is refused because it was repeated, or made by an owner of before. One
        that is refused at its own epoch and position would be refused for ever: that is a broken
        invariant.
        """
        owning = self._proposed is not None and refused.operation == Advance.__name__
        assert refused.stale or not owning, refused.reason

    # -- steps ------------------------------------------------------------------------------------

    def _start_steps(self, run: RunState, tasks: Tasks) -> None:
        assert self._interpreter is not None
        for step in [step for step in self._bodies if step not in run.steps]:
            self._bodies.pop(step)[1].cancel()
        # The code has given these up, and does not know them any more; that is not committed yet.
        ahead = self._proposed.commands if self._proposed is not None else ()
        given_up = {command.step for command in ahead if isinstance(command, CancelStep)}
        for step, pending in run.steps.items():
            if pending.state is not StepState.RUNNING or step in self._results or step in given_up:
                continue
            known = self._bodies.get(step)
            if known is not None and known[0] == pending.attempt:
                continue
            scope = trio.CancelScope()
            begun = self._bodies[step] = (pending.attempt, scope)
            call = self._interpreter.call_of(step)
            name = f"{self.name} step {describe_key(step)}"
            tasks.start_soon(self._execute, step, call, begun, name=name)

    async def _execute(
        self, step: StepKey, call: StepCall, begun: tuple[int, trio.CancelScope]
    ) -> None:
        attempt, scope = begun
        with scope:
            outcome = await self._steps.execute(call, partial(self._due, step, begun))
            if outcome is None or self._bodies.get(step) != begun:
                return
            if isinstance(outcome, bytes):
                self._results[step] = StepCompleted(step, attempt, outcome)
            else:
                epoch, _ = self._tenure
                failed = FailAttempt(self.run_id, epoch, step, attempt, outcome)
                self._unsettled.add((step, attempt), encode(failed))
            self.tell(Wake())

    def _due(self, step: StepKey, begun: tuple[int, trio.CancelScope]) -> Due | None:
        """The attempt that is to begin now; None: it is given up. Entries may have been applied
        that this actor has not looked at yet, and a scope would let a body run up to its first
        checkpoint.
        """
        run = self._group.machine.runs.get(self.run_id)
        pending = None if run is None else run.steps.get(step)
        if run is None or pending is None or not self._is_owner(run):
            return None
        as_begun = (pending.attempt, pending.state) == (begun[0], StepState.RUNNING)
        return (run, pending) if as_begun and self._bodies.get(step) == begun else None

    def _settle_failures(self, run: RunState) -> None:
        """Failed attempts that the machine has judged need not be proposed again."""
        for key in self._unsettled.pending():
            if isinstance(key, tuple):
                step, attempt = key
                pending = run.steps.get(step)
                if (
                    pending is None
                    or pending.attempt != attempt
                    or pending.state is not StepState.RUNNING
                ):
                    self._unsettled.settle(key)

    # -- queries ----------------------------------------------------------------------------------

    def _answer_queries(self, run: RunState | None) -> None:
        """Answer those whose time has come: no activation ahead of the log, and the inbox they saw
        is consumed, unless nobody consumes it now.
        """
        if not self._queries or self._proposed is not None:
            return
        waiting: list[QueryAsked] = []
        for query in self._queries:
            behind = run is not None and run.status is RunStatus.RUNNING and run.owner
            if (
                behind
                and run is not None
                and any(number <= query.inbox_last for number in run.inbox)
            ):
                waiting.append(query)
                continue
            self._answer(query)
        self._queries[:] = waiting

    def _answer(self, query: QueryAsked) -> None:
        if self._interpreter is None:
            query.promise.fail(Unavailable(f"this node cannot answer for the run: {self.diverged}"))
            return
        try:
            query.promise.set(self._interpreter.query(query.name, query.arguments))
        except Exception as error:  # noqa: BLE001  # the user's query code may raise anything; its caller gets it
            query.promise.fail(error)


def _info_of(run: RunState) -> RunInfo:
    return RunInfo(run.workflow_id, run.run_id, run.workflow_type, run.version, run.started_ns)
