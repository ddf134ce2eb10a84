"""Runs are cancelled while their nodes die one after the other.

Each of them holds a table and gives it back in a ``finally`` block, which is a step like others: it
is executed to its end on whichever node is left, and the run is cancelled after it, not before.

Protects: cancellation is recorded, and so is the clean-up that it causes.
"""

from flowactor.simulation.faults import Crash
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chore
from simulations.directing import let_lead
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=tuple(
            act
            for number in range(1, 17)
            for act in chore("table", 1 + number / 16, number=number, client=number % 4 + 1)
        ),
        faults=(*let_lead(1), Crash(1, 4.25, 6.0), Crash(2, 6.3, 8.0)),
        invariants=INVARIANTS,
    ),
    marks=("owner killed in a step",),
)
