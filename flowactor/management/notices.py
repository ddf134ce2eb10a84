"""What an apply tells the node it happened on: what to look at. The state itself is the truth."""

from attrs import frozen

from flowactor.identity import GroupId, NodeId, SessionId
from flowactor.management.replies import ManagementReply
from flowactor.management.state import MoveId

__all__ = [
    "GroupsChanged",
    "ManagementApplied",
    "ManagementNotice",
    "MovesChanged",
    "NodesChanged",
    "OperationIgnored",
    "SettingsChanged",
    "SlotsChanged",
]


@frozen
class NodesChanged:
    """These nodes appeared or changed: addresses, states, liveness, roles."""

    nodes: tuple[NodeId, ...]


@frozen
class GroupsChanged:
    """These groups appeared, changed, were reported on, or ended."""

    groups: tuple[GroupId, ...]


@frozen
class MovesChanged:
    """These moves began, went on, or are over."""

    moves: tuple[MoveId, ...]


@frozen
class SlotsChanged:
    """The slot table has this version now."""

    version: int


@frozen
class SettingsChanged:
    """The settings, or the feature level of the cluster, are others now."""


@frozen
class OperationIgnored:
    """An operation of the engine's own changed nothing: the state had moved on."""

    operation: str
    reason: str


ManagementNotice = (
    NodesChanged | GroupsChanged | MovesChanged | SlotsChanged | SettingsChanged | OperationIgnored
)


@frozen
class ManagementApplied:
    """The outcome of one log entry, of the same shape as the execution machine's ``Applied``."""

    replies: tuple[tuple[SessionId, int, ManagementReply], ...]
    notices: tuple[ManagementNotice, ...]
