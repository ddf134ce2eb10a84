"""The leader is killed every five seconds for a minute, under a mixed load.

Everything acknowledged stays, every run comes to its end, each step is executed at most as often as
it has attempts, and the variables are linearizable throughout.

Protects: all of it together.
"""

from flowactor.simulation.scenario import Scenario
from simulations.chores import CHORES, INVARIANTS, chores, registers
from simulations.directing import kill_in_turn, let_lead
from simulations.looks import signals_in_order
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(
            *registers(60, every=0.25, begin=1.5),
            *chores(CHORES, every=2.5),
            # Shortly before one is killed, so that some kills strike in a step.
            *chores(number=2, begin=19.7, every=0.1),
            *chores(number=3, begin=39.7, every=0.1),
            *chores(number=4, begin=49.7, every=0.1),
        ),
        faults=(*let_lead(1), *kill_in_turn(range(5, 61, 5))),
        seconds=62.0,
        invariants=INVARIANTS,
    ),
    marks=("leader changed", "owner killed in a step", "step repeated"),
    looks=(signals_in_order,),
)
