"""Nothing is left to do, everybody sleeps, and then somebody is gone.

The groups go quiet: no heartbeats, no ticks. First the leader cannot be reached, and nothing says
so but that it is silent. Then, when all sleep again, a follower that owns a run stands still. Both
times somebody has to notice who was asked for nothing. A timer falls due in the night, and a
client comes in the morning.

Protects: a quiet group wakes on the loss of a node, on a timer, and when it is asked.
Thread: cockroachdb/cockroach#104057; tikv/tikv#16429.
"""

from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.faults import Pause
from flowactor.simulation.scenario import Scenario, Start, Write
from simulations.chores import INVARIANTS
from simulations.directing import cut_off, let_lead
from simulations.looks import leader_is_replaced
from simulations.record import Record
from simulations.story import Story
from simulations.workflows import MONTH_SECONDS, app

GONE = 9.0
STILL = 24.0
NOTICED = 3.0
"""Seconds for what takes an awake cluster two: a lease, or an election."""


def the_old_leader_knows(record: Record) -> None:
    """Node 1 is alone, and by then leads no more."""
    roles = [role for at, node, role, _ in record.roles if node == 1 and at <= GONE + NOTICED]
    if roles[-1] == "leader":
        raise CheckFailed("asleep", f"node 1 still takes itself for the leader {NOTICED:g} s later")


def the_still_own_nothing(record: Record) -> None:
    """All that node 2 owned when it stopped has another owner by then."""
    for name in record.run_ids:
        owned = [owner.node for owner in record.owners(name) if owner.at <= STILL + NOTICED]
        if owned[-1] == 2:
            raise CheckFailed("asleep", f"{name} is node 2's, which stands still for {NOTICED:g} s")


STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(
            *(Start(1.6, "Month", f"night/{n}", (MONTH_SECONDS,), client=n) for n in range(1, 7)),
            Start(1.7, "Timers", "night/timers", ([0.5, 15.0, 30.0],)),
            Write(40.0, "morning", 1),
        ),
        faults=(*let_lead(1), cut_off(1, at=GONE, until=14.0), Pause(2, STILL, 33.0)),
        seconds=40.0,
        invariants=INVARIANTS,
    ),
    marks=("group went quiet", "quiet group woken by a silence"),
    looks=(
        leader_is_replaced(1, at=GONE, within=NOTICED),
        the_old_leader_knows,
        the_still_own_nothing,
    ),
)
