"""The disk of the leader fails to sync, once, and says so.

What was written may be there or not; asking the disk again would be answered with a lie. The node
stops at once, and trusts only what it reads when it is started again.

Protects: a failed sync poisons the process.
Thread: cockroachdb/cockroach#37102; Rebello and others, "Can Applications Recover from fsync
Failures?", ATC 2020.
"""

from flowactor.simulation.faults import SyncError
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import let_lead
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(*registers(10, begin=1.5), *chores()),
        faults=(*let_lead(1), SyncError(1, 3.0), SyncError(2, 6.0)),
        invariants=INVARIANTS,
    ),
    marks=("sync failed", "leader changed"),
)
