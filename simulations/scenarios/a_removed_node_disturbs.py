"""A node is taken out while it cannot hear of it, and comes back to stand for election.

Node 3 is no member any more, by an entry that it has never seen, and hears no leader. Those who do
hear one promise it nothing, and the leader tells it that it is out: from then on it keeps quiet.

Protects: a removed node deposes nobody.
Thread: Ongaro, "Consensus: Bridging Theory and Practice", section 4.2.3.
"""

from flowactor.simulation.changes import Reshape
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
        changes=(Reshape((1, 2), 2.0, 10.0, alone=True),),
        faults=(*let_lead(1), cut_off(3, at=1.9, until=5.0)),
        seconds=10.0,
        invariants=INVARIANTS,
    ),
    marks=("members changed", "stranger asked for votes"),
    looks=(term_stays(1.5),),
)
