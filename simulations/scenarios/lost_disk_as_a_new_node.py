"""A voter loses its disk, and comes back to where it was as a node that nobody knew.

Node 3 has voted and helped to commit, and forgot all of it. It is let in once its silence has been
noticed, under another number, learns what there is, and only then votes. Meanwhile another node is
too slow to know of it, and the leader dies.

Protects: who has forgotten what it promised is another node; a majority of those that remember is
always needed.
Thread: hashicorp/raft#661, a vote that was forgotten.
"""

from flowactor.simulation.changes import Replace
from flowactor.simulation.faults import Crash, Pause
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import let_lead
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(*registers(12, begin=1.5), *chores(), *chores(number=2, begin=6.0)),
        changes=(Replace(3, 3.0, 3.5, (1, 2)),),
        faults=(*let_lead(1), Pause(2, 4.5, 5.5), Crash(1, 7.0, 9.0)),
        seconds=12.0,
        healing_seconds=90.0,
        invariants=INVARIANTS,
        sockets=False,
    ),
    marks=("members changed", "node lost"),
)
