"""For people who test what they build on flowactor.

Names are imported when they are first asked for, so nobody needs pytest or Hypothesis who does not
use what is built on them: ``pip install flowactor[testing]`` brings both.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from flowactor.simulation.failure import CheckFailed
    from flowactor.simulation.scenario import Depth, Scenario
    from flowactor.simulation.world import Ledger, World, current_world
    from flowactor.testing.checking import ScenarioFailed, check
    from flowactor.testing.replay import assert_replays, replay_histories
    from flowactor.testing.simulated import SimulatedCluster
    from flowactor.testing.simulating import simulate_test
    from flowactor.testing.stateful import SimulatedMachine
    from flowactor.testing.strategies import (
        ClusterShape,
        clusters,
        deviations,
        fault_schedules,
        scenarios,
    )

__all__ = [
    "CheckFailed",
    "ClusterShape",
    "Depth",
    "Ledger",
    "Scenario",
    "ScenarioFailed",
    "SimulatedCluster",
    "SimulatedMachine",
    "World",
    "assert_replays",
    "check",
    "clusters",
    "current_world",
    "deviations",
    "fault_schedules",
    "replay_histories",
    "scenarios",
    "simulate_test",
]

_HOMES: Final = {
    "flowactor.simulation.failure": ("CheckFailed",),
    "flowactor.simulation.scenario": ("Depth", "Scenario"),
    "flowactor.simulation.world": ("Ledger", "World", "current_world"),
    "flowactor.testing.checking": ("ScenarioFailed", "check"),
    "flowactor.testing.replay": ("assert_replays", "replay_histories"),
    "flowactor.testing.simulated": ("SimulatedCluster",),
    "flowactor.testing.simulating": ("simulate_test",),
    "flowactor.testing.stateful": ("SimulatedMachine",),
    "flowactor.testing.strategies": (
        "ClusterShape",
        "clusters",
        "deviations",
        "fault_schedules",
        "scenarios",
    ),
}
"""module -> the names of it that are public here."""
_EXTRA: Final = frozenset({"hypothesis", "pytest"})
"""What ``flowactor[testing]`` brings."""


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            try:
                return getattr(import_module(module), name)
            except ModuleNotFoundError as error:
                if error.name not in _EXTRA:
                    raise
                raise ModuleNotFoundError(
                    f"{name} needs {error.name}: pip install 'flowactor[testing]'", name=error.name
                ) from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
