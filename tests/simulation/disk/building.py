"""A machine for tests: a device, an agenda of its own, and lives of one process upon them."""

from heapq import heappop, heappush
from random import Random

from flowactor.errors import StoragePoisoned, WorldError
from flowactor.identity import ClusterId, NodeId
from flowactor.ports import RowWrite
from flowactor.simulation.disk import Device, SimulatedDisk
from flowactor.storage import (
    LogStore,
    LogWriter,
    StateStore,
    open_identity,
    remove_leftovers,
)
from tests.storage.building import (
    EVERYTHING,
    ONE,
    TABLES,
    TWO,
    StoppedClock,
    entries,
    run_row,
    state,
    write,
)

HERE = ClusterId("orders")


class HeapAgenda:
    """Virtual time on a heap."""

    def __init__(self):
        self.now_ns = 0
        self._heap, self._number = [], 0

    def at(self, due_ns, action):
        self._number += 1
        heappush(self._heap, (max(due_ns, self.now_ns), self._number, action))

    def run(self, seconds=float("inf")):
        """Everything that happens within this time, or until nothing does."""
        end_ns = self.now_ns + seconds * 1e9
        while self._heap and self._heap[0][0] <= end_ns:
            self.now_ns, _, action = heappop(self._heap)
            action()
        if seconds < float("inf"):
            self.now_ns = int(end_ns)


class MishapDevice(Device):
    """A copy of ``base`` to which something happens after its operation of this number (from 1).

    Attributes:
        acknowledged: what the process has been told so far, as it says here itself.
        left: the machine at that moment; None if it did not come so far.
        promised: what was acknowledged by then.
    """

    def __init__(self, base, number, mishap):
        super().__init__(Random(number))
        self.files.update((name, file.copy()) for name, file in base.files.items())
        self.acknowledged, self.left, self.promised = [], None, []
        self._number, self._mishap = number, mishap

    def _operated(self):
        super()._operated()
        self._number -= 1
        if self._number == 0:
            self.left, self.promised = self.copy(Random(0)), list(self.acknowledged)
            self._mishap(self)


def make_device(seed=1):
    return Device(Random(seed))


def make_disk(device, agenda=None, where="node 1"):
    return SimulatedDisk(device, agenda or HeapAgenda(), StoppedClock(), where)


def recover(device):
    """Do to the device what a start does; returns the logs it found."""
    disk = make_disk(device)
    try:
        store = LogStore.open(disk)
        try:
            starts = {group: store._tail(group).start.index for group in (ONE, TWO)}
            return {group: store.recover(group, at, EVERYTHING) for group, at in starts.items()}
        finally:
            store.close()
    finally:
        disk.close()


def found_on(device):
    """What a start would find on the device, which stays as it is."""
    return recover(device.copy(Random(0)))


def rows_at(index):
    """The rows of ``TABLES`` when ``index`` was applied: no two indexes have the same."""
    if index == 0:
        return []
    counter = ("counter", 0, "open", b"%d" % index)
    return [counter, *(("run", i, "open", b"x") for i in range(max(1, index - 2), index + 1))]


def rows_changed_by(index):
    return [
        run_row("counter", 0, data=b"%d" % index),
        run_row("run", index),
        RowWrite("runs", ("run", index - 3), None),
    ]


