"""A run sleeps for thirty days, and the cluster is switched off most of the time.

It is up for a few seconds on day ten and on day twenty. The run wakes on day thirty, once: not on
day forty because the clock stood still, and not early because it was read anew.

Protects: a timer is a moment of log time in replicated state, not a wait of a process.
"""

from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.faults import PowerCut
from flowactor.simulation.scenario import Scenario, Start
from simulations.chores import INVARIANTS
from simulations.record import Record
from simulations.story import Story
from simulations.workflows import MONTH_SECONDS, app

DAY = 86_400.0
ALL = (1, 2, 3)


def wakes_on_day_thirty(record: Record) -> None:
    """Once, and within a second of its time."""
    woken = [at for at, _, _ in record.effects("alarms")]
    if len(woken) != 1 or not 30 * DAY < woken[0] < 30 * DAY + 3:
        raise CheckFailed("month", f"it woke at {woken}")


STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(Start(1.5, "Month", "month/1", (MONTH_SECONDS,)),),
        faults=(
            PowerCut(ALL, 4.0, 10 * DAY),
            PowerCut(ALL, 10 * DAY + 5, 20 * DAY),
            PowerCut(ALL, 20 * DAY + 5, 30 * DAY - 5),
        ),
        seconds=30 * DAY,
        invariants=INVARIANTS,
    ),
    looks=(wakes_on_day_thirty,),
)
