"""What came of one simulated run."""

from collections.abc import Mapping
from traceback import walk_tb
from typing import Final, Self

from attrs import field, frozen

from flowactor.simulation.failure import CheckFailed, Deadlocked, Endless, SimulationEscape
from flowactor.simulation.runtime.frames import is_user
from flowactor.simulation.trace import Line

__all__ = ["ENDLESS", "Failure", "Outcome"]

ENDLESS: Final = "endless"
"""Of code that never awaits: each run of it takes many seconds, so it is not shrunk."""


@frozen
class Failure:
    """Attributes:
    checker: the invariant that broke (``I8``), or ``liveness``, ``deadlock``, ``endless``, or a
        user's check.
    message: what was found.
    at_seconds: of virtual time.
    place: how ``message`` ends if it names lines of workflows; elsewhere they are in other files.
    """

    checker: str
    message: str
    at_seconds: float
    place: str = ""

    @property
    def recorded(self) -> str:
        """The message as it is part of the record: the same wherever the code lies."""
        return self.message.removesuffix(self.place)

    @classmethod
    def of(cls, error: BaseException, at_seconds: float) -> Self:
        """What ended a run, in the words of a report."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        place, lines = "", ""
        match error:
            case CheckFailed():
                checker = error.checker
                lines = f" (at {', '.join(error.places)})" if error.places else ""
            case Endless():
                checker = ENDLESS
            case Deadlocked():
                checker = "deadlock"
            case SimulationEscape():
                checker = "escape"
            case AssertionError():
                checker, place = "assertion", _place(error)
            case _:
                checker, place = type(error).__name__, _place(error)
        message = str(error).removeprefix(f"{checker}: ") + place + lines
        return cls(checker, message, at_seconds, lines)


def _place(error: BaseException) -> str:
    """The user's innermost line in the traceback, if it went through any."""
    lines = [(f.f_code.co_filename, n) for f, n in walk_tb(error.__traceback__) if is_user(f)]
    return " (at {}:{})".format(*lines[-1]) if lines else ""


@frozen(kw_only=True)
class Outcome:
    """Attributes:
    seed: of the scenario.
    digest: of everything that happened: equal digests, equal runs.
    failure: what was wrong, if anything was.
    events: how much happened.
    virtual_seconds: how long it took in there.
    marks: places reached, and how often.
    runs: of workflows that were started.
    waiting: where those of them wait that never ended, though nothing was in their way: how many
        at each ``file:line``.
    failed: how those of them failed that did: how many with each error.
    effects: when something was done to the world outside, in seconds of virtual time.
    points: at how many moments an exhaustive search could strike.
    lines: the whole record, if it was asked for.
    """

    seed: int
    digest: str
    failure: Failure | None
    events: int
    virtual_seconds: float
    marks: Mapping[str, int] = field(factory=dict)
    runs: int = 0
    waiting: Mapping[str, int] = field(factory=dict)
    failed: Mapping[str, int] = field(factory=dict)
    effects: tuple[float, ...] = ()
    points: int = 0
    lines: tuple[Line, ...] = ()
