"""Plays a scenario, and raises what was wrong in a form that test runners and people can use."""

import sys
from typing import Final

from flowactor.simulation.outcome import Failure, Outcome
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario
from flowactor.simulation.source import script_of
from flowactor.testing.tracing import unexplained
from flowactor.workflow import App

__all__ = ["ScenarioFailed", "check"]

UNKNOWN: Final = "your_module:app"


class ScenarioFailed(AssertionError):
    """A scenario went wrong; the text is what was wrong, and a script that repeats it.

    Attributes:
        scenario: what was played.
        failure: what was wrong.
    """

    def __init__(self, scenario: Scenario, failure: Failure, script: str) -> None:
        super().__init__(f"{failure.checker}: {failure.message}\n\n{script}")
        self.scenario = scenario
        self.failure = failure


def check(scenario: Scenario, depth: Depth = Depth.CORE) -> Outcome:
    """Play ``scenario``, and return what came of it if nothing was wrong.

    Made for Hypothesis: everything that is drawn is drawn before, nothing while the run goes on, so
    an example is a run for ever and shrinks as any other value does.

    Raises:
        ScenarioFailed: something was wrong.
    """
    with unexplained():
        outcome = simulate(scenario, depth)
    if outcome.failure is not None:
        script = script_of(scenario, app=_path(scenario.app), depth=depth, failure=outcome.failure)
        raise ScenarioFailed(scenario, outcome.failure, script)
    return outcome


def _path(app: App) -> str:
    """Where the app can be imported from, if it stands beside one of its workflows."""
    modules = {definition.cls.__module__ for definition in app.definitions}
    for module in sorted(modules):
        for name, value in vars(sys.modules.get(module, object)).items():
            if value is app:
                return f"{module}:{name}"
    return UNKNOWN
