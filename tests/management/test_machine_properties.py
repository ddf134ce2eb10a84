"""Any log at all: machines that apply it are equal, however often they die, and keep their rules.

A log is a list of seeds, one for each entry. An entry is made against the state of that moment, so
that most operations hit, while some are old ones again, or never could be. Dropping entries from a
log leaves a log, so a failure shrinks.
"""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowactor.limits import SLOTS
from flowactor.machine.operations import OpenSession
from flowactor.management import NodeState, Phase, Pin
from flowactor.management.operations import (
    AbortMove,
    AddMember,
    AdmitNode,
    AdvanceMove,
    AnnounceMember,
    ChangeSettings,
    CreateGroup,
    DeclareLiveness,
    DrainGroup,
    ManagementRequest,
    MoveMember,
    MoveSlots,
    PinNode,
    Placement,
    RemoveMember,
    RemoveNode,
    ReportGroup,
    SetMetadata,
    SetPlacement,
    SplitGroup,
)
from tests.management.cluster import SECOND, Cluster

REACHED = {
    *(f"node {state.value}" for state in NodeState),
    *(f"phase {phase.value}" for phase in Phase),
    "group ended",
    "ignored AdvanceMove",
    "ignored DeclareLiveness",
    "ignored ReportGroup",
    "rejected AlreadyClosed",
    "rejected InvalidInput",
    "rejected NotFound",
    "rejected Refused",
    "rejected SessionExpired",
    "dead",
}
"""What a campaign of many logs must come across, or it proves less than it seems to."""


