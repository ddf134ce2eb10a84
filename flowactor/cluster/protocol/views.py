"""How the cluster looks to who asks: its nodes, groups, and slots on their way."""

from attrs import frozen

from flowactor.codec.records import record
from flowactor.identity import GroupId, NodeId

__all__ = [
    "ClusterView",
    "GroupView",
    "MoveView",
    "NodeView",
    "PlacementView",
    "ReplicasView",
]


@record(238)
@frozen
class NodeView:
    """``reachable`` as seen by the answering node; ``workflows`` as "Type v1" texts, and
    ``runs_owned``, as the groups know that were heard: None if one of its groups was not, though
    it was asked; ``disk`` is the id of its data directory.

    The rest is what the management group says, or empty while it says nothing: ``state`` is
    ``joining``, ``member`` or ``leaving``; ``liveness`` ``alive``, ``suspect`` or ``dead``;
    ``role`` in the management group ``voter`` or ``learner``; ``pin`` which of these an operator
    wants it to be; ``groups`` the execution groups that it ought to be in.
    """

    node: NodeId
    address: str
    reachable: bool
    workflows: tuple[str, ...]
    runs_owned: int | None
    disk: str = ""
    state: str = ""
    liveness: str = ""
    role: str = ""
    pin: str = ""
    groups: tuple[GroupId, ...] = ()


@record(239)
@frozen
class GroupView:
    """A group as the replica of the answering node has it: ``role`` is this replica's, ``voters``
    may be those of a change that is not committed yet. ``lags`` says how many entries each follower
    is behind; only the leader knows: it is empty unless this is told ``by_leader``. ``runs`` counts
    open runs, ``owned`` how many of them each node owns, if any.

    In a view that was gathered, only ``role`` and the indices are those of the answering node: the
    rest is from the replica that knows best. ``role`` is empty if there is no replica here: then
    the indices are of that one, too.
    """

    group: GroupId
    role: str
    term: int
    leader: NodeId
    last_index: int
    commit_index: int
    applied_index: int
    voters: tuple[NodeId, ...]
    lags: tuple[tuple[NodeId, int], ...]
    learners: tuple[NodeId, ...] = ()
    runs: int = 0
    owned: tuple[tuple[NodeId, int], ...] = ()
    by_leader: bool = False


@record(245)
@frozen
class ReplicasView:
    """The ``groups`` with a replica on ``node``, and which ``workflows`` (type and version) each
    node has registered in one of them.
    """

    node: NodeId
    groups: tuple[GroupView, ...]
    workflows: tuple[tuple[NodeId, tuple[tuple[str, int], ...]], ...]


@record(243)
@frozen
class PlacementView:
    """What the management group says of an execution group: ``state`` is ``active`` or
    ``draining``, ``members`` who ought to be in it; ``voters``, ``learners`` and ``runs`` (open) as
    its leader last reported, or as was gathered; ``slots`` how many it has of all workflow ids.
    """

    group: GroupId
    state: str
    members: tuple[NodeId, ...]
    voters: tuple[NodeId, ...]
    learners: tuple[NodeId, ...]
    slots: int
    runs: int


@record(244)
@frozen
class MoveView:
    """Slots on their way from one group to another; ``phase`` as ``flowactor.management.Phase``."""

    move: int
    source: GroupId
    target: GroupId
    slots: int
    phase: str


@record(240)
@frozen
class ClusterView:
    """``groups`` are those with a replica on the answering ``node``, and in a view that was
    gathered all that were heard; ``placements`` and ``moves`` all there are, and ``settings``, as
    the management group has them. ``runs_open`` counts those of ``groups``; None if one was not
    heard.
    """

    cluster: str
    node: NodeId
    version: str
    nodes: tuple[NodeView, ...]
    groups: tuple[GroupView, ...]
    runs_open: int | None
    placements: tuple[PlacementView, ...] = ()
    moves: tuple[MoveView, ...] = ()
    settings: tuple[tuple[str, int], ...] = ()
