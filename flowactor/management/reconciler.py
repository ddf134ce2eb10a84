"""The deciding half of the reconciler: what one node, or the leader of one group, is to do next.

Each function looks at the management state as this node has applied it, and at what the node itself
knows, and names the next steps. Nothing is remembered in between: whoever crashes, or is deposed,
or misses a step, asks again and goes on. A step may be done twice, and by two leaders who both
think they lead; the group's log and the management group's fences see to the rest.

Facts told to these functions are committed facts: of a leader, as of an index in its own term, so
that everything that was committed before it led is in them.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Final

from attrs import field, frozen

from flowactor.identity import GroupId, NodeId
from flowactor.management.operations import (
    AdvanceMove,
    DeclareLiveness,
    ManagementOperation,
    ReportGroup,
)
from flowactor.management.roles import desired_management_configuration, next_membership
from flowactor.management.state import (
    MANAGEMENT_GROUP,
    Group,
    Liveness,
    Membership,
    Move,
    MoveId,
    Phase,
    Topology,
)

__all__ = [
    "ChangeMembership",
    "CloseReplica",
    "Deed",
    "GroupStep",
    "HandOff",
    "LocalGroup",
    "NodeStep",
    "OpenReplica",
    "Propose",
    "Stage",
    "TransferLeadership",
    "steps_for_group_leader",
    "steps_for_management_leader",
    "steps_for_node",
]


# -- what is known --------------------------------------------------------------------------------


class Stage(enum.Enum):
    """How far a group itself is with a move. ``NONE``: it has not begun it. ``OVER``: it has, and
    nothing of it is left to do there; the group never begins it again.
    """

    NONE = "none"
    FROZEN = "frozen"
    ARRIVING = "arriving"
    COMPLETE = "complete"
    FORGETTING = "forgetting"
    OVER = "over"


@frozen
class LocalGroup:
    """What the leader of a group knows of it.

    Attributes:
        node: the leader.
        term: in which it leads.
        index: up to where it has applied; at least one entry of its own term.
        configuration: the newest committed one.
        configuration_index: of the entry that brought it.
        changing: a configuration is not committed yet, or is joint: nobody may begin another.
        reachable: itself, the members whose replicas it has heard from within a lease, and of the
            other nodes those to which the link is up.
        caught_up: members that have everything but what is under way.
        stages: of the moves in the management state that concern the group.
        runs, bytes: how much is in it.
        settled: that has been the same for a while.
    """

    node: NodeId
    group: GroupId
    term: int
    index: int
    configuration: Membership
    configuration_index: int
    changing: bool = False
    reachable: frozenset[NodeId] = frozenset()
    caught_up: frozenset[NodeId] = frozenset()
    stages: Mapping[MoveId, Stage] = field(factory=dict)
    runs: int = 0
    bytes: int = 0
    settled: bool = False


# -- what is to be done ---------------------------------------------------------------------------


@frozen
class OpenReplica:
    """Have a replica of a group here, if there is none.

    Attributes:
        founders: the voters of the founding configuration, at index 0 of the log.
        as_founder: this node is one of them and may act as one. If not, or if it closed a replica
            of the group before, it has no configuration until a leader sends it one.
        all_slots: whether the group was founded with all slots, or with none.
    """

    group: GroupId
    founders: tuple[NodeId, ...]
    as_founder: bool
    all_slots: bool


@frozen
class CloseReplica:
    """Stop and delete the replica here, all but the group's term and vote, and where its log ended:
    a node that comes back to a group must not vote twice in one term, nor for somebody who lacks
    what it has acknowledged, nor take itself for a founder.
    """

    group: GroupId


@frozen
class ChangeMembership:
    """Propose this configuration, one node away from the present one."""

    group: GroupId
    membership: Membership


@frozen
class TransferLeadership:
    """Hand the lead over: this node is about to leave the group."""

    group: GroupId
    to: NodeId


class Deed(enum.Enum):
    """What a group does for a move, through its own log but for ``SEND``: that is to ask the
    target's leader how far it is, and to send the page after that.
    """

    FREEZE = "freeze"
    EXPECT = "expect"
    SEND = "send"
    ACTIVATE = "activate"
    FORGET = "forget"
    RELEASE = "release"


@frozen
class HandOff:
    move: Move
    deed: Deed


@frozen
class Propose:
    """Propose this to the management group; if it is lost, it is asked for again."""

    operation: ManagementOperation


NodeStep = OpenReplica | CloseReplica
GroupStep = ChangeMembership | TransferLeadership | HandOff | Propose


# -- a node ---------------------------------------------------------------------------------------


Configured = Callable[[GroupId], tuple[int, int] | None]
"""The term and index of the entry in a replica's own log that brought its newest configuration,
committed or not; a later term will do. None: it does not run.
"""


def steps_for_node(
    topology: Topology, node: NodeId, replicas: frozenset[GroupId], configured: Configured
) -> tuple[NodeStep, ...]:
    """Which replicas to open and to close here. All steps are independent of each other.

    Args:
        topology: as this node has applied it; it may have been overtaken long ago.
        node: this one.
        replicas: the execution groups that it has replicas of, running or not.
        configured: what those that run know of their members.
    """
    opened: list[NodeStep] = [
        OpenReplica(group.id, group.founders, _is_founder(topology, group, node), group.first)
        for group in topology.groups_in_order()
        if group.id not in replicas
        and (node in group.members or _is_awaited(topology, group, node))
    ]
    closed = [
        CloseReplica(group)
        for group in sorted(replicas)
        if _may_close(topology, node, group, configured)
    ]
    return (*opened, *closed)


def _is_awaited(topology: Topology, group: Group, node: NodeId) -> bool:
    """Until a group has a leader, its founders are needed, even those that are to leave it."""
    return group.id not in topology.reports and node in group.founders


def _is_founder(topology: Topology, group: Group, node: NodeId) -> bool:
    kept = node in group.founders and node not in group.dismissed
    return kept or _is_awaited(topology, group, node)


def _may_close(topology: Topology, node: NodeId, key: GroupId, configured: Configured) -> bool:
    """The group has ended, or its leader, who knew that this node is to go, has reported a
    committed configuration without it; and that is newer than what the replica itself knows. For
    who lags may read of a removal when he is a member again, and has acknowledged what others count
    on. Whoever gets a vote has the entry that made it a learner, so its own log tells.
    """
    group = topology.groups.get(key)
    if group is None:
        return topology.has_ended(key)
    report = topology.reports.get(key)
    told_to_go = (
        node not in group.members
        and report is not None
        and report.version == group.version
        and node not in report.configuration.members
    )
    since = configured(key) if told_to_go else None
    # Terms come first: what a leader of a later term does not have is not committed, and never is.
    return since is not None and report is not None and (report.term, report.index) >= since


# -- the leader of an execution group -------------------------------------------------------------


def steps_for_group_leader(topology: Topology, local: LocalGroup) -> tuple[GroupStep, ...]:
    """At most one step of membership, one for each move, one report. Independent of each other."""
    group = topology.groups.get(local.group)
    if group is None:
        return ()
    steps: list[GroupStep] = []
    steps += _membership_steps(Membership(group.members), local)
    for move in topology.moves_of(group.id):
        stage = local.stages.get(move.id, Stage.NONE)
        side = _SOURCE if move.source == group.id else _TARGET
        if (deed := side.get((move.phase, stage))) is not None:
            steps.append(HandOff(move, deed))
        elif (move.phase, stage) in _DONE[side is _SOURCE]:
            steps.append(Propose(AdvanceMove(move.id, move.phase)))
    return (*steps, *_report_steps(topology, local, group))


_SOURCE: Final = {
    (Phase.FREEZE, Stage.NONE): Deed.FREEZE,
    (Phase.COPY, Stage.FROZEN): Deed.SEND,
    (Phase.FORGET, Stage.FROZEN): Deed.FORGET,
    (Phase.FORGET, Stage.FORGETTING): Deed.FORGET,
    (Phase.THAW, Stage.NONE): Deed.RELEASE,
    (Phase.THAW, Stage.FROZEN): Deed.RELEASE,
}
_TARGET: Final = {
    (Phase.COPY, Stage.NONE): Deed.EXPECT,
    (Phase.ACTIVATE, Stage.COMPLETE): Deed.ACTIVATE,
    (Phase.DISCARD, Stage.NONE): Deed.RELEASE,
    (Phase.DISCARD, Stage.ARRIVING): Deed.RELEASE,
    (Phase.DISCARD, Stage.COMPLETE): Deed.RELEASE,
    (Phase.DISCARD, Stage.FORGETTING): Deed.FORGET,
}
_DONE: Final = {
    True: frozenset(
        {
            (Phase.FREEZE, Stage.FROZEN),
            (Phase.FORGET, Stage.OVER),
            (Phase.THAW, Stage.OVER),
        }
    ),
    False: frozenset(
        {
            (Phase.COPY, Stage.COMPLETE),
            (Phase.ACTIVATE, Stage.OVER),
            (Phase.DISCARD, Stage.OVER),
        }
    ),
}
"""What a group can say of a move, by whether it is the source."""


def _membership_steps(desired: Membership, local: LocalGroup) -> list[GroupStep]:
    if local.changing:
        return []
    actual = local.configuration
    # Who leaves the cluster learns from the management group that it may stop.
    patient = local.group == MANAGEMENT_GROUP
    step = next_membership(desired, actual, local.reachable, local.caught_up, patient=patient)
    if step is None:
        return []
    if local.node in actual.voters and local.node not in step.voters:
        # Another leads first, so that no member waits for an election.
        heirs = set(desired.voters).intersection(actual.voters, local.caught_up, local.reachable)
        return [TransferLeadership(local.group, heir) for heir in sorted(heirs)[:1]]
    return [ChangeMembership(local.group, step)]


def _report_steps(topology: Topology, local: LocalGroup, group: Group | None) -> list[GroupStep]:
    if local.changing:
        return []  # a node that closed its replica on our word may be on its way into the group
    known = topology.reports.get(local.group)
    version = 0 if group is None else group.version
    if known is not None and (
        known.term == local.term
        and known.configuration_index == local.configuration_index
        and known.version == version
        and not _is_news(known.runs, local.runs, local.settled)
        and not _is_news(known.bytes, local.bytes, local.settled)
    ):
        return []
    report = ReportGroup(
        local.group,
        local.term,
        local.index,
        local.configuration_index,
        version,
        local.configuration.voters,
        local.configuration.learners,
        local.runs,
        local.bytes,
    )
    return [Propose(report)]


def _is_news(known: int, actual: int, settled: bool) -> bool:
    """Sizes change all the time, and are worth an entry when they have by half, or no longer do."""
    return actual != known and (settled or abs(actual - known) * 2 > max(known, 1))


# -- the leader of the management group -----------------------------------------------------------


def steps_for_management_leader(
    topology: Topology, local: LocalGroup, silent: frozenset[NodeId]
) -> tuple[GroupStep, ...]:
    """At most one step of membership, what to declare of nodes, one report.

    Args:
        topology: as the leader has applied it.
        local: of the management group.
        silent: other nodes that it has not heard from for a lease, by its own clock, while it led.
    """
    steps = _membership_steps(desired_management_configuration(topology), local)
    for node in topology.nodes_in_order():
        alive = node.liveness is Liveness.ALIVE
        wrong = node.id in silent if alive else node.id in local.reachable
        if wrong and not node.state.is_gone:
            declared = DeclareLiveness(node.id, local.term, node.liveness_epoch, not alive)
            steps.append(Propose(declared))
    return (*steps, *_report_steps(topology, local, None))
