"""What an apply tells the node it happened on: hints for actors, never the values themselves.

What counts is the machine's state, read by position (rule *one_delivery_path*). The one exception
is ``Advanced``, which carries the events it consumed, since they have left the state by then.
"""

from attrs import frozen

from flowactor.identity import NodeId, RunId, SessionId, Slot, StepKey
from flowactor.machine.events import Event
from flowactor.machine.operations import Advance
from flowactor.machine.replies import Reply, RunStatus

__all__ = [
    "Advanced",
    "Applied",
    "InboxGrew",
    "MoveWentOn",
    "NodeAnnounced",
    "Notice",
    "OperationRefused",
    "OwnerChanged",
    "RunArrived",
    "RunClosed",
    "RunLeft",
    "RunOpened",
    "RunParked",
    "RunResumed",
    "SlotsLeft",
    "StepsDue",
    "VariableChanged",
]


@frozen
class RunOpened:
    """A run is there, with ``RunStarted`` as the first item of its inbox."""

    run_id: RunId


@frozen
class Advanced:
    """``advance`` is committed and the run now stands at ``position``; ``events`` are what it
    consumed, in order. Its ``now_ns`` is already clamped to the run's own time.
    """

    run_id: RunId
    position: int
    advance: Advance
    events: tuple[Event, ...]


@frozen
class InboxGrew:
    """At least one new item waits in the run's inbox."""

    run_id: RunId


@frozen
class StepsDue:
    """The back-off of these steps is over, in this order: their new attempts are to run."""

    run_id: RunId
    steps: tuple[StepKey, ...]


@frozen
class OwnerChanged:
    """Every pending step that is running is to be started by this owner, with its new attempt."""

    run_id: RunId
    owner: NodeId
    epoch: int


@frozen
class RunParked:
    run_id: RunId
    reason: str


@frozen
class RunResumed:
    run_id: RunId


@frozen
class RunClosed:
    run_id: RunId
    status: RunStatus


@frozen
class RunLeft:
    """Its slot was frozen: nothing of the run is to be done here any more. Nobody owns it, and what
    was decided before ``epoch`` is void.
    """

    run_id: RunId
    epoch: int


@frozen
class RunArrived:
    """An open run is there with all its past: from another group, or its slot is no longer frozen.
    Whoever owns it is told next, under a higher epoch; if it is parked, nobody is.
    """

    run_id: RunId
    epoch: int


@frozen
class SlotsLeft:
    """These slots were frozen: what is in them is served here no more."""

    slots: tuple[Slot, ...]


@frozen
class MoveWentOn:
    """This group has come to the next stage of a move of slots: the move may go on."""

    move: int


@frozen
class VariableChanged:
    """A stand-alone variable has this version now; 0 if it was deleted."""

    name: str
    version: int


@frozen
class NodeAnnounced:
    node: NodeId
    incarnation: str


@frozen
class OperationRefused:
    """An operation of the engine's own changed nothing (``run_id`` is empty where it concerned no
    single run). ``stale``: the state had moved on; else it never could have been done.
    """

    run_id: str
    operation: str
    reason: str
    stale: bool = True


Notice = (
    RunOpened
    | Advanced
    | InboxGrew
    | StepsDue
    | OwnerChanged
    | RunParked
    | RunResumed
    | RunClosed
    | RunLeft
    | RunArrived
    | SlotsLeft
    | MoveWentOn
    | VariableChanged
    | NodeAnnounced
    | OperationRefused
)


@frozen
class Applied:
    """The outcome of one log entry. ``replies`` are (session, sequence, reply) in log order, with
    sequence 0 for the opening of a session.
    """

    replies: tuple[tuple[SessionId, int, Reply], ...]
    notices: tuple[Notice, ...]
