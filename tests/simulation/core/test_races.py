"""Races that a simulation meets by trying every offset: both sides within one commit."""

import flowactor as fa
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Scenario, Start


@fa.step(retry=fa.RetryPolicy(initial_interval=1, backoff_coefficient=1))
async def never() -> None:
    raise ValueError("not now")


@fa.workflow
class Impatient:
    """Gives up on a step after a while; its retry falls due at about that time."""

    async def run(self, seconds: float) -> str:
        with fa.move_on_after(seconds):
            await never()
        await fa.sleep(0.2)
        return "gave up"


def test_a_step_is_given_up_while_its_retry_falls_due():
    """The retry is applied when the code has given the step up, and that is not committed yet: no
    body begins, and the run goes on.
    """
    results = {}
    outcome = simulate(
        Scenario(
            app=fa.App([Impatient]),
            nodes=3,
            acts=tuple(
                Start(
                    1.0 + number / 20,
                    "Impatient",
                    f"run-{number}",
                    (1.0 + number / 2000,),
                    client=number % 4 + 1,
                )
                for number in range(60)
            ),
            seconds=8.0,
            invariants=(lambda world: results.update(world.results),),
        )
    )
    assert outcome.failure is None
    assert set(results.values()) == {"gave up"}
    assert len(results) == 60
