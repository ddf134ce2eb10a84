"""Seed 23: a new owner executes a step under the number of the attempt that its old owner began.

I22, at 4.000 s: attempt 2 of step fifth_time_lucky of run c79977eb07acf9c4 ran twice

Never so in flowactor as published: found in a copy whose ``machine.steps.restart_steps`` does not
count on. The owner is stopped while a body of it runs; a late failure of the old attempt would then
be taken for one of the new. Mended by giving each start of a body a number of its own.
"""

from flowactor.simulation.faults import Pause
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario, Start
from simulations.workflows import app

SCENARIO = Scenario(
    app=app,
    seed=23,
    acts=(Start(at=1.0, workflow="Stubborn", id="stubborn/1"),),
    faults=(Pause(node=1, at=2.0),),
    seconds=4.0,
)
DEPTH = Depth.CORE

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
