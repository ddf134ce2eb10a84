"""Seed 30280: a disk fails in the moment in which the run ends.

StoragePoisoned, at 0.000 s: disk of node 1/log.db: a write or sync failed (); this process
acknowledges nothing more. Check the disk, then start the node again

The run was over, all nodes were told to end, and one found its disk at fault meanwhile: both came
out of its nursery together, and the simulator took the second for a failure. Mended there.
"""

from flowactor.simulation.changes import Join, Remove, Replace
from flowactor.simulation.faults import Crash, SyncError
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario
from simulations.workflows import app

SCENARIO = Scenario(
    app=app,
    seed=30280,
    faults=(Crash(node=5, at=0.0), SyncError(node=1, at=6.0)),
    changes=(
        Remove(node=2, at=2.361),
        Join(node=6, at=3.621),
        Join(node=4, at=3.82, seeds=(2, 1)),
        Join(node=5, at=5.774),
        Replace(node=3, at=6.407, until=6.7, seeds=(2, 5)),
        Replace(node=6, at=6.618, until=7.579, seeds=(3, 4)),
    ),
    seconds=8.0,
    healing_seconds=90.0,
    deviations=frozenset(),
)
DEPTH = Depth.NODE

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
