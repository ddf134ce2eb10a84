"""One run at core depth, from its scenario to its outcome."""

from functools import partial
from typing import Final

import trio

from flowactor.limits import NANOSECONDS
from flowactor.simulation.core.clients import CoreClient, CoreClients
from flowactor.simulation.core.cluster import CoreCluster
from flowactor.simulation.core.heap import SLOTS_NS, Heap
from flowactor.simulation.core.life import Bodies
from flowactor.simulation.healing import LOOK_NS, Healing
from flowactor.simulation.outcome import Outcome
from flowactor.simulation.runtime import Runtime
from flowactor.simulation.scenario import Read, Scenario, Write
from flowactor.simulation.stage import Stage, perform
from flowactor.simulation.strike import Strike
from flowactor.simulation.trace import Trace

__all__ = ["simulate_core"]

START_NS: Final = 100_000_000
PROBE_CLIENT: Final = 99


def simulate_core(
    scenario: Scenario, *, keep: bool = False, strike: Strike | None = None
) -> Outcome:
    """Play ``scenario`` at core depth.

    Args:
        scenario: what to play.
        keep: hold the lines of the record, for a timeline.
        strike: one blow at one point of the history.

    Raises:
        RuntimeError: called inside another simulation.
    """
    return perform(scenario, partial(_CoreRun, scenario, strike), keep=keep)


class _CoreRun:
    def __init__(
        self,
        scenario: Scenario,
        strike: Strike | None,
        runtime: Runtime,
        nursery: trio.Nursery,
        trace: Trace,
    ) -> None:
        self._scenario: Final = scenario
        self._runtime: Final = runtime
        slot_ns = runtime.random("slots").choice(SLOTS_NS)
        self._heap: Final = Heap(runtime.time, self._settle, slot_ns)
        self.stage: Final = Stage(scenario, self._heap, trace, strike)
        self._done: Final = trio.Event()
        self._cluster: Final = CoreCluster(
            scenario.app,
            scenario.nodes,
            scenario.seed,
            self._heap,
            self.stage.judge,
            Bodies(nursery),
            self.stage.world,
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
        self._healing: Healing

    @property
    def events(self) -> int:
        """What happened: messages, requests, writes, alarms, and all that actors handled."""
        return self._heap.happened + self._cluster.handled

    async def play(self) -> None:
        """Put everything on the agenda, and wait until it has come about."""
        scenario, chance = self._scenario, self._runtime.random("starts")
        for node in range(1, scenario.nodes + 1):
            # At moments of their own, or all would tick in step for ever.
            self._heap.post(int(chance.random() * START_NS), self._cluster.start, node)
        self.stage.enter(self._cluster)
        for act in scenario.acts:
            client = self._clients[act.client]
            self._heap.post(round(act.at * NANOSECONDS), client.perform, act)
        self._heap.post(round(scenario.seconds * NANOSECONDS), self._heal)
        try:
            await self._done.wait()
        finally:
            for node in self._cluster.machines:
                self._cluster.kill(node, "the run is over")

    def _settle(self) -> None:
        self._cluster.settle()

    def _heal(self) -> None:
        self.stage.heal()
        healed = self._cluster.healed
        for client in self._clients.values():
            client.heal(healed)
        probe, at = self._clients[PROBE_CLIENT], self._scenario.seconds
        probe.perform(Write(at, "probe", 1, PROBE_CLIENT))
        probe.perform(Read(at, "probe", PROBE_CLIENT))
        clients = CoreClients(self._clients.values())
        self._healing = Healing(
            self._cluster,
            clients,
            self.stage.judge,
            self._heap,
            patience_seconds=self._scenario.healing_seconds,
            horizon_seconds=self._scenario.horizon_seconds,
        )
        self._heap.post(self._heap.now_ns + LOOK_NS, self._look)

    def _look(self) -> None:
        """Is everything at its end? It has to be, in bounded time."""
        if self._healing.is_over():
            self._healing.check()
            self._healing.tell(self.stage.world, self._scenario.app)
            self.stage.leave()
            self._done.set()
        else:
            self._heap.post(self._heap.now_ns + LOOK_NS, self._look)
