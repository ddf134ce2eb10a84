"""Runs that failed once, and must never fail again: read, replayed and added to."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Final

from attrs import frozen

from flowactor.simulation.outcome import Failure, Outcome
from flowactor.simulation.run import simulate
from flowactor.simulation.scenario import Depth, Scenario
from flowactor.simulation.source import script_of
from flowactor.simulation.strike import Strike
from simulations import seeds

__all__ = ["Kept", "find_kept", "keep", "replay"]

APP: Final = "simulations.workflows:app"


@frozen
class Kept:
    """One file of ``simulations/seeds``.

    Attributes:
        text: what went wrong and how it was mended.
        scenario, depth, strike: the run.
    """

    text: str
    scenario: Scenario
    depth: Depth
    strike: Strike | None


def find_kept() -> Mapping[str, Kept]:
    """All of them, sorted by name."""
    found = {}
    for name in sorted(info.name for info in iter_modules(seeds.__path__)):
        module = import_module(f"{seeds.__name__}.{name}")
        strike: Strike | None = getattr(module, "STRIKE", None)
        text = (module.__doc__ or "").strip()
        found[name.replace("_", "-")] = Kept(text, module.SCENARIO, module.DEPTH, strike)
    return found


def replay(kept: Kept) -> Outcome:
    """The run once more. It passes, or what it found is back."""
    return simulate(kept.scenario, kept.depth, keep=True, strike=kept.strike)


def keep(
    folder: Path,
    name: str,
    scenario: Scenario,
    depth: Depth,
    failure: Failure,
    strike: Strike | None = None,
) -> Path:
    """Write a run that failed into ``folder``, as a script; returns the file.

    Raises:
        FileExistsError: there is one of this name.
    """
    checker = "".join(c if c.isalnum() else "_" for c in failure.checker.lower())
    path = folder / f"{checker}_{name.replace('-', '_')}.py"
    script = script_of(scenario, app=APP, depth=depth, failure=failure, strike=strike)
    # In this project the stories' code and flowactor are of one house, and imported in one block.
    script = script.replace("\n\nfrom simulations.", "\nfrom simulations.", 1)
    with path.open("x", encoding="utf-8") as file:
        file.write(script)
    return path
