"""An entry of an older term is on a majority, and still not committed.

Leader 1 gets an entry onto nodes 1 and 2 only and dies. Node 2 takes over and passes it on: now a
majority has it, but in a term that is over, so counting copies must not commit it; an entry of the
leader's own term does. Then node 2 dies as well, and what was committed has to stay.

Protects: a leader commits by counting only entries of its own term.
Thread: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", figure 8.
"""

from flowactor.simulation.faults import Block, Crash
from flowactor.simulation.scenario import Scenario
from simulations.directing import cut_off, let_lead
from simulations.story import Story
from simulations.workflows import INVARIANTS, all_chores, app, registers

STORY = Story(
    scenario=Scenario(
        app=app,
        nodes=5,
        acts=(*registers(8, every=0.02, begin=1.5), *all_chores()),
        faults=(
            *let_lead(1, nodes=5),
            cut_off(1, 2, nodes=5, at=2.0, until=2.4),
            Crash(1, 2.4, 6.0),
            *let_lead(2, nodes=5, at=2.2),
            *(Block(2, other, 4.0, 4.6) for other in (4, 5)),
            Crash(2, 4.6, 6.5),
        ),
        invariants=INVARIANTS,
    ),
    marks=("figure 8", "leader changed"),
)
