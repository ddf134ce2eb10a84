"""Any log at all: machines that apply it are equal, however often they die, and keep their rules.

A log is a list of seeds, one for each entry. An entry is made against the machine's state of that
moment, so that most operations hit (the right epoch and position, a step that is running, a run
that is parked), while some miss, and must miss on every machine alike. Dropping entries from a log
leaves a log, so a failure shrinks.
"""

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from flowactor.codec import records
from flowactor.machine import Machine, OperationRefused, Parking, RunClosed, StepState
from flowactor.machine.commands import (
    ArmTimer,
    CancelStep,
    CancelTimer,
    CompleteRun,
    FailRun,
    RetryRule,
    RunEndedCancelled,
    ScheduleStep,
    SetVariable,
)
from flowactor.machine.events import Failure, StepCompleted
from flowactor.machine.operations import (
    Advance,
    AnnounceNode,
    CancelRun,
    ClientOperation,
    CompareAndSet,
    FailAttempt,
    InboxRef,
    OpenSession,
    ParkRun,
    ReassignRuns,
    ResumeRun,
    SignalRun,
    StartRun,
    TerminateRun,
    WriteVariable,
    decode_batch,
    encode_batch,
)
from flowactor.machine.replies import Rejected, RunStatus

SECOND = 10**9
VOTERS = (1, 2, 3)
KEYS = [((), "s", 0), ((), "s", 1), ((), "t", 0), ((0, 1), "s", 0)]
TYPES = (("T", 1), ("T", 2), ("U", 1))
NAMES = ["a", "b", "a:b", "c", "d"]
ENDS = [CompleteRun(b"done"), FailRun(Failure("E", "no")), RunEndedCancelled("enough")]
REACHED = {
    "Advanced",
    "RunParked",
    "RunResumed",
    "StepsDue",
    "OwnerChanged",
    "refused Advance",
    "refused FailAttempt",
    "refused ParkRun",
    "refused ReassignRuns",
    "rejected AlreadyClosed",
    "rejected AlreadyExists",
    "rejected NotFound",
    "rejected SessionExpired",
    "rejected VersionMismatch",
    *(f"closed {status.value}" for status in RunStatus if not status.is_open),
}
"""What a campaign of many logs must come across, or it proves less than it seems to."""


class Author:
    """Makes up operations for whatever state a machine is in."""

    def __init__(self, machine):
        self.machine = machine
        self.sequences = {"s": 0, "t": 0}
        self.started = 0

    def entry(self, seed):
        """(stamp, operations, whether to take rows, whether to restart) of one log entry."""
        random = Random(seed)
        elapsed = random.choices([0, 1, 5, 30, -3, 4000], [60, 25, 8, 3, 3, 1])[0]
        makers = [self.advance, self.fail, self.request, self.cluster, self.park]
        chosen = random.choices(makers, [45, 15, 30, 6, 4], k=random.randint(0, 4))
        stamp_ns = max(self.machine.clock_ns + elapsed * SECOND, 0)
        operations = [make(random) for make in chosen]
        return stamp_ns, operations, random.random() < 0.2, random.random() < 0.2

    def any_run(self, random):
        run_ids = sorted(self.machine.runs)
        return self.machine.runs[random.choice(run_ids)] if run_ids else None

    def advance(self, random):
        run = self.any_run(random)
        if run is None:
            return self.request(random)
        consumed = [InboxRef(number) for number in sorted(run.inbox) if random.random() < 0.8]
        consumed += [
            StepCompleted(key, step.attempt, b"r")
            for key, step in sorted(run.steps.items())
            if step.state is StepState.RUNNING and random.random() < 0.3
        ]
        commands = [self.command(random) for _ in range(random.randint(0, 3))]
        if random.random() < 0.15:
            commands.append(random.choice(ENDS))
        position = run.position - (random.random() < 0.05)
        now_ns = run.now_ns + random.randint(-1, 3)
        return Advance(run.run_id, run.epoch, position, now_ns, tuple(consumed), tuple(commands))

    def command(self, random):
        key = random.choice(KEYS)
        due_ns = self.machine.clock_ns + random.randint(-1, 9) * SECOND
        initial = random.choice([0, SECOND, 5 * SECOND])
        rule = RetryRule(initial, 2000, 8 * SECOND, random.randint(0, 3), ("Fatal",))
        limit = random.choice([0, 7 * SECOND])
        makers = [
            lambda: ScheduleStep(key, key[1], b"", rule, schedule_to_close_ns=limit),
            lambda: CancelStep(key),
            lambda: ArmTimer(key, due_ns),
            lambda: CancelTimer(key),
            lambda: SetVariable(random.choice("xy"), random.randbytes(1)),
        ]
        return random.choices(makers, [6, 1, 3, 1, 2])[0]()

    def fail(self, random):
        run = self.any_run(random)
        if run is None or not run.steps:
            return self.advance(random)
        key = random.choice(sorted(run.steps))
        attempt = run.steps[key].attempt - (random.random() < 0.1)
        failure = Failure(
            random.choice(["E", "E", "x.Fatal"]), "no", retryable=random.random() < 0.9
        )
        return FailAttempt(run.run_id, run.epoch - (random.random() < 0.1), key, attempt, failure)

    def park(self, random):
        run = self.any_run(random)
        if run is None:
            return OpenSession("t")
        return ParkRun(run.run_id, run.epoch - (random.random() < 0.2), "look")

    def cluster(self, random):
        workflows = tuple(pair for pair in TYPES if random.random() < 0.7)
        return random.choice(
            [
                OpenSession(random.choice("st")),
                AnnounceNode(random.randint(1, 4), random.choice("ij"), workflows),
                AnnounceNode(random.randint(1, 3), "i", TYPES),
                ReassignRuns(random.randint(1, 4), random.choice([1, 1, 1, 2])),
            ]
        )

    def request(self, random):
        session = random.choice("ssst")
        if random.random() < 0.1:
            return OpenSession(session)
        self.sequences[session] += random.choice([0, 1, 1, 1, 1, 1])
        sequence = self.sequences[session]
        acknowledged = max(sequence - random.choice([0, 1, 3, 10]), 1)
        return ClientOperation(session, sequence, acknowledged, self.body(random))

    def body(self, random):
        name = random.choice(NAMES)
        self.started += 1
        run_id = f"r{random.choice([self.started, self.started, 1])}"
        kind, version = random.choice([("T", 0), ("T", 1), ("T", 2), ("U", 1), ("V", 1)])
        timeout_ns = random.choice([0, 0, 60 * SECOND])
        makers = [
            lambda: StartRun(name, run_id, kind, version, b"", random.randint(1, 4), timeout_ns),
            lambda: SignalRun(name, "", "note", b"x"),
            lambda: CancelRun(name, "", "enough"),
            lambda: TerminateRun(name, "", "over"),
            lambda: ResumeRun(name, ""),
            lambda: WriteVariable(name, random.choice([None, b"1", b"2"])),
            lambda: CompareAndSet(name, random.randint(0, 2), b"3"),
        ]
        # Names are few, so that they meet; the last ones are fresh, so that runs never run out.
        if random.random() < 0.3:
            name = f"n{self.started}"
        return random.choices(makers, [10, 4, 1, 1, 3, 3, 3])[0]()


