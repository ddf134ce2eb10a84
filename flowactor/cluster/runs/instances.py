"""All open runs on this node: starts their actors, passes on what was applied, restarts the
crashed.

A run that was found open, when the node started or a state came in place of the log, has no actor
at first: it sleeps. Most runs wait, and what their code did in the past takes longer to repeat than
all else that a restart does. One that moves, is asked, or has work for this node is woken at once,
and every tick wakes a few of the others: in the end each is followed here, as its code may disagree
with its history, and may not have finished what it began.

An instance that crashes is flowactor's or the interpreter's trouble with this one run. From then on
the run has a supervisor here, who starts it afresh from the committed history, a few times; then
this node gives up on it. A run of its own it parks, where people can see it, instead of taking
other runs or the node down; one that it only followed it tries again when it becomes the owner. A
broken invariant (``AssertionError``) does stop the node: nothing it would say afterwards could be
trusted.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final, assert_never

import trio

from flowactor.actors import (
    ChildEnded,
    ChildSpec,
    Promise,
    Restart,
    Supervisor,
    SupervisorEvent,
    SupervisorGaveUp,
)
from flowactor.cluster.group.actor import ExecutionGroup
from flowactor.cluster.group.tasks import Tasks
from flowactor.cluster.runs.instance import (
    InstanceActor,
    InstanceMessage,
    QueryAsked,
    Wake,
)
from flowactor.cluster.runs.variables import VariableActors
from flowactor.codec.records import encode
from flowactor.codec.text import shortened
from flowactor.errors import NotFound, Unavailable
from flowactor.identity import NodeId, RunId
from flowactor.limits import (
    INSTANCE_BACKOFF_SECONDS,
    INSTANCE_RESTARTS_MAX,
    INSTANCE_RESTARTS_SECONDS,
    INSTANCES_WOKEN_PER_TICK,
    RESEND_SECONDS,
    TEXT_BYTES_MAX,
    TICK_SECONDS,
)
from flowactor.machine import Machine, notices
from flowactor.machine.notices import Notice
from flowactor.machine.operations import ParkRun
from flowactor.machine.replies import RunStatus
from flowactor.machine.state import StepState
from flowactor.observability.events import ActorFailed, Observer, OwnerChanged, RunEnded, RunParked

__all__ = ["Instances"]


class Instances:
    """The runs of one group on this node.

    Args:
        tasks: where they live.
        group: whose runs they are.
        make: builds the actor of a run that is open in the group's machine.
        variables: told of changes of stand-alone variables.
        observer: told what happens to runs.
    """

    def __init__(
        self,
        tasks: Tasks,
        *,
        node: NodeId,
        group: ExecutionGroup,
        make: Callable[[RunId], InstanceActor],
        variables: VariableActors,
        observer: Observer,
    ) -> None:
        self._tasks: Final = tasks
        self._node: Final = node
        self._group: Final = group
        self._make: Final = make
        self._variables: Final = variables
        self._observer: Final = observer
        self._actors: Final[dict[RunId, InstanceActor]] = {}
        # Open runs without an actor: those that nothing has concerned yet, and those it crashed
        # for, and why.
        self._asleep: Final[dict[RunId, None]] = {}
        self._given_up: Final[dict[RunId, str]] = {}
        self._ticks = 0
        self._closing: Final[dict[RunId, list[Promise[None]]]] = {}

    def __len__(self) -> int:
        """How many runs are followed here, those included that sleep."""
        return len(self._actors) + len(self._asleep)

    def open_all(self) -> None:
        """Take up all runs found open by scanning the state (after a restart)."""
        self._lay_down(self._group.machine.runs)

    def start_over(self, before: Machine) -> None:
        """Another machine has taken the place of ``before``, and of what changed in between nobody
        was told: what is new here sleeps, and all others look where they stand.
        """
        runs = self._group.machine.runs
        for run_id in sorted(before.runs.keys() - runs.keys()):
            self._leave(run_id)
        for run_id in sorted(runs.keys() & before.runs.keys()):
            if self._given_up.pop(run_id, ""):
                self._open(run_id)
            else:
                self._tell(run_id, notices.StepsDue(run_id, ()))
        self._lay_down(runs.keys() - before.runs.keys())
        self._variables.start_over()

    def notify(self, applied: Sequence[Notice]) -> None:
        """Pass on what applying a log entry changed."""
        for notice in applied:
            match notice:
                case notices.Advanced():
                    self._wake(notice.run_id)
                    self._tell(notice.run_id, notice)
                case notices.StepsDue():
                    self._tell(notice.run_id, notice)
                case notices.VariableChanged():
                    self._variables.changed(notice.name)
                case notices.SlotsLeft():
                    self._variables.left(frozenset(notice.slots))
                case notices.InboxGrew() | notices.RunResumed():
                    self._tell(notice.run_id, Wake())
                case notices.RunOpened() | notices.RunArrived():
                    self._open(notice.run_id)
                case notices.RunLeft():
                    self._leave(notice.run_id)
                case notices.RunClosed():
                    self._close(notice)
                case notices.OwnerChanged():
                    self._owner_changed(notice)
                case notices.RunParked():
                    self._tell(notice.run_id, Wake())
                    self._observer(
                        RunParked(notice.run_id, self._workflow_of(notice.run_id), notice.reason)
                    )
                case notices.OperationRefused():
                    self._tell(RunId(notice.run_id), notice)
                case notices.NodeAnnounced() | notices.MoveWentOn():
                    pass
                case _:
                    assert_never(notice)

    def repair(self) -> None:
        """Another leader is known: what was proposed to the last one counts as lost."""
        if self._group.leader:
            self._propose_again(Wake(lost_after_seconds=0))

    def tick(self) -> None:
        """Wake some of those who sleep; and once in a while look for lost proposals: nothing else
        would wake those who wait for them.
        """
        for run_id in list(islice(self._asleep, INSTANCES_WOKEN_PER_TICK)):
            self._wake(run_id)
        self._ticks += 1
        if self._ticks * TICK_SECONDS >= RESEND_SECONDS:
            self._ticks = 0
            self._propose_again(Wake())

    def _propose_again(self, wake: Wake) -> None:
        for actor in self._actors.values():
            if actor.awaits_commit:
                actor.tell(wake)
        for run_id in filter(self._is_to_park, self._given_up):
            epoch, reason = self._group.machine.runs[run_id].epoch, self._given_up[run_id]
            self._group.propose(encode(ParkRun(run_id, epoch, reason)))

    @property
    def is_busy(self) -> bool:
        """Whether ticks have something to do here: sleepers to wake, or proposals that may have to
        be made again.
        """
        if self._asleep or any(map(self._is_to_park, self._given_up)):
            return True
        return any(actor.awaits_commit for actor in self._actors.values())

    def _is_to_park(self, run_id: RunId) -> bool:
        run = self._group.machine.runs[run_id]
        return run.owner == self._node and run.status is not RunStatus.PARKED

    def diverged(self, run_id: RunId) -> str:
        """Why this node cannot follow the run: how its code disagrees with the history, or what
        crashed; empty if it can, or has not tried yet.
        """
        actor = self._actors.get(run_id)
        return actor.diverged if actor is not None else self._given_up.get(run_id, "")

    async def query(self, run_id: RunId, name: str, arguments: bytes) -> bytes:
        """Ask the interpreter of an open run on this node.

        Raises:
            NotFound: the run is not open here; and whatever the query itself raises.
            Unavailable: its actor has crashed and is about to be started again.
        """
        return await self.ask(run_id, name, arguments).wait()

    def ask(self, run_id: RunId, name: str, arguments: bytes) -> Promise[bytes]:
        """``query`` without waiting."""
        self._wake(run_id)
        actor, run = self._actors.get(run_id), self._group.machine.runs.get(run_id)
        if run is None:
            raise NotFound(f"run {run_id} is not open on node {self._node}")
        if actor is None:
            raise Unavailable(f"run {run_id} is about to be started again on node {self._node}")
        promise: Promise[bytes] = Promise()
        actor.tell(QueryAsked(name, arguments, run.inbox_last, promise))
        return promise

    async def wait_closed(self, run_id: RunId, wait_seconds: float) -> None:
        """Return when the run is closed on this node, or after ``wait_seconds``."""
        if run_id not in self._group.machine.runs:
            return
        promise: Promise[None] = Promise()
        waiters = self._closing.setdefault(run_id, [])
        waiters.append(promise)
        try:
            with trio.move_on_after(wait_seconds):
                await promise.wait()
        finally:
            if not promise.done:
                waiters.remove(promise)

    def _workflow_of(self, run_id: RunId) -> str:
        run = self._group.machine.find("", run_id)
        return run.workflow_id if run is not None else ""

    def _tell(
        self,
        run_id: RunId,
        message: InstanceMessage,
    ) -> None:
        if run_id in self._asleep and self._has_work(run_id):
            self._wake(run_id)
        actor = self._actors.get(run_id)
        if actor is not None:
            actor.tell(message)

    def _has_work(self, run_id: RunId) -> bool:
        """Whether the run, as far as one can see without its code, has something to do here."""
        run = self._group.machine.runs.get(run_id)
        if run is None or run.owner != self._node:
            return False
        return bool(run.inbox) or any(s.state is StepState.RUNNING for s in run.steps.values())

    def _lay_down(self, run_ids: Iterable[RunId]) -> None:
        """Take up runs that were found open."""
        for run_id in sorted(run_ids):
            if self._has_work(run_id):
                self._open(run_id)
            else:
                self._asleep[run_id] = None

    def _wake(self, run_id: RunId) -> None:
        """Start the actor of a run that sleeps: it goes through the past, and finds all that is to
        be done by itself.
        """
        if run_id in self._asleep:
            del self._asleep[run_id]
            self._open(run_id)

    def _open(self, run_id: RunId) -> None:
        if run_id in self._group.machine.runs:  # else it was closed by the same log entry
            actor = self._admit(run_id)
            self._tasks.start_soon(self._attend, actor, name=actor.name)

    def _leave(self, run_id: RunId) -> None:
        """The run is not open here any more: its actor ends, and nobody waits here for its end."""
        actor = self._actors.pop(run_id, None)
        if actor is not None:
            actor.leave()
        self._asleep.pop(run_id, None)
        self._given_up.pop(run_id, None)
        for promise in self._closing.pop(run_id, ()):
            promise.set(None)

    def _close(self, notice: notices.RunClosed) -> None:
        self._leave(notice.run_id)
        workflow_id = self._workflow_of(notice.run_id)
        self._observer(RunEnded(notice.run_id, workflow_id, notice.status.value))

    def _owner_changed(self, notice: notices.OwnerChanged) -> None:
        run_id = notice.run_id
        if notice.owner == self._node and self._given_up.pop(run_id, ""):
            self._open(run_id)
        self._tell(run_id, notice)
        workflow_id = self._workflow_of(run_id)
        self._observer(OwnerChanged(run_id, workflow_id, notice.owner, notice.epoch))

    # -- supervision ------------------------------------------------------------------------------

    def _admit(self, run_id: RunId) -> InstanceActor:
        actor = self._actors[run_id] = self._make(run_id)
        return actor

    async def _attend(self, actor: InstanceActor) -> None:
        """Run the actor, from its first crash on under a supervisor. Most never crash, and from the
        start a supervisor would cost each run 10 KB and 0.3 ms, several times its actor.
        """
        try:
            await self._live(actor)
        except Exception as crash:
            if _is_broken_invariant(crash):
                raise
            self._observer(ActorFailed(actor.name, repr(crash)))
            await self._supervise(actor.run_id)

    async def _supervise(self, run_id: RunId) -> None:
        async def live() -> None:
            if run_id in self._group.machine.runs:  # else it was closed while nobody was there
                await self._live(self._admit(run_id))

        name = f"run {run_id}"
        try:
            async with Supervisor(
                name,
                restarts_max=INSTANCE_RESTARTS_MAX,
                within_seconds=INSTANCE_RESTARTS_SECONDS,
                backoff_initial_seconds=INSTANCE_BACKOFF_SECONDS,
                on_event=self._note_crash,
            ) as supervisor:
                supervisor.start_child(ChildSpec(name, live, Restart.TRANSIENT))
        except SupervisorGaveUp as verdict:
            if run_id in self._group.machine.runs:
                reason = f"crashed on node {self._node}: {verdict.__cause__!r}"
                self._given_up[run_id] = shortened(reason, TEXT_BYTES_MAX)

    def _note_crash(self, event: SupervisorEvent) -> None:
        if isinstance(event, ChildEnded) and event.error is not None:
            self._observer(ActorFailed(event.child, repr(event.error)))

    async def _live(self, actor: InstanceActor) -> None:
        try:
            await actor.run()
        finally:
            if self._actors.get(actor.run_id) is actor:  # nobody is to write to the dead
                del self._actors[actor.run_id]


def _is_broken_invariant(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(map(_is_broken_invariant, error.exceptions))
    return isinstance(error, AssertionError)
