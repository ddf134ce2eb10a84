"""Seed 60134: who was taken out asks for votes twice, and hears the answer to the first.

I38, at 7.410 s: leader 3 does not tell node 2 that it is out

Node 2 is cut off while it is taken out of group 1. When it is back, both of its questions reach the
leader at once: the first is answered with all that a leader can say to one whose log ends before
its own begins, and at the second there is nothing to add. Mended in the check: who has just been
spoken to asked before it heard that.
"""

from flowactor.simulation.changes import Join
from flowactor.simulation.faults import Block, Crash, Partition
from flowactor.simulation.orders import Split
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario
from simulations.workflows import app

SCENARIO = Scenario(
    app=app,
    nodes=5,
    seed=60134,
    faults=(
        Crash(node=6, at=0.0),
        Block(source=3, target=4, at=4.0, until=4.3),
        Partition(sides=((5,), (1, 2, 3, 4, 6)), at=1.0),
        Partition(sides=((4,), (1, 2, 3, 5, 6)), at=4.7, until=5.0),
        Partition(sides=((2,), (1, 3, 4, 5, 6)), at=5.0, until=6.0),
    ),
    changes=(Join(node=6, at=3.366, seeds=(1, 2)), Split(group=1, at=4.302)),
    seconds=7.0,
    healing_seconds=90.0,
    sockets=False,
    deviations=frozenset(),
)
DEPTH = Depth.NODE

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
