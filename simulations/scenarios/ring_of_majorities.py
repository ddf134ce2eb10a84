"""Every node sees a majority, and no two see the same one.

Five nodes in a ring, each with its two neighbours. No leader is heard by all, and whoever does not
hear it would like to be one; but most of those whom it asks do hear the leader.

Protects: pre-vote with a lease: a minority that misses the leader cannot depose it.
Thread: Jepsen's ``majorities-ring`` nemesis.
"""

from flowactor.simulation.faults import Partition
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import let_lead
from simulations.looks import term_stays
from simulations.story import Story
from simulations.workflows import app

RING = ((1, 2), (2, 3), (3, 4), (4, 5), (5, 1))

STORY = Story(
    scenario=Scenario(
        app=app,
        nodes=5,
        acts=(*registers(12, begin=1.5), *chores()),
        faults=(*let_lead(1, nodes=5), Partition(RING, 3.0, 11.0)),
        seconds=12.0,
        invariants=INVARIANTS,
    ),
    looks=(term_stays(2.9, 11.0),),
)
