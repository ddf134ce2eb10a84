"""Seed 62017: a founder that never met one of the others can never take part.

I32, at 91.000 s: node 4 does not follow the leader, node 1

Nodes 4 and 5 do not meet; the other three meet all, and found the cluster. Then node 5 is gone for
good, and node 4 waited for it for ever: a voter that no election could count on. (That they do not
meet was an accident of slow links and a crash; with other timing it no longer was, so here it is
said.) Mended: it takes part once more than half of the other founders tell it whom they found
the cluster with (cluster/founding.py).
"""

from flowactor.simulation.faults import Block
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario
from simulations.workflows import app

SCENARIO = Scenario(
    app=app,
    nodes=5,
    seed=62017,
    faults=(Block(source=5, target=4, at=0.0), Block(source=4, target=5, at=0.0)),
    seconds=3.0,
    healing_seconds=90.0,
    core=(1, 2, 3, 4),
    sockets=False,
    deviations=frozenset(),
)
DEPTH = Depth.NODE

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
