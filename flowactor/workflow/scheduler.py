"""The deterministic scheduler: tasks in a first-in, first-out queue, driven by hand.

A task is a user coroutine. It runs until it awaits something of flowactor's, which yields a
``Wait`` up to here; anything else that comes up is refused (``foreign``). Order is fully determined
by the code and the events: no clock, no sets, no identity hashes. What the code asks for collects
in
``commands``.
"""

import contextvars
import random
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, Final, Protocol

from attrs import frozen

from flowactor.errors import ReadOnlyViolation, WorkflowMisuse
from flowactor.identity import RunId, StepKey, TimerKey
from flowactor.limits import ACTIVATION_BYTES_MAX, ACTIVATION_COMMANDS_MAX
from flowactor.machine.commands import ArmTimer, CancelTimer, Command
from flowactor.workflow import foreign, sites
from flowactor.workflow.cancellation import Cancelled, CancelStatus

__all__ = ["Parent", "Pause", "RunInfo", "Scheduler", "Task", "Wait", "suspend"]

_COMMAND_BYTES: Final = 64
"""What a command is counted as beside its payload; the exact size does not matter, only that all
nodes agree on it.
"""


@frozen
class RunInfo:
    """Which run the code is. ``started_ns`` is when it was accepted."""

    workflow_id: str
    run_id: RunId
    workflow_type: str
    version: int
    started_ns: int


class Wait:
    """Why a task does not go on; what its coroutine yields."""

    __slots__ = ()

    def abort(self) -> bool:
        """Cancellation wants the task back: undo the waiting. False if it must wait on."""
        raise NotImplementedError


class Pause(Wait):
    """The task is in the queue already: it lets others run, or the activation is full."""

    __slots__ = ()

    def abort(self) -> bool:
        return False


_PAUSE: Final = Pause()


@coroutine
def suspend(wait: Wait) -> Generator[Wait, Any, Any]:
    """Give the thread of control to the scheduler until it resumes this task."""
    return (yield wait)


class Parent(Protocol):
    """Whoever a task reports to: a nursery, or the run."""

    def child_finished(self, task: "Task", value: Any, error: BaseException | None, /) -> None: ...


class Task:
    """One coroutine of the run.

    ``path`` names it for good: the path of the task that spawned it and a count of that task's
    spawns, so it does not depend on which branch was faster.
    """

    __slots__ = (
        "context",
        "coroutine",
        "error",
        "keys",
        "parent",
        "path",
        "site",
        "spawned",
        "status",
        "value",
        "wait",
    )

    def __init__(
        self,
        body: Coroutine[Any, Any, Any],
        path: tuple[int, ...],
        parent: Parent,
        status: CancelStatus,
        context: contextvars.Context,
        site: str = "",
    ) -> None:
        self.coroutine = body
        self.path = path
        self.parent = parent
        self.status = status
        self.context = context
        self.site = site
        self.spawned = 0
        self.keys: dict[str, int] = {}
        self.wait: Wait | None = None
        self.value: Any = None
        self.error: BaseException | None = None
        status.tasks[self] = None

    def next_key(self, name: str, kind: str = "") -> StepKey:
        """(path, name, how often this task used the name before); ``kind`` keeps timers apart."""
        count = self.keys.get(kind + name, 0)
        self.keys[kind + name] = count + 1
        return (self.path, name, count)

    def enter(self, status: CancelStatus) -> None:
        """From now on ``status`` is the innermost one."""
        del self.status.tasks[self]
        self.status = status
        status.tasks[self] = None


