"""One run at node depth, from its scenario to its outcome."""

from functools import partial
from typing import Final

import trio

from flowactor.identity import RunId
from flowactor.limits import NANOSECONDS
from flowactor.simulation.checks.judge import Judge
from flowactor.simulation.failure import CheckFailed, Deadlocked, SimulationEscape
from flowactor.simulation.faults import (
    Crash,
    Fault,
    Partition,
    end_of,
    kind_of,
    nodes_of,
    source_of,
)
from flowactor.simulation.healing import LOOK_NS, Healing
from flowactor.simulation.marks import Marks
from flowactor.simulation.nodes.clients import Clients
from flowactor.simulation.nodes.cluster import Cluster
from flowactor.simulation.outcome import Failure, Outcome
from flowactor.simulation.runtime import Runtime, simulate
from flowactor.simulation.scenario import Scenario
from flowactor.simulation.strike import Strike
from flowactor.simulation.trace import Kind, Trace
from flowactor.simulation.world import Effect, Ledger, World

__all__ = ["simulate_nodes"]


def simulate_nodes(
    scenario: Scenario, *, keep: bool = False, strike: Strike | None = None
) -> Outcome:
    """Play ``scenario`` with whole nodes.

    Args:
        scenario: what to play.
        keep: hold the lines of the record, for a timeline.
        strike: one blow at one point of the history.

    Raises:
        RuntimeError: called inside another simulation.
    """
    trace = Trace(keep=keep)
    runs: list[_NodeRun] = []

    async def main(runtime: Runtime) -> None:
        async with trio.open_nursery() as nursery:
            run = _NodeRun(scenario, runtime, nursery, trace, strike)
            runs.append(run)
            try:
                await run.play()
            except Exception as error:
                runtime.fail(error)  # which lets those end, too, that stand still
                raise
            nursery.cancel_scope.cancel()

    found: Exception | None = None
    try:
        simulate(main, seed=scenario.seed, deviations=scenario.deviations)
    except Exception as error:
        if not runs:  # it has not even begun
            raise
        found = error
    [run] = runs
    return run.outcome(None if found is None else _only(found))


