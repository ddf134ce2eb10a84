"""One node, three, five, and three again, while runs are in flight; and in the middle of each
change whoever leads is killed.

It is not known who that is after the first time, so each of the first three is killed once, one
after the other: there always is a majority, and the leader is among them or the change was its
last.

Protects: a change of members is done, or is not, or is finished by whoever leads next; nothing is
lost, nothing happens twice.
"""

from flowactor.simulation.changes import Join, Remove
from flowactor.simulation.faults import Crash
from flowactor.simulation.scenario import Scenario
from simulations.chores import CHORES, INVARIANTS, chores, registers
from simulations.looks import signals_in_order
from simulations.story import Story
from simulations.workflows import app


def each_once(at: float) -> tuple[Crash, ...]:
    """The first three nodes, one after the other."""
    return tuple(Crash(node, at + 0.7 * node, at + 0.7 * node + 0.6) for node in (1, 2, 3))


STORY = Story(
    scenario=Scenario(
        app=app,
        nodes=1,
        acts=(
            *registers(22, begin=1.0),
            *chores(CHORES, every=0.1),
            *chores(number=2, begin=8.0),
            *chores(number=3, begin=14.5),
        ),
        changes=(
            Join(2, 2.0),
            Join(3, 2.0),
            Join(4, 8.5, (1, 2)),
            Join(5, 8.5, (3,)),
            Remove(4, 15.0),
            Remove(5, 15.2),
        ),
        faults=(Crash(1, 2.03, 2.5), *each_once(7.85), *each_once(14.4)),
        seconds=22.0,
        healing_seconds=90.0,
        invariants=INVARIANTS,
        sockets=False,
    ),
    marks=("members changed", "leader changed", "node left", "removed node stopped"),
    looks=(signals_in_order,),
)
