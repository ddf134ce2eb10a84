"""Seed 30282: a disk is lost while the cluster is being founded.

I32, at 98.000 s: node 4 does not follow the leader, node 5

Node 4 had met node 2 with its first disk, and the others meet it with its second: they refuse each
other, and say that the cluster is to be founded again. Nothing more is promised of one whose
founders disagree. Mended in the simulator.
"""

from flowactor.simulation.changes import Replace, Restart
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario
from flowactor.simulation.strike import Strike
from simulations.workflows import app

SCENARIO = Scenario(
    app=app,
    nodes=5,
    seed=30282,
    changes=(
        Replace(node=2, at=0.012, until=0.174, seeds=(4,)),
        Restart(node=4, at=0.012, until=0.149),
    ),
    seconds=1.0,
    healing_seconds=90.0,
    deviations=frozenset(),
)
DEPTH = Depth.NODE
STRIKE = Strike(kind="owner-crash", point=1, seconds=5.595)

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH, strike=STRIKE).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
