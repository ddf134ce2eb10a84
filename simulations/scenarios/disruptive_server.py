"""A node comes back after a long time alone, and nobody notices.

Node 3 is cut off from the others for eight seconds and stands for election again and again. With
plain Raft it would come back with a higher term and depose a leader whom all others hear well.

Protects: pre-vote; a candidate without a chance does not raise its term.
Thread: Ongaro, "Consensus: Bridging Theory and Practice", section 9.6;
etcd-io/etcd#8499.
"""

from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import cut_off, let_lead
from simulations.looks import term_stays
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(*registers(10, begin=1.5), *chores()),
        faults=(*let_lead(1), cut_off(3, at=2.0, until=10.0)),
        seconds=12.0,
        invariants=INVARIANTS,
    ),
    looks=(term_stays(1.5),),
)
