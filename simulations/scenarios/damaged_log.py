"""A bit on the disk of a voter is another one than was written.

Node 3 is killed and finds it when it starts. It refuses to go on with a log that it cannot trust:
to cut the log there would be to take back what it had acknowledged.

Protects: damage inside a log is told from a torn tail, and never repaired by forgetting.
Thread: Alagappan and others, "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018.
"""

from flowactor.simulation.faults import BitFlip, Crash
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import let_lead
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(*registers(8, begin=1.5), *chores()),
        faults=(*let_lead(1), BitFlip(3, 0.5, 3.0), Crash(3, 3.5, 4.0), Crash(1, 6.0)),
        invariants=INVARIANTS,
    ),
    marks=("damage found",),
)
