"""A node joins, everybody goes to sleep, and then one after the other stands still for a while.

The newcomer comes to lead a group, which it does no more after its first silence; in the management
group it is told everything and votes on nothing, which its second has to be noticed for. No link
breaks, and nobody asks for anything: all that there is to notice is a silence. Those who are
concerned wake by themselves, whoever it is that stands still: its leaders, and those that it leads.

Protects: whoever belongs to a group is watched over by its leader, and watches over it, from its
first night on.
Thread: cockroachdb/cockroach#104057.
"""

from flowactor.simulation.changes import Join
from flowactor.simulation.faults import Pause
from flowactor.simulation.scenario import Scenario, Start, Write
from simulations.chores import INVARIANTS
from simulations.story import Story
from simulations.workflows import MONTH_SECONDS, app

ASLEEP = 28.0
"""By then the slots have moved that the newcomer is to serve."""
EVERY = 16.0
MORNING = ASLEEP + 5 * EVERY

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(Start(1.6, "Month", "night/1", (MONTH_SECONDS,)), Write(MORNING, "morning", 1)),
        changes=(Join(4, 2.0),),
        faults=tuple(
            Pause(node, ASLEEP + EVERY * number, ASLEEP + EVERY * (number + 0.5))
            for number, node in enumerate((4, 4, 1, 2, 3))
        ),
        seconds=MORNING,
        healing_seconds=60.0,
        invariants=INVARIANTS,
        sockets=False,
    ),
    marks=("group went quiet", "quiet group woken by a silence"),
)
