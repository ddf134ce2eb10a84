"""The owner of a trip is cut off at every single point, while bookings are taken back.

Another node goes on with the compensations, and the old owner, alone, goes on too until it hears of
it: still each booking is made and taken back once, the last first.

Protects: compensations are steps like others: each once, in reverse order.
"""

from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chore
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=chore("trip", 1.5),
        seconds=8.0,
        invariants=INVARIANTS,
    ),
    marks=("step repeated",),
    strike="partition",
)
