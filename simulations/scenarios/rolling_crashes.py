"""Every node is killed in turn, and comes back before the next one goes.

So does a deployment that restarts a cluster node by node, only faster. Never is there no majority,
and no run may lose its place.

Protects: nothing is lost with a minority; runs of a dead owner go on elsewhere.
"""

from flowactor.simulation.faults import Crash
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(*registers(14, begin=1.0), *chores(every=0.5), *chores(begin=5.0, number=2)),
        faults=tuple(Crash(turn % 3 + 1, 1.5 + turn, 2.3 + turn) for turn in range(12)),
        seconds=14.0,
        invariants=INVARIANTS,
    ),
    marks=("leader changed", "owner killed in a step", "step repeated"),
)
