"""The steward of a node: does what the management group's reconciler says is to be done here.

On the ticks of the management group it looks which replicas to open and to close, and what to
declare of other nodes; on those of a group that this node leads, for the next configuration and the
report of that one; and at everything whenever the management group applied something. A group about
which it found something to do does not rest. It remembers nothing else but when it last said what,
and since when a group is as large as it is: whoever crashed or was deposed looks again and goes on.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol, assert_never, cast

from flowactor.cluster.group.actor import ExecutionGroup, ManagementGroup
from flowactor.cluster.runs.moves import stage_of
from flowactor.cluster.runs.moving import Movers
from flowactor.codec.records import encode
from flowactor.identity import GroupId, NodeId
from flowactor.limits import NANOSECONDS, RESEND_SECONDS, SETTLED_SECONDS, TICK_SECONDS
from flowactor.machine import Machine
from flowactor.management import (
    MANAGEMENT_GROUP,
    ChangeMembership,
    CloseReplica,
    GroupStep,
    HandOff,
    LocalGroup,
    MoveId,
    OpenReplica,
    Propose,
    Stage,
    Topology,
    TransferLeadership,
    steps_for_group_leader,
    steps_for_management_leader,
    steps_for_node,
)
from flowactor.management import Membership as Members
from flowactor.management.operations import AnnounceMember, FoundCluster
from flowactor.ports import Clock
from flowactor.raft import Configuration, Status

__all__ = ["FEATURE_LEVEL", "Replicas", "Steward"]

FEATURE_LEVEL: Final = 1
"""Of this version of flowactor: see ``design.md``, D15."""


class Replicas(Protocol):
    """The execution groups that this node has replicas of."""

    @property
    def groups(self) -> Mapping[GroupId, ExecutionGroup]:
        """Those that run."""

    @property
    def held(self) -> frozenset[GroupId]:
        """Those that have data here, running or not."""

    def open(self, step: OpenReplica) -> None:
        """Make a replica and start it; by and by."""

    def close(self, group: GroupId) -> None:
        """Stop a replica and delete it; by and by."""


class Steward:
    """One node's.

    Args:
        node: this one; ``disk`` and ``address`` are its own.
        founders: (id, data directory, address) of all, on a node that is one of them.
        management: the replica of the management group here.
        replicas: of execution groups.
        movers: does what is to be done for slots that move.
        connected: whether there is a link to a node now.
        learned: told of the nodes of the cluster when they change: their addresses and disks.
        lease_seconds: for how long a node may be silent before it is declared lost.
    """

    def __init__(
        self,
        *,
        node: NodeId,
        disk: str,
        address: str,
        incarnation: str,
        founders: Callable[[], tuple[tuple[NodeId, str, str], ...]],
        management: ManagementGroup,
        replicas: Replicas,
        movers: Movers,
        connected: Callable[[NodeId], bool],
        learned: Callable[[Topology], None],
        lease_seconds: float,
        clock: Clock,
    ) -> None:
        self._node: Final = node
        self._disk: Final = disk
        self._address: Final = address
        self._incarnation: Final = incarnation
        self._founders: Final = founders
        self._management: Final = management
        self._replicas: Final = replicas
        self._movers: Final = movers
        self._connected: Final = connected
        self._learned: Final = learned
        self._lease_ticks: Final = lease_seconds / TICK_SECONDS
        self._lease_ns: Final = int(lease_seconds * NANOSECONDS)
        self._away_ns: Final[dict[NodeId, int]] = {}  # strangers without a link, since when
        self._clock: Final = clock
        self._is_stirred = False
        self._unfinished: Final[set[GroupId]] = {MANAGEMENT_GROUP}
        self._said_ns: Final[dict[object, int]] = {}
        self._sizes: Final[dict[GroupId, tuple[int, int]]] = {}  # that it leads: runs, since when

    @property
    def topology(self) -> Topology:
        """The cluster, as this node has applied it."""
        return self._management.machine.topology

    def applied(self) -> None:
        """The management group applied something that changed the cluster."""
        self._learned(self.topology)
        self.look()

    def leader_changed(self) -> None:
        """What was proposed to the last leader may be lost; silence is counted anew."""
        self._said_ns.clear()
        self._away_ns.clear()
        self.look()

    def is_busy(self, group: GroupId) -> bool:
        """Whether it found something to do when it last looked at the group, or has to look again
        soon. What concerns the node itself counts for the management group.
        """
        return group in self._unfinished

    def stir(self) -> None:
        """A link is new, or gone: what could not be done, or was, may be otherwise now."""
        self._is_stirred = True
        self._unfinished.add(MANAGEMENT_GROUP)
        self._management.wake()

    def ticked(self, group: ExecutionGroup | ManagementGroup) -> None:
        """A group here has ticked: look at it; with the management group, at what concerns the
        node itself.
        """
        if group is not self._management:
            self._look_at(cast("ExecutionGroup", group))
        elif self._is_stirred:
            self.look()
        else:
            self._look_at_cluster()

    def look(self) -> None:
        """Do all that is to be done now."""
        self._is_stirred = False
        self._look_at_cluster()
        for group in self._replicas.groups.values():
            self._look_at(group)

    def _look_at_cluster(self) -> None:
        self._unfinished.discard(MANAGEMENT_GROUP)
        topology = self.topology
        self._introduce(topology)
        if self._replicas.held != self._replicas.groups.keys():
            self._unfinished.add(MANAGEMENT_GROUP)  # one is being opened, or closed
        steps = steps_for_node(topology, self._node, self._replicas.held, self._configured)
        for step in steps:
            self._unfinished.add(MANAGEMENT_GROUP)
            match step:
                case OpenReplica():
                    self._replicas.open(step)
                case CloseReplica():
                    self._replicas.close(step.group)
                case _:
                    assert_never(step)
        local = self._local(self._management)
        if local is not None:
            silent = frozenset(self._silent()) - {self._node}
            self._do(self._management, steps_for_management_leader(topology, local, silent))

    def _configured(self, group: GroupId) -> tuple[int, int] | None:
        replica = self._replicas.groups.get(group)
        if replica is None:
            return None
        status = replica.progress()
        return status.configuration_term, status.configuration_index

    def _look_at(self, group: ExecutionGroup) -> None:
        was_unfinished = group.group in self._unfinished
        self._unfinished.discard(group.group)
        local = self._local(group)
        if local is not None:
            self._do(group, steps_for_group_leader(self.topology, local))
        if not was_unfinished and group.group in self._unfinished:
            group.wake()  # it may rest, and what was said now may be lost

    # -- this node --------------------------------------------------------------------------------

    def _introduce(self, topology: Topology) -> None:
        """Found the cluster, if that is still to be done; then say that this process is up."""
        if not topology.nodes:
            self._unfinished.add(MANAGEMENT_GROUP)
            if founders := self._founders():
                self._say(FoundCluster(founders))
            return
        known = topology.nodes.get(self._node)
        if known is None or known.disk != self._disk or known.state.is_gone:
            return
        if known.incarnation != self._incarnation:
            self._unfinished.add(MANAGEMENT_GROUP)
            self._say(
                AnnounceMember(
                    self._node,
                    self._disk,
                    known.announcements,
                    self._incarnation,
                    self._address,
                    FEATURE_LEVEL,
                )
            )

    # -- groups that it leads ---------------------------------------------------------------------

    def _local(self, group: ExecutionGroup | ManagementGroup) -> LocalGroup | None:
        """What this node knows of a group as its leader; None if it does not lead, or may not yet
        have everything that was committed before it did.
        """
        status = group.progress()
        if not 0 < status.leads_from <= group.applied:
            self._sizes.pop(group.group, None)
            return None
        configuration = status.configuration
        awake = {
            peer: known for peer, known in status.peers if known.ticks_silent < self._lease_ticks
        }
        heard = {peer for peer, known in awake.items() if known.heard}
        # A new leader does not know yet without whom it could go on.
        changing = (
            configuration.is_joint
            or status.configuration_index > group.applied
            or len(heard) < len(awake)
        )
        strangers = set(self.topology.nodes).difference(configuration.members)
        runs = len(group.machine.runs) if isinstance(group.machine, Machine) else 0
        return LocalGroup(
            node=self._node,
            group=group.group,
            term=status.term,
            index=group.applied,
            configuration=Members(
                tuple(sorted(configuration.voters)), tuple(sorted(configuration.learners))
            ),
            configuration_index=status.configuration_index,
            changing=changing,
            reachable=frozenset({self._node, *heard, *filter(self._connected, strangers)}),
            caught_up=frozenset(_caught_up(self._node, status)),
            stages=self._stages(group),
            runs=runs,
            settled=self._is_settled(group.group, runs),
        )

    def _is_settled(self, group: GroupId, runs: int) -> bool:
        """Whether a group has had as many runs for a while."""
        now_ns = self._clock.monotonic_ns()
        known, since_ns = self._sizes.get(group, (-1, now_ns))
        if known != runs:
            self._sizes[group] = (runs, now_ns)
            return False
        return now_ns - since_ns >= SETTLED_SECONDS * NANOSECONDS

    def _stages(self, group: ExecutionGroup | ManagementGroup) -> dict[MoveId, Stage]:
        machine = group.machine
        if not isinstance(machine, Machine):
            return {}
        return {move.id: stage_of(machine, move) for move in self.topology.moves_of(group.group)}

    def _silent(self) -> list[NodeId]:
        """Nodes that the management group's leader has not heard from for a lease; of those that
        are no members of it yet, whether there was a link.
        """
        heard = dict(self._management.progress().peers)
        now_ns = self._clock.monotonic_ns()
        silent = []
        for node in self.topology.nodes:
            if node in heard:
                if heard[node].ticks_silent >= self._lease_ticks:
                    silent.append(node)
            elif self._connected(node):
                self._away_ns.pop(node, None)
            elif self.topology.nodes[node].state.is_gone:
                pass
            elif now_ns - self._away_ns.setdefault(node, now_ns) >= self._lease_ns:
                silent.append(node)
            else:
                self._unfinished.add(MANAGEMENT_GROUP)  # it may be back before that
        return silent

    def _do(self, group: ExecutionGroup | ManagementGroup, steps: tuple[GroupStep, ...]) -> None:
        for step in steps:
            self._unfinished.add(group.group)
            match step:
                case ChangeMembership(membership=membership):
                    group.change(Configuration(membership.voters, membership.learners))
                case TransferLeadership(to=to):
                    group.transfer(to)
                case Propose(operation=operation):
                    self._say(operation)
                case HandOff():
                    self._movers.do(cast("ExecutionGroup", group), step)
                case _:
                    assert_never(step)

    def _say(self, operation: object) -> None:
        """Propose to the management group, but not all the time."""
        now = self._clock.monotonic_ns()
        last = self._said_ns.get(operation)
        if last is None or now - last >= RESEND_SECONDS * NANOSECONDS:
            if len(self._said_ns) > SAID_MAX:
                self._said_ns.clear()
            self._said_ns[operation] = now
            self._management.propose(encode(operation))


SAID_MAX: Final = 1000


def _caught_up(node: NodeId, status: Status) -> list[NodeId]:
    return [node, *(peer for peer, known in status.peers if known.caught_up)]
