"""Seed 20000: a node that stops in good order opens a replica when its tasks are over.

RuntimeError, at 1.394 s: Nursery is closed to new arrivals

The replica was founded on a slow disk when the node closed it, and the news of that came out of the
last jobs that a closing disk does. Mended: what is founded then is opened by the node's next life.
"""

from flowactor.simulation.changes import Join, Remove, Restart
from flowactor.simulation.faults import Crash, DiskSlow
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario, Write
from simulations.workflows import app

SCENARIO = Scenario(
    app=app,
    nodes=1,
    seed=20000,
    acts=(Write(at=2.47, name="z", value=1233, client=4),),
    faults=(
        DiskSlow(node=2, seconds=0.4, at=0.0),
        Crash(node=2, at=0.2, until=0.7),
        Crash(node=3, at=0.0),
        DiskSlow(node=2, seconds=0.5, at=2.268),
    ),
    changes=(
        Join(node=2, at=0.346, seeds=(1, 3)),
        Join(node=3, at=0.445, seeds=(1, 2)),
        Restart(node=2, at=1.394, until=1.846),
        Remove(node=2, at=1.758),
    ),
    seconds=4.0,
    healing_seconds=90.0,
    sockets=False,
    deviations=frozenset(),
)
DEPTH = Depth.NODE

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
