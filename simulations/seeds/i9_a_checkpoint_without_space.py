"""Seed 81 of the workload for mutants of storage: a full disk, and a crash soon after.

I9, at 3.000 s: node 1 has another cluster at index 12

The state was to be made durable in its file, for which there was no space, while newer rows were
being written to the WAL. That these are to be written again if *they* find no space was done when
the other failed: the worker then wrote the index without the rows, and what was in memory alone was
gone with the process. Mended: only a flush that failed is put back (storage/state_store.py).
"""

from flowactor.simulation.faults import Crash, DiskFull, PowerCut
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario
from simulations.workflows import app

SCENARIO = Scenario(
    app=app,
    nodes=2,
    seed=1,
    faults=(
        PowerCut(nodes=(1, 2), at=1.0, until=1.1),
        DiskFull(node=1, at=1.2),
        Crash(node=1, at=3.0),
    ),
    seconds=3.0,
    healing_seconds=60.0,
    sockets=False,
    deviations=frozenset(),
)
DEPTH = Depth.NODE

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
