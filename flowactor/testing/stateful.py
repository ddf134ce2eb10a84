"""Rules and invariants for simulations, on Hypothesis's state machines.

A state machine usually does something in each rule and looks at once. Inside a simulation nothing
may be drawn, so here rules only write a plan - what clients do, what goes wrong, and when - and the
plan is played as one run when it is complete. What follows from that:

- A rule does not see what came of it. Keep a model of what must come of the plan, and hold the
  world against it in ``check_world``.
- ``@invariant`` methods of Hypothesis see the plan, not the cluster.
- What fails is the plan as a whole; it shrinks to the fewest and simplest rules.
"""

import sys
from typing import Any, ClassVar, Final

from attrs import evolve
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from flowactor.errors import ConfigurationError
from flowactor.simulation.faults import Fault
from flowactor.simulation.scenario import Act, Depth, Scenario
from flowactor.simulation.world import World
from flowactor.testing.checking import check
from flowactor.testing.strategies import playable
from flowactor.workflow import App

__all__ = ["SimulatedMachine"]

SEED_MAX: Final = 2**32 - 1
PASSING_MILLISECONDS_MAX: Final = 2000


class SimulatedMachine(RuleBasedStateMachine):
    """To be derived from, with rules that call ``plan``; ``Derived.TestCase`` is what runs it.

    Two rules are there already: one draws the seed, the other lets time pass.

    Attributes:
        app: the code under test; every derived class says which.
        nodes: how many.
        depth: how much of flowactor takes part.
        healing_seconds: of virtual time for everything to come to its end.
    """

    app: ClassVar[App]
    nodes: ClassVar[int] = 3
    depth: ClassVar[Depth] = Depth.CORE
    healing_seconds: ClassVar[float] = 60.0

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        """Seconds of virtual time, as far as the plan has come."""
        self._seed = 0
        self._acts: Final[list[Act]] = []
        self._faults: Final[list[Fault]] = []

    def check_world(self, world: World) -> None:
        """Called at the end of the run; to be overridden. Raises ``AssertionError`` if the world is
        not as it must be after what was planned.
        """

    # -- what rules do ----------------------------------------------------------------------------

    def plan(self, what: Act | Fault) -> bool:
        """Add an act or a fault to the plan, its times counted from ``now``: ``at=0`` is now.

        Returns False if it is a fault that contradicts the plan (who is down cannot be brought
        down), and so is left out.
        """
        at = round(self.now + what.at, 6)
        until: float | None = getattr(what, "until", None)
        ends: dict[str, Any] = {} if until is None else {"until": round(self.now + until, 6)}
        moved: Act | Fault = evolve(what, at=at, **ends)
        if isinstance(moved, Act):
            self._acts.append(moved)
            return True
        both = [*self._faults, moved]
        fits = len(playable(both, self.nodes)) == len(both)
        if fits:
            self._faults.append(moved)
        return fits

    @initialize(seed=st.integers(0, SEED_MAX))
    def _sow(self, seed: int) -> None:
        self._seed = seed

    @rule(milliseconds=st.integers(1, PASSING_MILLISECONDS_MAX))
    def let_time_pass(self, milliseconds: int) -> None:
        """What is planned from here on comes so much later."""
        self.now = round(self.now + milliseconds / 1000, 3)

    # -- the run ----------------------------------------------------------------------------------

    def scenario(self) -> Scenario:
        """The plan so far, as it would be played.

        Raises:
            ConfigurationError: something in it cannot be, or the class does not say its app.
        """
        if not hasattr(self, "app"):
            raise ConfigurationError(f"{type(self).__name__} has no app: app = App([...])")
        happens = (*self._acts, *self._faults)
        latest = max((getattr(one, "until", None) or one.at for one in happens), default=0.0)
        return Scenario(
            app=self.app,
            nodes=self.nodes,
            seed=self._seed,
            acts=tuple(sorted(self._acts, key=lambda act: act.at)),
            faults=tuple(sorted(self._faults, key=lambda fault: fault.at)),
            seconds=max(self.now, latest) + 1.0,
            healing_seconds=self.healing_seconds,
            invariants=(lambda world: self.check_world(world),),  # noqa: PLW0108  # as it is then
        )

    def teardown(self) -> None:
        """Play the plan, unless a rule has failed.

        Raises:
            ScenarioFailed: what came of it is not as it must be.
        """
        is_failing = sys.exc_info()[0] is not None
        if not is_failing and self._acts:
            check(self.scenario(), self.depth)
