"""What a client asks any node, and what it hears back: the one way in (``design.md``, D12).

A ``Request`` travels as one record per frame item. A request that changes something carries the
client's session and sequence, so any node may be asked again and it still happens at most once.
Payload fields hold bytes of ``flowactor.codec.payloads``; the ``...Json`` forms are for callers
that do not have the Python types (the CLI, other languages): the node converts and checks them.
"""

from attrs import frozen

from flowactor.cluster.protocol.views import ClusterView, ReplicasView
from flowactor.codec.records import record
from flowactor.identity import GroupId, NodeId, RunId, SessionId
from flowactor.machine.events import Failure
from flowactor.machine.handoff import Progress
from flowactor.machine.operations import (
    CancelRun,
    CompareAndSet,
    OpenSession,
    ResumeRun,
    SignalRun,
    StartRun,
    TerminateRun,
    WriteVariable,
)
from flowactor.machine.replies import Done, Rejected, RunStatus, Started, Written
from flowactor.management.operations import ManagementBody
from flowactor.management.replies import Admitted, Created

__all__ = [
    "Answer",
    "Body",
    "DescribeCluster",
    "DescribeMove",
    "DescribeReplicas",
    "DescribeRun",
    "Ended",
    "EventPage",
    "EventPlace",
    "EventView",
    "ExportHistory",
    "FollowEvents",
    "FollowedEvents",
    "GetHistory",
    "GetResult",
    "HistoryPart",
    "ListRuns",
    "MoveProgress",
    "Mutation",
    "Opened",
    "Query",
    "QueryJson",
    "ReadRunVariable",
    "ReadVariable",
    "Request",
    "Response",
    "RunPage",
    "RunView",
    "SignalJson",
    "StartJson",
    "StepView",
    "TransferLead",
    "Value",
    "VariableView",
    "WatchVariable",
]


@record(200)
@frozen
class StartJson:
    """Start with arguments as a JSON text: an array of the arguments, or one value for one
    argument.
    """

    workflow_id: str
    run_id: RunId
    workflow_type: str
    version: int
    arguments_json: str
    timeout_ns: int = 0


@record(201)
@frozen
class SignalJson:
    workflow_id: str
    run_id: str
    name: str
    arguments_json: str


@record(202)
@frozen
class Query:
    workflow_id: str
    run_id: str
    name: str
    arguments: bytes


@record(203)
@frozen
class QueryJson:
    workflow_id: str
    run_id: str
    name: str
    arguments_json: str


@record(204)
@frozen
class GetResult:
    """Answered with ``Ended`` once the run is closed, or with an open ``Ended`` after
    ``wait_ms``.
    """

    workflow_id: str
    run_id: str
    wait_ms: int


@record(205)
@frozen
class DescribeRun:
    workflow_id: str
    run_id: str


@record(206)
@frozen
class ListRuns:
    """Newest first. ``status`` and ``workflow_type`` empty mean any; ``offset`` and ``limit``
    page.
    """

    status: str
    workflow_type: str
    offset: int
    limit: int


@record(207)
@frozen
class GetHistory:
    """Events of one run in the rows of its history with a number above ``after``, without the first
    ``offset`` facts of these; start with 0 and 0. ``newest`` asks for the last ``limit`` instead.
    If there are none yet, and the run has not ended, wait up to ``wait_ms``.
    """

    workflow_id: str
    run_id: str
    after: int
    limit: int
    newest: bool = False
    offset: int = 0
    wait_ms: int = 0


@record(253)
@frozen
class EventPlace:
    """Where an event stands: in a group, at a log index, the how-manieth of that entry."""

    group: GroupId
    index: int
    ordinal: int


@record(208)
@frozen
class FollowEvents:
    """Events of all runs after ``places``, in order, at most ``limit``; if there are none yet, wait
    up to ``wait_ms``. Of a group that has no place there, from its beginning; with ``from_now``
    nothing of what has happened.
    """

    places: tuple[EventPlace, ...]
    limit: int
    wait_ms: int
    from_now: bool = False


@record(209)
@frozen
class ReadVariable:
    """A stand-alone variable, linearizable."""

    name: str


@record(210)
@frozen
class WatchVariable:
    """Answered when the variable's version differs from ``version``, or after ``wait_ms``."""

    name: str
    version: int
    wait_ms: int


@record(211)
@frozen
class ReadRunVariable:
    workflow_id: str
    run_id: str
    name: str


@record(212)
@frozen
class DescribeCluster:
    """Answered at once from what the asked node knows; with ``everywhere`` it first asks others,
    for no longer than a moment, what their replicas know.
    """

    everywhere: bool = False


@record(214)
@frozen
class DescribeReplicas:
    """What the replicas of one node know: asked by a node that gathers it. No client does."""


@record(213)
@frozen
class ExportHistory:
    """The rows of a run's history with a number above ``after``, as they are kept, without the
    first ``offset`` bytes of these; start with 0 and 0.
    """

    workflow_id: str
    run_id: str
    after: int
    offset: int


@record(242)
@frozen
class TransferLead:
    """Have the leader of a group hand over to one of its voters; ``to`` 0 is the one that is best
    prepared. Answered once another leads, with ``Done``, which says whether that is new. Nothing of
    it is kept, so asking twice is harmless.
    """

    group: GroupId
    to: NodeId


