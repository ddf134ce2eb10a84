"""Seed 50232: a clock that runs twice as fast.

I21, at 1.500 s: node 3 is told that node 2 is silent for 7 ticks, and heard it 0.349 s ago

Node 3 counts by its own clock, of which 7 ticks are half as long. Mended in the check: it knows how
fast a clock may run.
"""

from flowactor.simulation.faults import ClockDrift, Partition
from flowactor.simulation.orders import Split, Tune
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import CompareAndSet, Depth, Read, Scenario, Start, Write
from simulations.chores import (
    check_attempts,
    check_bookings,
    check_deeds,
    check_one_effect_a_step,
    check_results,
)
from simulations.workflows import app

SCENARIO = Scenario(
    app=app,
    seed=50232,
    acts=(
        Write(at=0.0, name="x", value=0),
        Read(at=0.02, name="x", client=2),
        CompareAndSet(at=0.1, name="x", value=2, client=3),
        Write(at=0.01, name="x", value=3, client=4),
        Read(at=0.2, name="y"),
        Start(
            at=0.1,
            workflow="Order",
            id="order-declined/5",
            arguments=({"items": ["tea", "cup"], "card": "expired"},),
        ),
        Write(at=0.6, name="x", value=998, client=2),
        Write(at=0.6, name="x", value=997, client=3),
        Write(at=0.6, name="x", value=996),
        Read(at=0.65, name="y"),
        Write(at=1.0, name="z", value=1002, client=3),
        Write(at=0.82, name="x", value=1004, client=3),
        Write(at=0.83, name="z", value=1005, client=2),
        Write(at=0.836, name="y", value=1007, client=2),
        Write(at=0.871, name="y", value=1014, client=2),
        Write(at=0.876, name="z", value=1015, client=2),
        Write(at=0.886, name="z", value=1017, client=3),
        Write(at=0.891, name="z", value=1018, client=3),
        Write(at=0.9, name="x", value=18, client=3),
        Write(at=0.901, name="y", value=1020, client=2),
        Write(at=0.906, name="x", value=1021, client=3),
        Write(at=0.916, name="y", value=1023, client=2),
        Write(at=0.936, name="x", value=1027, client=3),
        Write(at=0.946, name="y", value=1029, client=3),
        Write(at=0.976, name="x", value=1035, client=3),
        Write(at=0.986, name="z", value=1037, client=2),
        Write(at=0.991, name="z", value=1038, client=3),
        Write(at=0.996, name="x", value=1039, client=3),
        Write(at=1.006, name="z", value=1041, client=2),
        Write(at=1.011, name="y", value=1042, client=2),
        Write(at=1.021, name="y", value=1044, client=2),
        Write(at=1.036, name="z", value=1047, client=3),
        Write(at=1.041, name="x", value=1048, client=2),
        Write(at=1.05, name="y", value=21, client=2),
        Write(at=1.051, name="y", value=1050, client=3),
        Write(at=1.066, name="z", value=1053, client=2),
    ),
    faults=(ClockDrift(node=3, rate=2.0, at=0.0), Partition(sides=((2,), (1, 3)), at=0.8)),
    changes=(
        Tune(settings=(("slots_per_move", 100), ("balanced", 0)), at=0.406),
        Split(group=1, at=1.118),
    ),
    seconds=15.0,
    healing_seconds=90.0,
    core=(2, 3),
    sockets=False,
    deviations=frozenset({63, 78, 97, 116}),
    invariants=(
        check_results,
        check_deeds,
        check_one_effect_a_step,
        check_attempts,
        check_bookings,
    ),
)
DEPTH = Depth.NODE

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
