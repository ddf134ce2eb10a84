"""Wall clocks leap an hour ahead and an hour back, on the leader and on others.

Log time goes by the stamps of leaders and never back: a leap ahead makes timers due early by as
much, and clients who said nothing in that hour are forgotten; a leap back stops nothing. No lease
is lost, for leases are counted in ticks.

Protects: time in replicated state comes from the log alone.
Thread: decision 10 of this project.
"""

from flowactor.simulation.faults import ClockJump, Crash
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import let_lead
from simulations.looks import term_stays
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(
            *chores(every=0.1),
            *registers(6, begin=1.5),
            *chores(begin=7.0, every=0.1, number=2, clients=(5, 6, 7, 8)),
        ),
        faults=(
            *let_lead(1),
            ClockJump(1, -3600, 2.0),
            ClockJump(2, 3600, 3.0),
            ClockJump(1, 7200, 6.3),
            ClockJump(1, -3600, 8.0),
            Crash(1, 9.0, 10.5),
        ),
        seconds=12.0,
        invariants=INVARIANTS,
    ),
    marks=("leader changed",),
    looks=(term_stays(1.6, 9.0),),
)
