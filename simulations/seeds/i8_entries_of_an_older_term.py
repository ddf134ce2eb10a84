"""Seed 75: a leader commits an entry of an older term because a majority has it.

I8, at 3.001 s: leader 1 commits 4 of older term 1

Never so in flowactor as published: found in a copy whose leaders count copies of any entry, against
the rule *commit_only_own_term*. One node is enough: it restarts, leads, and counts what it had from
before. Mended by counting from the first entry of the own term on.
"""

from flowactor.simulation.faults import Crash
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import CompareAndSet, Depth, Scenario
from simulations.workflows import app

SCENARIO = Scenario(
    app=app,
    nodes=1,
    seed=75,
    acts=(CompareAndSet(at=2.9, name="y", value=29),),
    faults=(Crash(node=1, at=3.0),),
    seconds=3.0,
)
DEPTH = Depth.CORE

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
