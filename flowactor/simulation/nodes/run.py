"""One run at node depth: what takes part in it."""

from functools import partial

import trio

from flowactor.errors import ConfigurationError
from flowactor.simulation.changes import Reshape
from flowactor.simulation.housekeeping import draw_windows
from flowactor.simulation.nodes.clients import Clients
from flowactor.simulation.nodes.cluster import Cluster
from flowactor.simulation.outcome import Outcome
from flowactor.simulation.play import Play, perform
from flowactor.simulation.runtime import Runtime
from flowactor.simulation.scenario import Scenario
from flowactor.simulation.stage import Stage
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
        ConfigurationError: somebody but the management group says who votes.
        RuntimeError: called inside another simulation.
    """
    for change in scenario.changes:
        if isinstance(change, Reshape):
            raise ConfigurationError(
                f"{change}: at node depth the management group says who votes; play it at core"
                " depth, or take nodes out and let others join"
            )
    return perform(scenario, partial(_make, scenario, strike), keep=keep)


def _make(
    scenario: Scenario,
    strike: Strike | None,
    runtime: Runtime,
    nursery: trio.Nursery,
    trace: Trace,
) -> Play:
    windows = draw_windows(runtime.random("limits"))
    stage = Stage(scenario, runtime.time, trace, strike, windows)
    cluster = Cluster(
        runtime,
        scenario.app,
        scenario.nodes,
        stage.judge,
        stage.world,
        sockets=scenario.sockets,
        nursery=nursery,
        joining=scenario.machines - scenario.nodes,
        windows=windows,
    )
    clients = Clients(
        runtime,
        nursery,
        cluster.network,
        cluster.addresses,
        stage.judge,
        sockets=scenario.sockets,
        # So they give up half-way through the healing, and liveness sees that they did.
        patience_seconds=scenario.seconds + scenario.healing_seconds / 2,
    )
    cluster.order = lambda order: clients.order(order, until=scenario.seconds)
    cluster.remove = lambda node: clients.remove(node, cluster.removed)
    # Steps of tasks, and actions of the agenda.
    return Play(stage, cluster, clients, runtime.time, lambda: runtime.steps)
