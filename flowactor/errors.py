"""Every error flowactor raises on purpose, sorted by who must act.

::

    FlowactorError
    |-- CallerError                the call is wrong: change it, a retry of the same will fail again
    |   |-- InvalidInput           a value does not fit its type or a limit, or cannot be encoded
    |   |   `-- UnencodableValue
    |   |-- UnknownWorkflowType    nobody in the cluster has registered it
    |   |-- AlreadyExists          the id is taken by a run with another input
    |   |-- NotFound               no such run, variable, query, signal
    |   |-- AlreadyClosed          the run has ended: it takes no signal any more
    |   |-- VersionMismatch        compare-and-set: the variable has changed since it was read
    |   |-- ConfigurationError     a setting, an address, a data directory that cannot work
    |   `-- WorkflowMisuse         flowactor's API is used where, or how, it may not be
    |       |-- ForeignAwait       a workflow awaited something the interpreter cannot make durable
    |       `-- ReadOnlyViolation  a query tried to change the run
    |-- WorldError                 a peer, the network or a disk failed
    |   |-- Unavailable            no quorum, no leader, no route to one
    |   |-- Overloaded             a stated limit is reached: wait and retry
    |   |-- DeadlineExceeded       the answer did not come in time; the work itself goes on
    |   |-- SessionExpired         at-most-once can no longer be promised for this request
    |   |-- Refused                the other side does not accept us (cluster, version, identity)
    |   |-- MalformedDataError     bytes from outside that are not what they claim to be
    |   `-- StorageError
    |       |-- StoragePoisoned    a sync failed once: this process acknowledges nothing more
    |       |-- StorageCorrupt     damage that is no torn tail: this node cannot go on
    |       |-- StorageFull        no space left: free some, nothing acknowledged was lost
    |       `-- StorageRefused     the directory belongs to another node, or to a newer version
    |-- RunError                   what a run itself came to, raised by ``handle.result()``
    |   |-- WorkflowFailed         its code raised; ``failure`` holds type, message, fields, cause
    |   |-- WorkflowCancelled
    |   |-- WorkflowTerminated
    |   `-- WorkflowTimedOut
    |-- QueryFailed                a query method raised; the run itself does not notice
    |-- StepError                  how a step ended, raised inside the workflow where it was awaited
    |   |-- StepFailed             an error type this process does not know
    |   `-- StepTimedOut           ``kind`` names which of the time-outs struck
    |-- NonRetryableError          for users to raise or subclass in a step: no more attempts
    |-- TooSlowError               a block of workflow code outlived its ``fail_after``
    |-- DeterminismViolation       the code asks for something else than the run's history recorded
    `-- InternalError              a node broke while it answered one request, and reported why

A broken invariant of flowactor itself is an ``AssertionError`` and stops what it broke; if that is
one request, its caller gets an ``InternalError``.
"""

from typing import ClassVar

__all__ = [
    "AlreadyClosed",
    "AlreadyExists",
    "CallerError",
    "ConfigurationError",
    "DeadlineExceeded",
    "DeterminismViolation",
    "FlowactorError",
    "ForeignAwait",
    "InternalError",
    "InvalidInput",
    "MalformedDataError",
    "NonRetryableError",
    "NotFound",
    "Overloaded",
    "QueryFailed",
    "ReadOnlyViolation",
    "Refused",
    "RunError",
    "SessionExpired",
    "StepError",
    "StepFailed",
    "StepTimedOut",
    "StorageCorrupt",
    "StorageError",
    "StorageFull",
    "StoragePoisoned",
    "StorageRefused",
    "TooSlowError",
    "Unavailable",
    "UnencodableValue",
    "UnknownWorkflowType",
    "VersionMismatch",
    "WorkflowCancelled",
    "WorkflowFailed",
    "WorkflowMisuse",
    "WorkflowTerminated",
    "WorkflowTimedOut",
    "WorldError",
    "by_code",
]


class FlowactorError(Exception):
    """The root of the tree.

    Attributes:
        retry_is_safe: the same call may be made again and cannot take effect twice.
        outcome_unknown: the call may have taken effect, or may still do so.
    """

    retry_is_safe: ClassVar[bool] = False
    outcome_unknown: bool = False


class CallerError(FlowactorError):
    """The call is wrong; nothing happened."""


class InvalidInput(CallerError):
    """A value does not fit the type it is meant for; the message names the path of the field."""


