"""Logs that differ in every way a log can: too short, too long, and with other entries.

Five nodes are cut apart again and again, each time with another leader on the smaller side, which
goes on to write what can never be committed. When all meet again the leader makes every log equal
to its own: entries that were committed nowhere go, all others stay.

Protects: log matching, and cutting a follower's log only at a conflict.
Thread: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", figure 7.
"""

from flowactor.simulation.faults import Crash
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import cut_off, let_lead
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        nodes=5,
        acts=(*registers(10, every=0.05, begin=1.0), *chores()),
        faults=(
            *let_lead(1, nodes=5),
            cut_off(1, 2, nodes=5, at=2.0, until=4.0),
            *let_lead(3, nodes=5, at=2.0),
            Crash(2, 2.3, 5.0),
            cut_off(3, nodes=5, at=4.5, until=6.5),
            *let_lead(4, nodes=5, at=4.5),
            Crash(5, 4.7, 7.5),
            cut_off(4, 5, nodes=5, at=7.0, until=9.0),
        ),
        invariants=INVARIANTS,
    ),
    marks=("follower truncated", "leader changed"),
)
