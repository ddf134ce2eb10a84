"""One follower is slow in everything, and holds up nobody.

Its link takes up to half a second longer, its disk a fifth of one. A majority goes on without it,
and it never disturbs the leader whom it hears late.

Protects: the slowest of three does not set the pace.
"""

from flowactor.simulation.faults import DiskSlow, SlowLink
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import let_lead
from simulations.looks import term_stays
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(*registers(10, begin=1.5), *chores()),
        faults=(
            *let_lead(1),
            DiskSlow(3, 0.2, 1.6),
            *(SlowLink(3, other, 0.5, 1.6) for other in (1, 2)),
            *(SlowLink(other, 3, 0.3, 1.6) for other in (1, 2)),
        ),
        invariants=INVARIANTS,
    ),
    looks=(term_stays(1.6),),
)
