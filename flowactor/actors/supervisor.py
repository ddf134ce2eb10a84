"""Restarting children that crash, up to a limit; beyond it, the trouble is the parent's.

A supervisor is one nursery and one *manager* task that takes every decision. Children never restart
themselves: their end is a message to the manager, so that ends are judged one after another, and
children always start in the order in which they were asked for (Trio alone would shuffle them).

Escalation is an exception that leaves the ``async with`` block. If that block is itself the body of
a child, the supervisor above sees a crash of that child: supervisors nest without knowing it.
"""

import enum
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self, assert_never

import attrs
import trio

from flowactor.actors.mailbox import Mailbox, Overflow
from flowactor.actors.promise import Promise
from flowactor.errors import WorldError
from flowactor.limits import MAILBOX_MESSAGES_MAX

__all__ = [
    "ChildEnded",
    "ChildRestarting",
    "ChildSpec",
    "ChildStarted",
    "GaveUp",
    "Restart",
    "Strategy",
    "Supervisor",
    "SupervisorEvent",
    "SupervisorGaveUp",
    "SupervisorStatistics",
]


class Restart(enum.Enum):
    """Which ends of a child are followed by a new start."""

    PERMANENT = "permanent"
    """Every end, also a plain return."""
    TRANSIENT = "transient"
    """A crash; a plain return is its proper end."""
    TEMPORARY = "temporary"
    """None: a crash is reported and that is all."""


class Strategy(enum.Enum):
    """Whom a crash concerns."""

    ONE_FOR_ONE = "one_for_one"
    """The child that crashed."""
    ONE_FOR_ALL = "one_for_all"
    """All children: they are stopped, the youngest first, then started again, the eldest first."""


class SupervisorGaveUp(WorldError):  # as all of the tree in errors.py
    """Children crashed more often than the limit allows; the last error is the cause."""


@attrs.frozen
class ChildSpec:
    """What to run, and what its end means. ``factory`` is called anew for every start."""

    name: str
    factory: Callable[[], Awaitable[None]]
    restart: Restart = Restart.PERMANENT


@attrs.frozen
class ChildStarted:
    """The child's code is about to run; ``starts`` counts from 1."""

    child: str
    starts: int


@attrs.frozen
class ChildEnded:
    """The child has stopped: by returning (no error), by a crash, or because it was told to."""

    child: str
    error: Exception | None
    stopped: bool


@attrs.frozen
class ChildRestarting:
    """A new start follows after this delay."""

    child: str
    delay_seconds: float


@attrs.frozen
class GaveUp:
    """The supervisor stops everything and raises."""

    child: str
    error: Exception | None
    reason: str


SupervisorEvent = ChildStarted | ChildEnded | ChildRestarting | GaveUp


@attrs.frozen
class SupervisorStatistics:
    """``restarts_recent`` counts those within the window of the limit, ``restarts`` all."""

    children: tuple[str, ...]
    starts: int
    restarts: int
    restarts_recent: int


@attrs.define(eq=False)
class _Run:
    """One life of a child."""

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    begun: Promise[None] = attrs.field(factory=Promise)
    ended: Promise[Exception | None] = attrs.field(factory=Promise)


@attrs.define(eq=False)
class _Child:
    spec: ChildSpec
    run: _Run | None = None
    starts: int = 0
    leaving: bool = False
    """Told to stop for good."""
    gone: Promise[None] = attrs.field(factory=Promise)


@attrs.frozen
class _Start:
    child: _Child


@attrs.frozen
class _Ended:
    child: _Child
    run: _Run


@attrs.frozen
class _BodyLeft:
    pass


_Order = _Start | _Ended | _BodyLeft