PRELUDE = [
    OpenSession("s"),
    AnnounceNode(1, "i", TYPES),
    AnnounceNode(2, "i", (("T", 1), ("T", 2))),
    AnnounceNode(3, "i", (("T", 1),)),
]


def check_invariants(machine, before):
    """What must hold after any entry."""
    for run_id, (epoch, position, now_ns) in before.items():
        if run := machine.runs.get(run_id):
            assert run.epoch >= epoch
            assert run.position >= position
            assert run.now_ns >= now_ns
    for run in machine.runs.values():
        assert run.status.is_open
        assert (run.status is RunStatus.RUNNING) == (run.owner > 0) == (run.parking is Parking.NOT)
    for node in machine.nodes.values():
        assert node.owned == sum(run.owner == node.node for run in machine.runs.values())
        assert node.alive or not node.owned


def marks(applied):
    for notice in applied.notices:
        if isinstance(notice, OperationRefused):
            yield f"refused {notice.operation}"
        elif isinstance(notice, RunClosed):
            yield f"closed {notice.status.value}"
        else:
            yield type(notice).__name__
    for _, _, reply in applied.replies:
        if isinstance(reply, Rejected):
            yield f"rejected {reply.code}"


def compare(make_rows, seeds):
    """Let one machine live, another die and be restored at random points, and a third replay the
    log in the end; assert that nobody can tell them apart. Returns what was reached.
    """
    rows, mortal_rows = make_rows(), make_rows()
    machine, mortal = Machine(VOTERS, rows), Machine(VOTERS, mortal_rows)
    author = Author(machine)
    entries, ended, reached = [], {}, Counter()
    for index, seed in enumerate([None, *seeds], 1):
        entry = (0, PRELUDE, False, False) if seed is None else author.entry(seed)
        stamp_ns, operations, flush, restart = entry
        entries.append(decode_batch(encode_batch(stamp_ns, list(map(records.encode, operations)))))
        before = {
            run.run_id: (run.epoch, run.position, run.now_ns) for run in machine.runs.values()
        }
        applied = machine.apply(index, 1, entries[-1])
        assert mortal.apply(index, 1, entries[-1]) == applied
        assert mortal.digest() == machine.digest()
        assert mortal.next_due_ns == machine.next_due_ns
        check_invariants(machine, before)
        reached.update(marks(applied))
        for notice in applied.notices:
            if isinstance(notice, RunClosed):
                assert notice.run_id not in ended
                ended[notice.run_id] = machine.find("", notice.run_id)
        if flush:
            rows.write(machine.take_writes())
        if restart:
            mortal_rows.write(mortal.take_writes())
            mortal = Machine(VOTERS, mortal_rows)
    replayed, replayed_rows = Machine(VOTERS, make_rows()), make_rows()
    for index, batch in enumerate(entries, 1):
        replayed.apply(index, 1, batch)
    assert replayed.digest() == machine.digest()
    for each, each_rows in ((replayed, replayed_rows), (machine, rows), (mortal, mortal_rows)):
        each_rows.write(each.take_writes())
    for name in sorted(rows.tables.keys() | replayed_rows.tables.keys()):
        assert rows.scan(name) == replayed_rows.scan(name) == mortal_rows.scan(name)
    assert {run_id: machine.find("", run_id) for run_id in ended} == ended
    return reached


@settings(max_examples=settings.default.max_examples // 2)
@given(
    st.integers(0, 120).flatmap(
        lambda size: st.lists(st.integers(0, 2**32), min_size=size, max_size=size)
    )
)
def test_equal_logs_make_equal_machines(make_rows, seeds):
    """Replies, notices, digests, due times and rows do not depend on when rows are taken or how
    often a machine is restored from them; and what has ended stays as it ended.
    """
    compare(make_rows, seeds)


def test_a_campaign_reaches_what_it_is_for(make_rows):
    """Fixed seeds lead through every kind of notice, refusal and end: no idle comparison."""
    reached = Counter()
    for seed in range(12):
        random = Random(seed)
        reached += compare(make_rows, [random.getrandbits(32) for _ in range(150)])
    assert reached.keys() >= REACHED
