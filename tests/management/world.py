"""A toy world: nodes and groups that do what the reconciler says, lose messages, and crash.

Each node has a management state of its own, which lags; a group lives while a majority of its
voters is up with a replica. What a group does for moves is a small second version of what the
execution machine does. The world asserts what must never happen, at the moment it would.
"""

from random import Random

from attrs import Factory, define

from flowactor.codec import records
from flowactor.limits import SLOTS
from flowactor.machine.operations import OpenSession, decode_batch, encode_batch
from flowactor.management import (
    MANAGEMENT_GROUP,
    ChangeMembership,
    CloseReplica,
    Deed,
    HandOff,
    LocalGroup,
    Management,
    Membership,
    OpenReplica,
    Propose,
    Stage,
    TransferLeadership,
    desired_management_configuration,
    steps_for_group_leader,
    steps_for_management_leader,
    steps_for_node,
)
from flowactor.management.operations import AdmitNode, AnnounceMember, ManagementRequest
from flowactor.management.slots import ready_groups
from tests.management.cluster import Rows, check

SECOND = 1_000_000_000
ROUNDS_MAX = 3000


@define
class ToyGroup:
    """One group, as its log has it. ``served`` maps slots to what is in them."""

    id: int
    configuration: Membership
    term: int = 1
    index: int = 1
    configuration_index: int = 0
    leader: int = 0
    served: dict = Factory(dict)
    frozen: dict = Factory(dict)
    coming: dict = Factory(dict)
    forgetting: set = Factory(set)
    last_moves: list = Factory(lambda: [0] * SLOTS)

    def stage(self, move):
        if move.id in self.frozen:
            return Stage.FROZEN
        if move.id in self.coming:
            return Stage.COMPLETE if self.coming[move.id] is not None else Stage.ARRIVING
        if move.id in self.forgetting:
            return Stage.FORGETTING
        return Stage.OVER if self.last_moves[move.slots[0]] >= move.id else Stage.NONE

    def mark(self, move):
        for slot in move.slots:
            self.last_moves[slot] = move.id


@define
class ToyNode:
    """``view`` has applied the management log up to ``applied``."""

    id: int
    disk: str
    view: Management
    applied: int = 0
    up: bool = True
    replicas: set = Factory(set)
    founded: set = Factory(set)


