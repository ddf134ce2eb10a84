"""A management group without Raft: a log of batches, a machine that applies it, and a twin that
keeps dying.

Before every apply the twin is thrown away and restored from its rows; it must agree with the
machine in every reply, notice and digest. So whatever a test proves, it proves across restarts.
"""

from flowactor.codec import records
from flowactor.limits import SLOTS
from flowactor.machine.operations import OpenSession, decode_batch, encode_batch
from flowactor.management import MANAGEMENT_GROUP, GroupState, Management, NodeState, Phase
from flowactor.management.operations import (
    AdmitNode,
    AdvanceMove,
    AnnounceMember,
    ChangeSettings,
    DeclareLiveness,
    ManagementRequest,
    ReportGroup,
)

SECOND = 1_000_000_000


class Rows:
    """A row reader of dictionaries; every write is at once what it answers with."""

    def __init__(self):
        self.tables = {}

    def get(self, table, key):
        return self.tables.get(table, {}).get(tuple(key))

    def scan(self, table, prefix=()):
        rows = sorted(self.tables.get(table, {}).items())
        return [key + values for key, values in rows if key[: len(prefix)] == tuple(prefix)]

    def write(self, writes):
        assert len({(write.table, write.key) for write in writes}) == len(writes)
        for write in writes:
            table = self.tables.setdefault(write.table, {})
            if write.values is None:
                del table[write.key]
            else:
                table[write.key] = write.values


class Cluster:
    """Times are in seconds; requests are made in the session ``s``. Reports say that everything
    that is planned has been done (``obey``).
    """

    def __init__(self, **settings):
        self.rows = Rows()
        self.machine = Management(self.rows)
        self.twin_rows = Rows()
        self.twin = Management(self.twin_rows)
        self.log = []
        self.sequence = 0
        self.apply(OpenSession("s"))
        if settings:
            self.ask(ChangeSettings(tuple(sorted(settings.items()))))

    @property
    def topology(self):
        return self.machine.topology

    def apply(self, *operations, at=None, term=1):
        stamp_ns = self.machine.clock_ns if at is None else round(at * SECOND)
        data = encode_batch(stamp_ns, [records.encode(operation) for operation in operations])
        self.log.append((term, data))
        self.twin_rows.write(self.twin.take_writes())
        self.twin = Management(self.twin_rows)
        applied = self.machine.apply(len(self.log), term, decode_batch(data))
        assert self.twin.apply(len(self.log), term, decode_batch(data)) == applied
        assert self.twin.next_due_ns == self.machine.next_due_ns
        assert self.twin.digest() == self.machine.digest()
        assert self.twin.topology == self.machine.topology
        check(self.topology)
        return applied

    def check(self):
        """Replaying the log from nothing gives this state, and the same rows."""
        replayed, rows = Management(Rows()), Rows()
        for index, (term, data) in enumerate(self.log, 1):
            replayed.apply(index, term, decode_batch(data))
        assert replayed.digest() == self.machine.digest()
        rows.write(replayed.take_writes())
        self.flush()
        self.twin_rows.write(self.twin.take_writes())
        assert self.flush() == []
        for name in sorted(self.rows.tables.keys() | rows.tables.keys()):
            assert rows.scan(name) == self.rows.scan(name) == self.twin_rows.scan(name)

    def flush(self):
        writes = self.machine.take_writes()
        self.rows.write(writes)
        return writes

    def ask(self, body, at=None):
        self.sequence += 1
        request = ManagementRequest("s", self.sequence, self.sequence, body)
        applied = self.apply(request, at=at)
        assert [answer[:2] for answer in applied.replies] == [("s", self.sequence)]
        return applied.replies[0][2]

    def admit(self, disk=None, address=None, **more):
        disk = disk or f"disk {self.topology.last_node + 1}"
        return self.ask(AdmitNode(disk, address or f"host of {disk}", 1, **more))

    def announce(self, node, **changes):
        known = self.topology.nodes[node]
        fields = {
            "node": node,
            "disk": known.disk,
            "announcement": known.announcements,
            "incarnation": "first",
            "address": known.address,
            "feature_level": known.feature_level,
            "labels": known.labels,
        }
        return self.apply(AnnounceMember(**(fields | changes)))

    def join(self, count=1):
        """Admit nodes and let them announce themselves; the id of the last one."""
        node = 0
        for _ in range(count):
            node = self.admit().node
            self.announce(node)
        return node

    def declare(self, node, alive, at=None):
        epoch = self.topology.nodes[node].liveness_epoch
        return self.apply(DeclareLiveness(node, 1, epoch, alive), at=at)

    def report(self, group, **changes):
        """The group's leader says that it is as it ought to be."""
        known = self.topology.reports.get(group)
        index = len(self.log)
        planned = self.topology.groups.get(group)
        fields = {
            "group": group,
            "term": known.term if known else 1,
            "index": index,
            "configuration_index": index,
            "version": planned.version if planned else 0,
            "voters": planned.members if planned else (),
            "learners": (),
        }
        return self.apply(ReportGroup(**(fields | changes)))

    def obey(self):
        """All that is asked for is done and reported, until nothing is asked for any more."""
        for _ in range(10_000):
            if not self.obey_once():
                return
        raise AssertionError("what is asked for never ends")

    def obey_once(self):
        """One of the things that are asked for is done and reported; False if none is."""
        topology = self.topology
        stale = [
            group.id
            for group in topology.groups_in_order()
            if group.members
            and (
                group.id not in topology.reports
                or topology.reports[group.id].version < group.version
            )
        ]
        if stale:
            self.report(stale[0])
        elif topology.moves:
            move = topology.moves_in_order()[0]
            self.apply(AdvanceMove(move.id, move.phase))
        else:
            return False
        return True

    def members(self):
        return {group.id: list(group.members) for group in self.topology.groups_in_order()}

    def counts(self):
        """How many slots each group has."""
        topology = self.topology
        return {group: len(topology.slots_of(group)) for group in sorted(topology.groups)}


def check(topology):
    """What holds after every entry, whatever happened."""
    groups, nodes = topology.groups, topology.nodes
    assert len(topology.slots) == SLOTS
    if groups:
        assert set(topology.slots) <= set(groups), "every slot belongs to a group that is there"
    assert all(node <= topology.last_node for node in nodes)
    assert all(group <= topology.last_group for group in groups)
    assert all(move <= topology.last_move for move in topology.moves)
    present = {key for key, node in nodes.items() if not node.state.is_gone}
    for group in groups.values():
        assert set(group.members) <= present, "who is gone is in no group"
        assert list(group.members) == sorted(set(group.members))
        if group.state is GroupState.DRAINING:
            assert topology.slots_of(group.id) or topology.moves_of(group.id), "it ought to end"
    assert set(topology.reports) <= {MANAGEMENT_GROUP, *groups}
    moving = set()
    for move in topology.moves.values():
        assert {move.source, move.target} <= set(groups), "a group does not end under a move"
        if move.phase is not Phase.DISCARD:
            assert moving.isdisjoint(move.slots), "a slot takes part in one move"
            moving.update(move.slots)
            home = move.target if move.phase in (Phase.ACTIVATE, Phase.FORGET) else move.source
            assert all(topology.slots[slot] == home for slot in move.slots)
    voters = [node for node in nodes.values() if node.voter]
    assert all(node.state is NodeState.MEMBER for node in voters)
    assert len(voters) <= topology.settings.management_voters_max
