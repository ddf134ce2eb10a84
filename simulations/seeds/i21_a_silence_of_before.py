"""Seed 22: a silence that was over when it was heard of.

I21, at 8.017 s: node 3 is told that node 2 is silent for 5 ticks, and heard it 0.000 s ago

Node 3 had nobody to follow for seconds. Meanwhile it was told that node 2 had fallen silent, and
that it was back; its group took up both after the messages that had come since, and counted the
silence. A leader would have had it as that much less of the lease after which runs are given to
others. Mended in the group: a silence of one who is alive by now is none.
"""

from flowactor.simulation.changes import Restart
from flowactor.simulation.faults import Crash, SlowLink
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario
from simulations.workflows import app

SCENARIO = Scenario(
    app=app,
    seed=22,
    faults=(
        SlowLink(source=3, target=1, seconds=2.0, at=0.0),
        SlowLink(source=3, target=2, seconds=2.0, at=0.0),
        Crash(node=1, at=2.0),
    ),
    changes=(Restart(node=3, at=0.153, until=2.037),),
    seconds=8.0,
    healing_seconds=90.0,
    sockets=False,
    deviations=frozenset(),
)
DEPTH = Depth.NODE

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
