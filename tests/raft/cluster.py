"""Several Raft cores, their disks, and a network that does what a test says.

Every step is judged by the simulator's own checker; the disks here are the driver's, not its.
"""

from random import Random

from attrs import Factory, define, evolve, frozen

from flowactor.codec.records import decode
from flowactor.raft import (
    ChangeConfiguration,
    Configuration,
    EntriesLoaded,
    Entry,
    EntryKind,
    Event,
    HardState,
    LoadEntries,
    Message,
    Propose,
    Raft,
    RaftConfig,
    ReadIndex,
    Receive,
    Restored,
    Role,
    ShareCommit,
    Snapshot,
    SnapshotStaged,
    Tick,
    TransferLeadership,
    Write,
    WritePersisted,
)
from flowactor.raft.log import size_bytes
from flowactor.simulation.checks.consensus import ConsensusChecker
from flowactor.simulation.checks.durable import DurableLog
from flowactor.simulation.marks import Marks

TICKS = {"heartbeat_ticks": 2, "election_ticks_min": 10, "election_ticks_max": 20}
"""Time of these tests, whatever the product's own is: transcripts and counts are written in it."""


def config(node=1, **settings):
    """A core's settings, in the time of these tests."""
    return RaftConfig(node, **TICKS | settings)


def lone(restored=None, seed=1, *, node=1, voters=(1, 2, 3), **settings):
    """One core by itself, founded with these voters."""
    restored = evolve(restored or Restored(), configuration=Configuration(voters))
    return Raft(config(node, **settings), restored, seed)


@frozen
class Packet:
    """A message under way."""

    sender: int
    receiver: int
    message: Message


@define
class Member:
    """One node: its core (None while it is down), its disk with the writes that are not durable
    yet, and what it has applied.
    """

    config: RaftConfig
    disk: DurableLog
    queue: list[Write] = Factory(list)
    raft: Raft | None = None
    applied: int = 0
    durable_applied: int = 0
    loads: list[LoadEntries] = Factory(list)
    snapshots: list[int] = Factory(list)
    reads: dict[int, int] = Factory(dict)
    refused: dict[int, object] = Factory(dict)
    accepted: dict[int, tuple[int, int, int]] = Factory(dict)
    starts: int = 0
    deleted: tuple[int, int] = (0, 0)


