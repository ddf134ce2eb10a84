"""Messages arrive twice, late, in any order, or not at all.

A third of everything is lost, a third comes twice, and what is under way overtakes. An old append
that arrives after newer ones must not cut them off, and an old acknowledgement must not count.

Protects: stale messages change nothing; a follower cuts its log only at a conflict.
Thread: ktoso/akka-raft#66, an append that came late cut off newer entries; etcd-io/etcd#1207.
"""

from itertools import permutations

from flowactor.simulation.faults import Crash, Duplicate, Loss, Reorder
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import let_lead
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(*registers(10, every=0.08, begin=1.0), *chores()),
        faults=(
            *let_lead(1),
            *(Loss(*link, 0.3, 1.5) for link in permutations((1, 2, 3), 2)),
            *(Duplicate(*link, 0.3, 1.5) for link in permutations((1, 2, 3), 2)),
            *(Reorder(*link, 1.5) for link in permutations((1, 2, 3), 2)),
            Crash(1, 5.0, 6.0),
        ),
        invariants=INVARIANTS,
    ),
)
