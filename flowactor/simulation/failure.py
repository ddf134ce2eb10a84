"""How a simulated run goes wrong."""

from collections.abc import Iterable

from flowactor.errors import CallerError
from flowactor.identity import RunId

__all__ = ["CheckFailed", "Deadlocked", "Endless", "SimulationEscape"]


class CheckFailed(AssertionError):
    """A checker found what must never be. The run ends with it at once.

    Attributes:
        checker: the name of the invariant (``I8``), or of the user's own check.
        runs: the ids of the runs of workflows that it is about, if it is about what they wait for.
        places: file and line where the code of these waits, once somebody has looked.
    """

    def __init__(self, checker: str, message: str, runs: Iterable[RunId] = ()) -> None:
        super().__init__(f"{checker}: {message}")
        self.checker = checker
        self.runs = tuple(runs)
        self.places: tuple[str, ...] = ()


class Deadlocked(AssertionError):
    """Nothing can happen any more in the simulated world, and it is not done; shows its tasks."""


class Endless(Deadlocked):
    """Code works on and on without an ``await``; names its line. How long it was let is measured in
    time of the processor, so this alone of all failures is not repeated to the byte.
    """


class SimulationEscape(CallerError):
    """Code inside a simulation reached for the real world; names its line, and what to do."""
