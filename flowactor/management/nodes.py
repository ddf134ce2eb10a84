"""Nodes: admission, announcement, liveness, and the ways to be gone."""

from typing import Final

from attrs import evolve

from flowactor.identity import NodeId
from flowactor.limits import NAME_BYTES_MAX, NANOSECONDS
from flowactor.machine.replies import Done, Rejected
from flowactor.management.groups import set_members
from flowactor.management.majorities import Need, need_of
from flowactor.management.operations import (
    AdmitNode,
    AnnounceMember,
    DeclareLiveness,
    PinNode,
    RemoveNode,
)
from flowactor.management.replies import Admitted
from flowactor.management.roles import choose_voters
from flowactor.management.state import (
    MANAGEMENT_GROUP,
    Liveness,
    Node,
    NodeState,
    Pin,
    Topology,
)

__all__ = [
    "admit",
    "announce",
    "bury_suspects",
    "conclude_leaving",
    "declare_liveness",
    "next_burial_ns",
    "next_node_id",
    "pin",
    "remove",
    "settle_roles",
]

NODE_ID_MAX: Final = 2**31
LABELS_MAX: Final = 100


def next_node_id(known: int) -> NodeId:
    """The id of the next node, if ``known`` is the highest that was ever given: never one again."""
    return NodeId(known + 1)


# -- coming ---------------------------------------------------------------------------------------


def admit(topology: Topology, body: AdmitNode) -> Admitted | Rejected:
    """Give a data directory its node id, once."""
    known = topology.node_of_disk(body.disk)
    if known is not None:
        return _admit_again(topology, body, known)
    if problem := _problem_of(topology, body):
        return problem
    before = _node_at(topology, body.address)
    if before is not None:
        if before.liveness is Liveness.ALIVE:
            message = (
                f"{body.address} is the address of node {before.id}, which is alive: give this "
                f"node another one, or stop node {before.id} and try again"
            )
            return Rejected("Refused", message)
        if need := need_of(topology, before.id):
            message = (
                f"{body.address} is the address of node {before.id}, which is silent; if it were "
                f"given up for another data directory, {need}. If that of node {before.id} is "
                f"there, start it with that{_others_of(need, before)}; if it is lost, give this "
                "node another address"
            )
            return Rejected("Refused", message)
        _make_gone(topology, before, NodeState.LOST)
    node = body.node or next_node_id(topology.last_node)
    topology.last_node = max(topology.last_node, node)
    topology.nodes[node] = Node(
        node, body.disk, body.address, feature_level=body.feature_level, labels=body.labels
    )
    return Admitted(node, created=True)


def _admit_again(topology: Topology, body: AdmitNode, known: Node) -> Admitted | Rejected:
    if known.state.is_gone:
        message = (
            f"this data directory was node {known.id}, which is {known.state.value} for good: "
            "start with an empty one"
        )
        return Rejected("Refused", message)
    if body.node not in (0, known.id):
        message = f"this data directory is node {known.id}, not {body.node}"
        return Rejected("AlreadyExists", message)
    if known.state is NodeState.JOINING:
        topology.nodes[known.id] = evolve(known, address=body.address)
    return Admitted(known.id, created=False)


def _problem_of(topology: Topology, body: AdmitNode) -> Rejected | None:
    texts = [body.disk, body.address, *(text for label in body.labels for text in label)]
    if not body.disk or not body.address or len(body.labels) > LABELS_MAX:
        message = f"a node has a data directory, an address, and at most {LABELS_MAX} labels"
        return Rejected("InvalidInput", message)
    if any(len(text.encode()) > NAME_BYTES_MAX for text in texts):
        return Rejected("InvalidInput", f"no name or address is longer than {NAME_BYTES_MAX} bytes")
    if not 0 <= body.node <= NODE_ID_MAX or not 1 <= body.feature_level <= NODE_ID_MAX:
        message = f"node ids and feature levels count from 1, up to {NODE_ID_MAX}"
        return Rejected("InvalidInput", message)
    if body.node in topology.nodes:
        return Rejected("AlreadyExists", f"there is a node {body.node} with another data directory")
    if body.feature_level < topology.feature_level:
        message = (
            f"the cluster is at feature level {topology.feature_level}, this node knows "
            f"{body.feature_level}: upgrade it first"
        )
        return Rejected("Refused", message)
    return None


def _node_at(topology: Topology, address: str) -> Node | None:
    return next(
        (
            node
            for node in topology.nodes_in_order()
            if node.address == address and not node.state.is_gone
        ),
        None,
    )


def announce(topology: Topology, operation: AnnounceMember) -> str:
    """A node is up and says what it is. Returns why that counts for nothing, or nothing."""
    node = topology.nodes.get(operation.node)
    if node is None or node.disk != operation.disk or node.state.is_gone:
        return f"node {operation.node} is gone, or another data directory"
    if operation.announcement != node.announcements:
        return f"{node.announcements} announcements so far, not {operation.announcement}"
    joined = node.state is NodeState.JOINING
    topology.nodes[node.id] = evolve(
        _with_liveness(node, Liveness.ALIVE),
        state=NodeState.MEMBER if joined else node.state,
        announcements=node.announcements + 1,
        incarnation=operation.incarnation,
        address=operation.address,
        feature_level=operation.feature_level,
        labels=operation.labels,
    )
    present = (other for other in topology.nodes.values() if not other.state.is_gone)
    everybody = min(other.feature_level for other in present)
    # It never falls: what is in the log and in rows already may need it.
    topology.feature_level = max(topology.feature_level, everybody)
    return ""


# -- liveness -------------------------------------------------------------------------------------


