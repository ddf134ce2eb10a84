"""There is no room left on the disk of the leader.

It can write nothing more, so it can lead nobody. The others take over; when there is room again the
node goes on with the log that it had.

Protects: a stalled disk cannot hold leadership hostage; a failed write is never taken for done.
Thread: etcd-io/etcd#3068.
"""

from flowactor.simulation.faults import DiskFull
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import let_lead
from simulations.looks import leader_is_replaced
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(*registers(10, begin=1.5), *chores()),
        faults=(*let_lead(1), DiskFull(1, 3.0, 9.5)),
        invariants=INVARIANTS,
    ),
    marks=("leader changed",),
    looks=(leader_is_replaced(1, at=3.0, within=6.0),),
)
