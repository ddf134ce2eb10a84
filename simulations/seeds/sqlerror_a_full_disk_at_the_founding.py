"""Seed 70948: the disk is full when a node is to keep whom it founds the cluster with.

SQLError, at 2.001 s: cannot rollback - no transaction is active

SQLite had rolled back by itself, and what APSW said about that hid the true reason: the node ended
with an error that nobody translates. Mended: one kind of transaction for all files, and a node
whose disk is full goes on and tries again.
"""

from flowactor.simulation.faults import DiskFull
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario
from simulations.workflows import app

SCENARIO = Scenario(
    app=app,
    nodes=2,
    seed=70948,
    faults=(DiskFull(node=2, at=0.0),),
    seconds=3.0,
    healing_seconds=90.0,
    sockets=False,
    deviations=frozenset(),
)
DEPTH = Depth.NODE

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