class UnencodableValue(InvalidInput):
    """A value that the payload codec cannot write; the message names its type and its place."""


class UnknownWorkflowType(CallerError):
    """No node of the cluster has registered this workflow type (and version)."""


class AlreadyExists(CallerError):
    """The workflow id belongs to a run of another type or input."""


class NotFound(CallerError):
    """Nothing of that name exists."""


class AlreadyClosed(CallerError):
    """The run has ended and takes no more requests."""


class VersionMismatch(CallerError):
    """A compare-and-set named another version than the variable has: read it again, then decide."""


class ConfigurationError(CallerError):
    """A setting that cannot work; the message says what to change."""


class WorkflowMisuse(CallerError):
    """flowactor's workflow API is used where, or how, it may not be."""


class ForeignAwait(WorkflowMisuse):
    """A workflow awaited something that is not flowactor's; the message names file, line and
    cure.
    """


class ReadOnlyViolation(WorkflowMisuse):
    """A query tried to change the run it looks at."""


class WorldError(FlowactorError):
    """A peer, the network or a disk failed; the same request may succeed later."""

    retry_is_safe = True


class Unavailable(WorldError):
    """No quorum, no leader or no route within the deadline."""


class Overloaded(WorldError):
    """A stated limit is reached; nothing happened."""


class DeadlineExceeded(WorldError):
    """No answer within the caller's deadline; what was asked for goes on."""

    outcome_unknown = True


class SessionExpired(WorldError):
    """The cluster no longer remembers this session, so it cannot rule out a second application."""

    retry_is_safe = False
    outcome_unknown = True


class Refused(WorldError):
    """The other side does not accept this connection or request."""

    retry_is_safe = False


class MalformedDataError(WorldError):
    """Bytes from outside that are not what they claim to be."""

    retry_is_safe = False


class StorageError(WorldError):
    """The disk, or what is on it, cannot be used."""

    retry_is_safe = False


class StoragePoisoned(StorageError):
    """A sync failed once in this process, so nothing more may be acknowledged by it."""


class StorageCorrupt(StorageError):
    """Damage that no interrupted write explains."""


class StorageFull(StorageError):
    """No space is left on the device; nothing acknowledged was lost."""

    retry_is_safe = True


class StorageRefused(StorageError):
    """The directory belongs to another node or cluster, or to a newer version of flowactor."""


class RunError(FlowactorError):
    """What a run itself came to."""


class WorkflowFailed(RunError):
    """The workflow's code raised; the original error is ``__cause__`` where its type is known."""


class WorkflowCancelled(RunError):
    """The run was cancelled and has finished its clean-up."""


class WorkflowTerminated(RunError):
    """The run was ended from outside, without running any more of its code."""


class WorkflowTimedOut(RunError):
    """The run's own time-out passed."""


class QueryFailed(FlowactorError):
    """The workflow's query method raised; the message holds the type and text of its error."""


class StepError(FlowactorError):
    """How a step ended, inside the workflow that awaited it."""


class StepFailed(StepError):
    """A step failed with an error whose type is not known in this process.

    Attributes:
        error_type: qualified name of the original type, ``module.Name``.
    """

    def __init__(self, message: str, error_type: str = "") -> None:
        super().__init__(message)
        self.error_type = error_type


class StepTimedOut(StepError):
    """A step ran out of time.

    Attributes:
        kind: ``"start_to_close"`` or ``"schedule_to_close"``.
    """

    def __init__(self, message: str, kind: str = "start_to_close") -> None:
        super().__init__(message)
        self.kind = kind


class NonRetryableError(FlowactorError):
    """For users: raised in a step, this (or a subclass) ends it at once, whatever its retry
    policy.
    """


class TooSlowError(FlowactorError):
    """The block under ``fail_after`` or ``fail_at`` did not end in time and was cancelled."""


class DeterminismViolation(FlowactorError):
    """The workflow's code asked for something else than its recorded history."""


class InternalError(FlowactorError):
    """A bug of flowactor's: a node broke while it answered this request. It goes on, and its events
    tell more.
    """

    outcome_unknown = True


def by_code(code: str, message: str) -> FlowactorError:
    """The error that travelled as (class name, message); unknown codes become ``Unavailable``."""
    cls = globals().get(code)
    if isinstance(cls, type) and issubclass(cls, FlowactorError):
        return cls(message)
    return Unavailable(f"{code}: {message}")
