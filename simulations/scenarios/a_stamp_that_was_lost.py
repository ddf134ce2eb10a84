"""A leader whose clock is wrong is cut off, loses what it stamped, and leads again.

With its log went what it asked for to fire a timer. When the next timer is due, it leads a cluster
in which nothing else happens, and has to ask again, however late the stamp was that it lost.

Protects: timer_fires_once: a timer does not wait until something else happens.
"""

from typing import Final

from flowactor.simulation.faults import ClockDrift, ClockOffset
from flowactor.simulation.scenario import Scenario, Start
from simulations.chores import INVARIANTS
from simulations.directing import cut_off, let_lead
from simulations.story import Story
from simulations.workflows import app

HASTY: Final = 4.0
"""Pace of a clock by which a node is likely to lead next; all timers are due that much sooner."""

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=tuple(
            Start(1.5, "Timers", f"quiet-{client}", ([0.8, 12.0],), client=client)
            for client in (1, 2, 3)
        ),
        faults=(
            *let_lead(1),
            cut_off(1, at=1.9, until=5.0),
            ClockOffset(1, 60.0, 2.0, 5.0),
            ClockDrift(2, HASTY, 1.9, 2.8),
            cut_off(2, at=8.2, until=9.4),
            ClockDrift(3, 0.6, 8.2, 9.4),
        ),
        seconds=15.0,
        invariants=INVARIANTS,
    ),
    marks=("follower truncated",),
)
