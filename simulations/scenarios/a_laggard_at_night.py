"""All is done and all would sleep, but that one is still being told what it missed.

Node 3 was cut off while logs were cut, and is sent the state when it is back: on a slow disk that
takes longer than the others need to find that nothing is left to do. They stay awake until then.

Protects: a group goes quiet together, and leaves nobody behind who is alive.
Thread: cockroachdb/cockroach#104057.
"""

from flowactor.simulation.faults import DiskSlow
from flowactor.simulation.scenario import Scenario, Write
from simulations.chores import INVARIANTS
from simulations.directing import cut_off, let_lead
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        seed=2,
        acts=tuple(Write(1.5 + number / 50, "x", number) for number in range(150)),
        faults=(*let_lead(1), cut_off(3, at=1.8, until=5.5), DiskSlow(3, 2.0, 5.0, 25.0)),
        seconds=30.0,
        invariants=INVARIANTS,
    ),
    marks=("snapshot installed", "group went quiet"),
)