class Author:
    """Makes up entries for whatever state the cluster is in."""

    def __init__(self):
        self.cluster = Cluster(slots_per_move=100, replace_after_seconds=60)
        self.past = []
        self.reached = Counter()
        self.versions = {}
        self.ids = {"nodes": set(), "groups": set(), "moves": set()}

    def entry(self, seed):
        random = Random(seed)
        makers = [self.report, self.advance, self.announce, self.request, self.declare, self.again]
        operations = [
            operation
            for make in random.choices(makers, [20, 20, 15, 15, 8, 10], k=random.randint(1, 3))
            if (operation := make(random)) is not None
        ]
        self.past += operations
        elapsed = random.choices([0, 1, 5, 70, 4000], [60, 20, 10, 9, 1])[0]
        at = self.cluster.machine.clock_ns / SECOND + elapsed
        before = {name: set(getattr(self.cluster.topology, name)) for name in self.ids}
        applied = self.cluster.apply(*operations, at=at, term=random.choice([1, 1, 1, 2]))
        self.note(applied, before)

    def note(self, applied, before):
        topology = self.cluster.topology
        for name, seen in self.ids.items():
            present = set(getattr(topology, name))
            assert seen.isdisjoint(present - before[name]), f"ids of {name} are never used again"
            seen.update(present)
        known = self.versions.setdefault(topology.slots_version, list(topology.slots))
        assert known == topology.slots, "a version of the table is one table"
        self.reached.update(f"node {node.state.value}" for node in topology.nodes.values())
        self.reached.update(node.liveness.value for node in topology.nodes.values())
        self.reached.update(f"phase {move.phase.value}" for move in topology.moves.values())
        self.reached["group ended"] += len(topology.groups) < topology.last_group
        for *_, reply in applied.replies:
            if hasattr(reply, "code"):
                self.reached[f"rejected {reply.code}"] += 1
        for notice in applied.notices:
            if hasattr(notice, "operation"):
                self.reached[f"ignored {notice.operation}"] += 1

    def any_of(self, random, mapping):
        return random.choice([*sorted(mapping), max(mapping, default=0) + 1])

    def again(self, random):
        return random.choice(self.past) if self.past else None

    def report(self, random):
        topology = self.cluster.topology
        group = self.any_of(random, {0: None, **topology.groups})
        known = topology.reports.get(group)
        planned = topology.groups.get(group)
        step = random.choice([1, 1, 1, 0, -1])
        return ReportGroup(
            group,
            max(1, (known.term if known else 1) + random.choice([0, 0, 1, -1])),
            max(0, (known.index if known else 1) + step),
            max(0, (known.configuration_index if known else 1) + step),
            planned.version if planned else 0,
            planned.members if planned else (1,),
            (),
            random.randrange(9),
        )

    def advance(self, random):
        topology = self.cluster.topology
        move = self.any_of(random, topology.moves)
        known = topology.moves.get(move)
        right = known is not None and random.random() < 0.9
        return AdvanceMove(move, known.phase if right else random.choice(list(Phase)))

    def announce(self, random):
        topology = self.cluster.topology
        node = topology.nodes.get(self.any_of(random, topology.nodes))
        if node is None:
            return None
        count = node.announcements - (random.random() < 0.1)
        level = random.choice([1, 1, 2])
        labels = (("zone", random.choice("ab")),)
        return AnnounceMember(node.id, node.disk, count, "i", node.address, level, labels)

    def declare(self, random):
        nodes = self.cluster.topology.nodes
        node = self.any_of(random, nodes)
        epoch = nodes[node].liveness_epoch if node in nodes else 0
        return DeclareLiveness(node, 1, epoch - (random.random() < 0.1), random.random() < 0.4)

    def request(self, random):
        if random.random() < 0.15:
            return OpenSession("s")
        self.cluster.sequence += random.choice([0, 1, 1, 1, 1, 1])
        sequence = self.cluster.sequence
        return ManagementRequest("s", sequence, max(sequence - 2, 1), self.body(random))

    def body(self, random):
        topology = self.cluster.topology
        node, other = (self.any_of(random, topology.nodes) for _ in "ab")
        group = self.any_of(random, topology.groups)
        disk = random.randrange(12)
        start = random.randrange(SLOTS)
        makers = [
            lambda: AdmitNode(f"disk {disk}", f"host {random.randrange(9)}", 2),
            lambda: RemoveNode(node),
            lambda: PinNode(node, random.choice(list(Pin))),
            lambda: CreateGroup(tuple({node, other})),
            lambda: SplitGroup(group),
            lambda: DrainGroup(group),
            lambda: AddMember(group, node),
            lambda: RemoveMember(group, node),
            lambda: MoveMember(group, node, other),
            lambda: SetPlacement(group, random.choice(list(Placement))),
            lambda: SetMetadata(group, random.choice("ab"), random.choice([None, "x", "y"])),
            lambda: MoveSlots(tuple(range(start, min(start + 40, SLOTS))), group),
            lambda: AbortMove(self.any_of(random, topology.moves)),
            lambda: ChangeSettings((("shared", random.randrange(2)),)),
        ]
        weights = [12, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 2, 1]
        return random.choices(makers, weights)[0]()


@given(st.lists(st.integers(0, 2**32), max_size=40))
def test_machines_that_apply_the_same_log_are_equal(seeds):
    """A machine restored from its rows before every entry, one that never was, and one that replays
    the log from nothing agree in everything; every rule of ``check`` holds after every entry.
    """
    author = Author()
    for seed in seeds:
        author.entry(seed)
    author.cluster.check()


@pytest.mark.long
def test_long_logs_come_across_everything():
    """Over long logs every state, phase and refusal occurs, and the rules hold all the way."""
    reached = Counter()
    for log in range(6):
        author = Author()
        random = Random(log)
        for _ in range(250):
            author.entry(random.randrange(2**32))
        author.cluster.check()
        reached += author.reached
    assert set(reached) >= REACHED, REACHED - set(reached)


@settings(max_examples=max(30, settings.default.max_examples // 3))
@given(st.lists(st.integers(0, 2**32), min_size=10, max_size=40))
def test_obeying_ends_from_any_point(seeds):
    """When reports say that everything was done, whatever happened before, nothing is left to do
    and groups that can have slots have them evenly.
    """
    author = Author()
    for seed in seeds:
        author.entry(seed)
    author.cluster.obey()
    assert not author.cluster.topology.moves
