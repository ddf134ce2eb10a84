"""One run at core depth, from its scenario to its outcome."""

from typing import Final

import trio

from flowactor.codec.payloads import decode_payload
from flowactor.identity import RunId
from flowactor.limits import NANOSECONDS
from flowactor.machine.replies import RunStatus
from flowactor.machine.state import RunState, StepState
from flowactor.simulation.checks.clients import (
    Held,
    check_acknowledged_everywhere,
    check_fresh_reads,
    check_no_phantoms,
    check_session_order,
    final_reads,
)
from flowactor.simulation.checks.judge import Judge
from flowactor.simulation.checks.linearizability import check_linearizable
from flowactor.simulation.core.clients import CoreClient
from flowactor.simulation.core.cluster import CoreCluster
from flowactor.simulation.core.heap import Heap
from flowactor.simulation.core.life import Bodies, Life, ProcessDied
from flowactor.simulation.failure import CheckFailed
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
from flowactor.simulation.marks import Marks
from flowactor.simulation.runtime import Runtime
from flowactor.simulation.scenario import Read, Scenario, Write
from flowactor.simulation.strike import Strike
from flowactor.simulation.trace import Kind, Trace
from flowactor.simulation.world import Effect, Ledger, World
from flowactor.workflow import decode_failure

__all__ = ["CoreRun"]

START_NS: Final = 100_000_000
LOOK_NS: Final = 200_000_000
PROBE_CLIENT: Final = 99
TERMS_WHEN_HEALED_MAX: Final = 20


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
        self._healed: tuple[int, ...] = ()
        self._terms_at_healing = 0
        self._end_ns = int((scenario.seconds + scenario.healing_seconds) * NANOSECONDS)

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
        self._healed = self._scenario.core or tuple(self._cluster.machines)
        for number, fault in list(self._active.items()):
            if all(node in self._healed for node in nodes_of(fault)):
                self._write(Kind.FAULT, kind_of(fault), source_of(fault), 0)
                del self._active[number]
                if isinstance(fault, ClockOffset | ClockDrift | ClockJump):
                    self._cluster.end(fault)
        self._cluster.heal(self._healed)
        for client in self._clients.values():
            client.heal(self._healed)
        probe = self._clients[PROBE_CLIENT]
        at = self._scenario.seconds
        probe.perform(Write(at, "probe", 1, PROBE_CLIENT))
        probe.perform(Read(at, "probe", PROBE_CLIENT))
        self._terms_at_healing = max(self._judge.consensus.leaders, default=0)
        self._heap.post(self._heap.now_ns + LOOK_NS, self._look)

    def _look(self) -> None:
        """Is everything at its end? It has to be, in bounded time."""
        missing = self._missing()
        if not missing:
            self._finish()
        elif self._heap.now_ns >= self._end_ns:
            seconds = self._scenario.healing_seconds
            raise CheckFailed("liveness", f"{seconds:g} s after all faults ended: {missing}")
        else:
            self._heap.post(self._heap.now_ns + LOOK_NS, self._look)

    def _missing(self) -> str:
        """What is still to come, in words (I32 to I36)."""
        lives, leader = self._healthy(), self._cluster.leader
        if leader is None:
            return "no node leads (I32)"
        for life in lives:
            if life.group.leader != leader.node:
                return f"node {life.node} does not follow the leader {leader.node} (I32)"
        busy = [str(number) for number, client in self._clients.items() if client.busy]
        if busy:
            return f"requests of client {', '.join(busy)} have no outcome (I33)"
        status = leader.group.progress()
        for life in lives:
            if life.group.applied != status.last_index:
                return f"node {life.node} has not applied everything (I34)"
        for run_id, run in sorted(leader.group.machine.runs.items()):
            if reason := self._unfinished(run):
                return f"run {run.workflow_id} ({run_id}) {reason} (I36)"
        return ""

    def _unfinished(self, run: RunState) -> str:
        """Why this run has more to do before it ends, or waits for something outside."""
        if run.status is RunStatus.PARKED:
            return f"is parked: {run.reason}"
        if run.inbox:
            return "has not seen all that happened to it"
        for step in run.steps.values():
            if step.state is StepState.RUNNING or self._is_soon(step.due_ns):
                return f"has not ended its step {step.command.name}"
        if any(self._is_soon(due_ns) for due_ns in run.timers.values()):
            return "waits for a timer that should have fired"
        return ""

    def _is_soon(self, due_ns: int) -> bool:
        """Whether this is due before the end of the run of the simulation."""
        clock_ns = max(life.group.clock.now_ns() for life in self._healthy())
        return due_ns - clock_ns < self._end_ns - self._heap.now_ns

    def _healthy(self) -> list[Life]:
        """The nodes that have to work: those healed, but for those that no healing brings back."""
        return [life for life in self._cluster.lives if life.node in self._healed]

    # -- the end ----------------------------------------------------------------------------------

    def _finish(self) -> None:
        lives = self._healthy()
        for life in lives:
            self._judge.runs.compare_state(life.node, life.group.applied, life.group.machine)
        terms = max(self._judge.consensus.leaders, default=0) - self._terms_at_healing
        if terms > TERMS_WHEN_HEALED_MAX:
            raise CheckFailed("I40", f"{terms} terms since all is well")
        self._check_clients(lives)
        self._tell_world(lives[0])
        for invariant in self._scenario.invariants:
            invariant(self._world)
        self._write(Kind.PHASE, "done")
        self.done.set()

    def _check_clients(self, lives: list[Life]) -> None:
        clients = self._clients.values()
        applied = self._judge.runs.replied
        acknowledged = [command for client in clients for command in client.acknowledged]
        check_acknowledged_everywhere(acknowledged, {life.node: applied for life in lives})
        for client in clients:
            for workflow_id, run_id in client.started.items():
                if run_id not in self._judge.runs.runs:
                    raise CheckFailed(
                        "I17", f"run {workflow_id} was acknowledged, and is not there"
                    )
        operations = [operation for client in clients for operation in client.operations]
        check_fresh_reads(operations)
        check_session_order(operations)
        check_no_phantoms(operations)
        keys = sorted({operation.key for operation in operations})
        replicas = {int(life.node): {key: self._held(life, key) for key in keys} for life in lives}
        check_linearizable([*operations, *final_reads(replicas, keys, self._heap.now_ns)])

    def _held(self, life: Life, name: str) -> Held:
        variable = life.group.machine.variable(name)
        value = None if variable.value is None else decode_payload(variable.value, int, name)
        return Held(value, variable.version)

    def _tell_world(self, life: Life) -> None:
        """The results of runs, for the user's own checks."""
        for run_id in self._judge.runs.runs:
            run = life.group.machine.find("", run_id)
            if run is None or run.status.is_open:
                continue
            if run.failure is not None:
                self._world.ended(run.workflow_id, decode_failure(run.failure))
            elif run.status is RunStatus.COMPLETED:
                returns = self._scenario.app.get(run.workflow_type, run.version).run.returns
                self._world.ended(
                    run.workflow_id, decode_payload(run.result or b"", returns, "result")
                )
            else:
                self._world.ended(run.workflow_id, run.status)


def _ns(seconds: float) -> int:
    return round(seconds * NANOSECONDS)
