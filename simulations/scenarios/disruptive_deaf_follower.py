"""A follower hears nobody, and everybody hears it.

No heartbeat reaches node 3, so it keeps asking the others for their votes. They hear their leader
well and refuse even to consider it: one bad direction of one link must not cost a leader.

Protects: whoever hears a leader ignores candidates.
Thread: Hoverbear/old-raft-rs#27, one node that could only send stopped a whole cluster.
"""

from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import deafen, let_lead
from simulations.looks import term_stays
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(*registers(10, begin=1.5), *chores()),
        faults=(*let_lead(1), *deafen(3, at=2.0, until=9.0)),
        seconds=11.0,
        invariants=INVARIANTS,
    ),
    looks=(term_stays(1.5),),
)
