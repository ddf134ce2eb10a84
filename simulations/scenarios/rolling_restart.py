"""Every node is stopped in good order and started again, one after the other, under load.

Each hands over its runs and the lead before it ends. So no step waits for a lease, no client for an
election: whatever is asked meanwhile is answered at once, and every run comes to its end. Only
where logs are so short that who was away for a second needs the whole state, some wait for that.

Protects: a deployment costs nobody anything.
"""

from flowactor.simulation.changes import Restart
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.scenario import Scenario
from simulations.chores import CHORES, INVARIANTS, chores, registers
from simulations.record import Record
from simulations.story import Story
from simulations.workflows import app

PATIENCE_SECONDS = 0.2


def everybody_is_served(record: Record) -> None:
    """No request takes long."""
    if record.installed:
        return
    for asked in record.asked:
        if asked.at > 1.0 and asked.answered_at - asked.at > PATIENCE_SECONDS:
            waited = asked.answered_at - asked.at
            raise CheckFailed("served", f"{asked.what} at {asked.at:.3f} s took {waited:.3f} s")


STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(
            *registers(12, begin=1.5, every=0.05),
            *chores(CHORES, begin=1.5, every=0.2),
            *chores(number=2, begin=6.0, every=0.2),
        ),
        changes=tuple(Restart(node, 1.5 + 2.5 * node, 2.5 + 2.5 * node) for node in (1, 2, 3)),
        seconds=12.0,
        healing_seconds=90.0,
        invariants=INVARIANTS,
        sockets=False,
    ),
    marks=("leader changed",),
    looks=(everybody_is_served,),
)
