"""A leader that hears everybody, and that nobody hears.

To the others it is as good as dead, and they elect one of them. The old one hears of the new term
in their requests for votes or by the new leader, and never commits anything again on its own.

Protects: at most one leader a term; a higher term ends the lead.
"""

from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import let_lead, mute
from simulations.looks import leader_is_replaced
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(*registers(10, begin=1.5), *chores()),
        faults=(*let_lead(1), *mute(1, at=3.0, until=9.0)),
        invariants=INVARIANTS,
    ),
    marks=("leader changed",),
    looks=(leader_is_replaced(1, at=3.0, within=4.0),),
)