class World:
    """Args:
    lagging: nodes have management states of their own; else they share the one of the log.
    """

    def __init__(self, seed=0, *, lagging=True):
        self.random = Random(seed)
        self.lagging = lagging
        self.log = []
        self.truth = Management(Rows())
        self.nodes = {}
        self.groups = {}
        self.queue = []
        self.sequence = 0
        self.written = dict.fromkeys(range(SLOTS), 0)
        self.down_for_good = set()
        self.append(OpenSession("s"))

    @property
    def topology(self):
        return self.truth.topology

    # -- the management log -----------------------------------------------------------------------

    def append(self, *operations):
        management = self.groups.get(MANAGEMENT_GROUP)
        term = management.term if management else 1
        encoded = [records.encode(operation) for operation in operations]
        batch = decode_batch(encode_batch(len(self.log) * SECOND, encoded))
        self.log.append((term, batch))
        applied = self.truth.apply(len(self.log), term, batch)
        check(self.topology)
        self.check_majorities()
        return applied

    def check_majorities(self):
        """Nobody is gone without whom a group with slots, as it is, could not go on for ever."""
        topology = self.topology
        for key in {MANAGEMENT_GROUP, *topology.slots} & self.groups.keys():
            voters = self.groups[key].configuration.voters
            there = [node for node in voters if not topology.nodes[node].state.is_gone]
            assert 2 * len(there) > len(voters), f"group {key} will never have a majority again"

    def ask(self, body):
        self.sequence += 1
        request = ManagementRequest("s", self.sequence, self.sequence, body)
        return self.append(request).replies[0][2]

    def catch_up(self, node, count=None):
        if not self.lagging:
            return
        until = len(self.log) if count is None else min(len(self.log), node.applied + count)
        for term, batch in self.log[node.applied : until]:
            node.applied += 1
            if isinstance(batch, Membership):
                node.view.configured(node.applied, batch.voters)
            else:
                node.view.apply(node.applied, term, batch)

    def join(self, disk=None):
        """A node is admitted. The first one founds the management group."""
        disk = disk or f"disk {len(self.nodes) + 1}"
        node = self.ask(AdmitNode(disk, f"host of {disk}", 1)).node
        view = Management(Rows()) if self.lagging else self.truth
        self.nodes[node] = ToyNode(node, disk, view, replicas={MANAGEMENT_GROUP})
        if MANAGEMENT_GROUP not in self.groups:
            self.groups[MANAGEMENT_GROUP] = ToyGroup(MANAGEMENT_GROUP, Membership((node,)))
        return node

    # -- faults -----------------------------------------------------------------------------------

    def crash(self, node):
        self.nodes[node].up = False

    def restart(self, node):
        if node not in self.down_for_good:
            self.nodes[node].up = True

    def wipe(self, node):
        """The node is down and its disk is gone."""
        self.crash(node)
        self.down_for_good.add(node)
        self.nodes[node].replicas.clear()

    # -- groups -----------------------------------------------------------------------------------

    def has_replica(self, node, group):
        known = self.nodes.get(node)
        return known is not None and known.up and group in known.replicas

    def working(self, group):
        """The members that work, if they are enough to go on."""
        voters = group.configuration.voters
        alive = [node for node in voters if self.has_replica(node, group.id)]
        return alive if 2 * len(alive) > len(voters) else []

    def elect(self, group):
        """Let the group have a leader; another one if the last cannot go on, or now and then."""
        alive = self.working(group)
        if alive and group.leader not in alive:
            group.leader = self.random.choice(alive)
            group.term += 1
        if not alive:
            group.leader = 0
        return group.leader

    def local(self, group, view):
        inside = group.configuration.members
        caught_up = {node for node in inside if self.has_replica(node, group.id)}
        near = {node for node, known in self.nodes.items() if known.up and node not in inside}
        return LocalGroup(
            group.leader,
            group.id,
            group.term,
            group.index,
            group.configuration,
            group.configuration_index,
            reachable=frozenset(near | caught_up),
            caught_up=frozenset(caught_up),
            stages={move.id: group.stage(move) for move in view.moves_of(group.id)},
        )

    # -- doing ------------------------------------------------------------------------------------

    def run_node(self, node, chance=1.0):
        """One node looks at its state and does what it is told, or some of it."""
        topology = node.view.topology
        own = topology.nodes.get(node.id)
        if own is None or own.state.is_gone:
            return
        following = node.id in self.groups[MANAGEMENT_GROUP].configuration.members
        if following and own.incarnation != "first":
            announced = (node.id, node.disk, own.announcements, "first", own.address, 1)
            self.propose(AnnounceMember(*announced), chance)
        replicas = frozenset(node.replicas - {MANAGEMENT_GROUP})

        def configured(key):
            group = self.groups.get(key)
            if group is None or node.id not in group.configuration.members:
                return (0, 0)
            return (group.term, group.configuration_index)

        for step in steps_for_node(topology, node.id, replicas, configured):
            if self.random.random() < chance:
                self.do_for_node(node, step)

    def do_for_node(self, node, step):
        if isinstance(step, OpenReplica):
            group = self.groups.get(step.group)
            if group is None and step.as_founder:
                served = dict.fromkeys(range(SLOTS), 0) if step.all_slots else {}
                group = ToyGroup(step.group, Membership(step.founders), served=served)
                self.groups[step.group] = group
            if step.as_founder:
                assert step.group not in node.founded, "nobody founds the same group twice"
                node.founded.add(step.group)
            node.replicas.add(step.group)
        else:
            assert isinstance(step, CloseReplica)
            group = self.groups.get(step.group)
            ended = self.topology.has_ended(step.group)
            assert ended or group is None or node.id not in group.configuration.voters
            node.replicas.discard(step.group)

    def run_leader(self, group, chance=1.0):
        """The leader of a group looks at its state and does what it is told, or some of it."""
        leader = self.elect(group)
        if not leader:
            return
        view = self.nodes[leader].view.topology
        local = self.local(group, view)
        if group.id == MANAGEMENT_GROUP:
            silent = frozenset(node for node, known in self.nodes.items() if not known.up)
            steps = steps_for_management_leader(view, local, silent)
        else:
            steps = steps_for_group_leader(view, local)
        for step in steps:
            if self.random.random() < chance:
                self.do_for_group(group, step, chance)

    def do_for_group(self, group, step, chance):
        match step:
            case ChangeMembership(membership=membership):
                self.change(group, membership)
            case TransferLeadership(to=to):
                assert to in group.configuration.voters
                group.leader = to
                group.term += 1
            case HandOff(move=move, deed=deed):
                group.index += 1
                self.do_move(group, move, deed)
            case Propose(operation=operation):
                self.propose(operation, chance)

    def change(self, group, membership):
        before = group.configuration
        voters = set(before.voters) ^ set(membership.voters)
        changed = voters | (set(before.members) ^ set(membership.members))
        assert len(changed) == 1, "one node at a time"
        group.index += 1
        group.configuration = membership
        group.configuration_index = group.index
        if group.id == MANAGEMENT_GROUP:
            self.log.append((group.term, membership))
            self.truth.configured(len(self.log), membership.voters)
        assert self.working(group), "a change keeps a quorum of live nodes"
        for node in set(membership.voters) - set(before.voters):
            assert node in before.learners, "a learner first"

    def propose(self, operation, chance):
        """Some proposals are lost, some arrive twice, and they overtake each other."""
        if self.random.random() < chance:
            self.queue.append(operation)
        if self.random.random() > chance:
            self.queue.append(operation)

    def deliver(self, chance=1.0):
        management = self.groups.get(MANAGEMENT_GROUP)
        if management is not None and not self.elect(management):
            return
        if chance < 1:
            self.random.shuffle(self.queue)
        waiting, self.queue = self.queue, []
        for operation in waiting:
            if self.random.random() < chance:
                self.append(operation)
            else:
                self.queue.append(operation)

    # -- moves, as the execution machine does them ------------------------------------------------

    def do_move(self, group, move, deed):
        stage, number = group.stage(move), move.id
        match deed:
            case Deed.FREEZE:
                fits = all(group.last_moves[slot] < number for slot in move.slots)
                if fits and all(slot in group.served for slot in move.slots):
                    group.frozen[number] = {slot: group.served.pop(slot) for slot in move.slots}
                    group.mark(move)
            case Deed.EXPECT:
                fits = all(group.last_moves[slot] < number for slot in move.slots)
                if fits and not any(slot in group.served for slot in move.slots):
                    group.coming[number] = None
                    group.mark(move)
            case Deed.SEND:
                self.send(group, move)
            case Deed.ACTIVATE:
                if stage is Stage.COMPLETE:
                    self.serve(group, group.coming.pop(number))
            case Deed.RELEASE:
                self.release(group, move, stage)
            case Deed.FORGET:
                assert stage is not Stage.FROZEN or self.is_served_at(move)
                if stage is Stage.FROZEN:
                    del group.frozen[number]
                    group.forgetting.add(number)
                else:
                    group.forgetting.discard(number)

    def send(self, group, move):
        target = self.groups.get(move.target)
        if target is not None and self.working(target) and move.id in target.coming:
            target.index += 1
            target.coming[move.id] = dict(group.frozen[move.id])

    def release(self, group, move, stage):
        if stage is Stage.FROZEN:
            self.serve(group, group.frozen.pop(move.id))
        elif stage in (Stage.ARRIVING, Stage.COMPLETE):
            del group.coming[move.id]
            group.forgetting.add(move.id)
        elif stage is Stage.NONE:
            group.mark(move)

    def serve(self, group, contents):
        for other in self.groups.values():
            assert other is group or other.served.keys().isdisjoint(contents), "one serves a slot"
        group.served.update(contents)

    def is_served_at(self, move):
        """The slots have been served by the target since, so deleting them here loses nothing."""
        return self.groups[move.target].stage(move) is Stage.OVER

    def write(self, slot):
        """A client adds something to a slot, if somebody serves it."""
        for group in self.groups.values():
            if slot in group.served and self.working(group):
                group.served[slot] += 1
                self.written[slot] += 1

    # -- time -------------------------------------------------------------------------------------

    def disturb(self):
        """One moment in which anything may happen to anybody, or not."""
        random = self.random
        for _ in range(3):
            self.write(random.randrange(SLOTS))
        for node in list(self.nodes.values()):
            if node.up:
                self.catch_up(node, random.choice([0, 1, 5]))
                self.run_node(node, 0.6)
        for group in list(self.groups.values()):
            if random.random() < 0.05:
                group.leader = 0
            self.run_leader(group, 0.7)
        self.deliver(0.7)

    def settle(self):
        """Heal everything and do what the reconciler says until it says nothing more."""
        for node in self.nodes:
            self.restart(node)
        for rounds in range(ROUNDS_MAX):
            before = self.picture()
            for node in list(self.nodes.values()):
                if node.up:
                    self.catch_up(node)
                    self.run_node(node)
            for group in list(self.groups.values()):
                if not self.topology.has_ended(group.id):
                    self.run_leader(group)
            self.deliver()
            if self.picture() == before:
                return rounds
        raise AssertionError("the world does not come to rest")

    def picture(self):
        return (
            len(self.log),
            [(key, node.applied, sorted(node.replicas)) for key, node in self.nodes.items()],
            [(key, group.term, group.index) for key, group in self.groups.items()],
        )

    def check_settled(self):
        """Everything is as the plan wants it, and nothing that was written is lost."""
        topology = self.topology
        assert not topology.moves
        desired = desired_management_configuration(topology)
        assert self.groups[MANAGEMENT_GROUP].configuration == desired
        for group in topology.groups_in_order():
            assert self.groups[group.id].configuration == Membership(group.members)
            assert topology.reports[group.id].configuration == Membership(group.members)
        for key, node in self.nodes.items():
            if key not in self.down_for_good and not topology.nodes[key].state.is_gone:
                ought = {group.id for group in topology.groups_in_order() if key in group.members}
                assert node.replicas == ought | {MANAGEMENT_GROUP}
                assert node.view.digest() == self.truth.digest()
        contents = {}
        for key in topology.groups:
            assert set(self.groups[key].served) == set(topology.slots_of(key))
            contents |= self.groups[key].served
        assert contents == self.written
        counts = [
            len(topology.slots_of(key)) for key in topology.groups if key in ready_groups(topology)
        ]
        assert max(counts) - min(counts) <= 1
