"""The disk of the leader stands still, and its network does not.

Its heartbeats go out on time, so nobody else stands for election, and nothing that it is asked for
becomes durable there. It must notice that its own disk is late, and give up the lead.

Protects: a stalled disk cannot hold leadership hostage.
Thread: hashicorp/raft#503 and #683.
"""

from flowactor.simulation.faults import DiskStall
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
        faults=(*let_lead(1), DiskStall(1, 3.0, 9.5)),
        invariants=INVARIANTS,
    ),
    marks=("leader changed", "leader over its disk"),
    looks=(leader_is_replaced(1, at=3.0, within=6.0),),
)
