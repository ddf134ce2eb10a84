"""All open runs on this node: starts their actors, passes on what was applied, restarts the
crashed.

An instance that crashes is flowactor's or the interpreter's trouble with this one run. It is
started afresh from the committed history, a few times; then the run is parked, where people can
see it, instead of taking other runs or the node down. A broken invariant (``AssertionError``) does
stop the
node: nothing it would say afterwards could be trusted.
"""

from collections.abc import Callable, Sequence
from typing import Final, assert_never

import trio

from flowactor.actors import Promise
from flowactor.cluster.group import GroupActor
from flowactor.cluster.instance import (
    InstanceActor,
    InstanceMessage,
    QueryAsked,
    Wake,
)
from flowactor.cluster.variables import VariableActors
from flowactor.codec.records import encode
from flowactor.codec.text import shortened
from flowactor.errors import NotFound
from flowactor.identity import NodeId, RunId
from flowactor.limits import (
    INSTANCE_BACKOFF_SECONDS,
    INSTANCE_RESTARTS_MAX,
    RESEND_SECONDS,
    TEXT_BYTES_MAX,
    TICK_SECONDS,
)
from flowactor.machine import notices
from flowactor.machine.notices import Notice
from flowactor.machine.operations import ParkRun
from flowactor.observability.events import ActorFailed, Observer, OwnerChanged, RunEnded, RunParked

__all__ = ["Instances"]


class Instances:
    """The runs of one group on this node.

    Args:
        nursery: where their tasks live.
        group: whose runs they are.
        make: builds the actor of a run that is open in the group's machine.
        variables: told of changes of stand-alone variables.
        observer: told what happens to runs.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        node: NodeId,
        group: GroupActor,
        make: Callable[[RunId], InstanceActor],
        variables: VariableActors,
        observer: Observer,
    ) -> None:
        self._nursery: Final = nursery
        self._node: Final = node
        self._group: Final = group
        self._make: Final = make
        self._variables: Final = variables
        self._observer: Final = observer
        self._actors: Final[dict[RunId, InstanceActor]] = {}
        self._ticks = 0
        self._closing: Final[dict[RunId, list[Promise[None]]]] = {}

    def __len__(self) -> int:
        return len(self._actors)

    def open_all(self) -> None:
        """Start the actors of all runs found open by scanning the state (after a restart)."""
        for run_id in sorted(self._group.machine.runs):
            self._open(run_id)

    def notify(self, applied: Sequence[Notice]) -> None:
        """Pass on what applying a log entry changed."""
        for notice in applied:
            match notice:
                case notices.Advanced() | notices.StepsDue():
                    self._tell(notice.run_id, notice)
                case notices.VariableChanged():
                    self._variables.changed(notice.name)
                case notices.InboxGrew() | notices.RunResumed():
                    self._tell(notice.run_id, Wake())
                case notices.RunOpened():
                    self._open(notice.run_id)
                case notices.RunClosed():
                    self._close(notice)
                case notices.OwnerChanged():
                    self._tell(notice.run_id, notice)
                    workflow_id = self._workflow_of(notice.run_id)
                    self._observer(
                        OwnerChanged(notice.run_id, workflow_id, notice.owner, notice.epoch)
                    )
                case notices.RunParked():
                    self._tell(notice.run_id, Wake())
                    self._observer(
                        RunParked(notice.run_id, self._workflow_of(notice.run_id), notice.reason)
                    )
                case notices.OperationRefused():
                    self._tell(RunId(notice.run_id), notice)
                case notices.NodeAnnounced():
                    pass
                case _:
                    assert_never(notice)

    def repair(self) -> None:
        """Another leader is known: what was proposed to the last one counts as lost."""
        if self._group.leader:
            self._wake_waiting(Wake(lost_after_seconds=0))

    def tick(self) -> None:
        """Once in a while look for lost proposals: nothing else would wake those who wait for
        them.
        """
        self._ticks += 1
        if self._ticks * TICK_SECONDS >= RESEND_SECONDS:
            self._ticks = 0
            self._wake_waiting(Wake())

    def _wake_waiting(self, wake: Wake) -> None:
        for actor in self._actors.values():
            if actor.awaits_commit:
                actor.tell(wake)

    def diverged(self, run_id: RunId) -> str:
        """How this node's code disagrees with the run's history; empty if it does not."""
        actor = self._actors.get(run_id)
        return actor.diverged if actor is not None else ""

    async def query(self, run_id: RunId, name: str, arguments: bytes) -> bytes:
        """Ask the interpreter of an open run on this node.

        Raises:
            NotFound: the run is not open here; and whatever the query itself raises.
        """
        actor, run = self._actors.get(run_id), self._group.machine.runs.get(run_id)
        if actor is None or run is None:
            raise NotFound(f"run {run_id} is not open on node {self._node}")
        promise: Promise[bytes] = Promise()
        actor.tell(QueryAsked(name, arguments, run.inbox_last, promise))
        return await promise.wait()

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
        actor = self._actors.get(run_id)
        if actor is not None:
            actor.tell(message)

    def _open(self, run_id: RunId) -> None:
        if run_id not in self._group.machine.runs:
            return  # it was closed by the same log entry
        actor = self._actors[run_id] = self._make(run_id)
        self._nursery.start_soon(self._attend, actor, name=actor.name)

    def _close(self, notice: notices.RunClosed) -> None:
        self._tell(notice.run_id, Wake())
        self._actors.pop(notice.run_id, None)
        for promise in self._closing.pop(notice.run_id, ()):
            promise.set(None)
        workflow_id = self._workflow_of(notice.run_id)
        self._observer(RunEnded(notice.run_id, workflow_id, notice.status.value))

    async def _attend(self, actor: InstanceActor) -> None:
        """Run the actor; after a crash, a fresh one of the same run."""
        reason = ""
        for crashes in range(1, INSTANCE_RESTARTS_MAX + 2):
            try:
                await actor.run()
            except Exception as error:  # judged below
                if _is_broken_invariant(error):
                    raise
                self._observer(ActorFailed(actor.name, repr(error)))
                reason = shortened(f"crashed on node {self._node}: {error!r}", TEXT_BYTES_MAX)
            else:
                return
            await trio.sleep(INSTANCE_BACKOFF_SECONDS * crashes)
            if actor.run_id not in self._group.machine.runs:
                return
            if crashes <= INSTANCE_RESTARTS_MAX:
                actor = self._actors[actor.run_id] = self._make(actor.run_id)
        self._actors.pop(actor.run_id, None)
        run = self._group.machine.runs.get(actor.run_id)
        if run is not None and run.owner == self._node:
            self._group.propose(encode(ParkRun(actor.run_id, run.epoch, reason)))


def _is_broken_invariant(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(map(_is_broken_invariant, error.exceptions))
    return isinstance(error, AssertionError)
