"""An entry of an older term is on a majority, and still not committed.

Leader 1 is cut off together with node 2, takes long answers that nobody else hears of, and dies.
Node 2 takes over and passes them on, one to a message, as they are so long: now a majority has
them, but in a term that is over, so counting copies must not commit them; an entry of its own term
does. Then node 2 dies as well, and what was committed has to stay.

Protects: a leader commits by counting only entries of its own term.
Thread: logcabin/logcabin#44; Ongaro and Ousterhout, "In Search of an Understandable Consensus
Algorithm", figure 8.
"""

from flowactor.limits import APPEND_BYTES_MAX
from flowactor.simulation.faults import Crash
from flowactor.simulation.scenario import Scenario, Signal, Start
from simulations.chores import INVARIANTS, chores, registers
from simulations.directing import cut_off, let_lead
from simulations.story import Story
from simulations.workflows import app

CLIENTS = (1, 2, 3, 4, 5, 6)
LONG = "x" * APPEND_BYTES_MAX

STORY = Story(
    scenario=Scenario(
        app=app,
        nodes=5,
        seed=1,
        acts=(
            *registers(8, begin=1.5),
            *(Start(1.4, "Patience", f"long-{client}", client=client) for client in CLIENTS),
            *(Signal(2.1, f"long-{client}", "reply", (LONG,), client) for client in CLIENTS),
            *chores(begin=3.0),
        ),
        faults=(
            *let_lead(1, nodes=5),
            cut_off(1, 2, nodes=5, at=2.0, until=2.5),
            *let_lead(2, nodes=5, at=2.0),
            Crash(1, 2.45, 6.0),
            Crash(2, 4.6, 6.5),
        ),
        invariants=INVARIANTS,
    ),
    marks=("figure 8", "leader changed"),
)
