"""One run at core depth: what takes part in it."""

from functools import partial

import trio

from flowactor.errors import ConfigurationError
from flowactor.simulation.changes import Reshape
from flowactor.simulation.core.bodies import Bodies
from flowactor.simulation.core.clients import CoreClients
from flowactor.simulation.core.cluster import CoreCluster
from flowactor.simulation.core.heap import SLOTS_NS, Heap
from flowactor.simulation.housekeeping import draw_windows
from flowactor.simulation.outcome import Outcome
from flowactor.simulation.play import Play, perform
from flowactor.simulation.runtime import Runtime, stream
from flowactor.simulation.scenario import Scenario
from flowactor.simulation.stage import Stage
from flowactor.simulation.strike import Strike
from flowactor.simulation.trace import Trace

__all__ = ["simulate_core"]


def simulate_core(
    scenario: Scenario, *, keep: bool = False, strike: Strike | None = None
) -> Outcome:
    """Play ``scenario`` at core depth.

    Args:
        scenario: what to play.
        keep: hold the lines of the record, for a timeline.
        strike: one blow at one point of the history.

    Raises:
        ConfigurationError: nodes come or go.
        RuntimeError: called inside another simulation.
    """
    for change in scenario.changes:
        if not isinstance(change, Reshape):
            raise ConfigurationError(
                f"{change}: at core depth the nodes are those of the beginning; play it at node"
                " depth"
            )
    return perform(scenario, partial(_make, scenario, strike), keep=keep)


def _make(
    scenario: Scenario,
    strike: Strike | None,
    runtime: Runtime,
    nursery: trio.Nursery,
    trace: Trace,
) -> Play:
    def settle() -> None:
        cluster.settle()

    slot_ns = runtime.random("slots").choice(SLOTS_NS)
    heap = Heap(runtime.time, settle, slot_ns)
    windows = draw_windows(stream(scenario.seed, "limits"))
    stage = Stage(scenario, heap, trace, strike, windows)
    cluster = CoreCluster(
        scenario.app,
        scenario.nodes,
        scenario.seed,
        heap,
        stage.judge,
        Bodies(nursery, runtime.random("bodies")),
        stage.world,
        windows,
    )
    clients = CoreClients(cluster, scenario.app, heap, runtime.random, trace)
    # Messages, requests, writes, alarms, and all that actors handled.
    return Play(stage, cluster, clients, heap, lambda: heap.happened + cluster.handled)