def declare_liveness(
    topology: Topology, operation: DeclareLiveness, term: int, clock_ns: int
) -> str:
    """The leader's word on a node. Returns why it counts for nothing, or nothing."""
    node = topology.nodes.get(operation.node)
    if operation.term != term:
        return f"of term {operation.term}, the entry's is {term}"
    if node is None or node.state.is_gone:
        return f"there is no node {operation.node} any more"
    if operation.epoch != node.liveness_epoch:
        return f"of epoch {operation.epoch}, the node's is {node.liveness_epoch}"
    if operation.alive:
        topology.nodes[node.id] = _with_liveness(node, Liveness.ALIVE)
    elif node.liveness is Liveness.ALIVE:
        suspect = _with_liveness(node, Liveness.SUSPECT)
        topology.nodes[node.id] = evolve(suspect, suspected_ns=clock_ns)
    return ""


def _with_liveness(node: Node, liveness: Liveness) -> Node:
    if node.liveness is liveness:
        return node
    return evolve(node, liveness=liveness, liveness_epoch=node.liveness_epoch + 1, suspected_ns=0)


def next_burial_ns(topology: Topology) -> int | None:
    """When, in log time, the next suspect is dead; None if nobody is, or never."""
    limit_ns = topology.settings.replace_after_seconds * NANOSECONDS
    suspected = [
        node.suspected_ns
        for node in topology.nodes.values()
        if node.liveness is Liveness.SUSPECT and not node.state.is_gone
    ]
    return min(suspected) + limit_ns if suspected and limit_ns else None


def bury_suspects(topology: Topology, clock_ns: int) -> None:
    """Give up on the nodes that have been suspect for too long; they may still come back."""
    limit_ns = topology.settings.replace_after_seconds * NANOSECONDS
    for node in topology.nodes_in_order() if limit_ns else []:
        suspect = node.liveness is Liveness.SUSPECT and not node.state.is_gone
        if suspect and node.suspected_ns + limit_ns <= clock_ns:
            topology.nodes[node.id] = _with_liveness(node, Liveness.DEAD)


# -- going ----------------------------------------------------------------------------------------


def remove(topology: Topology, body: RemoveNode) -> Done | Rejected:
    """An operator takes a node out, or it asks for that itself as it stops for good. One that is
    silent is gone at once, unless a group needs it: what it has might be lost for good by that.
    """
    node = topology.nodes.get(body.node)
    if node is None:
        return Rejected("NotFound", f"there is no node {body.node}; `members list` names them")
    if node.state.is_gone:
        return Done(changed=False)
    others = (other for other in topology.nodes.values() if other.id != node.id)
    if not any(other.state is NodeState.MEMBER for other in others):
        return Rejected("InvalidInput", f"node {node.id} is the last one: stop it instead")
    if node.liveness is Liveness.ALIVE:
        topology.nodes[node.id] = evolve(node, state=NodeState.LEAVING)
        return Done(changed=node.state is not NodeState.LEAVING)
    if need := need_of(topology, node.id):
        message = (
            f"node {node.id} does not answer, and if it were given up {need}. Start it "
            f"again{_others_of(need, node)}, then remove it"
        )
        return Rejected("InvalidInput", message)
    _make_gone(topology, node, NodeState.REMOVED)
    return Done()


def _others_of(need: Need, node: Node) -> str:
    """Who could make up for the node instead."""
    others = [str(other) for other in need.silent if other != node.id]
    return f", or node {', '.join(others)}, which is silent, too" if others else ""


def _make_gone(topology: Topology, node: Node, state: NodeState) -> None:
    topology.nodes[node.id] = evolve(node, state=state, voter=False, pin=Pin.NONE)
    for group in topology.groups_in_order():
        if node.id in group.members:
            rest = tuple(member for member in group.members if member != node.id)
            set_members(topology, group, rest)


def conclude_leaving(topology: Topology) -> None:
    """A node has left when no group ought to have it, and none reports that it still does."""
    for node in topology.nodes_in_order():
        if node.state is NodeState.LEAVING and not _is_needed(topology, node.id):
            _make_gone(topology, node, NodeState.LEFT)


def _is_needed(topology: Topology, node: NodeId) -> bool:
    if any(topology.may_be_in(group, node) for group in topology.groups.values()):
        return True
    management = topology.reports.get(MANAGEMENT_GROUP)
    return management is not None and node in management.configuration.voters


# -- roles in the management group ----------------------------------------------------------------


def pin(topology: Topology, body: PinNode) -> Done | Rejected:
    """An operator says what a node is to be in the management group."""
    node = topology.nodes.get(body.node)
    if node is None or node.state.is_gone:
        return Rejected("NotFound", f"there is no node {body.node}; `members list` names them")
    pins = {
        other.id: other.pin for other in topology.nodes.values() if other.state is NodeState.MEMBER
    }
    pins[node.id] = body.pin
    if all(value is Pin.LEARNER for value in pins.values()):
        message = "somebody has to vote: pin another node as a voter first, or unpin one"
        return Rejected("InvalidInput", message)
    voters = sum(value is Pin.VOTER for value in pins.values())
    if body.pin is Pin.VOTER and voters > topology.settings.management_voters_max:
        message = (
            f"{topology.settings.management_voters_max} nodes are pinned as voters already: "
            "unpin one of them, or raise management_voters_max"
        )
        return Rejected("InvalidInput", message)
    topology.nodes[node.id] = evolve(node, pin=body.pin)
    return Done(changed=node.pin is not body.pin)


def settle_roles(topology: Topology) -> None:
    """Say who ought to vote in the management group; while nobody can, that stays as it is."""
    voters = choose_voters(topology.nodes.values(), topology.settings.management_voters_max)
    for node in topology.nodes_in_order():
        if voters and node.voter != (node.id in voters):
            topology.nodes[node.id] = evolve(node, voter=node.id in voters)
