"""Random faults on a cluster of cores: everything a network, a disk and a power supply may do."""

from random import Random

from flowactor.raft import Role, SnapshotStaged, Tick, Wake
from tests.raft.cluster import Cluster, Packet

SMALL = {
    "election_ticks_min": 3,
    "election_ticks_max": 7,
    "heartbeat_ticks": 1,
    "append_bytes_max": 200,
    "inflight_appends_max": 3,
    "inflight_bytes_max": 400,
    "uncommitted_bytes_max": 1500,
    "cache_bytes_max": 600,
}
"""Limits and times so small that a short storm meets all of them."""
NODES_MAX = 7
QUIET_TICKS = 4
REST_TICKS = 40
"""By then an idle group is quiet, and one that was prodded at work."""


class Storm:
    """A cluster, and the acts of chance upon it.

    Args:
        seed: decides everything.
        count: nodes.
        quiet: the group may go quiet.
    """

    def __init__(self, seed: int, count: int, *, quiet: bool = False) -> None:
        self.random = Random(seed)
        self.quiet = quiet
        self.cluster = Cluster(count, seed, **SMALL | {"quiet_ticks": QUIET_TICKS * quiet})
        self.cluster.tell = self.look
        self.nodes = list(self.cluster.members)
        chance = self.random
        # Each storm has a temper of its own: even odds everywhere would visit few extremes.
        self.acts = [self.deliver, self.tick, self.sync, self.propose, self.read, self.load]
        self.odds = [12.0, 2 * chance.random() + 1, 8 * chance.random() + 1, 1.5, 1.5, 2.0]
        self.acts += [self.lose, self.double, self.crash, self.part, self.heal, self.purge]
        self.odds += [chance.random() * scale for scale in (1.0, 1.0, 0.1, 0.2, 0.4, 0.6)]
        self.acts += [self.share, self.leap]
        self.odds += [0.3, chance.random() * 0.3]
        changing = chance.random() < 0.6
        self.acts += [self.change, self.join, self.transfer, self.bring]
        self.odds += [changing * 2.0, changing * 0.3, chance.random() * 0.2, 2.0]
        self.acts += [self.lull, self.wake]
        self.odds += [quiet * 0.5, quiet * 0.2]
        self.pace = dict.fromkeys(range(1, NODES_MAX + 1), 1.0)
        self.reorder = chance.random() < 0.5
        self.slept: dict[int, tuple[int, int]] = {}
        self.staging: list[tuple[int, SnapshotStaged]] = []

    def run(self, events: int) -> None:
        for act in self.random.choices(self.acts, self.odds, k=events):
            act()

    def up(self) -> list[int]:
        return [n for n in self.nodes if self.cluster.members[n].raft is not None]

    def any_up(self) -> int | None:
        up = self.up()
        return self.random.choice(up) if up else None

    def take(self) -> Packet | None:
        network = self.cluster.network
        if not network:
            return None
        if len(network) > 400:
            del network[: len(network) // 2]
        reach = len(network) if self.reorder else 1
        return network.pop(self.random.randrange(reach))

    def deliver(self) -> None:
        packet = self.take()
        if packet is not None:
            self.cluster.deliver(packet)

    def lose(self) -> None:
        self.take()

    def double(self) -> None:
        packet = self.take()
        if packet is not None:
            self.cluster.network += [packet, packet]

    def tick(self) -> None:
        up = self.up()
        if up:
            pace = [self.pace[node] for node in up]
            self.cluster.step(self.random.choices(up, pace)[0], Tick())

    def leap(self) -> None:
        """One node sees much time pass while the others see none."""
        node = self.any_up()
        if node is not None:
            self.cluster.step(node, *[Tick()] * 7)

    def lull(self) -> None:
        """Nothing new happens for a while; what is cut stays cut, and who is down stays down."""
        self.cluster.tick(times=self.random.randint(QUIET_TICKS, 5 * QUIET_TICKS))

    def wake(self) -> None:
        """A driver believes that some node is gone, or is back."""
        node = self.any_up()
        if node is not None:
            self.cluster.step(node, Wake())

    def look(self, node, events, effects) -> None:
        """I16: who is quiet has nothing that is not committed; and a leader is so only if everybody
        that it takes to be alive was quiet before, and has the same log; who has restarted since
        may have forgotten how much of it is committed.
        """
        if not (effects.status_changed and self.cluster.status(node).quiet):
            return
        status = self.cluster.status(node)
        assert status.commit_index == status.last_index, f"I16: {node} is quiet, and has work"
        self.slept[node] = (status.term, status.last_index)
        if status.role is not Role.LEADER:
            return
        patience = SMALL["election_ticks_max"]
        members = [seen for seen in status.peers if seen[0] in status.configuration.members]
        awake = [peer for peer, seen in members if seen.ticks_silent < patience]
        for peer in awake:
            assert self.slept.get(peer) == self.slept[node], f"I16: {node} is quiet before {peer}"
            if self.cluster.members[peer].raft is not None:
                other = self.cluster.status(peer)
                same = other.last_index == status.last_index
                same &= other.commit_index == status.last_index or not other.quiet
                assert same or other.term > status.term, f"I16: {node} leaves {peer} behind"
        self.cluster.marks["quiet"] += 1
        self.cluster.marks["quiet without the dead"] += len(awake) < len(members)

    def sync(self) -> None:
        node = self.any_up()
        if node is None:
            return
        queued = len(self.cluster.members[node].queue)
        if queued:
            self.cluster.sync(node, self.random.randint(1, queued))

    def propose(self) -> None:
        leader = self.leading()
        if leader is not None:
            size = self.random.choice((1, 10, 300))
            payloads = [b"p" * size] * self.random.randint(1, 3)
            self.cluster.propose(leader, *payloads)

    def read(self) -> None:
        leader = self.leading()
        if leader is not None:
            self.cluster.read(leader)

    def share(self) -> None:
        leader = self.leading()
        if leader is not None:
            self.cluster.share_commit(leader)

    def load(self) -> None:
        node = self.any_up()
        if node is not None and self.cluster.members[node].loads:
            self.cluster.load(node)

    def crash(self) -> None:
        """A node stops, or one that stopped starts; its state machine may lag behind its log."""
        node = self.random.choice(self.nodes)
        member = self.cluster.members[node]
        self.staging = [(owner, event) for owner, event in self.staging if owner != node]
        if member.raft is None:
            self.cluster.start(node)
        else:
            applied = self.random.randint(member.durable_applied, member.applied)
            self.cluster.crash(node, applied=applied)

    def purge(self) -> None:
        """A node compacts its log, up to what its state holds durably."""
        node = self.random.choice(self.nodes)
        member = self.cluster.members[node]
        if member.raft is not None:
            member.durable_applied = self.random.randint(member.durable_applied, member.applied)
        keep = self.random.choice((0, 0, 3, 20))
        lowest = member.durable_applied - keep
        if lowest > member.disk.previous_index:
            member.disk.purge_to(lowest)

    def join(self) -> None:
        """A node that belongs to nothing starts."""
        if len(self.nodes) < NODES_MAX:
            node = len(self.nodes) + 1
            self.cluster.join(node)
            self.nodes.append(node)

    def change(self) -> None:
        """A leader is asked for other members: a learner more, learners promoted, a voter less, or
        several of these at once.
        """
        leader = self.leading()
        if leader is None:
            return
        present = self.cluster.status(leader).configuration
        strangers = [node for node in self.nodes if node not in present.members]
        voters, learners = list(present.voters), list(present.learners)
        if strangers and self.random.random() < 0.5:
            learners.append(self.random.choice(strangers))
        if learners and self.random.random() < 0.6:
            promoted = self.random.sample(learners, self.random.randint(1, len(learners)))
            learners = [node for node in learners if node not in promoted]
            voters += promoted
        if len(voters) > 1 and self.random.random() < 0.5:
            gone = self.random.sample(voters, self.random.randint(1, len(voters) // 2))
            voters = [node for node in voters if node not in gone]
            if self.random.random() < 0.5:
                learners += gone
        self.cluster.change(leader, *voters, learners=tuple(learners))

    def transfer(self) -> None:
        leader = self.leading()
        if leader is not None:
            self.cluster.transfer(leader, self.random.choice([0, *self.nodes]))

    def leading(self) -> int | None:
        """One of those that take themselves for the leader."""
        leading = [n for n in self.up() if self.cluster.status(n).role is Role.LEADER]
        return self.random.choice(leading) if leading else None

    def bring(self) -> None:
        """A snapshot that a leader asked for is brought, at once or so late that much has happened
        since.
        """
        node = self.any_up()
        if node is None:
            return
        late = [event for owner, event in self.staging if owner == node]
        if late and self.random.random() < 0.5:
            self.staging.remove((node, late[0]))
            self.cluster.step(node, late[0])
        elif self.cluster.members[node].snapshots:
            if self.random.random() < 0.5:
                self.cluster.bring(node)
            else:
                peer = self.cluster.members[node].snapshots.pop(0)
                self.staging.append((node, SnapshotStaged(peer, self.cluster.snapshot(node))))

    def part(self) -> None:
        """A link is cut in one direction, or a node is cut off, perhaps with a clock that crawls:
        so a leader may believe in itself for long after it was deposed.
        """
        if self.random.random() < 0.7:
            node = self.cluster.leader() or self.random.choice(self.nodes)
            self.cluster.isolate(node)
            self.pace[node] = self.random.choice((1.0, 0.05))
        else:
            a, b = self.random.sample(self.nodes, 2)
            self.cluster.cut.add((a, b))

    def heal(self) -> None:
        self.cluster.heal()
        self.pace = dict.fromkeys(self.pace, 1.0)

    def calm(self) -> None:
        """End all faults; a leader must appear, every member of its configuration must agree with
        it, and that must not be joint (I32 to I35).
        """
        cluster = self.cluster
        cluster.heal()
        for node in self.nodes:
            if cluster.members[node].raft is None:
                cluster.start(node)
        for node in self.nodes * self.quiet:
            cluster.step(node, Wake())
        for node, event in self.staging:
            cluster.step(node, event)
        cluster.settle()
        for _ in range(40):
            cluster.tick(times=5)
            leader = cluster.leader()
            if leader is None or cluster.state(leader).role.uncommitted_bytes:
                continue
            cluster.propose(leader, b"calm")
            read = cluster.read(leader)
            cluster.tick(times=3)
            configuration = cluster.status(leader).configuration
            applied = {cluster.members[node].applied for node in configuration.members}
            agreed = len(applied) == 1 and read in cluster.members[leader].reads
            if agreed and not configuration.is_joint:
                return
        raise AssertionError("no agreement in bounded time after healing")

    def rest(self) -> None:
        """After the calm: a group without work goes quiet, all of it, with equal logs; and whatever
        it is woken by, it is at work again in bounded time (I16).
        """
        cluster = self.cluster
        cluster.tick(times=REST_TICKS)
        leader = cluster.leader()
        assert leader is not None, "I16: nobody leads a group that is healthy and idle"
        configuration = cluster.status(leader).configuration
        states = [cluster.status(node) for node in configuration.members]
        places = {(state.last_index, state.commit_index) for state in states}
        assert all(state.quiet for state in states), "I16: a healthy idle group stays awake"
        assert len(places) == 1, "I16: quiet logs differ"
        voters = [voter for voter in configuration.voters if voter != leader]
        prods = [self.ask, self.again] + [self.bereave] * (len(voters) > 1)
        self.random.choice(prods)(leader, voters)
        cluster.tick(times=REST_TICKS)
        leader = cluster.leader()
        assert leader is not None, "I16: a group was woken, and nobody leads it"
        committed = cluster.status(leader).commit_index
        assert committed == cluster.status(leader).last_index, "I16: asked, and asleep"
        cluster.propose(leader, b"awake")
        cluster.tick(times=3)
        assert cluster.status(leader).commit_index > committed, "I16: woken, and not at work"

    def ask(self, leader, voters) -> None:
        """A proposal at any of them; what it has sent at once is lost."""
        self.cluster.propose(self.random.choice([leader, *voters]), b"asked")
        self.cluster.network.clear()

    def again(self, leader, voters) -> None:
        """One of them restarts, and nobody is told."""
        self.cluster.restart(self.random.choice([leader, *voters]))

    def bereave(self, leader, voters) -> None:
        """The leader's node dies; one of the others is told."""
        self.cluster.crash(leader)
        self.cluster.tick(times=REST_TICKS)
        self.cluster.step(self.random.choice(voters), Wake())
