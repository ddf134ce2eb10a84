"""What the management machine answers to a request. All records: they travel."""

from attrs import frozen

from flowactor.codec.records import record
from flowactor.identity import GroupId, NodeId
from flowactor.machine.replies import Done, Rejected

__all__ = ["Admitted", "Created", "ManagementReply"]


@record(440)
@frozen
class Admitted:
    """The id of the node that asked; ``created`` is False if it had it before."""

    node: NodeId
    created: bool


@record(441)
@frozen
class Created:
    """The id of a new group."""

    group: GroupId


ManagementReply = Done | Rejected | Admitted | Created
