"""Wall clocks leap an hour ahead and an hour back, on the leader and on others.

Log time goes by the stamps of leaders and never back: a leap ahead makes timers due early by as
much, a leap back stops nothing, and no lease is lost, for leases are counted in ticks.

Protects: time in replicated state comes from the log alone.
Thread: decision 10 of this project.
"""

from flowactor.simulation.faults import ClockJump, Crash
from flowactor.simulation.scenario import Scenario
from simulations.directing import let_lead
from simulations.looks import term_stays
from simulations.story import Story
from simulations.workflows import INVARIANTS, all_chores, app, registers

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(*registers(10, begin=1.5), *all_chores()),
        faults=(
            *let_lead(1),
            ClockJump(1, -3600, 2.0),
            ClockJump(2, 3600, 3.0),
            ClockJump(1, 7200, 4.0),
            ClockJump(1, -3600, 5.0),
            Crash(1, 6.0, 7.5),
        ),
        invariants=INVARIANTS,
    ),
    marks=("leader changed",),
    looks=(term_stays(1.5, 6.0),),
)
