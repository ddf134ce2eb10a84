"""The management group: what the cluster looks like, and what it ought to look like. Pure.

Group 0 agrees on nodes, execution groups and the table of slots, never on runs. ``Management`` is
its state machine, driven in the same way as ``flowactor.machine.Machine`` (see there). The planner
has its say at the end of each entry that changed something, so the state is always what the plan
wants; the reconciler names the steps that make the world follow.

- ``state``, ``settings``: the facts, and what an operator may set.
- ``operations``, ``replies``, ``notices``: what a log entry asks, what it answers, what it tells.
- ``nodes``, ``groups``, ``slots``: the rules of each; ``planner``: who ought to be where.
- ``roles``: voters of group 0, and the way from one membership to another.
- ``reconciler``: what a node, and the leader of a group, is to do next.
- ``tables``: the rows, as a store keeps them and people query them.

The reconciler's loop, on each node, at each notice and each tick:

1. ``steps_for_node``: open and close replicas.
2. For each group that it leads, once it has applied an entry of its own term: gather a
   ``LocalGroup``, ask ``steps_for_group_leader`` (``steps_for_management_leader`` for group 0), do
   what it says. All steps of one answer may be done at once, or lost.
3. Until the node's own entry in ``topology.nodes`` says that it is a member with this incarnation,
   propose ``AnnounceMember`` with the count of announcements that stands there.
"""

from flowactor.management.management import Management
from flowactor.management.notices import (
    GroupsChanged,
    ManagementApplied,
    ManagementNotice,
    MovesChanged,
    NodesChanged,
    OperationIgnored,
    SettingsChanged,
    SlotsChanged,
)
from flowactor.management.reconciler import (
    ChangeMembership,
    CloseReplica,
    Deed,
    GroupStep,
    HandOff,
    LocalGroup,
    NodeStep,
    OpenReplica,
    Propose,
    Stage,
    TransferLeadership,
    steps_for_group_leader,
    steps_for_management_leader,
    steps_for_node,
)
from flowactor.management.roles import desired_management_configuration
from flowactor.management.settings import Settings
from flowactor.management.state import (
    MANAGEMENT_GROUP,
    NOBODY,
    Group,
    GroupState,
    Liveness,
    Membership,
    Move,
    MoveId,
    Node,
    NodeState,
    Phase,
    Pin,
    Report,
    Topology,
)
from flowactor.management.tables import TABLES

__all__ = [
    "MANAGEMENT_GROUP",
    "NOBODY",
    "TABLES",
    "ChangeMembership",
    "CloseReplica",
    "Deed",
    "Group",
    "GroupState",
    "GroupStep",
    "GroupsChanged",
    "HandOff",
    "Liveness",
    "LocalGroup",
    "Management",
    "ManagementApplied",
    "ManagementNotice",
    "Membership",
    "Move",
    "MoveId",
    "MovesChanged",
    "Node",
    "NodeState",
    "NodeStep",
    "NodesChanged",
    "OpenReplica",
    "OperationIgnored",
    "Phase",
    "Pin",
    "Propose",
    "Report",
    "Settings",
    "SettingsChanged",
    "SlotsChanged",
    "Stage",
    "Topology",
    "TransferLeadership",
    "desired_management_configuration",
    "steps_for_group_leader",
    "steps_for_management_leader",
    "steps_for_node",
]
