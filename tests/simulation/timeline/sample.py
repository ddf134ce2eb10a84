"""Made-up records of runs: a small one that has everything in it, and large ones."""

from random import Random

from flowactor.simulation.faults import Crash, Loss, Partition, Pause, source_of
from flowactor.simulation.outcome import Failure
from flowactor.simulation.timeline import Timeline
from flowactor.simulation.trace import Kind

MILLISECOND = 1_000_000

CRASH = Crash(node=1, at=1.2, until=2.1)
PARTITION = Partition(sides=((1, 2), (3,)), at=2.6, until=3.4)
LOSS = Loss(source=2, target=1, odds=0.3, at=2.3, until=3.0)
PAUSE = Pause(node=3, at=0.7, until=0.9)
FAULTS = (PAUSE, CRASH, LOSS, PARTITION)
FAILURE = Failure(
    "I8",
    "entry 31 of term 2 is committed on node 2, but node 3 applied entry 31 of term 1",
    3.82,
)
RUN = "7d1f0a22c4"


class Scribe:
    """Writes lines as a simulator would, and sorts them by time at the end."""

    def __init__(self, nodes, seed):
        self.nodes = nodes
        self.random = Random(seed)
        self.lines = []
        self.number = 0

    def write(self, at_ms, node, kind, *details):
        self.lines.append((round(at_ms * MILLISECOND), node, kind, details))

    def message(self, at_ms, sender, receiver, what, term, *, lost=False):
        self.number += 1
        self.write(at_ms, sender, Kind.SENT, self.number, receiver, what, term)
        arrives = at_ms + 4 + self.random.random() * 14
        if not lost:
            self.write(arrives, receiver, Kind.RECEIVED, self.number, sender)
        return arrives

    def fault(self, fault, word):
        self.write(fault.at * 1000, 0, Kind.FAULT, word, source_of(fault), 1)
        self.write(fault.until * 1000, 0, Kind.FAULT, word, source_of(fault), 0)

    def elect(self, at_ms, leader, term, others):
        self.write(at_ms, leader, Kind.ROLE, "candidate", term, 0)
        replies = []
        for other in others:
            asked = self.message(at_ms, leader, other, "Vote", term)
            self.write(asked, other, Kind.ROLE, "follower", term, 0)
            replies.append(self.message(asked + 1, other, leader, "VoteReply", term))
        self.write(max(replies), leader, Kind.ROLE, "leader", term, leader)
        for other in others:
            heard = self.message(max(replies) + 1, leader, other, "Append", term)
            self.write(heard, other, Kind.ROLE, "follower", term, leader)
        return max(replies)

    def replicate(self, at_ms, leader, others, index, term, *, cut_off=()):
        digest = (index * 2654435761 % 2**32).to_bytes(4, "big") * 4
        replies = []
        for other in others:
            lost = other in cut_off or (leader == 2 and other == 1 and self.random.random() < 0.2)
            arrived = self.message(at_ms, leader, other, "Append", term, lost=lost)
            if not lost:
                self.write(arrived + 3, other, Kind.APPENDED, index, index, term)
                replies.append(self.message(arrived + 3, other, leader, "AppendReply", term))
                self.write(arrived + 24, other, Kind.COMMITTED, index, term, digest)
        self.write(at_ms + 3, leader, Kind.APPENDED, index, index, term)
        if replies:
            self.write(min(replies), leader, Kind.COMMITTED, index, term, digest)
        return min(replies, default=at_ms)

    def step(self, at_ms, until_ms, node, name, attempt, outcome="completed"):
        self.write(at_ms, node, Kind.STEP, RUN, name, attempt, "started")
        if outcome:
            self.write(until_ms, node, Kind.STEP, RUN, name, attempt, outcome)

    def sorted(self):
        return sorted(self.lines, key=lambda line: line[0])


