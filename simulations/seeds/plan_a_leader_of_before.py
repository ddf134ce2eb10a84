"""Seed 40028: a node that was just let in waits for a leader of before.

plan, at 97.000 s: node 2 is still joining

The fifth machine is let in by node 1, which leads, and is killed; meanwhile others join, node 1
goes, and one whom this node does not know leads. It hears node 1 once more, when it is back and
leads no longer: a learner holds no elections, so it took node 1 for the leader from then on, asked
nobody who else there is, and refused the leader as a stranger, for ever. Mended: who does not hear
a leader of late asks.
"""

from flowactor.simulation.changes import Join
from flowactor.simulation.faults import Crash, SyncError
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario
from simulations.workflows import app

SCENARIO = Scenario(
    app=app,
    nodes=1,
    seed=40028,
    faults=(Crash(node=5, at=2.8, until=5.8), SyncError(node=1, at=6.0)),
    changes=(
        Join(node=5, at=2.712, seeds=(1, 2)),
        Join(node=3, at=2.826),
        Join(node=4, at=4.75),
        Join(node=2, at=6.755, seeds=(1, 3)),
    ),
    seconds=7.0,
    healing_seconds=90.0,
    deviations=frozenset(),
)
DEPTH = Depth.NODE

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
