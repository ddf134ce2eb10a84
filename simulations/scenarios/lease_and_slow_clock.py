"""Two nodes believe that they own a run, and only one of them counts.

Node 1 owns runs; its clock goes at a quarter of the true pace, and then its process stands still
for longer than its lease. The leader gives its runs away. When it wakes, nothing in its own memory
tells it that time has passed, and it goes on where it was: what it proposes is of an old epoch.

Protects: effects are fenced by the owner's epoch; no clock is trusted.
Thread: Kleppmann, "How to do distributed locking", 2016.
"""

from flowactor.simulation.faults import ClockDrift, Pause
from flowactor.simulation.scenario import Scenario
from simulations.chores import CHORES, INVARIANTS, chores, registers
from simulations.directing import let_lead
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(*registers(8, begin=1.5), *chores(CHORES, every=0.1), *chores(every=0.1, number=2)),
        faults=(
            *let_lead(2),
            ClockDrift(1, 0.25, 1.6, 9.0),
            Pause(1, 2.3, 5.3),
            Pause(3, 6.0, 8.5),
        ),
        invariants=INVARIANTS,
    ),
    marks=("stale epoch refused", "step repeated"),
)
