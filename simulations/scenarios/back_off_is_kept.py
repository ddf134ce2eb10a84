"""A step fails four times, with pauses of 1, 2, 4 and 5 seconds, and nothing else goes wrong.

Its calls come 0, 1, 3, 7 and 12 seconds after the first, but for what the calls themselves take.

Protects: the back-off of a policy, to the second.
"""

from itertools import pairwise

from flowactor.limits import NANOSECONDS
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.scenario import Scenario
from flowactor.simulation.world import World
from simulations.chores import INVARIANTS, chore
from simulations.story import Story
from simulations.workflows import app

PAUSES = (1, 2, 4, 5)
MOMENT = 0.8
"""What a call takes by itself, and what it takes to hear that a pause is over, at most."""


def check_pauses(world: World) -> None:
    """From each call to the next it takes the pause of the policy, and a moment."""
    calls = world.ledger("calls").entries
    gaps = [(b.at_ns - a.at_ns) / NANOSECONDS for a, b in pairwise(calls)]
    right = [pause <= gap <= pause + MOMENT for pause, gap in zip(PAUSES, gaps, strict=False)]
    if len(gaps) != len(PAUSES) or not all(right):
        raise CheckFailed("back-off", f"the pauses were {gaps}")


STORY = Story(
    scenario=Scenario(
        app=app,
        acts=chore("stubborn", 1.5),
        seconds=2.0,
        invariants=(*INVARIANTS, check_pauses),
    ),
)
