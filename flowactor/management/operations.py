"""What a log entry asks of the management machine.

Requests of people and of joining nodes travel in ``ManagementRequest``, are applied at most once by
session and sequence, and are answered. The engine's own operations carry what they were decided on
(term, epoch, version, phase): a late or repeated one changes nothing.
"""

import enum

from attrs import frozen

from flowactor.codec.records import record
from flowactor.identity import GroupId, NodeId, SessionId, Slot
from flowactor.machine.operations import OpenSession
from flowactor.management.state import MoveId, Phase, Pin

__all__ = [
    "AbortMove",
    "AddMember",
    "AdmitNode",
    "AdvanceMove",
    "AnnounceMember",
    "ChangeSettings",
    "CreateGroup",
    "DeclareLiveness",
    "DrainGroup",
    "FoundCluster",
    "ManagementBody",
    "ManagementOperation",
    "ManagementRequest",
    "MoveMember",
    "MoveSlots",
    "PinNode",
    "Placement",
    "RemoveMember",
    "RemoveNode",
    "ReportGroup",
    "SetMetadata",
    "SetPlacement",
    "SplitGroup",
]


class Placement(enum.Enum):
    """Who chooses the members of a group."""

    PLANNER = "planner"
    OPERATOR = "operator"


# -- requests -------------------------------------------------------------------------------------


@record(410)
@frozen
class AdmitNode:
    """A node asks for its id; asking again with the same ``disk`` gives the same one. ``node`` is
    the id that a founding configuration gave it already; 0 asks for the next.
    """

    disk: str
    address: str
    feature_level: int
    labels: tuple[tuple[str, str], ...] = ()
    node: NodeId = NodeId(0)


@record(411)
@frozen
class RemoveNode:
    """Take a node out for good: one that is alive leaves gracefully, another is gone at once."""

    node: NodeId


@record(412)
@frozen
class PinNode:
    """Make a node a voter or a learner of the management group, or leave that to the engine."""

    node: NodeId
    pin: Pin


@record(413)
@frozen
class CreateGroup:
    """A new group of exactly these nodes."""

    members: tuple[NodeId, ...]


@record(414)
@frozen
class SplitGroup:
    """A new group beside this one, on the nodes that have the least to do; slots follow."""

    group: GroupId


@record(415)
@frozen
class DrainGroup:
    """Move all slots away from a group, then end it."""

    group: GroupId


@record(416)
@frozen
class AddMember:
    group: GroupId
    node: NodeId


@record(417)
@frozen
class RemoveMember:
    group: GroupId
    node: NodeId


@record(418)
@frozen
class MoveMember:
    """``node`` hands its place in the group to ``successor``."""

    group: GroupId
    node: NodeId
    successor: NodeId


@record(419)
@frozen
class SetPlacement:
    """Who chooses the members from here on."""

    group: GroupId
    placement: Placement


@record(420)
@frozen
class SetMetadata:
    """``value`` None deletes the name."""

    group: GroupId
    name: str
    value: str | None


@record(421)
@frozen
class MoveSlots:
    """Move these slots to a group, from wherever they are."""

    slots: tuple[Slot, ...]
    target: GroupId


@record(422)
@frozen
class AbortMove:
    move: MoveId


@record(423)
@frozen
class ChangeSettings:
    """(name, value) pairs; see ``Settings``. 0 and 1 stand for no and yes."""

    changes: tuple[tuple[str, int], ...]


ManagementBody = (
    AdmitNode
    | RemoveNode
    | PinNode
    | CreateGroup
    | SplitGroup
    | DrainGroup
    | AddMember
    | RemoveMember
    | MoveMember
    | SetPlacement
    | SetMetadata
    | MoveSlots
    | AbortMove
    | ChangeSettings
)


@record(401)
@frozen
class ManagementRequest:
    """As ``ClientOperation`` of the execution machine, field by field."""

    session: SessionId
    sequence: int
    acknowledged: int
    body: ManagementBody


# -- the engine's own -----------------------------------------------------------------------------


@record(402)
@frozen
class AnnounceMember:
    """A node says that it is up and follows the management group. The first of these makes it a
    member; each replaces what it said before. Valid only with its own ``disk``, and as exactly the
    next one after ``announcement``, the count of those so far.
    """

    node: NodeId
    disk: str
    announcement: int
    incarnation: str
    address: str
    feature_level: int
    labels: tuple[tuple[str, str], ...] = ()


@record(403)
@frozen
class DeclareLiveness:
    """The leader of ``term`` has not heard from a node for a lease, or hears from it again. Valid
    only at exactly this epoch of the node's liveness.
    """

    node: NodeId
    term: int
    epoch: int
    alive: bool


@record(404)
@frozen
class ReportGroup:
    """What the leader of a group knows of it (see ``Report``). ``term`` is its own; nothing that
    was reported goes back in any of term, index, configuration's index and version.
    """

    group: GroupId
    term: int
    index: int
    configuration_index: int
    version: int
    voters: tuple[NodeId, ...]
    learners: tuple[NodeId, ...]
    runs: int = 0
    bytes: int = 0


@record(405)
@frozen
class AdvanceMove:
    """What ``phase`` asks for is done: it is committed in the log of the group that did it, so it
    stays true, whoever says it and however late. Valid only in exactly this phase.
    """

    move: MoveId
    phase: Phase


@record(406)
@frozen
class FoundCluster:
    """The founders, who know each other since before there was a log: (id, data directory,
    address). They are members, and of the first execution group, which has all slots. Changes
    nothing where there is a node already.
    """

    founders: tuple[tuple[NodeId, str, str], ...]


ManagementOperation = (
    OpenSession
    | ManagementRequest
    | AnnounceMember
    | DeclareLiveness
    | ReportGroup
    | AdvanceMove
    | FoundCluster
)
