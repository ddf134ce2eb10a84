"""What happens to a run: facts that its interpreter is activated with, in order of consumption."""

from attrs import frozen

from flowactor.codec.records import record
from flowactor.identity import StepKey, TimerKey

__all__ = [
    "CancelRequested",
    "Event",
    "Failure",
    "RunStarted",
    "SignalReceived",
    "StepCompleted",
    "StepEnded",
    "TimerFired",
]


@record(1)
@frozen
class Failure:
    """An exception as a value (rule *errors_are_values*): what of it survives replay.

    ``error_type`` is ``module.QualifiedName``; ``details`` a payload of its fields (``b""`` if
    none); ``notes`` what ``add_note`` said. No stack trace: it differs between builds and is not
    compared.
    """

    error_type: str
    message: str
    details: bytes = b""
    cause: "Failure | None" = None
    notes: tuple[str, ...] = ()
    retryable: bool = True


@record(10)
@frozen
class RunStarted:
    """The first event of every run; ``arguments`` is the payload of the tuple of its arguments."""

    arguments: bytes


@record(11)
@frozen
class StepCompleted:
    """A step (or ``compute``) returned; ``result`` is the payload of its value."""

    step: StepKey
    attempt: int
    result: bytes


@record(12)
@frozen
class StepEnded:
    """A step failed for good: no retry will follow. ``attempts`` were made."""

    step: StepKey
    attempts: int
    failure: Failure


@record(13)
@frozen
class TimerFired:
    timer: TimerKey
    due_ns: int


@record(14)
@frozen
class SignalReceived:
    """``arguments`` is the payload of the tuple of the handler's arguments."""

    name: str
    arguments: bytes


@record(15)
@frozen
class CancelRequested:
    reason: str


Event = RunStarted | StepCompleted | StepEnded | TimerFired | SignalReceived | CancelRequested
