"""Plays a scenario, at either depth: the one door of the simulator."""

from typing import assert_never

from flowactor.simulation.core.run import simulate_core
from flowactor.simulation.nodes.run import simulate_nodes
from flowactor.simulation.outcome import Outcome
from flowactor.simulation.scenario import Depth, Scenario
from flowactor.simulation.strike import Strike

__all__ = ["simulate"]


def simulate(
    scenario: Scenario,
    depth: Depth = Depth.CORE,
    *,
    keep: bool = False,
    strike: Strike | None = None,
) -> Outcome:
    """Play ``scenario`` once. The same arguments give the same outcome in every process.

    Args:
        scenario: what to play.
        depth: how much of flowactor takes part.
        keep: hold the whole record in ``Outcome.lines``, for a timeline.
        strike: one blow more, at one exact point (``strike``).

    Raises:
        RuntimeError: called inside another simulation.
    """
    match depth:
        case Depth.CORE:
            return simulate_core(scenario, keep=keep, strike=strike)
        case Depth.NODE:
            return simulate_nodes(scenario, keep=keep, strike=strike)
        case _:
            assert_never(depth)
