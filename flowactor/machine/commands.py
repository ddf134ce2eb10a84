"""What workflow code asked for in one activation: the content of an ``Advance``.

``site`` says which line of the user's code asked (``module:function:line``). It is stored for
people and is never part of a comparison: moving a line is no determinism violation.
"""

from attrs import field, frozen

from flowactor.codec.records import record
from flowactor.identity import StepKey, TimerKey
from flowactor.machine.events import Failure

__all__ = [
    "ArmTimer",
    "CancelStep",
    "CancelTimer",
    "Command",
    "CompleteRun",
    "FailRun",
    "RetryRule",
    "RunEndedCancelled",
    "ScheduleStep",
    "SetVariable",
]


@record(20, recurs=True)
@frozen
class RetryRule:
    """A ``RetryPolicy`` as replicated state. ``attempts_max`` counts the first try; 0 is no limit,
    as for ``maximum_ns``. ``non_retryable`` lists error types, as ``module.Name`` or ``Name``.
    """

    initial_ns: int
    coefficient_milli: int
    maximum_ns: int
    attempts_max: int
    non_retryable: tuple[str, ...] = ()


@record(21)
@frozen
class ScheduleStep:
    """Run the body of a step. ``name`` is the step function's registered name; ``local`` marks a
    ``compute``, whose function only the run's own code can name. A time-out of 0 is none.
    """

    step: StepKey
    name: str
    arguments: bytes
    retry: RetryRule
    start_to_close_ns: int = 0
    schedule_to_close_ns: int = 0
    local: bool = False
    site: str = field(default="", eq=False)


@record(22)
@frozen
class CancelStep:
    """Its outcome no longer matters: the running body is told to stop, a late result is ignored."""

    step: StepKey
    site: str = field(default="", eq=False)


@record(23)
@frozen
class ArmTimer:
    timer: TimerKey
    due_ns: int
    site: str = field(default="", eq=False)


@record(24)
@frozen
class CancelTimer:
    timer: TimerKey
    site: str = field(default="", eq=False)


@record(25)
@frozen
class SetVariable:
    """A checkpoint: the run's replicated variable ``name`` now has this payload."""

    name: str
    value: bytes
    site: str = field(default="", eq=False)


@record(26)
@frozen
class CompleteRun:
    result: bytes
    site: str = field(default="", eq=False)


@record(27)
@frozen
class FailRun:
    failure: Failure
    site: str = field(default="", eq=False)


@record(28)
@frozen
class RunEndedCancelled:
    """The run let its cancellation through, after its clean-up."""

    reason: str
    site: str = field(default="", eq=False)


Command = (
    ScheduleStep
    | CancelStep
    | ArmTimer
    | CancelTimer
    | SetVariable
    | CompleteRun
    | FailRun
    | RunEndedCancelled
)
