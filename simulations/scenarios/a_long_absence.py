"""A node was away while others joined, and those lead now.

It knows only the nodes of then. As long as one of these is left, it finds the others through it,
and follows again.

Protects: who was away for long comes back to a cluster that is another one.
"""

from flowactor.simulation.changes import Join, Remove
from flowactor.simulation.faults import Crash
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(*registers(14, begin=1.5), *chores(), *chores(number=2, begin=8.0)),
        changes=(Join(4, 2.5, (2,)), Join(5, 2.5, (3,)), Remove(2, 5.0)),
        faults=(Crash(1, 2.0, 12.0), Crash(3, 8.0, 9.5)),
        seconds=14.0,
        healing_seconds=90.0,
        invariants=INVARIANTS,
        sockets=False,
    ),
    marks=("members changed", "leader changed", "node left"),
)