class Supervisor:
    """An async context manager around one nursery of supervised children.

    Leaving the block waits, as a nursery does, until all children have ended; ``stop`` ends them.

    Args:
        name: shown in task names (``name/child``) and errors.
        strategy: whom a crash concerns.
        restarts_max: more restarts than this within ``within_seconds``, of all children together,
            and the supervisor gives up.
        within_seconds: the window of that limit.
        backoff_initial_seconds: the delay before the first restart of a window; doubles each time.
        backoff_max_seconds: the longest delay.
        on_event: told of everything that happens, synchronously; must not raise.

    Raises (out of the block):
        SupervisorGaveUp: the limit was exceeded.
        AssertionError: a child found a broken invariant; a restart would only hide it. (The child's
            exception leaves as it is: also a group that has an ``AssertionError`` inside.)
    """

    def __init__(
        self,
        name: str,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        *,
        restarts_max: int = 3,
        within_seconds: float = 5.0,
        backoff_initial_seconds: float = 0.1,
        backoff_max_seconds: float = 5.0,
        on_event: Callable[[SupervisorEvent], None] = lambda _: None,
    ) -> None:
        assert restarts_max >= 0
        assert within_seconds > 0
        assert 0 <= backoff_initial_seconds <= backoff_max_seconds
        self.name: Final = name
        self._strategy: Final = strategy
        self._restarts_max: Final = restarts_max
        self._within_seconds: Final = within_seconds
        self._backoff_initial_seconds: Final = backoff_initial_seconds
        self._backoff_max_seconds: Final = backoff_max_seconds
        self._on_event: Final = on_event
        # A child has at most two orders under way: only a runaway number of children fills it.
        self._orders: Final[Mailbox[_Order]] = Mailbox(
            f"{name}/manager", MAILBOX_MESSAGES_MAX, Overflow.REFUSE
        )
        self._children: Final[dict[str, _Child]] = {}
        self._restart_times: Final[deque[float]] = deque()
        self._starts = self._restarts = 0
        self._body_left = False
        self._verdict: Exception | None = None
        self._nursery_manager: Final = trio.open_nursery()
        self._nursery: trio.Nursery | None = None

    async def __aenter__(self) -> Self:
        self._nursery = await self._nursery_manager.__aenter__()
        self._nursery.start_soon(self._manage, name=f"{self.name}/manager")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if not self._orders.closed:
            self._orders.put_nowait(_BodyLeft())
        try:
            return await self._nursery_manager.__aexit__(kind, error, traceback)
        except BaseExceptionGroup as group:
            verdict = self._verdict
            if verdict is None or not _leaves(group) <= _leaves(verdict):
                raise
            # The verdict alone says everything; the group is only how it travelled. (Leaves are
            # compared because Trio rebuilds groups when it takes cancellations out of them.)
            raise verdict from verdict.__cause__
        finally:
            self._orders.close()

    def start_child(self, spec: ChildSpec) -> None:
        """Run a child. Children start one after another, in the order of these calls; each has
        reached its first checkpoint before the next begins.

        Raises:
            MailboxClosed: the supervisor has stopped.
        """
        assert self._nursery is not None, f"supervisor {self.name} is not entered"
        assert spec.name not in self._children, f"{self.name} has a child {spec.name} already"
        child = _Child(spec)
        self._orders.put_nowait(_Start(child))
        self._children[spec.name] = child

    async def stop_child(self, name: str) -> None:
        """Cancel a child and wait until it has ended. No child of that name: nothing to do."""
        child = self._children.get(name)
        if child is None:
            await trio.lowlevel.checkpoint()
            return
        child.leaving = True
        if child.run is None:
            self._remove(child)
        else:
            child.run.scope.cancel()
        await child.gone.wait()

    def stop(self) -> None:
        """Cancel all children, and the body of the block if it is still inside."""
        assert self._nursery is not None, f"supervisor {self.name} is not entered"
        self._nursery.cancel_scope.cancel()

    def statistics(self) -> SupervisorStatistics:
        """Who is there, and how often restarts were needed."""
        self._forget_old_restarts()
        return SupervisorStatistics(
            children=tuple(self._children),
            starts=self._starts,
            restarts=self._restarts,
            restarts_recent=len(self._restart_times),
        )

    async def _manage(self) -> None:
        """Carry out orders, one after another, until the body has left and no child is there."""
        while not (self._body_left and not self._children):
            for order in await self._orders.drain():
                match order:
                    case _Start(child):
                        if child.starts == 0 and not child.leaving:
                            await self._begin(child, 0.0)
                    case _Ended(child, run):
                        if child.run is run:
                            await self._judge(child, run)
                    case _BodyLeft():
                        self._body_left = True
                    case _:
                        assert_never(order)

    async def _begin(self, child: _Child, delay_seconds: float) -> None:
        """Give a child a life; without a delay, wait until its first checkpoint."""
        assert self._nursery is not None
        assert child.run is None
        child.starts += 1
        self._starts += 1
        run = child.run = _Run()
        name = f"{self.name}/{child.spec.name}"
        self._nursery.start_soon(self._live, child, run, delay_seconds, name=name)
        if delay_seconds == 0:
            await run.begun.wait()

    async def _live(self, child: _Child, run: _Run, delay_seconds: float) -> None:
        """The task of a child."""
        error: Exception | None = None
        try:
            with run.scope:
                if delay_seconds > 0:
                    await trio.sleep(delay_seconds)
                self._on_event(ChildStarted(child.spec.name, child.starts))
                run.begun.set(None)
                await child.spec.factory()
        except Exception as caught:  # noqa: BLE001  # to tell crashes from each other is _judge's work
            error = caught
        run.ended.set(error)
        self._orders.put_nowait(_Ended(child, run))

    async def _judge(self, child: _Child, run: _Run) -> None:
        """Decide what follows from the end of a child."""
        error = self._bury(child, run)
        restart = child.spec.restart
        wanted = restart is Restart.PERMANENT or (
            restart is Restart.TRANSIENT and error is not None
        )
        if child.leaving or not wanted:
            self._remove(child)
            return
        delay_seconds = self._count_restart(child, error)
        self._on_event(ChildRestarting(child.spec.name, delay_seconds))
        match self._strategy:
            case Strategy.ONE_FOR_ONE:
                await self._begin(child, delay_seconds)
            case Strategy.ONE_FOR_ALL:
                await self._begin_all(delay_seconds)
            case _:
                assert_never(self._strategy)

    async def _begin_all(self, delay_seconds: float) -> None:
        """Stop who still runs, the youngest first; then start all, the eldest first."""
        for child in reversed(tuple(self._children.values())):
            if (run := child.run) is not None:
                run.scope.cancel()
                await run.ended.wait()
                self._bury(child, run)
                if child.leaving or child.spec.restart is Restart.TEMPORARY:
                    self._remove(child)
        await trio.sleep(delay_seconds)
        for child in tuple(self._children.values()):
            if not child.leaving:
                await self._begin(child, 0.0)

    def _bury(self, child: _Child, run: _Run) -> Exception | None:
        """Note that a life has ended, and how. A broken invariant goes no further than here."""
        error = run.ended.result()
        child.run = None
        self._on_event(ChildEnded(child.spec.name, error, stopped=run.scope.cancelled_caught))
        if error is not None and _is_broken_invariant(error):
            self._on_event(GaveUp(child.spec.name, error, "a broken invariant"))
            self._verdict = error
            raise error
        return error

    def _count_restart(self, child: _Child, error: Exception | None) -> float:
        """The delay before this restart, in seconds.

        Raises:
            SupervisorGaveUp: it would be one too many.
        """
        self._forget_old_restarts()
        recent = len(self._restart_times)
        if recent >= self._restarts_max:
            end = "returned" if error is None else f"crashed with {error!r}"
            reason = (
                f"{self.name} gave up: {child.spec.name} {end} after {recent} restarts "
                f"within {self._within_seconds:g} s, the limit is {self._restarts_max}"
            )
            self._on_event(GaveUp(child.spec.name, error, reason))
            self._verdict = SupervisorGaveUp(reason)
            raise self._verdict from error
        self._restart_times.append(trio.current_time())
        self._restarts += 1
        return min(self._backoff_initial_seconds * 2.0**recent, self._backoff_max_seconds)

    def _forget_old_restarts(self) -> None:
        times = self._restart_times
        while times and times[0] <= trio.current_time() - self._within_seconds:
            times.popleft()

    def _remove(self, child: _Child) -> None:
        if self._children.get(child.spec.name) is child:
            del self._children[child.spec.name]
        child.gone.set(None)


def _is_broken_invariant(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_is_broken_invariant(part) for part in error.exceptions)
    return isinstance(error, AssertionError)


def _leaves(error: BaseException) -> frozenset[int]:
    """The identities of the exceptions in a group, or of the only one."""
    if isinstance(error, BaseExceptionGroup):
        return frozenset().union(*map(_leaves, error.exceptions))
    return frozenset((id(error),))
