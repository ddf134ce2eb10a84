"""Seed 3: a timer that was due when it was set.

I36, at 62.000 s: run 'a' waits for a timer that is due

The owner is cut off while a step runs, so the activation that follows, and sets a short timer, is
recorded only when the timer is due already. The leader's stamp on that entry was later than the
timer, so the leader took it for fired and asked for no other entry; but an entry fired what was due
before its operations only. On a quiet cluster the run slept for ever. Mended in the machine: an
entry fires what its own operations made due.
"""

import flowactor as fa
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario, Start
from flowactor.simulation.strike import Strike
from flowactor.simulation.world import current_world


@fa.step
async def pay() -> int:
    """Something that takes a moment."""
    return await current_world().ledger("payments").record(seconds=0.1)


@fa.workflow
class Nap:
    """Pays, and sleeps for a moment."""

    async def run(self) -> None:
        await pay()
        await fa.sleep(0.3)


SCENARIO = Scenario(
    app=fa.App([Nap]),
    seed=3,
    acts=(Start(at=0.5, workflow="Nap", id="a"),),
    seconds=2.0,
)
DEPTH = Depth.CORE
STRIKE = Strike(kind="partition", point=3)

if __name__ == "__main__":
    failure = simulate(SCENARIO, DEPTH, strike=STRIKE).failure
    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)
