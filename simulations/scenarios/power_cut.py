"""The power fails everywhere at once, three times, in the middle of group commits.

Whatever a client was told is on a majority of disks and comes back; what waited for its sync may be
there or not, on each node as it happened, but whole or not at all.

Protects: nothing is acknowledged before it is durable; a torn tail is cut, not trusted.
Thread: Pillai and others, "All File Systems Are Not Created Equal", OSDI 2014.
"""

from flowactor.simulation.faults import DiskSlow, PowerCut
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(*registers(9, every=0.02, begin=1.0), *chores()),
        faults=(
            *(DiskSlow(node, 0.06, 1.0) for node in (1, 2, 3)),
            *(PowerCut((1, 2, 3), at, at + 0.5) for at in (3.0, 5.5, 8.0)),
        ),
        invariants=INVARIANTS,
    ),
    marks=("torn tail", "unsynced write survived"),
)
