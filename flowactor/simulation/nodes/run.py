"""One run at node depth, from its scenario to its outcome."""

from functools import partial
from typing import Final

import trio

from flowactor.limits import NANOSECONDS
from flowactor.simulation.nodes.clients import Clients
from flowactor.simulation.nodes.cluster import Cluster
from flowactor.simulation.nodes.rest import come_to_rest
from flowactor.simulation.outcome import Outcome
from flowactor.simulation.runtime import Runtime
from flowactor.simulation.scenario import Scenario
from flowactor.simulation.stage import Stage, perform
from flowactor.simulation.strike import Strike
from flowactor.simulation.trace import Trace

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
    return perform(scenario, partial(_NodeRun, scenario, strike), keep=keep)


class _NodeRun:
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
        self._nursery: Final = nursery
        self._healed: Final = trio.Event()
        self.stage: Final = Stage(scenario, runtime.time, trace, strike)
        self._cluster: Final = Cluster(
            runtime,
            scenario.app,
            scenario.nodes,
            self.stage.judge,
            self.stage.world,
            sockets=scenario.sockets,
            nursery=nursery,
        )
        self._clients: Final = Clients(
            runtime,
            self._cluster.network,
            self._cluster.addresses,
            self.stage.judge,
            sockets=scenario.sockets,
            # So they give up half-way through the healing, and liveness sees that they did.
            patience_seconds=scenario.seconds + scenario.healing_seconds / 2,
        )

    @property
    def events(self) -> int:
        """Steps of tasks, and actions of the agenda."""
        return self._runtime.steps

    async def play(self) -> None:
        """All phases.

        Raises:
            CheckFailed: something is not as it must be.
        """
        scenario, time = self._scenario, self._runtime.time
        for number in self._cluster.machines:
            self._cluster.start(number)
        self.stage.enter(self._cluster)
        self._clients.start(self._nursery, scenario.acts)
        time.at(round(scenario.seconds * NANOSECONDS), self._heal)
        await self._healed.wait()
        healing = await come_to_rest(
            self._runtime,
            self._nursery,
            self._cluster,
            self._clients,
            self.stage.judge,
            patience_seconds=scenario.healing_seconds,
            horizon_seconds=scenario.horizon_seconds,
        )
        healing.tell(self.stage.world, scenario.app)
        self.stage.leave()
        for number in self._cluster.machines:
            self._cluster.kill(number, "the run is over")

    def _heal(self) -> None:
        self.stage.heal()
        self._healed.set()
