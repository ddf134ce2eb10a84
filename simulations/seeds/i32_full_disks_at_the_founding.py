"""Seed 1 of a review: founders whose disks are full while they meet, and have space later.

I32, at 68.000 s: no node leads, although a majority is well

Each had met all others, could not keep that, and would have tried again with the next hello, which
nobody says while links stand. Mended: who waits to take part tries again once a second.
"""

from flowactor.simulation.faults import DiskFull
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario
from simulations.workflows import app

SCENARIO = Scenario(
    app=app,
    seed=1,
    faults=tuple(DiskFull(node=node, at=0.0, until=5.0) for node in (1, 2, 3)),
    seconds=8.0,
    healing_seconds=60.0,
    sockets=False,
    deviations=frozenset(),
)
DEPTH = Depth.NODE

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