class Scheduler:
    """All tasks of one run, and what they wait for.

    Attributes:
        now_ns: the stamp of the current activation.
        commands: what the code asked for since ``begin``.
        steps: pending steps by key, in the order they were asked for.
        variables: replicated variables by name (owned by ``variables``).
        live: this activation happens for the first time, on the owner: log lines may go out.
        disposed: the run is leaving memory; its code must not act any more.
    """

    # An idle run stays in memory on every voter, so what it holds is counted in bytes.
    __slots__ = (
        "_command_bytes",
        "_conditions",
        "_random",
        "_read_only",
        "_ready",
        "_tasks",
        "_timers",
        "commands",
        "disposed",
        "info",
        "live",
        "now_ns",
        "root",
        "steps",
        "task",
        "variables",
    )

    def __init__(self, info: RunInfo) -> None:
        self.info = info
        self.now_ns = info.started_ns
        self.commands: list[Command] = []
        self.steps: dict[StepKey, Any] = {}
        self.variables: dict[str, Any] = {}
        self._random: random.Random | None = None
        self.root = CancelStatus(None)
        self.task: Task | None = None
        self.live = False
        self.disposed = False
        self._read_only = ""
        self._command_bytes = 0
        self._ready: deque[Task] = deque()
        self._tasks: dict[Task, None] = {}
        self._timers: dict[TimerKey, Callable[[], None]] = {}
        self._conditions: dict[_ConditionWait, None] = {}

    @property
    def random(self) -> random.Random:
        """The run's generator, seeded from its id; made when first asked for, as it is large."""
        if self._random is None:
            self._random = random.Random(self.info.run_id)
        return self._random

    # -- one activation -------------------------------------------------------------------------

    def begin(self, now_ns: int) -> None:
        """Start collecting commands anew."""
        self.now_ns = now_ns
        self.commands = []
        self._command_bytes = 0

    def settle(self) -> bool:
        """Run tasks until none is ready; False if the activation is full and must be recorded
        first.
        """
        while True:
            while self._ready:
                if self.full:
                    return False
                self._resume(self._ready.popleft())
            if not self._wake_conditions():
                return True

    @property
    def full(self) -> bool:
        return (
            len(self.commands) >= ACTIVATION_COMMANDS_MAX
            or self._command_bytes >= ACTIVATION_BYTES_MAX
        )

    def emit(self, command: Command, payload_bytes: int = 0) -> None:
        self.commands.append(command)
        self._command_bytes += payload_bytes + _COMMAND_BYTES

    # -- tasks ----------------------------------------------------------------------------------

    def spawn(
        self,
        body: Coroutine[Any, Any, Any],
        path: tuple[int, ...],
        parent: Parent,
        status: CancelStatus,
        site: str = "",
    ) -> Task:
        """A new task, ready to run. Its context variables are a copy of the spawner's; those of the
        run's first tasks start empty, so that nothing of the node leaks in.
        """
        context = contextvars.copy_context() if self.task is not None else contextvars.Context()
        task = Task(body, path, parent, status, context, site)
        self._tasks[task] = None
        self._ready.append(task)
        return task

    def wake(self, task: Task, value: Any = None, error: BaseException | None = None) -> None:
        """A blocked task goes on, with a value or an exception."""
        assert task.wait is not None, "only a blocked task can be woken"
        task.wait = None
        task.value, task.error = value, error
        self._ready.append(task)

    def deliver_cancellation(self, status: CancelStatus) -> None:
        """Cancellation came into force, or a shield was lifted, at ``status``."""
        for task in status.recalculate():
            if task.wait is not None and task.wait.abort():
                self.wake(task, error=Cancelled(task.status.why()))

    def _resume(self, task: Task) -> None:
        error, value = task.error, task.value
        task.error = task.value = task.wait = None
        self.task = task
        run, body = task.context.run, task.coroutine
        try:
            wait = run(body.send, value) if error is None else run(body.throw, error)
            while not isinstance(wait, Wait):
                wait = run(body.throw, foreign.refusal(body, wait))
        except StopIteration as stop:
            self._finish(task, stop.value, None)
        except (Exception, Cancelled, BaseExceptionGroup) as raised:  # noqa: BLE001  # its parent gets it
            self._finish(task, None, foreign.translated(raised))
        else:
            task.wait = wait
        finally:
            self.task = None

    def _finish(self, task: Task, value: Any, error: BaseException | None) -> None:
        del self._tasks[task]
        del task.status.tasks[task]
        task.parent.child_finished(task, value, error)

    @property
    def places(self) -> tuple[str, ...]:
        """File and line where each task waits, in the order they were spawned."""
        return tuple(foreign.waits_at(task.coroutine) for task in self._tasks)

    # -- what awaiting code calls ---------------------------------------------------------------

    def check_writable(self, what: str) -> None:
        """Raises:
        ReadOnlyViolation: a query, or the predicate of a condition, is running.
        """
        if self._read_only:
            raise ReadOnlyViolation(
                f"{what} changes the run; {self._read_only} may only look at it"
            )

    def acting_task(self, what: str) -> Task:
        """The task that calls.

        Raises:
            ReadOnlyViolation: a query, or the predicate of a condition, calls.
            WorkflowMisuse: a handler that is no coroutine calls.
        """
        self.check_writable(what)
        if self.task is None:
            raise WorkflowMisuse(
                f"{what} needs a task: it works in run and in async signal handlers, not in "
                "__init__ or in a plain signal handler"
            )
        return self.task

    def blocking_task(self, what: str) -> Task:
        """As ``acting_task``; a checkpoint too.

        Raises:
            Cancelled: the innermost scope is cancelled.
        """
        task = self.acting_task(what)
        if task.status.cancelled:
            raise Cancelled(task.status.why())
        return task

    async def checkpoint(self) -> None:
        """Let the other ready tasks run."""
        task = self.blocking_task("checkpoint")
        self._ready.append(task)
        await suspend(_PAUSE)
        if task.status.cancelled:
            raise Cancelled(task.status.why())

    async def flush_if_full(self) -> None:
        """Where a loop without blocking may be cut, so that one activation stays bounded."""
        if self.full and self.task is not None:
            self._ready.appendleft(self.task)
            await suspend(_PAUSE)

    # -- read-only sections ---------------------------------------------------------------------

    def read_only(self, who: str, look: Callable[[], Any]) -> Any:
        """Call user code that may only look."""
        before, self._read_only = self._read_only, who
        try:
            return look()
        finally:
            self._read_only = before

    # -- timers ---------------------------------------------------------------------------------

    def arm_timer(self, name: str, due_ns: int, callback: Callable[[], None]) -> TimerKey:
        task = self.acting_task(name)
        key = task.next_key(name, "timer ")
        self._timers[key] = callback
        self.emit(ArmTimer(key, due_ns, sites.here(task.site)))
        return key

    def disarm_timer(self, key: TimerKey) -> None:
        """Cancel a timer, unless it has fired."""
        if self._timers.pop(key, None) is not None:
            fallback = self.task.site if self.task is not None else ""
            self.emit(CancelTimer(key, sites.here(fallback)))

    def fire_timer(self, key: TimerKey) -> None:
        callback = self._timers.pop(key, None)
        if callback is not None:
            callback()

    async def sleep_until_ns(self, due_ns: int) -> None:
        task = self.blocking_task("sleep")
        if due_ns <= self.now_ns:
            await self.checkpoint()
            return
        key = self.arm_timer("sleep", due_ns, lambda: self.wake(task))
        await suspend(_TimerWait(self, key))

    # -- conditions -----------------------------------------------------------------------------

    async def condition(self, predicate: Callable[[], object]) -> None:
        task = self.blocking_task("wait_condition")
        if self.read_only("a condition", predicate):
            return
        wait = _ConditionWait(self, task, predicate)
        self._conditions[wait] = None
        await suspend(wait)

    def _wake_conditions(self) -> bool:
        """Look at every condition once, in the order they were waited for."""
        for wait in list(self._conditions):
            try:
                true, error = bool(self.read_only("a condition", wait.predicate)), None
            except Exception as raised:  # noqa: BLE001  # it belongs to the task that waits
                true, error = True, raised
            if true:
                del self._conditions[wait]
                self.wake(wait.task, error=error)
        return bool(self._ready)

    # -- the end --------------------------------------------------------------------------------

    def dispose(self) -> None:
        """Close all coroutines, innermost tasks first. Their ``finally`` blocks run, but nothing of
        flowactor's works in them any more: a run out of memory goes on elsewhere.
        """
        self.disposed = True
        self._ready.clear()
        for task in reversed(self._tasks):
            try:
                task.context.run(task.coroutine.close)
            except KeyboardInterrupt:
                raise
            except BaseException:  # noqa: BLE001, S112  # clean-up code that cannot cope; nobody is left to tell
                continue
        self._tasks.clear()


class _TimerWait(Wait):
    __slots__ = ("_key", "_scheduler")

    def __init__(self, scheduler: Scheduler, key: TimerKey) -> None:
        self._scheduler = scheduler
        self._key = key

    def abort(self) -> bool:
        self._scheduler.disarm_timer(self._key)
        return True


class _ConditionWait(Wait):
    __slots__ = ("_scheduler", "predicate", "task")

    def __init__(self, scheduler: Scheduler, task: Task, predicate: Callable[[], object]) -> None:
        self._scheduler = scheduler
        self.task = task
        self.predicate = predicate

    def abort(self) -> bool:
        del self._scheduler._conditions[self]  # noqa: SLF001  # one module, one owner
        return True