def small_lines(workflow_id="order-17"):
    """An election, a pause, a crash in the middle of a step, a partition, and a failure."""
    scribe = Scribe(3, 7)
    scribe.write(0, 0, Kind.PHASE, "faults")
    for node in (1, 2, 3):
        scribe.write(0, node, Kind.STARTED, 0, 0)
        scribe.write(0, node, Kind.ROLE, "follower", 0, 0)
    for fault, word in zip(FAULTS, ("pause", "crash", "loss", "partition"), strict=True):
        scribe.fault(fault, word)
    scribe.elect(160, 1, 1, (2, 3))
    _run(scribe, workflow_id)
    index = 1
    for at_ms in range(240, 1190, 50):
        paused = 700 <= at_ms < 900
        scribe.replicate(at_ms, 1, (2, 3), index, 1, cut_off=(3,) if paused else ())
        index += 1
    scribe.write(1200, 1, Kind.STOPPED, "crash")
    scribe.elect(1420, 2, 2, (3,))
    for at_ms in range(1500, 3820, 60):
        away = [1] if at_ms < 2110 else []
        cut_off = (3,) if 2600 <= at_ms < 3400 else ()
        others = [node for node in (1, 3) if node not in away]
        scribe.replicate(at_ms, 2, others, index, 2, cut_off=cut_off)
        index += 1
    scribe.write(2100, 1, Kind.STARTED, 18, 19)
    scribe.write(2130, 1, Kind.ROLE, "follower", 2, 2)
    scribe.write(3000, 3, Kind.ROLE, "candidate", 3, 0)
    scribe.write(3420, 3, Kind.ROLE, "follower", 3, 2)
    scribe.write(3500, 0, Kind.PHASE, "healing")
    scribe.write(3820, 0, Kind.FAILED, FAILURE.checker, FAILURE.message)
    return tuple(line for line in scribe.sorted() if line[0] <= 3820 * MILLISECOND)


def _run(scribe, workflow_id):
    scribe.write(285, 0, Kind.ASKED, 1, 1, f"Start Order {workflow_id}", 2)
    scribe.write(330, 1, Kind.OPENED, RUN, workflow_id, "Order", 1, 2)
    scribe.write(342, 0, Kind.ANSWERED, 1, 1, "started")
    scribe.write(360, 1, Kind.ADVANCED, RUN, 1, 1, 3)
    scribe.step(365, 610, 1, "reserve", 1)
    scribe.write(540, 1, Kind.EFFECT, "stock", "reserve-1", 1)
    scribe.write(640, 1, Kind.ADVANCED, RUN, 2, 2, 9)
    scribe.step(660, 0, 1, "charge", 1, "")
    scribe.step(680, 930, 1, "notify", 1, "failed")
    scribe.write(1010, 1, Kind.EFFECT, "payments", "charge-1", 1)
    scribe.write(1460, 2, Kind.OWNER, RUN, 2, 2, 21)
    scribe.step(1480, 1720, 2, "charge", 2)
    scribe.write(1650, 2, Kind.EFFECT, "payments", "charge-1", 2)
    scribe.step(1500, 1640, 2, "notify", 2)
    scribe.write(1760, 2, Kind.ADVANCED, RUN, 3, 1, 26)
    scribe.step(1790, 2260, 2, "ship", 1)
    scribe.write(2200, 2, Kind.EFFECT, "parcels", "ship-1", 1)
    scribe.write(2320, 2, Kind.CLOSED, RUN, "completed", 35)
    scribe.write(300, 0, Kind.ASKED, 1, 2, f"Result {workflow_id}", 1)
    scribe.write(2360, 0, Kind.ANSWERED, 1, 2, "completed")
    scribe.write(2700, 0, Kind.ASKED, 2, 1, "Write stock=4", 3)


def small(workflow_id="order-17", title="An order, a crash and a partition"):
    """The small record as a timeline."""
    return Timeline.of(
        small_lines(workflow_id),
        nodes=3,
        title=title,
        seed=42,
        faults=FAULTS,
        failure=FAILURE,
    )


FORTNIGHT_MS = 14 * 86_400_000


