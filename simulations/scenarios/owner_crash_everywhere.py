"""The owner of an order dies at every single point of its history, one run for each.

Before and after each commit, before, inside and after the body of each step: another node takes the
run over and comes to the same receipt, with one charge, one shipment and two messages.

Protects: a step's outcome is recorded once, and nothing is seen outside before it is recorded.
"""

from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chore
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=chore("order-express", 1.5),
        seconds=8.0,
        invariants=INVARIANTS,
    ),
    marks=("owner killed in a step", "step repeated"),
    strike="owner-crash",
)
