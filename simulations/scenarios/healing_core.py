"""Only three of five nodes are ever healed; the others stay as they are, whatever that is.

One of the two is cut off, the other one stopped with its clock gone wild. The three have to find a
leader and bring everything to its end without them, in bounded time.

Protects: liveness with a majority, however bad the rest is (the strong form).
Thread: TigerBeetle, "liveness mode" of its simulator.
"""

from flowactor.simulation.faults import ClockDrift, Crash, DiskStall, Pause
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import cut_off, let_lead
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        nodes=5,
        acts=(*registers(8, begin=1.5), *chores()),
        faults=(
            *let_lead(1, nodes=5),
            cut_off(1, nodes=5, at=3.0),
            ClockDrift(2, 4.0, 3.5),
            Pause(2, 4.0),
            Crash(3, 4.5),
            DiskStall(4, 5.0),
        ),
        core=(3, 4, 5),
        invariants=INVARIANTS,
    ),
    marks=("leader changed",),
)
