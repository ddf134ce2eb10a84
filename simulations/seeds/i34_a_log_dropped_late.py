"""Seed 70031: a member that deletes its replica because of a removal that is past.

I34, at 110.000 s: node 1 has not applied all up to 271

(What it failed with was I8, leader 4 counts entry 131 on 1: not there.) Node 1 is removed from a
group and is its learner again, is slow, and reads only then, in the management group, that it was
removed: its log is older than that, so it may drop it. The leader knew what it had answered as a
learner, and took every refusal of the empty log for one of the past: node 1 was never sent anything
again. Mended: an answer newer than what the leader knows says that the log was dropped, and the
member is taken for a new one (raft/replication.py). Counting an entry that was dropped did no harm,
for those are committed without it; the check allows that now.
"""

from flowactor.simulation.changes import Join, Remove
from flowactor.simulation.faults import Crash, DiskStall, Partition
from flowactor.simulation.orders import Shift, Split, Tune
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario, Write
from flowactor.simulation.strike import Strike
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
    seed=70031,
    acts=(
        Write(at=0.0, name="y", value=1109),
        Write(at=0.0, name="y", value=1110),
        Write(at=0.0, name="y", value=1113),
        Write(at=0.0, name="y", value=1117),
        Write(at=0.0, name="z", value=1118),
        Write(at=3.69, name="x", value=1119),
        Write(at=0.0, name="y", value=1121),
        Write(at=0.0, name="x", value=1123, client=4),
        Write(at=0.0, name="x", value=1124),
        Write(at=2.0, name="x", value=1148),
        Write(at=3.0, name="x", value=1149),
        Write(at=1.0, name="z", value=1150),
        Write(at=0.0, name="y", value=1151),
        Write(at=3.0, name="x", value=1152),
        Write(at=0.0, name="y", value=1171),
        Write(at=3.0, name="x", value=1172),
        Write(at=0.0, name="x", value=1179),
        Write(at=0.0, name="x", value=1182),
        Write(at=8.0, name="y", value=1183),
        Write(at=9.0, name="z", value=1184),
    ),
    faults=(
        Crash(node=4, at=0.04, until=4.04),
        Partition(sides=((1,), (2, 3, 4, 5)), at=8.6, until=10.6),
        DiskStall(node=1, at=11.0, until=13.0),
    ),
    changes=(
        Join(node=5, at=0.475, seeds=(3, 4)),
        Remove(node=3, at=1.455),
        Join(node=4, at=2.128, seeds=(2, 1)),
        Tune(settings=(("replace_after_seconds", 2),), at=3.352),
        Shift(group=2, at=4.632, every=1),
        Split(group=2, at=5.084),
    ),
    seconds=20.0,
    healing_seconds=90.0,
    deviations=frozenset(),
    invariants=(
        check_results,
        check_deeds,
        check_one_effect_a_step,
        check_attempts,
        check_bookings,
    ),
)
DEPTH = Depth.NODE
STRIKE = Strike(kind="partition", point=26, seconds=0.581)

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH, strike=STRIKE).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
