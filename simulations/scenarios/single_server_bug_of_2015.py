"""Two leaders take a vote away each, in two terms, and neither knows of the other.

Of four voters, node 1 leads, is cut off, and drops node 4: it has that in its log alone. The others
elect node 2, which is to drop node 1. Node 3, whose disk is slow, dies after its vote for node 2
and before the first entry of node 2 is on its disk. When it is back, nodes 1 and 3 are cut off from
nodes 2 and 4: two of the three voters that node 1 counts, and two of the three that node 2 would
count. Both sides could commit, and not meet, if node 2 had changed the members before an entry of
its own term was committed: that takes three of the four. So node 1 leads again, and nothing is lost
by it.

Protects: a leader changes members only once an entry of its own term is committed.
Thread: Ongaro, "Bug in single-server membership changes", raft-dev, July 2015; hydro#3192.
"""

from flowactor.simulation.changes import Reshape
from flowactor.simulation.faults import ClockDrift, Crash, DiskSlow
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import cut_off, let_lead
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        nodes=4,
        seed=5,  # node 2 is elected at 2.387 s, with the vote of node 3
        acts=(*registers(5, begin=0.8), *chores()),
        changes=(Reshape((1, 2, 3), 1.53, 1.7), Reshape((2, 3, 4), 1.75, 4.0)),
        faults=(
            *let_lead(1, nodes=4),
            cut_off(1, nodes=4, at=1.5, until=4.0),
            ClockDrift(2, 2.0, 1.5, 4.0),
            DiskSlow(3, 0.2, 1.5, 4.0),
            Crash(3, 2.4, 4.0),
            cut_off(1, 3, nodes=4, at=4.0, until=6.0),
            ClockDrift(1, 2.0, 4.0, 6.0),
        ),
        seconds=6.0,
        invariants=INVARIANTS,
    ),
    marks=("members changed", "leader changed", "follower truncated"),
)
