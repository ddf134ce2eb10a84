"""What came of one simulated run."""

from collections.abc import Mapping

from attrs import field, frozen

from flowactor.simulation.trace import Line

__all__ = ["Failure", "Outcome"]


@frozen
class Failure:
    """Attributes:
    checker: the invariant that broke (``I8``), or ``liveness``, ``deadlock``, a user's check.
    message: what was found.
    at_seconds: of virtual time.
    """

    checker: str
    message: str
    at_seconds: float


@frozen(kw_only=True)
class Outcome:
    """Attributes:
    seed: of the scenario.
    digest: of everything that happened: equal digests, equal runs.
    failure: what was wrong, if anything was.
    events: how much happened.
    virtual_seconds: how long it took in there.
    marks: places reached, and how often.
    points: at how many moments an exhaustive search could strike.
    lines: the whole record, if it was asked for.
    """

    seed: int
    digest: str
    failure: Failure | None
    events: int
    virtual_seconds: float
    marks: Mapping[str, int] = field(factory=dict)
    points: int = 0
    lines: tuple[Line, ...] = ()
