"""A snapshot is installed while the members change, and whoever installed it decides the next vote.

Of four voters, node 3 is away while node 4 loses its vote, and while so much is written that the
log no longer holds that change: it gets the state instead, and the configuration has to be in it.
Then nodes 2 and 4 die. Nodes 1 and 3 are a majority of the three that vote; who still counted four
would wait for a third.

Protects: a snapshot carries the configuration of its index, and who installs it counts by that.
Thread: openraft#1808.
"""

from flowactor.simulation.changes import Reshape
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.faults import ClockDrift, Crash
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import cut_off, let_lead
from simulations.record import Record
from simulations.story import Story
from simulations.workflows import app

DEAD = 6.0
BACK = 9.0


def the_two_go_on(record: Record) -> None:
    """Nodes 1 and 3 elect one of them before nodes 2 and 4 are back."""
    if not any(led.node in {1, 3} for led in record.leaders if DEAD < led.at < BACK):
        raise CheckFailed("majority", "nodes 1 and 3 elect nobody")


STORY = Story(
    scenario=Scenario(
        app=app,
        nodes=4,
        seed=3,  # logs are short
        acts=(*registers(10, begin=1.5), *chores(), *chores(number=2, begin=3.0)),
        changes=(Reshape((1, 2, 3), 2.0, 10.0),),
        faults=(
            *let_lead(2, nodes=4),
            cut_off(3, nodes=4, at=1.8, until=4.5),
            *(Crash(node, DEAD, BACK) for node in (2, 4)),
            ClockDrift(3, 2.0, DEAD, BACK),
        ),
        seconds=10.0,
        invariants=INVARIANTS,
    ),
    marks=("members changed", "leader changed", "snapshot installed"),
    looks=(the_two_go_on,),
)