class Cluster:
    """Drives cores by hand; every step is checked.

    Args:
        count: nodes, numbered from 1.
        seed: of the cores' election time-outs, and of ``random``.
        disks: what some nodes have from before.
        settings: of ``RaftConfig``.
    """

    def __init__(self, count=3, seed=1, disks=None, **settings) -> None:
        voters = tuple(range(1, count + 1))
        self.founding = Configuration(voters)
        self.random = Random(seed)
        self.seed = seed
        self.network: list[Packet] = []
        self.cut: set[tuple[int, int]] = set()
        self.tokens = 0
        disks = disks or {}
        self.members = {
            node: Member(config(node, **settings), disks.get(node) or DurableLog())
            for node in voters
        }
        self.marks = Marks()
        patience = config(1, **settings).election_ticks_min
        self.checker = ConsensusChecker(voters, self.marks, patience)
        for node in voters:
            self.start(node)

    # -- nodes ----------------------------------------------------------------------------------

    def start(self, node: int) -> None:
        """Start a core from what its disk holds."""
        member = self.members[node]
        disk = member.disk
        member.starts += 1
        member.applied = member.durable_applied
        restored = Restored(
            hard_state=disk.hard_state,
            first_index=disk.previous_index + 1,
            entries=tuple(disk.entries),
            previous_index=disk.previous_index,
            previous_term=disk.previous_term,
            applied=member.durable_applied,
            configuration=disk.configuration or self.founding,
            configuration_index=disk.configuration_index,
            deleted=member.deleted,
        )
        seed = self.seed * 1000 + node * 100 + member.starts
        member.raft = Raft(member.config, restored, seed)
        self.checker.recovered(node, member.raft, restored)

    def join(self, node: int) -> None:
        """A node that belongs to nothing yet starts."""
        settings = self.members[min(self.members)].config
        disk = DurableLog(configuration=Configuration())
        self.members[node] = Member(evolve(settings, node=node), disk)
        self.checker.disks[node] = DurableLog(configuration=Configuration())
        self.start(node)

    def crash(self, node: int, applied: int | None = None) -> None:
        """Lose everything that is not durable; the state machine comes back at ``applied``."""
        member = self.members[node]
        member.raft = None
        member.queue.clear()
        member.loads.clear()
        member.snapshots.clear()
        if applied is not None:
            member.durable_applied = applied

    def drop(self, node: int) -> None:
        """Delete the replica of a node that belongs to the group no more, all but what it promised,
        and open another one.
        """
        member, log = self.members[node], self.state(node).log
        member.deleted = max(member.deleted, log.end)
        promised = member.disk.hard_state
        self.crash(node, applied=0)
        self.checker.lost(node)
        member.disk = DurableLog(evolve(promised, commit=0), configuration=Configuration())
        self.start(node)

    def restart(self, node: int) -> None:
        self.crash(node)
        self.start(node)

    def step(self, node: int, *events: Event) -> None:
        """Step a core and do the driver's duties, but for the disk and the network."""
        member = self.members[node]
        assert member.raft is not None
        before = member.raft.status()
        effects = member.raft.step(events)
        after = member.raft.status()
        changed = (before.role, before.term, before.leader) != (
            after.role,
            after.term,
            after.leader,
        )
        assert effects.status_changed or not changed, "nobody is told that the status changed"
        self.checker.stepped(node, member.raft, events, effects)
        if effects.restored is not None:
            member.applied = member.durable_applied = effects.restored.index
        member.applied += len(effects.committed)
        if effects.write is not None:
            member.queue.append(effects.write)
        member.loads += effects.loads
        member.snapshots += effects.snapshots
        member.reads.update(effects.reads)
        member.refused.update(effects.refused)
        member.accepted.update({token: place for token, *place in effects.accepted})
        self.tell(node, events, effects)
        for peer, message in effects.messages:
            self.network.append(Packet(node, peer, message))

    def sync(self, node: int, count: int | None = None) -> None:
        """Make the oldest writes durable, all of them by default, and report the last of them."""
        member = self.members[node]
        count = len(member.queue) if count is None else count
        written, member.queue = member.queue[:count], member.queue[count:]
        for write in written:
            member.disk.persist(write)
        if written:
            self.step(node, WritePersisted(written[-1].number))

    def load(self, node: int) -> None:
        """Answer the oldest request for entries from the disk."""
        member = self.members[node]
        wanted = member.loads.pop(0)
        previous_term = member.disk.term_at(wanted.first - 1)
        if previous_term is None:  # purged
            self.step(node, EntriesLoaded(wanted.peer, 0, ()))
            return
        found, size = [], 0
        for entry in member.disk.between(wanted.first, wanted.last):
            size += size_bytes(entry)
            if found and size > wanted.bytes_max:
                break
            found.append(entry)
        self.step(node, EntriesLoaded(wanted.peer, previous_term, tuple(found)))

    def bring(self, node: int) -> None:
        """Bring a snapshot of this node's applied state to the oldest that needs one."""
        member = self.members[node]
        peer = member.snapshots.pop(0)
        snapshot = self.snapshot(node)
        up = self.members[peer].raft is not None and (node, peer) not in self.cut
        self.step(node, SnapshotStaged(peer, snapshot if up else None))
        if not snapshot.configuration.voters:
            member.durable_applied = (
                member.applied
            )  # the state is never far behind its log for long

    def snapshot(self, node: int) -> Snapshot:
        """Of what a node's state holds durably."""
        member = self.members[node]
        index = member.durable_applied
        term = member.disk.term_at(index)
        assert term is not None
        place, configuration = self.configured(node, index)
        return Snapshot(index, term, configuration, place)

    def configured(self, node: int, index: int) -> tuple[int, Configuration]:
        """The newest configuration up to ``index`` that a node's disk knows, and its own index."""
        disk = self.members[node].disk
        place = (disk.configuration_index, disk.configuration or self.founding)
        for entry in disk.between(1, index):
            if entry.kind is EntryKind.CONFIGURATION:
                place = (entry.index, decode(entry.data))
        return place

    # -- the network ----------------------------------------------------------------------------

    def deliver(self, packet: Packet) -> None:
        """Hand a message over, if the link and the receiver are up."""
        reachable = (packet.sender, packet.receiver) not in self.cut
        if reachable and self.members[packet.receiver].raft is not None:
            self.step(packet.receiver, Receive(packet.sender, packet.message))

    def isolate(self, *nodes: int) -> None:
        """Cut these nodes off from the others."""
        for a in self.members:
            for b in self.members:
                if (a in nodes) != (b in nodes):
                    self.cut.add((a, b))

    def heal(self) -> None:
        self.cut.clear()

    def settle(self, *frozen_disks: int) -> None:
        """Deliver and sync until nothing is under way, in a fixed order."""
        for _ in range(10_000):
            if self.network:
                self.deliver(self.network.pop(0))
                continue
            busy = [
                node
                for node, member in self.members.items()
                if member.raft is not None
                and (
                    (member.queue and node not in frozen_disks) or member.loads or member.snapshots
                )
            ]
            if not busy:
                return
            for node in busy:
                if self.members[node].loads:
                    self.load(node)
                elif self.members[node].snapshots:
                    self.bring(node)
                elif node not in frozen_disks:
                    self.sync(node)
        raise AssertionError("the cluster never comes to rest")

    def tick(self, *nodes: int, times: int = 1) -> None:
        """Let time pass on these nodes (all by default), settling after each tick."""
        for _ in range(times):
            for node in nodes or self.members:
                if self.members[node].raft is not None:
                    self.step(node, Tick())
            self.settle()

    # -- what tests ask for ---------------------------------------------------------------------

    def state(self, node: int):
        """The inside of a core."""
        raft = self.members[node].raft
        assert raft is not None
        return raft._state

    def status(self, node: int):
        raft = self.members[node].raft
        assert raft is not None
        return raft.status()

    def forget_leader(self, *nodes: int) -> None:
        """Let the minimum election time-out pass on these nodes, without their campaigning."""
        for node in nodes:
            state = self.state(node)
            state.election_ticks = 1_000_000
            for _ in range(state.config.election_ticks_min):
                self.step(node, Tick())

    def campaign(self, node: int) -> None:
        """Let only this node's election time-out pass."""
        state = self.state(node)
        state.election_elapsed = state.election_ticks = state.config.election_ticks_min
        self.step(node, Tick())

    def elect(self, node: int, among: tuple[int, ...] = ()) -> None:
        """Make a node the leader, by the votes of ``among`` (default: all that are up)."""
        others = [n for n, m in self.members.items() if m.raft is not None and n != node]
        followers = [n for n in others if self.status(n).role is not Role.LEADER]
        self.forget_leader(*[n for n in followers if not among or n in among])
        self.campaign(node)
        self.settle()
        assert self.status(node).role is Role.LEADER, f"{node} was not elected"

    def propose(self, node: int, *payloads: bytes) -> int:
        """Propose, and return the token."""
        self.tokens += 1
        self.step(node, Propose(self.tokens, payloads))
        return self.tokens

    def change(self, node: int, *voters: int, learners: tuple[int, ...] = ()) -> int:
        """Ask a leader for these members, and return the token."""
        self.tokens += 1
        self.step(node, ChangeConfiguration(self.tokens, Configuration(voters, learners)))
        return self.tokens

    def admit(self, leader: int, *nodes: int) -> None:
        """Have new nodes join as learners, catch up, and become voters."""
        for node in nodes:
            self.join(node)
        present = self.status(leader).configuration
        self.change(leader, *present.voters, learners=nodes)
        self.settle()
        self.tick(times=2 * self.members[leader].config.election_ticks_min)
        self.change(leader, *present.voters, *nodes)
        self.settle()

    def transfer(self, node: int, target: int = 0) -> int:
        """Ask a leader to hand over, and return the token."""
        self.tokens += 1
        self.step(node, TransferLeadership(self.tokens, target))
        return self.tokens

    def read(self, node: int) -> int:
        """Ask for a read index, and return the token."""
        self.tokens += 1
        self.step(node, ReadIndex(self.tokens))
        return self.tokens

    def share_commit(self, node: int) -> None:
        """Have a leader tell everybody its commit index."""
        self.step(node, ShareCommit(tuple(self.members)))

    def leader(self) -> int | None:
        """The node that leads in the highest term, if any."""
        leading = [
            (self.status(node).term, node)
            for node, member in self.members.items()
            if member.raft is not None and self.status(node).role is Role.LEADER
        ]
        return max(leading)[1] if leading else None

    def terms(self, node: int) -> list[int]:
        """The terms in a node's log in memory."""
        log = self.state(node).log
        return [entry.term for entry in log.between(log.first_index, log.last_index)]

    def tell(self, node, events, effects) -> None:
        """Called after each step; transcripts write it down."""


def restored_disk(terms: list[int], term: int, commit: int = 0) -> DurableLog:
    """A disk whose log has entries of these terms."""
    entries = [
        Entry(t, index, EntryKind.PAYLOAD, f"{t}.{index}".encode())
        for index, t in enumerate(terms, 1)
    ]
    return DurableLog(HardState(term, 0, commit), entries)
