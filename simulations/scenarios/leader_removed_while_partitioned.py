"""The leader is removed while it is cut off.

The others take it out, in a configuration that it has never heard of, and go on. What it still has
in its log is never committed, it cannot count itself for anything that is, and once it is heard
again it neither leads nor disturbs who does.

Protects: a removed node does not come back as if nothing had happened.
Thread: scylladb#10618.
"""

from flowactor.simulation.changes import Remove
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import cut_off, let_lead
from simulations.looks import leader_is_replaced
from simulations.record import Record
from simulations.story import Story
from simulations.workflows import app


def one_never_leads_again(record: Record) -> None:
    """From its removal on the terms of others go on without it."""
    if any(led.node == 1 and led.at > 3.0 for led in record.leaders):
        raise CheckFailed("removed", "node 1 leads again")


STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(*registers(10, begin=1.5), *chores(), *chores(number=2, begin=6.0)),
        changes=(Remove(1, 3.2),),
        faults=(*let_lead(1), cut_off(1, at=3.0, until=7.0)),
        seconds=10.0,
        healing_seconds=90.0,
        invariants=INVARIANTS,
        sockets=False,
    ),
    marks=("members changed", "leader changed"),
    looks=(leader_is_replaced(1, at=3.0, within=3.0), one_never_leads_again),
)
