"""Signals sent one after the other while the leader is killed twice and links break.

A client asks again wherever no answer came. Each signal that was acknowledged is seen once; one
that was sent after the answer to another is seen after it.

Protects: every request of a session is applied once; the mailbox keeps its order.
"""

from flowactor.simulation.faults import Crash, Reset
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chore
from simulations.directing import cut_off, deafen, let_lead
from simulations.looks import signals_in_order
from simulations.story import Story
from simulations.workflows import app

STORY = Story(
    scenario=Scenario(
        app=app,
        acts=tuple(
            act
            for number in range(1, 7)
            for act in chore("collect", 1 + number / 4, number=number, client=number)
        ),
        faults=(
            *let_lead(1),
            *deafen(1, at=2.2, until=2.5),
            Crash(1, 2.5, 4.0),
            *let_lead(2, at=2.5),
            Reset(2, 3, 3.4),
            Crash(2, 4.2, 6.0),
            cut_off(3, at=6.2, until=7.0),
        ),
        invariants=INVARIANTS,
    ),
    marks=("duplicate answered", "leader changed"),
    looks=(signals_in_order,),
)
