"""The made-up parts of core depth: slots of time, links, a log, rows."""

from random import Random

import pytest

from flowactor.cluster.protocol.envelopes import ReadAsk
from flowactor.identity import GroupId
from flowactor.ports import RowWrite
from flowactor.raft import Entry, EntryKind, HardState, LoadEntries, Write
from flowactor.simulation.core.heap import SLOTS_NS, Heap
from flowactor.simulation.core.network import CoreNetwork
from flowactor.simulation.core.storage import CoreLog, CoreState
from flowactor.simulation.faults import Block, Duplicate, Loss, Partition, Reset
from flowactor.simulation.trace import Kind, Trace

SECOND_NS = 10**9


class Line:
    """A timeline that is moved by hand."""

    def __init__(self):
        self.now_ns = 0
        self.actions = []

    def at(self, due_ns, action):
        self.actions.append((due_ns, len(self.actions), action))

    def skip(self, nanoseconds):
        self.now_ns += nanoseconds
        self.actions = [(due + nanoseconds, number, act) for due, number, act in self.actions]

    def run(self, until_ns):
        while due := sorted(item for item in self.actions if item[0] <= until_ns):
            self.actions.remove(due[0])
            self.now_ns = max(self.now_ns, due[0][0])
            due[0][2]()
        self.now_ns = until_ns


@pytest.fixture
def line():
    return Line()


@pytest.fixture
def heap(line):
    return Heap(line, lambda: None)


def test_a_slot_gathers_what_happens_together(line):
    """Actions of one slot come in the order they were asked for, never early, and are settled once;
    what they ask for now belongs to them.
    """
    told = []
    heap = Heap(line, lambda: told.append("settled"))
    heap.post(10, lambda: (told.append("a"), heap.post(0, told.append, "c")))
    heap.post(20, told.append, "b")
    heap.post(SLOTS_NS[0] + 1, told.append, "later")
    line.run(SECOND_NS)
    assert told == ["a", "b", "c", "settled", "later", "settled"]
    assert heap.happened == 4


def test_skipped_time_moves_what_is_pending(line, heap):
    """What was due in ten seconds is due in ten seconds after a skip, too; and what is asked for
    then, for the same moment, is not forgotten in an old slot.
    """
    told = []
    heap.post(10 * SECOND_NS, told.append, "old")
    heap.skip(5 * SECOND_NS)
    heap.post(10 * SECOND_NS, told.append, "new")
    line.run(12 * SECOND_NS)
    assert told == ["new"]
    line.run(16 * SECOND_NS)
    assert told == ["new", "old"]


@pytest.fixture
def links(heap):
    arrived = []
    trace = Trace(keep=True)

    def deliver(sender, receiver, envelope):
        arrived.append((sender, receiver, envelope.token))
        return True

    network = CoreNetwork(range(1, 4), heap, Random(1), trace, deliver)
    return network, arrived


def send(network, sender, receiver, *tokens):
    for token in tokens:
        network.send(sender, receiver, ReadAsk(GroupId(1), token))


def test_messages_arrive_in_their_order(line, links):
    """Without a fault nothing is lost, doubled or overtaken."""
    network, arrived = links
    send(network, 1, 2, *range(50))
    line.run(SECOND_NS)
    assert arrived == [(1, 2, token) for token in range(50)]


def test_cuts_are_counted(line, links):
    """Two faults that cut the same way end one after the other; the other way is as it was."""
    network, arrived = links
    both = Partition(((1,), (2, 3)), 0.0, 1.0)
    one = Block(1, 2, 0.0, 1.0)
    network.begin(both)
    network.begin(one)
    network.end(both)
    send(network, 1, 2, 1)
    send(network, 2, 1, 2)
    line.run(SECOND_NS)
    assert arrived == [(2, 1, 2)]
    network.end(one)
    send(network, 1, 2, 3)
    line.run(2 * SECOND_NS)
    assert arrived[1:] == [(1, 2, 3)]


@pytest.mark.parametrize(("fault", "count"), [(Loss, 0), (Duplicate, 20)])
def test_loss_and_duplicates(line, links, fault, count):
    """All are lost, or all come twice, if the odds say so."""
    network, arrived = links
    network.begin(fault(1, 2, 1.0, 0.0, 1.0))
    send(network, 1, 2, *range(10))
    line.run(SECOND_NS)
    assert len(arrived) == count