@record(250)
@frozen
class DescribeMove:
    """How far a group is with slots that arrive: asked by whoever sends them. No client does."""

    group: GroupId
    move: int


Mutation = (
    OpenSession
    | StartRun
    | StartJson
    | SignalRun
    | SignalJson
    | CancelRun
    | TerminateRun
    | ResumeRun
    | WriteVariable
    | CompareAndSet
    | ManagementBody
)
Read = (
    Query
    | QueryJson
    | GetResult
    | DescribeRun
    | ListRuns
    | GetHistory
    | FollowEvents
    | ReadVariable
    | WatchVariable
    | ReadRunVariable
    | DescribeCluster
    | DescribeReplicas
    | DescribeMove
    | ExportHistory
    | TransferLead
)
"""``TransferLead`` is no change either: the state is the same whoever leads."""
Body = Mutation | Read


@record(220)
@frozen
class Request:
    """``number`` pairs the response on one connection. ``timeout_ms`` is how long the client will
    wait.

    ``session``, ``sequence`` and ``acknowledged`` are used by mutations only. ``hops`` counts nodes
    that passed the request on. ``opened_ns`` is log time when the session was opened, for groups
    that see it for the first time. ``group`` names the group that is asked; 0: whoever has it.
    """

    number: int
    timeout_ms: int
    session: SessionId
    sequence: int
    acknowledged: int
    body: Body
    hops: int = 0
    opened_ns: int = 0
    group: int = 0


@record(230)
@frozen
class Value:
    """A payload."""

    payload: bytes


@record(231)
@frozen
class Ended:
    """How a run stands; ``result`` and ``failure`` by status."""

    run_id: RunId
    status: RunStatus
    result: bytes = b""
    failure: Failure | None = None
    reason: str = ""


@record(232)
@frozen
class StepView:
    """A pending step. ``state`` is ``running`` or ``backing off``; ``due_ns`` when a retry is
    due.
    """

    key: str
    name: str
    attempt: int
    state: str
    due_ns: int
    last_failure: Failure | None = None


@record(233)
@frozen
class RunView:
    """``reason`` tells why a run is parked, cancelled or terminated; times are epoch nanoseconds
    (0: not yet). ``large`` are variables whose values there is no room for, with their sizes in
    bytes: each can be read alone.
    """

    workflow_id: str
    run_id: RunId
    workflow_type: str
    version: int
    status: RunStatus
    owner: NodeId
    epoch: int
    position: int
    started_ns: int
    closed_ns: int
    reason: str
    variables: tuple[tuple[str, bytes], ...] = ()
    steps: tuple[StepView, ...] = ()
    timers: tuple[tuple[str, int], ...] = ()
    inbox: int = 0
    diverged: str = ""
    large: tuple[tuple[str, int], ...] = ()


@record(234)
@frozen
class RunPage:
    runs: tuple[RunView, ...]
    total: int


@record(235)
@frozen
class EventView:
    """One line of a history: ``kind`` is a word (``started``, ``step_scheduled``,
    ``step_completed``, ``variable_set``, ``owner_changed``, ``completed`` ...), ``detail`` a short
    text, ``payload`` its value. ``group``, ``index`` and ``ordinal`` are its place; ``index`` is -1
    of what happened in another group, before the run moved to this one.
    """

    group: GroupId
    index: int
    ordinal: int
    stamp_ns: int
    workflow_id: str
    run_id: RunId
    kind: str
    detail: str
    node: NodeId
    payload: bytes = b""


@record(236)
@frozen
class EventPage:
    """As many events of one run as were asked for, or as a message carries; none: there are no more
    (yet). What follows comes after the row ``next_after``, and ``next_offset`` facts of the next.
    """

    events: tuple[EventView, ...]
    next_after: int
    next_offset: int


@record(254)
@frozen
class FollowedEvents:
    """Events of all runs, as many as were asked for, or as a message carries; none: there are no
    more yet. Those of one group are in the order of its log; between groups, as their clocks say.
    What follows comes after ``places``.
    """

    events: tuple[EventView, ...]
    places: tuple[EventPlace, ...]


@record(237)
@frozen
class VariableView:
    """``value`` None: it does not exist (version 0)."""

    name: str
    value: bytes | None
    version: int


@record(241)
@frozen
class HistoryPart:
    """Encoded rows of a history, in order. A row may be as large as a message, so the first piece
    may be the rest of one, and the last only the beginning of one: what follows comes after
    ``next_after`` and ``next_offset``.

    ``rows`` is how many there are in all, so far; ``started_ns`` when the run began.
    """

    run_id: RunId
    started_ns: int
    rows: int
    pieces: tuple[bytes, ...]
    next_after: int
    next_offset: int


@record(252)
@frozen
class Opened:
    """A session is open, as of this log time."""

    opened_ns: int


@record(251)
@frozen
class MoveProgress:
    """``progress`` None: the group does not expect the move, or not yet."""

    progress: Progress | None


Answer = (
    Done
    | Started
    | Written
    | Rejected
    | Value
    | Ended
    | RunView
    | RunPage
    | EventPage
    | FollowedEvents
    | VariableView
    | ClusterView
    | ReplicasView
    | HistoryPart
    | Admitted
    | Created
    | MoveProgress
    | Opened
)


@record(221)
@frozen
class Response:
    number: int
    answer: Answer
