"""Two hundred timers of several runs, and the nodes are killed under them.

All fire, each once, in the order in which they are due, on whichever node the runs are by then.

Protects: due timers fire in one order that does not depend on who armed what when.
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
            for number in range(1, 5)
            for act in chore("timers", 1.5, number=number, client=number)
        ),
        faults=(*let_lead(1), Crash(1, 2.5, 4.0), Crash(2, 4.5, 6.0)),
        invariants=INVARIANTS,
    ),
    marks=("leader changed",),
)
