"""Seed 6009: what waited for a group to begin was heard long before.

I21, at 5.500 s: node 4 is told that node 1 is silent for 5 ticks, and heard it 0.034 s ago

Node 4 knew the other founders late, and its groups began when it did. A heartbeat of node 1 had
waited for that for half a second, and was the last word of it. The node counted from when it came,
and the check from when the group took it up. Mended in the check: what waited for a group to begin
came at nobody knows what time.
"""

from flowactor.simulation.faults import Crash, SlowLink
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario
from flowactor.simulation.strike import Strike
from simulations.workflows import app

SCENARIO = Scenario(
    app=app,
    nodes=5,
    seed=6009,
    faults=(
        SlowLink(source=4, target=2, seconds=2.0, at=0.0),
        SlowLink(source=4, target=5, seconds=1.0, at=0.0),
        Crash(node=4, at=1.0, until=3.0),
        SlowLink(source=1, target=4, seconds=1.0, at=5.0),
    ),
    seconds=6.0,
    healing_seconds=90.0,
    sockets=False,
    deviations=frozenset(),
)
DEPTH = Depth.NODE
STRIKE = Strike(kind="owner-crash", point=147, seconds=3.585)

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH, strike=STRIKE).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