def test_a_reset_loses_what_is_under_way(line, links):
    """What was sent before is gone, what is sent after arrives."""
    network, arrived = links
    send(network, 1, 2, 1)
    network.begin(Reset(2, 1, 0.0))
    send(network, 1, 2, 2)
    line.run(SECOND_NS)
    assert arrived == [(1, 2, 2)]


def entry(index, term=1):
    return Entry(term, index, EntryKind.PAYLOAD, b"x" * index)


def write(number, *entries):
    return Write(number, HardState(1, 0, 0) if number == 1 else None, 0, entries)


@pytest.fixture
def log(heap):
    return CoreLog(heap, Random(3), lambda: None)


def test_writes_are_durable_before_they_are_done(line, log):
    """Each is reported in order, when its entries are there; those that waited share a sync."""
    told = []
    for number in (1, 2, 3):
        log.submit(
            write(number, entry(number)),
            lambda number=number: told.append((number, log.durable.last_index)),
        )
    line.run(SECOND_NS)
    assert told == [(1, 1), (2, 3), (3, 3)]


def test_a_crash_loses_what_was_not_synced(line, heap):
    """Of the transaction under way all survives or nothing, by chance; nothing is reported, and
    what was synced stays.
    """
    found = set()
    for seed in range(20):
        log, told = CoreLog(heap, Random(seed), lambda: None), []
        log.submit(write(1, entry(1)), lambda told=told: told.append(1))
        line.run(line.now_ns + SECOND_NS)
        log.submit(write(2, entry(2)), lambda told=told: told.append(2))
        log.submit(write(3, entry(3)), lambda told=told: told.append(3))
        log.crash()
        line.run(line.now_ns + SECOND_NS)
        assert told == [1]
        found.add(log.durable.last_index)
    assert found == {1, 2}


def test_devices_stall_fill_up_and_fail(line, heap):
    """Nothing is reported while a device stands still or is full; a failed sync is told once."""
    told, failed = [], []
    log = CoreLog(heap, Random(3), lambda: failed.append(1))
    log.pace.stall()
    log.submit(write(1, entry(1)), lambda: told.append(1))
    line.run(5 * SECOND_NS)
    log.full = True
    log.pace.unstall()
    line.run(10 * SECOND_NS)
    assert told == []
    log.full = False
    line.run(15 * SECOND_NS)
    assert told == [1]
    log.failing_syncs = 1
    log.submit(write(2, entry(2)), lambda: told.append(2))
    line.run(20 * SECOND_NS)
    assert (told, failed) == ([1], [1])


def test_entries_are_read_back(line, log):
    """From the first that is asked for, as many as fit, with the term before them."""
    log.submit(write(1, entry(1), entry(2), entry(3)), lambda: None)
    line.run(SECOND_NS)
    told = []
    log.load(LoadEntries(2, 2, 3, 1), told.append)
    log.load(LoadEntries(2, 1, 3, 10_000), told.append)
    line.run(2 * SECOND_NS)
    assert told == [(1, (entry(2),)), (0, (entry(1), entry(2), entry(3)))]


def test_rows_that_were_not_flushed_are_lost(line, heap):
    """Reads see the newest rows; a crash leaves those of the last flush, and its index."""
    state = CoreState(heap)
    state.write([RowWrite("t", (1, "a"), (1,)), RowWrite("t", (1, "b"), (2,))], 7)
    state.flush(lambda: None)
    line.run(SECOND_NS)
    state.write([RowWrite("t", (1, "a"), (9,)), RowWrite("t", (1, "b"), None)], 8)
    assert state.scan("t", (1,)) == [(1, "a", 9)]
    assert state.get("t", (1, "b")) is None
    state.crash()
    assert state.scan("t") == [(1, "a", 1), (1, "b", 2)]
    assert state.applied_index == 7


def test_nobody_hears_what_reaches_the_dead(line, heap):
    """A message to a node without a process leaves no line of its arrival."""
    trace = Trace(keep=True)
    network = CoreNetwork(range(1, 3), heap, Random(1), trace, lambda *_: False)
    send(network, 1, 2, 1)
    line.run(SECOND_NS)
    trace.finish()
    assert [kind for _, _, kind, _ in trace.lines] == [Kind.SENT]
