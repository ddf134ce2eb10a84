"""Seed 17: a node that left a group and was put in again performed its own past once more.

I22, at 4.203 s: attempt 2 of step never of run d4017df8702ee159514535df8e591574 ran twice

A replica that is opened anew receives the whole log, in which this very process was announced and
owned the run: it executed the step again as it lived through that. Mended by giving each replica
that a node opens an incarnation of its own.
"""

from flowactor.simulation.changes import Join, Remove
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario, Start
from flowactor.simulation.strike import Strike
from simulations.workflows import app

SCENARIO = Scenario(
    app=app,
    seed=17,
    acts=(Start(at=1.85, workflow="GivesUp", id="gives-up/1", client=4),),
    changes=(
        Join(node=4, at=1.468),
        Join(node=5, at=1.531),
        Join(node=6, at=2.899, seeds=(2, 1)),
        Remove(node=5, at=4.0),
    ),
    seconds=4.0,
    healing_seconds=90.0,
    sockets=False,
    deviations=frozenset(),
)
DEPTH = Depth.NODE
STRIKE = Strike(kind="partition", point=6, seconds=2.365)

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH, strike=STRIKE).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
