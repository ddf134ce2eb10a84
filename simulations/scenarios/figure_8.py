"""An entry of an older term is on a majority, and still not committed.

What leader 1 sends gets onto every disk, and no acknowledgement comes back; then it dies. Node 2
takes over and learns that a majority has these entries, in a term that is over: counting copies
must not commit them; an entry of its own term does. Then node 2 dies as well, and what was
committed has to stay.

Protects: a leader commits by counting only entries of its own term.
Thread: logcabin/logcabin#44; Ongaro and Ousterhout, "In Search of an Understandable Consensus
Algorithm", figure 8.
"""

from flowactor.simulation.faults import Crash
from flowactor.simulation.scenario import Scenario
from simulations.directing import deafen, let_lead
from simulations.story import Story
from simulations.workflows import INVARIANTS, app, chores, registers

STORY = Story(
    scenario=Scenario(
        app=app,
        nodes=5,
        acts=(*registers(8, every=0.02, begin=1.5), *chores()),
        faults=(
            *let_lead(1, nodes=5),
            *deafen(1, nodes=5, at=2.0, until=2.4),
            Crash(1, 2.4, 6.0),
            *let_lead(2, nodes=5, at=2.4),
            Crash(2, 4.6, 6.5),
        ),
        invariants=INVARIANTS,
    ),
    marks=("figure 8", "leader changed"),
)
