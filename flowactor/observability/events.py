"""What happens inside a node, as typed facts for logs, metrics and the simulator's timeline.

Nothing here is replicated state and nothing decides by it. An observer is called synchronously and
must not wait; it sees events of one node in the order they happened there.
"""

from collections.abc import Callable

import attrs
from attrs import frozen

from flowactor.identity import GroupId, NodeId, RunId

__all__ = [
    "ActorFailed",
    "ConnectionRefused",
    "ForeignCluster",
    "JoinIgnored",
    "LeaderChanged",
    "LinkDown",
    "LinkUp",
    "LogCompacted",
    "NodeStarted",
    "NodeStopped",
    "ObservedEvent",
    "Observer",
    "OwnerChanged",
    "Recovered",
    "RequestFailed",
    "RunDiverged",
    "RunEnded",
    "RunParked",
    "SnapshotFailed",
    "SnapshotInstalled",
    "SnapshotReceived",
    "SnapshotSent",
    "StepFinished",
    "StepStarted",
    "StorageFailed",
    "describe",
    "ignore",
]


@frozen
class NodeStarted:
    node: NodeId
    cluster: str
    address: str


@frozen
class NodeStopped:
    node: NodeId


@frozen
class JoinIgnored:
    """The node was told to join through ``seeds``, but its data directory belongs to ``cluster``,
    which has no node at any of them, as far as is known here.
    """

    node: NodeId
    cluster: str
    seeds: tuple[str, ...]


@frozen
class Recovered:
    """A group came back from disk: applied state, and log entries above it to apply again."""

    group: GroupId
    applied: int
    last_index: int
    open_runs: int


@frozen
class LeaderChanged:
    """``leader`` 0 means unknown for now."""

    group: GroupId
    term: int
    leader: NodeId


@frozen
class LogCompacted:
    """A group's log no longer holds entries up to ``index``; the state does."""

    group: GroupId
    index: int


@frozen
class SnapshotSent:
    """A follower that lacked entries works with the state that this leader sent it."""

    group: GroupId
    peer: NodeId
    index: int
    size_bytes: int


@frozen
class SnapshotFailed:
    """The state could not be brought to ``peer``, or from there; it is tried again."""

    group: GroupId
    peer: NodeId
    reason: str


@frozen
class SnapshotReceived:
    """The leader sends its state, from ``offset`` on: what comes before is here already."""

    group: GroupId
    peer: NodeId
    index: int
    offset: int
    size_bytes: int


@frozen
class SnapshotInstalled:
    """The state that the leader sent has taken the place of this node's own."""

    group: GroupId
    index: int


@frozen
class LinkUp:
    peer: NodeId
    address: str


@frozen
class LinkDown:
    peer: NodeId
    reason: str


@frozen
class ConnectionRefused:
    remote: str
    reason: str


@frozen
class ForeignCluster:
    """A node at ``address``, which is one of this cluster's or takes this node for one of its own,
    is of another cluster; ``reason`` is what that may come from, and what to do.
    """

    address: str
    cluster: str
    reason: str


@frozen
class OwnerChanged:
    run_id: RunId
    workflow_id: str
    owner: NodeId
    epoch: int


@frozen
class RunDiverged:
    """This node's code disagrees with what is committed; both sides are in ``mismatch``."""

    run_id: RunId
    workflow_id: str
    mismatch: str


@frozen
class RunParked:
    run_id: RunId
    workflow_id: str
    reason: str


@frozen
class RunEnded:
    run_id: RunId
    workflow_id: str
    status: str


@frozen
class StepStarted:
    run_id: RunId
    step: str
    attempt: int


@frozen
class StepFinished:
    """``outcome`` is ``completed``, ``failed``, ``timed out`` or ``cancelled``."""

    run_id: RunId
    step: str
    attempt: int
    outcome: str


@frozen
class ActorFailed:
    """An actor crashed and is restarted by its supervisor."""

    actor: str
    error: str


@frozen
class RequestFailed:
    """A bug struck while this node answered a request, named by its type; the node goes on."""

    request: str
    error: str


@frozen
class StorageFailed:
    error: str


ObservedEvent = (
    NodeStarted
    | NodeStopped
    | JoinIgnored
    | Recovered
    | LeaderChanged
    | LogCompacted
    | SnapshotSent
    | SnapshotFailed
    | SnapshotReceived
    | SnapshotInstalled
    | LinkUp
    | LinkDown
    | ConnectionRefused
    | ForeignCluster
    | OwnerChanged
    | RunDiverged
    | RunParked
    | RunEnded
    | StepStarted
    | StepFinished
    | ActorFailed
    | RequestFailed
    | StorageFailed
)
Observer = Callable[[ObservedEvent], None]


def ignore(_: ObservedEvent) -> None:
    """The observer of those who do not look."""


def describe(event: ObservedEvent) -> str:
    """One line for a log: ``leader changed: group=1 term=2 leader=3``. A text of several lines,
    such as why a run was parked, is folded.
    """
    name = type(event).__name__
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
    fields = (f"{field.name}={getattr(event, field.name)}" for field in attrs.fields(type(event)))
    return " ".join(f"{words}: {' '.join(fields)}".split())
