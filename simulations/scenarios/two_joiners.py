"""Two nodes join through the same one at the same moment, while everybody works.

Both ask one node, which asks the management group for both. They get different numbers, find places
in groups of runs, and take over some of what there is to do; the node that they asked dies in the
middle of it.

Protects: a number is given once, and a node that was let in becomes a member, whoever let it in.
"""

from flowactor.simulation.changes import Join
from flowactor.simulation.faults import Crash
from flowactor.simulation.scenario import Scenario
from simulations.chores import CHORES, INVARIANTS, chores, registers
from simulations.looks import signals_in_order
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(*registers(10, begin=1.5), *chores(CHORES, every=0.1), *chores(number=2, begin=5.0)),
        changes=(Join(4, 2.0, (2,)), Join(5, 2.0, (2,))),
        faults=(Crash(2, 2.02, 3.0),),
        seconds=10.0,
        healing_seconds=90.0,
        invariants=INVARIANTS,
        sockets=False,
    ),
    marks=("members changed",),
    looks=(signals_in_order,),
)
