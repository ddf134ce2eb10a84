"""Two halves that cannot see each other, and one node that sees both.

Node 3 is the bridge: 1 and 2 talk to it, 4 and 5 too. Both sides are majorities together with it,
and it must not let one after the other win. Leadership may move, but not for ever.

Protects: one vote a term; whoever hears a leader ignores candidates.
Thread: Jepsen's ``bridge`` nemesis; Cloudflare, "A Byzantine failure in the real world", 2020.
"""

from flowactor.simulation.faults import Partition
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import let_lead
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        nodes=5,
        acts=(*registers(12, begin=1.5), *chores()),
        faults=(*let_lead(1, nodes=5), Partition(((1, 2, 3), (3, 4, 5)), 3.0, 11.0)),
        seconds=12.0,
        invariants=INVARIANTS,
    ),
)