def _only(error: Exception) -> Exception:
    """What alone went wrong, not the groups that nurseries wrapped it in."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


class _NodeRun:
    def __init__(
        self,
        scenario: Scenario,
        runtime: Runtime,
        nursery: trio.Nursery,
        trace: Trace,
        strike: Strike | None,
    ) -> None:
        self._scenario: Final = scenario
        self._runtime: Final = runtime
        self._nursery: Final = nursery
        self._trace: Final = trace
        self._strike: Final = strike
        self._marks: Final = Marks()
        self._points = 0
        self._active: Final[dict[int, Fault]] = {}
        self._faults = 0
        self._healed: Final = trio.Event()
        self._world: Final = World(self._effect)
        self._judge: Final = Judge(
            scenario.app, scenario.nodes, runtime.time, trace, self._marks, self._point
        )
        self._cluster: Final = Cluster(
            runtime,
            scenario.app,
            scenario.nodes,
            self._judge,
            self._world,
            sockets=scenario.sockets,
            nursery=nursery,
        )
        self._clients: Final = Clients(
            runtime,
            self._cluster.network,
            self._cluster.addresses,
            self._judge,
            sockets=scenario.sockets,
            # So they give up half-way through the healing, and liveness sees that they did.
            patience_seconds=scenario.seconds + scenario.healing_seconds / 2,
        )

    async def play(self) -> None:
        """All phases.

        Raises:
            CheckFailed: something is not as it must be.
        """
        scenario, time = self._scenario, self._runtime.time
        self._write(Kind.PHASE, "faults")
        for number in self._cluster.machines:
            self._cluster.start(number)
        for fault in scenario.faults:
            time.at(_ns(fault.at), partial(self._begin, fault))
        self._clients.start(self._nursery, scenario.acts)
        time.at(_ns(scenario.seconds), self._heal)
        await self._healed.wait()
        healing = Healing(self._cluster, self._clients, self._judge, time, scenario)
        probed = trio.Event()
        self._clients.probe(self._nursery, probed)
        while not (probed.is_set() and healing.is_over()):
            if time.now_ns >= healing.end_ns:
                raise healing.missing() or CheckFailed("I33", "a new client is not served")
            await trio.sleep(LOOK_NS / NANOSECONDS)
        healing.check()
        healing.tell(self._world, scenario.app)
        for invariant in scenario.invariants:
            invariant(self._world)
        self._write(Kind.PHASE, "done")
        for number in self._cluster.machines:
            self._cluster.kill(number, "the run is over")

    def outcome(self, found: Exception | None) -> Outcome:
        """What came of it, once its event loop has ended with ``found``."""
        failure = None
        if found is not None:
            failure = _failure(found, self._runtime.failed_ns / NANOSECONDS)
            self._write(Kind.FAILED, failure.checker, failure.message)
        return Outcome(
            seed=self._scenario.seed,
            digest=self._trace.finish(),
            failure=failure,
            events=self._runtime.steps,
            virtual_seconds=self._runtime.time.now_ns / NANOSECONDS,
            marks=self._marks.as_dict(),
            points=self._points,
            lines=tuple(self._trace.lines),
        )

    # -- faults -----------------------------------------------------------------------------------

    def _begin(self, fault: Fault) -> None:
        self._faults += 1
        number, end = self._faults, end_of(fault, self._scenario.seconds)
        self._write(Kind.FAULT, kind_of(fault), source_of(fault), 1)
        self._cluster.begin(fault)
        if end > fault.at:
            self._active[number] = fault
            if not self._healed.is_set() or self._strike is not None:
                self._runtime.time.at(_ns(end), partial(self._end, number))

    def _end(self, number: int) -> None:
        fault = self._active.pop(number, None)
        if fault is not None:
            self._write(Kind.FAULT, kind_of(fault), source_of(fault), 0)
            self._cluster.end(fault)

    def _heal(self) -> None:
        """All faults end, but for those of nodes that stay as they are; these freeze."""
        self._write(Kind.PHASE, "healing")
        core = self._cluster.healed = self._scenario.core or self._cluster.healed
        rest = [number for number in self._cluster.machines if number not in core]
        for number, fault in list(self._active.items()):
            if any(node in core for node in nodes_of(fault)):
                self._end(number)
        for number in rest:
            self._cluster.pause(number)
        self._healed.set()

    def _point(self, run_id: RunId, node: int) -> None:
        """A moment at which an exhaustive search could strike."""
        self._points += 1
        strike = self._strike
        if strike is None or strike.point != self._points:
            return
        struck = strike.node or self._judge.runs.runs[run_id].owner or node
        at = self._runtime.time.now_ns / NANOSECONDS
        if strike.kind == "partition":
            others = tuple(number for number in self._cluster.machines if number != struck)
            self._begin(Partition(((struck,), others), at, at + strike.seconds))
        elif self._cluster.machines[struck].life is not None:
            self._begin(Crash(struck, at, at + strike.seconds))

    # -- the record -------------------------------------------------------------------------------

    def _effect(self, ledger: Ledger, effect: Effect, number: int) -> None:
        self._judge.write(effect.node, Kind.EFFECT, ledger.name, effect.key, number)

    def _write(self, kind: str, *details: int | str | bytes | None) -> None:
        self._judge.write(0, kind, *details)


def _failure(found: Exception, at_seconds: float) -> Failure:
    match found:
        case CheckFailed():
            checker = found.checker
        case Deadlocked():
            checker = "deadlock"
        case SimulationEscape():
            checker = "escape"
        case AssertionError():
            checker = "assertion"
        case _:
            checker = type(found).__name__
    message = str(found).removeprefix(f"{checker}: ")
    return Failure(checker, message, at_seconds)


def _ns(seconds: float) -> int:
    return round(seconds * NANOSECONDS)
