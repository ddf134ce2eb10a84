"""The power fails during the pause between the second call of a step and the third.

The pause is neither begun anew nor cut short, and the count of attempts goes on from where it was:
the next owner may use up a number, and so lengthen later pauses, but never falls back.

Protects: attempts and pauses are replicated state.
Thread: dbos#260.
"""

from itertools import pairwise

from flowactor.limits import NANOSECONDS
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.faults import PowerCut
from flowactor.simulation.scenario import Scenario
from flowactor.simulation.world import World
from simulations.chores import INVARIANTS, chore
from simulations.directing import let_lead
from simulations.story import Story
from simulations.workflows import app

LATE = 0.9
"""What a call takes at most, and what it takes to hear that a pause is over."""
DARK = 1.4
"""What the cluster takes at most to be back."""


def check_pauses(world: World) -> None:
    """No pause is shorter than that of its attempt, and only the one in the dark is longer."""
    calls = world.ledger("calls").entries
    for number, (one, other) in enumerate(pairwise(calls), 1):
        pause = min(5, 2 ** (one.attempt - 1))
        gap = (other.at_ns - one.at_ns) / NANOSECONDS
        late = LATE + DARK if number == 2 else LATE
        if not pause <= gap <= pause + late or other.attempt <= one.attempt:
            raise CheckFailed("back-off", f"{gap:.3f} s after attempt {one.attempt}, not {pause}")


STORY = Story(
    scenario=Scenario(
        app=app,
        acts=chore("stubborn", 1.5),
        faults=(*let_lead(1), PowerCut((1, 2, 3), 4.0, 4.2)),
        seconds=5.0,
        invariants=(*INVARIANTS, check_pauses),
    ),
)
