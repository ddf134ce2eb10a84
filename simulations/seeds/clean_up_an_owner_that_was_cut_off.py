"""Seed 16378: an owner that was cut off acts after its run was cancelled.

clean-up, at 23.300 s: table/5 ended, and did ['give back', 'take']

Node 1 hears the leader, and nobody hears node 1: its run is given to node 2, is cancelled, and
gives back what it may have taken; then node 1, whose disk is slow, comes to begin the step that
takes. No promise was broken: a step is executed at least once, and an owner that was given up
learns it late. Mended in the check, and docs/scope.md says so.
"""

from flowactor.simulation.faults import Block, Crash, DiskSlow, Reorder, SlowLink
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import (
    Cancel,
    CompareAndSet,
    Depth,
    Read,
    Scenario,
    Signal,
    Start,
    Write,
)
from flowactor.simulation.strike import Strike
from simulations.chores import check_bookings
from simulations.workflows import app

SCENARIO = Scenario(
    app=app,
    seed=16378,
    acts=(
        Write(at=0.0, name="x", value=0),
        Read(at=0.0, name="z", client=4),
        CompareAndSet(at=0.3, name="y", value=1005, client=4),
        CompareAndSet(at=0.3, name="x", value=2, client=3),
        Read(at=0.5, name="y", client=4),
        Write(at=0.0, name="z", value=1009),
        Write(at=0.0, name="x", value=1010),
        Start(at=1.0, workflow="Stubborn", id="stubborn/4", client=4),
        Read(at=0.5, name="x", client=3),
        Read(at=1.0, name="z", client=4),
        Write(at=1.0, name="y", value=1015),
        Read(at=0.0, name="z", client=2),
        Start(at=1.1, workflow="Collect", id="collect/3", arguments=(12,), client=3),
        Write(at=0.0, name="y", value=1018),
        Write(at=1.2, name="y", value=6, client=3),
        Read(at=0.9, name="x"),
        Read(at=1.3, name="x"),
        Read(at=1.2, name="y"),
        Read(at=1.2, name="y", client=4),
        CompareAndSet(at=1.4, name="x", value=8),
        Read(at=2.0, name="y"),
        Signal(at=1.0, id="collect/3", name="give", arguments=(2,)),
        Start(at=3.0, workflow="Table", id="table/5"),
        Signal(at=2.0, id="collect/3", name="give", arguments=(11,)),
        Cancel(at=4.0, id="table/5"),
    ),
    faults=(
        DiskSlow(node=1, seconds=0.4, at=0.0),
        SlowLink(source=1, target=2, seconds=1.0, at=1.1, until=2.1),
        SlowLink(source=2, target=1, seconds=2.0, at=0.0),
        Reorder(source=1, target=3, at=2.5),
        Reorder(source=2, target=3, at=2.2, until=3.2),
        SlowLink(source=1, target=2, seconds=1.0, at=3.0),
        Crash(node=2, at=5.0, until=6.0),
        Block(source=1, target=3, at=6.0),
    ),
    seconds=8.0,
    healing_seconds=90.0,
    invariants=(check_bookings,),
)
DEPTH = Depth.CORE
STRIKE = Strike(kind="owner-crash", point=2, seconds=3.452)

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH, strike=STRIKE).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