def waiting(title="Two weeks of silence", failure=None):
    """A run that waits for two weeks between two steps, and nothing else happens meanwhile."""
    scribe = Scribe(3, 5)
    for node in (1, 2, 3):
        scribe.write(0, node, Kind.STARTED, 0, 0)
    scribe.elect(160, 1, 1, (2, 3))
    scribe.write(330, 1, Kind.OPENED, RUN, "order-17", "Order", 1, 2)
    scribe.step(365, 610, 1, "charge", 1)
    for index, at_ms in enumerate(range(240, 1190, 50), 1):
        scribe.replicate(at_ms, 1, (2, 3), index, 1)
    later = FORTNIGHT_MS + 1_000
    scribe.step(later, later + 400, 1, "ask_for_review", 1)
    for index, at_ms in enumerate(range(later + 10, later + 500, 50), 20):
        scribe.replicate(at_ms, 1, (2, 3), index, 1)
    scribe.write(later + 550, 1, Kind.CLOSED, RUN, "completed", 30)
    return Timeline.of(scribe.sorted(), nodes=3, title=title, seed=5, failure=failure)


def crowded():
    """Nine steps at a time on one node, which is paused as soon as it follows."""
    lines = [(400, 1, Kind.STARTED, (0, 0)), (500, 1, Kind.ROLE, ("follower", 3, 2))]
    for number in range(9):
        lines.append((1000 + 300 * number, 1, Kind.STEP, ("r", f"work-{number}", 1, "started")))
        lines.append((9000 + 300 * number, 1, Kind.STEP, ("r", f"work-{number}", 1, "completed")))
    pause = Pause(node=1, at=6e-7, until=4e-6)
    return Timeline.of(lines, nodes=2, title="crowded", faults=(pause,))


def large_lines(lines, nodes=5, runs=40):
    """About so many lines of a cluster under load, whose leaders crash one after the other."""
    scribe = Scribe(nodes, 11)
    everybody = tuple(range(1, nodes + 1))
    for node in everybody:
        scribe.write(0, node, Kind.STARTED, 0, 0)
    at_ms, index, term = 150.0, 1, 0
    leader, opened, down, back_ms = 1, 0, 0, 0.0
    while len(scribe.lines) < lines:
        if index % 400 == 1:
            term += 1
            if term > 1:
                scribe.write(at_ms, leader, Kind.STOPPED, "crash")
                scribe.write(at_ms + 900, leader, Kind.STARTED, index, index)
                scribe.write(at_ms + 905, leader, Kind.ROLE, "follower", term, 0)
                down, back_ms = leader, at_ms + 900
                leader = leader % nodes + 1
            others = tuple(node for node in everybody if node not in {leader, down})
            at_ms = scribe.elect(at_ms + 140, leader, term, others) + 5
        others = tuple(
            node for node in everybody if node != leader and (node != down or at_ms > back_ms)
        )
        scribe.replicate(at_ms, leader, others, index, term)
        if index % 9 == 0 and opened < runs:
            opened += 1
            _busy_run(scribe, at_ms, opened, index, opened % nodes + 1)
        index += 1
        at_ms += 5
    return tuple(scribe.sorted())


def _busy_run(scribe, at_ms, number, index, owner):
    run = f"{number:08x}"
    scribe.write(at_ms - 8, 0, Kind.ASKED, number % 3 + 1, number, f"Start job-{number}", owner)
    scribe.write(at_ms, owner, Kind.OPENED, run, f"job-{number}", "Job", owner, index)
    scribe.write(at_ms + 9, 0, Kind.ANSWERED, number % 3 + 1, number, "started")
    for position in range(1, 12):
        at_ms += 60 + scribe.random.random() * 120
        scribe.write(at_ms, owner, Kind.ADVANCED, run, position, 1, index)
        scribe.write(at_ms + 2, owner, Kind.STEP, run, f"work-{position}", 1, "started")
        ends = at_ms + 20 + scribe.random.random() * 90
        scribe.write(ends, owner, Kind.STEP, run, f"work-{position}", 1, "completed")
        scribe.write(ends - 3, owner, Kind.EFFECT, "ledger", f"{number}-{position}", position)
    scribe.write(at_ms + 150, owner, Kind.CLOSED, run, "completed", index)


def large(lines=50_000):
    """A large record as a timeline, without a failure."""
    return Timeline.of(large_lines(lines), nodes=5, title="A long day", seed=11)
