"""One run at core depth, from its scenario to its outcome."""

from typing import Final

import trio

from flowactor.identity import RunId
from flowactor.limits import NANOSECONDS
from flowactor.simulation.checks.judge import Judge
from flowactor.simulation.core.clients import CoreClient, CoreClients
from flowactor.simulation.core.cluster import CoreCluster
from flowactor.simulation.core.heap import Heap
from flowactor.simulation.core.life import Bodies, ProcessDied
from flowactor.simulation.faults import (
    ClockDrift,
    ClockJump,
    ClockOffset,
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
from flowactor.simulation.runtime import Runtime
from flowactor.simulation.scenario import Read, Scenario, Write
from flowactor.simulation.strike import Strike
from flowactor.simulation.trace import Kind, Trace
from flowactor.simulation.world import Effect, Ledger, World

__all__ = ["CoreRun"]

START_NS: Final = 100_000_000
PROBE_CLIENT: Final = 99


class CoreRun:
    """A scenario, played at core depth.

    Args:
        scenario: what to play.
        runtime: of this run.
        nursery: for the bodies of steps.
        trace: takes what happens.
        strike: one blow at one point, if any.

    Attributes:
        marks, points: as of ``Outcome``.
    """

    def __init__(
        self,
        scenario: Scenario,
        runtime: Runtime,
        nursery: trio.Nursery,
        trace: Trace,
        strike: Strike | None,
    ) -> None:
        self.marks: Final = Marks()
        self.points = 0
        self.done: Final = trio.Event()
        self._scenario: Final = scenario
        self._runtime: Final = runtime
        self._strike: Final = strike
        self._trace: Final = trace
        self._heap: Final = Heap(runtime.time, self._settle)
        self._world: Final = World(self._effect)
        self._bodies: Final = Bodies(nursery)
        self._judge: Final = Judge(
            scenario.app, scenario.nodes, self._heap, trace, self.marks, self._point
        )
        self._cluster: Final = CoreCluster(
            scenario.app,
            scenario.nodes,
            scenario.seed,
            self._heap,
            self._judge,
            self._bodies,
            self._world,
        )
        numbers = sorted({act.client for act in scenario.acts} | {PROBE_CLIENT})
        self._clients: Final = {
            number: CoreClient(
                number,
                self._cluster,
                scenario.app,
                self._heap,
                runtime.random(f"client {number}"),
                trace,
            )
            for number in numbers
        }
        self._active: Final[dict[int, Fault]] = {}
        self._faults = 0
        self._healing: Healing

    @property
    def events(self) -> int:
        """What happened: messages, requests, writes, alarms, and all that actors handled."""
        return self._heap.happened + self._cluster.handled

    def begin(self) -> None:
        """Put everything on the agenda."""
        scenario = self._scenario
        random = self._runtime.random("starts")
        for node in range(1, scenario.nodes + 1):
            # At moments of their own, or all would tick in step for ever.
            self._heap.post(int(random.random() * START_NS), self._cluster.start, node)
        for fault in scenario.faults:
            self._schedule(fault)
        for act in scenario.acts:
            client = self._clients[act.client]
            self._heap.post(_ns(act.at), client.perform, act)
        self._write(Kind.PHASE, "faults")
        self._heap.post(_ns(scenario.seconds), self._heal)
        self._settle()

    def _settle(self) -> None:
        self._cluster.settle()

    def _write(self, kind: str, *details: int | str | bytes | None) -> None:
        self._trace.add(self._heap.now_ns, 0, kind, *details)

    # -- faults -----------------------------------------------------------------------------------

    def _schedule(self, fault: Fault) -> None:
        self._faults += 1
        self._heap.post(_ns(fault.at), self._strike_now, self._faults, fault)
        ends = end_of(fault, self._scenario.seconds)
        if ends > fault.at:
            self._heap.post(_ns(ends), self._end, self._faults)

    def _strike_now(self, number: int, fault: Fault) -> None:
        self._write(Kind.FAULT, kind_of(fault), source_of(fault), 1)
        if end_of(fault, self._scenario.seconds) > fault.at:
            self._active[number] = fault
        self._cluster.begin(fault)

    def _end(self, number: int) -> None:
        fault = self._active.pop(number, None)
        if fault is not None:
            self._write(Kind.FAULT, kind_of(fault), source_of(fault), 0)
            self._cluster.end(fault)

    def _point(self, run_id: RunId, node: int) -> None:
        """A moment at which an exhaustive search could strike."""
        self.points += 1
        strike = self._strike
        if strike is None or strike.point != self.points:
            return
        owner = self._judge.runs.runs[run_id].owner or node
        now, until = (self._heap.now_ns + delay for delay in (0, _ns(strike.seconds)))
        at, end = now / NANOSECONDS, until / NANOSECONDS
        if strike.kind == "partition":
            others = tuple(n for n in self._cluster.machines if n != owner)
            fault: Fault = Partition(((owner,), others), at, end)
        else:
            fault = Crash(strike.node or owner, at, end)
        self._faults += 1
        self._strike_now(self._faults, fault)
        self._heap.post(until, self._end, self._faults)
        if self._cluster.life(node) is None:
            raise ProcessDied  # this is the code of the dead: it does not go on

    def _effect(self, ledger: Ledger, effect: Effect, number: int) -> None:
        self._trace.add(
            self._heap.now_ns, effect.node, Kind.EFFECT, ledger.name, effect.key, number
        )

    # -- healing ----------------------------------------------------------------------------------

    def _heal(self) -> None:
        self._write(Kind.PHASE, "healing")
        healed = self._scenario.core or tuple(self._cluster.machines)
        for number, fault in list(self._active.items()):
            if all(node in healed for node in nodes_of(fault)):
                self._write(Kind.FAULT, kind_of(fault), source_of(fault), 0)
                del self._active[number]
                if isinstance(fault, ClockOffset | ClockDrift | ClockJump):
                    self._cluster.end(fault)
        self._cluster.heal(healed)
        for client in self._clients.values():
            client.heal(healed)
        probe = self._clients[PROBE_CLIENT]
        at = self._scenario.seconds
        probe.perform(Write(at, "probe", 1, PROBE_CLIENT))
        probe.perform(Read(at, "probe", PROBE_CLIENT))
        clients = CoreClients(self._clients.values())
        self._healing = Healing(self._cluster, clients, self._judge, self._heap, self._scenario)
        self._heap.post(self._heap.now_ns + LOOK_NS, self._look)

    def _look(self) -> None:
        """Is everything at its end? It has to be, in bounded time."""
        if self._healing.is_over():
            self._healing.check()
            self._healing.tell(self._world, self._scenario.app)
            for invariant in self._scenario.invariants:
                invariant(self._world)
            self._write(Kind.PHASE, "done")
            self.done.set()
        else:
            self._heap.post(self._heap.now_ns + LOOK_NS, self._look)


def _ns(seconds: float) -> int:
    return round(seconds * NANOSECONDS)
