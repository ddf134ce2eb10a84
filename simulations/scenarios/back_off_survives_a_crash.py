"""The owner dies during the pause between the second call of a step and the third.

The pause is neither started anew nor cut short, and the count of attempts goes on.

Protects: attempts and pauses are replicated state.
Thread: DBOS issue 260, retry counts reset by a restart.
"""

from itertools import pairwise

from flowactor.limits import NANOSECONDS
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.faults import PowerCut
from flowactor.simulation.scenario import Scenario
from flowactor.simulation.world import World
from simulations.directing import let_lead
from simulations.story import Story
from simulations.workflows import INVARIANTS, app, chore

LONGEST = (1.8, 3.6, 4.8, 5.8)
"""Each pause with a moment; that which the crash falls into takes as long as a new lead, too."""


def check_pauses(world: World) -> None:
    """No pause is shorter than the policy says, none much longer; attempts count from 1 to 5."""
    calls = world.ledger("calls").entries
    gaps = [(b.at_ns - a.at_ns) / NANOSECONDS for a, b in pairwise(calls)]
    bounds = zip((1, 2, 4, 5), gaps, LONGEST, strict=False)
    if not all(least <= gap <= most for least, gap, most in bounds):
        raise CheckFailed("back-off", f"the pauses were {gaps}")
    if [call.attempt for call in calls] != [1, 2, 3, 4, 5]:
        raise CheckFailed("back-off", f"attempts were {[call.attempt for call in calls]}")


STORY = Story(
    scenario=Scenario(
        app=app,
        acts=chore("stubborn", 1.5),
        faults=(*let_lead(1), PowerCut((1, 2, 3), 4.0, 4.2)),
        seconds=5.0,
        invariants=(*INVARIANTS, check_pauses),
    ),
)