class Life:
    """One life of a process: log, state and identity on a device, work that goes on by itself.

    ``promised`` says what must be found after it: ``logs[acknowledged:]`` are what the logs of both
    groups may be, ``durable_index`` is how far the state must have got.
    """

    def __init__(self, device, random, agenda=None):
        self.device, self.random = device, random
        self.agenda = agenda or HeapAgenda()
        self.told, self.dead = [], False
        self.disk = make_disk(device, self.agenda)
        self.identity = open_identity(self.disk, HERE, NodeId(1), 7, {"peers": "a"})
        store = LogStore.open(self.disk)
        remove_leftovers(self.disk, store.generations())
        self.copied = 0
        self.writer = LogWriter(store, self.disk.worker("log"), StoppedClock(), self.told.append)
        self.state_worker = self.disk.worker("state")
        self.state = StateStore(
            self.disk, ONE, TABLES, self.state_worker, on_failure=self.told.append
        )
        assert self.state.scan("runs") == rows_at(self.state.applied_index)
        self.restored = {
            group: store.recover(group, applied, EVERYTHING)
            for group, applied in ((ONE, self.state.applied_index), (TWO, 0))
        }
        self.applied = self.state.applied_index
        self.term = 1 + max(found.hard_state.term for found in self.restored.values())
        self.log = {
            group: [None] * found.previous_index + list(found.entries)
            for group, found in self.restored.items()
        }
        self.logs = [self.snapshot()]
        self.acknowledged = 0
        self.submitted = dict.fromkeys(self.log, 0)

    def snapshot(self):
        return {group: tuple(log) for group, log in self.log.items()}

    def submit(self, group):
        """Append some entries; the first write of a life may cut what was not committed."""
        if self.over:
            return
        log, random, cut = self.log[group], self.random, 0
        self.submitted[group] += 1
        kept = max(self.applied if group == ONE else 0, self.restored[group].hard_state.commit)
        if self.submitted[group] == 1 and len(log) > kept and random.random() < 0.5:
            cut = random.randint(kept + 1, len(log))
            del log[cut - 1 :]
        size = random.choice((1, 1, 2, 5, 70))
        fresh = entries(len(log) + 1, len(log) + size, self.term, random.randbytes(40))
        log.extend(fresh)
        self.logs.append(self.snapshot())
        number, last = len(self.logs) - 1, len(log)

        def done():
            assert self.acknowledged == number - 1, "acknowledged out of order"
            self.acknowledged = number
            if group == ONE:
                for index in range(self.applied + 1, last + 1):
                    self.state.write(rows_changed_by(index), index)
                self.applied = last

        hard_state = state(self.term, commit=kept)
        self.writer.submit(group, write(*fresh, hard_state=hard_state, cut=cut), done)

    def work(self, seconds, writes):
        """Go on for that long, with so many writes at moments of their own."""
        for _ in range(writes):
            due_ns = self.agenda.now_ns + self.random.randrange(int(seconds * 1e9))
            group = self.random.choice((ONE, TWO))
            self.agenda.at(due_ns, lambda group=group: self.submit(group))
            if self.random.random() < 0.3:
                self.agenda.at(due_ns, self.flush)
            if self.random.random() < 0.1:
                self.agenda.at(due_ns, self.checkpoint_state)
            if self.random.random() < 0.1:
                self.agenda.at(due_ns, self.compact)
            if self.random.random() < 0.1:
                self.agenda.at(due_ns, self.copy)
        self.agenda.run(seconds)

    @property
    def over(self):
        """Whether nothing is to be written any more."""
        return self.dead or self.failed

    @property
    def failed(self):
        """Whether a sync has failed."""
        return any(isinstance(error, StoragePoisoned) for error in self.told)

    def flush(self):
        if not self.over:
            self.state.flush()

    def retry(self):
        """Space has been freed."""
        if not self.over:
            self.writer.retry()
            self.state.flush()

    def checkpoint_state(self):
        index = self.state.applied_index
        if not self.over:
            self.state_worker.submit(
                self.state._checkpoint, lambda outcome: self.state._checkpointed(outcome, index)
            )

    def compact(self):
        if not self.over and self.state.durable_index:
            self.writer.compact(ONE, self.state.durable_index)

    def copy(self):
        if not self.over and not self.state.is_copying:
            self.state.snapshot(self.look_at_copy)

    def look_at_copy(self, copy):
        """A copy, if the disk was not full, is the state at its index."""
        if self.over or isinstance(copy, WorldError):
            return
        connection = self.disk.connect(copy.name, readonly=True)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        found = connection.execute("SELECT * FROM runs ORDER BY run, number").fetchall()
        connection.close()
        assert found == rows_at(copy.image.index)
        self.copied += 1
        copy.discard()

    def crash(self, *, power_cut):
        """The device of the next life, after this one has cleaned up behind itself as it can."""
        self.durable_index = self.state.durable_index if power_cut else self.state.applied_index
        survivor = self.disk.crash(power_cut=power_cut)
        promised = (self.acknowledged, self.durable_index)
        self.end()
        self.acknowledged, self.durable_index = promised
        return survivor

    def end(self):
        self.dead = True
        self.writer.close()
        self.state.cancel_snapshot()
        self.state_worker.close()
        self.state.close()
        self.disk.close()

    def check_next(self, after):
        """``after``, the next life, found what this one had promised."""
        assert after.identity == self.identity
        found = {group: restored.entries for group, restored in after.restored.items()}
        first = {group: restored.first_index for group, restored in after.restored.items()}
        assert found in [
            {group: log[first[group] - 1 :] for group, log in logs.items()}
            for logs in self.logs[self.acknowledged :]
        ], f"from {first} on"
        assert after.state.applied_index >= self.durable_index
