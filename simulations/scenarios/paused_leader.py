"""The leader stands still for longer than any lease, and wakes as if nothing had happened.

A virtual machine is moved, or a process is stopped by hand. For a moment after it wakes it believes
that it leads and owns its runs; a read that it answered from memory then would be stale.

Protects: reads ask a majority first; effects are fenced by epochs.
Thread: Kleppmann, "How to do distributed locking", 2016.
"""

from flowactor.simulation.faults import Pause
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import let_lead
from simulations.looks import leader_is_replaced
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(
            *registers(10, every=0.06, begin=1.5),
            *chores(every=0.1),
            *chores(every=0.1, number=2),
        ),
        faults=(*let_lead(1), Pause(1, 2.5, 6.0)),
        invariants=INVARIANTS,
    ),
    marks=("leader changed", "step repeated"),
    looks=(leader_is_replaced(1, at=2.5, within=4.0),),
)
