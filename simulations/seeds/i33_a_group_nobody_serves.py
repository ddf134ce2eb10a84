"""Seed 2004: a group that lives on one frozen node only.

I33, at 92.000 s: a new client is not served

Only a core of two nodes was healed, and a group with slots was on the third alone. The end of the
run looked at the groups of those that serve, and so promised all of them. Mended in the checker: it
looks at all groups that there are.
"""

from flowactor.simulation.changes import Join
from flowactor.simulation.orders import Dismiss
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario
from simulations.workflows import app

SCENARIO = Scenario(
    app=app,
    nodes=1,
    seed=2004,
    changes=(
        Join(node=2, at=1.188),
        Join(node=3, at=1.613, seeds=(1, 2)),
        Dismiss(node=1, group=2, at=1.278),
    ),
    seconds=2.0,
    healing_seconds=90.0,
    core=(1, 3),
    sockets=False,
    deviations=frozenset(),
)
DEPTH = Depth.NODE

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
