"""A voter loses its disk, and with it what it had promised.

Node 3 helped to commit entries and has voted. It is started again with an empty disk. Were it let
in as if nothing had happened, a majority could form that never heard of what was committed.

Protects: a voter is its disk; an empty one under an old name is refused.
Thread: hashicorp/raft#661, a vote that was forgotten; decision 11 of this project.
"""

from flowactor.simulation.faults import Crash, Wipe
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import let_lead
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        nodes=5,
        acts=(*registers(8, begin=1.5), *chores()),
        faults=(
            *let_lead(1, nodes=5),
            Wipe(3, 3.0, 4.0),
            Crash(1, 5.0, 6.0),
            Crash(2, 6.5, 8.0),
        ),
        invariants=INVARIANTS,
    ),
    marks=("wiped disk refused",),
)
