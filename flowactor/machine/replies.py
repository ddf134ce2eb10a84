"""What the machine answers to an operation, and how a run stands. All records: they travel."""

import enum

from attrs import frozen

from flowactor.codec.records import record
from flowactor.identity import GroupId, RunId

__all__ = ["Done", "Moved", "Rejected", "Reply", "RunStatus", "Started", "Written"]


class RunStatus(enum.Enum):
    """``RUNNING`` and ``PARKED`` are open; every other status is terminal and absorbing."""

    RUNNING = "running"
    PARKED = "parked"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    TIMED_OUT = "timed_out"

    @property
    def is_open(self) -> bool:
        return self in (RunStatus.RUNNING, RunStatus.PARKED)


@record(60)
@frozen
class Done:
    """Applied; there is nothing more to say. ``changed`` is False if it made no difference."""

    changed: bool = True


@record(61)
@frozen
class Started:
    """``created`` is False if the run existed already with the same type and input."""

    workflow_id: str
    run_id: RunId
    version: int
    created: bool


@record(62)
@frozen
class Written:
    """The variable's new version, counted from 1."""

    version: int


@record(63)
@frozen
class Rejected:
    """``code`` is the name of a class in ``flowactor.errors``; ``outcome_unknown``: what was asked
    for may have happened all the same, or may still.
    """

    code: str
    message: str
    outcome_unknown: bool = False


@record(80)
@frozen
class Moved:
    """Nothing happened, and nothing is remembered of it: what this is about is not served by this
    group, as of ``move``. To be asked of ``group`` (0: unknown) with the same session and sequence;
    if it is ``under_way``, in a moment.
    """

    group: GroupId
    move: int
    under_way: bool = False


Reply = Done | Started | Written | Rejected | Moved
