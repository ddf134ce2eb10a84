"""A leader that everybody hears, and that hears nobody.

Its heartbeats keep the others from standing for election, and not one acknowledgement comes back:
nothing can be committed. It has to notice by itself and step down, or it holds the cluster hostage.

Protects: a leader that hears no majority for an election time-out steps down.
Thread: etcd-io/etcd#13527, a leader that was cut off and did not step down.
"""

from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import deafen, let_lead
from simulations.looks import leader_is_replaced
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(*registers(10, begin=1.5), *chores()),
        faults=(*let_lead(1), *deafen(1, at=3.0, until=9.0)),
        invariants=INVARIANTS,
    ),
    marks=("leader changed", "leader without a quorum"),
    looks=(leader_is_replaced(1, at=3.0, within=5.0),),
)
