"""The leader is alone, with clients attached to it.

What it is asked there can neither be committed nor read: a client gets no answer, or one from the
other side after asking again, but never an old value. The majority elects another leader and goes
on; in the end all logs are the same.

Protects: linearizable reads; nothing is answered that is not committed.
Thread: aphyr.com/posts/316-jepsen-etcd-and-consul, stale reads.
"""

from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.scenario import Scenario
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import cut_off, let_lead
from simulations.looks import leader_is_replaced
from simulations.record import Record
from simulations.story import Story
from simulations.workflows import app


def nothing_is_committed_alone(record: Record) -> None:
    """Node 1 learns of no new commit between its isolation and the end of it."""
    if last := record.last_commit(1, since=3.1, until=8.9):
        raise CheckFailed("isolation", f"node 1 applied entry {last} while it was alone")


STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(*registers(10, every=0.06, begin=1.5), *chores()),
        faults=(*let_lead(1), cut_off(1, at=3.0, until=9.0)),
        invariants=INVARIANTS,
    ),
    marks=("leader changed", "leader without a quorum", "follower truncated"),
    looks=(leader_is_replaced(1, at=3.0, within=4.0), nothing_is_committed_alone),
)
