"""Runs one async test against a cluster in a made-up world."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

import trio
from attrs import evolve

from flowactor.limits import NANOSECONDS
from flowactor.simulation.checks.judge import Judge
from flowactor.simulation.failure import CheckFailed, Deadlocked
from flowactor.simulation.faults import Fault
from flowactor.simulation.healing import come_to_rest
from flowactor.simulation.marks import Marks
from flowactor.simulation.nodes import Clients, Cluster
from flowactor.simulation.outcome import Failure
from flowactor.simulation.runtime import Runtime, collected_at_its_end, simulate
from flowactor.simulation.runtime.watchdog import task_tree
from flowactor.simulation.scenario import Invariant, check_invariants, judge_world
from flowactor.simulation.timeline import Timeline, render_text
from flowactor.simulation.trace import Kind, Trace
from flowactor.simulation.world import Effect, Ledger, World
from flowactor.testing.calendar import Calendar
from flowactor.testing.simulated import SimulatedCluster
from flowactor.testing.tracing import unexplained
from flowactor.workflow import App

__all__ = ["LIMIT_SECONDS", "SETTLE_SECONDS", "simulate_test"]

T = TypeVar("T")

SETTLE_SECONDS: Final = 60.0
"""Of virtual time for everything to come to its end, once a test has."""
LIMIT_SECONDS: Final = 600.0
"""Of virtual time that passed second by second: what waits for ever ends some time."""
TAIL_ROWS: Final = 40
"""Of the timeline, under a failure."""


def simulate_test(
    body: Callable[[SimulatedCluster], Awaitable[T]],
    *,
    app: App,
    nodes: int = 3,
    seed: int = 0,
    sockets: bool = False,
    settle_seconds: float = SETTLE_SECONDS,
    limit_seconds: float = LIMIT_SECONDS,
    invariants: Sequence[Invariant] = (),
) -> T:
    """``await body(cluster)`` in a simulation, and return what it returns.

    The body begins when all nodes serve and have a leader. What flowactor promises is checked all
    the time. When the body is done everything that it broke is mended, and then all must come to an
    end: nodes agree, requests are answered, no run is stuck in what it could go on with. What fails
    carries, as a note, the seed and the end of the timeline.

    Args:
        body: the test. Inside it there is no real time, no chance, no file and no socket.
        app: the code that every node has.
        nodes: how many.
        seed: decides all delays and orders. The same seed is the same run, as long as the code is.
        sockets: WebSockets in all their bytes between nodes; without, whole frames, for speed.
        settle_seconds: of virtual time for everything to come to its end; 0: nothing is awaited.
        limit_seconds: of virtual time for the body, without what was left out of it by leaps.
        invariants: called with the world at the very end; raise what is wrong.

    Raises:
        ConfigurationError: an invariant is async, or takes something else than the world.
        CheckFailed: a promise was broken.
        SimulationEscape: code in the simulation reached for the real world; names its line.
        Deadlocked: the body is not done at its limit, or nothing can happen any more; shows tasks.
        RuntimeError: called inside another simulation.
    """
    check_invariants(invariants)
    with collected_at_its_end():
        return _Run(
            body,
            app=app,
            nodes=nodes,
            seed=seed,
            sockets=sockets,
            settle_seconds=settle_seconds,
            limit_seconds=limit_seconds,
            invariants=tuple(invariants),
        ).play()


class _Run(Generic[T]):
    """One run, from its first task to what it came to."""

    def __init__(
        self,
        body: Callable[[SimulatedCluster], Awaitable[T]],
        *,
        app: App,
        nodes: int,
        seed: int,
        sockets: bool,
        settle_seconds: float,
        limit_seconds: float,
        invariants: tuple[Invariant, ...],
    ) -> None:
        self._body: Final = body
        self._app: Final = app
        self._nodes: Final = nodes
        self._seed: Final = seed
        self._sockets: Final = sockets
        self._settle_seconds: Final = settle_seconds
        self._limit_seconds: Final = limit_seconds
        self._invariants: Final = invariants
        self._trace: Final = Trace(keep=True)
        self._returned: Final[list[T]] = []
        self._raised: BaseException | None = None
        self._now_ns: Callable[[], int] = lambda: 0
        self._befell: Sequence[Fault] = ()
        self._is_done = False

    def play(self) -> T:
        """All of it; returns what the body returned."""
        try:
            with unexplained():
                simulate(self._main, seed=self._seed)
            return self._result()
        except BaseException as error:
            self._explain(error)
            raise

    async def _main(self, runtime: Runtime) -> None:
        """The first task."""
        calendar = Calendar(runtime.time)
        self._now_ns = lambda: calendar.now_ns
        world = World(lambda *told: self._effect(calendar, judge, *told))
        judge = Judge(
            self._app,
            self._nodes,
            calendar,
            self._trace,
            Marks(),
            lambda *_: None,
            looks=runtime.time,
        )
        async with trio.open_nursery() as nursery:
            cluster = Cluster(
                runtime,
                self._app,
                self._nodes,
                judge,
                world,
                sockets=self._sockets,
                nursery=nursery,
            )
            handle = SimulatedCluster(
                runtime, nursery, cluster, world, judge, calendar, sockets=self._sockets
            )
            self._befell = handle.befell
            try:
                self._returned.append(await self._play(runtime, handle, judge))
                if self._settle_seconds:
                    await self._settle(runtime, nursery, cluster, handle, judge)
                judge_world(self._invariants, world)
            except trio.Cancelled:
                raise
            except BaseException as error:  # noqa: BLE001  # raised as it is, outside of all groups
                self._raised = error
            handle.close()
            nursery.cancel_scope.cancel()

    async def _play(self, runtime: Runtime, handle: SimulatedCluster, judge: Judge) -> T:
        judge.write(0, Kind.PHASE, "test")
        runtime.time.at(_ns(self._limit_seconds), lambda: self._give_up(runtime))
        await handle.begin()
        try:
            return await self._body(handle)
        finally:
            self._is_done = True

    def _give_up(self, runtime: Runtime) -> None:
        if not self._is_done:
            message = (
                f"the test has not ended after {self._limit_seconds:g} s of virtual time"
                " (only cluster.sleep leaves time out)"
            )
            runtime.fail(Deadlocked(f"{message}\n{task_tree()}"))

    async def _settle(
        self,
        runtime: Runtime,
        nursery: trio.Nursery,
        cluster: Cluster,
        handle: SimulatedCluster,
        judge: Judge,
    ) -> None:
        judge.write(0, Kind.PHASE, "healing")
        handle.mend()
        clients = Clients(
            runtime,
            nursery,
            cluster.network,
            cluster.addresses,
            judge,
            sockets=self._sockets,
            patience_seconds=self._settle_seconds,
        )
        healing = await come_to_rest(
            cluster,
            clients,
            judge,
            runtime.time,
            patience_seconds=self._settle_seconds,
            horizon_seconds=0.0,  # a test that leaves a run asleep does so on purpose
        )
        healing.tell(handle.world, self._app)
        judge.write(0, Kind.PHASE, "done")

    def _effect(
        self, calendar: Calendar, judge: Judge, ledger: Ledger, effect: Effect, number: int
    ) -> None:
        """An entry is dated by the calendar of the test."""
        ledger.entries[-1] = evolve(effect, at_ns=calendar.now_ns)
        judge.write(effect.node, Kind.EFFECT, ledger.name, effect.key, number)

    # -- what it came to ---------------------------------------------------------------------------

    def _result(self) -> T:
        """What the body returned, or what it raised."""
        if self._raised is not None:
            raise self._raised
        return self._returned[0]

    def _explain(self, error: BaseException) -> None:
        """Add to what was raised which run it was, and the end of what happened in it."""
        self._trace.finish()
        checker = error.checker if isinstance(error, CheckFailed) else type(error).__name__
        message = str(error).partition("\n")[0].removeprefix(f"{checker}: ")
        timeline = Timeline.of(
            self._trace.lines,
            nodes=self._nodes,
            title="the end of what happened",
            faults=self._befell,
            failure=Failure(checker, message, self._now_ns() / NANOSECONDS),
        )
        plural = "s" * (self._nodes > 1)
        error.add_note(f"simulated with seed {self._seed} on {self._nodes} node{plural}")
        error.add_note(render_text(timeline, rows=TAIL_ROWS))


def _ns(seconds: float) -> int:
    return round(seconds * NANOSECONDS)
