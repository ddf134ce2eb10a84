"""A run is ready to wait a minute for an answer, and it comes after five seconds.

The whole cluster is down in between. The run ends with the answer then, and its timer is gone.

Protects: a deadline is durable, and ends with what it is for.
"""

from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.faults import PowerCut
from flowactor.simulation.scenario import Scenario, Signal, Start
from flowactor.simulation.world import World
from simulations.chores import INVARIANTS
from simulations.record import Record
from simulations.story import Story
from simulations.workflows import app

ID = "patience"


def check_answer(world: World) -> None:
    """The answer won."""
    if world.results.get(ID) != "here you are":
        raise CheckFailed("answer", f"the run came to {world.results.get(ID)!r}")


def ends_with_the_answer(record: Record) -> None:
    """The run ends at once, not when its minute is over."""
    ended, _ = record.closed[ID]
    if ended > 9:
        raise CheckFailed("answer", f"the run ended at {ended:.1f} s")


STORY = Story(
    scenario=Scenario(
        app=app,
        acts=(Start(1.5, "Patience", ID), Signal(6.5, ID, "reply", ("here you are",))),
        faults=(PowerCut((1, 2, 3), 3.0, 5.0),),
        invariants=(*INVARIANTS, check_answer),
    ),
    looks=(ends_with_the_answer,),
)
