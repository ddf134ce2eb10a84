"""Groups that hand slots to each other, against one machine that never moved anything.

A world is a list of seeds, one for each thing that happens: a client asks some group, the right one
or not, now or again; an owner goes on, now or later, when it is the owner no more; a move of slots
takes a step, is given up, or says something again. Whatever a group accepts is done in the one
machine as well, which must accept it too and answer the same. In the end both hold the same runs,
histories and variables, but for owners, epochs and attempts.

Each group has a twin that is restored from its rows before every entry (``conftest``), so all of
this is also true of groups that crash at any point.
"""

from collections import Counter
from random import Random

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowactor.codec import records
from flowactor.identity import slot_of
from flowactor.machine import (
    Advanced,
    InboxGrew,
    Machine,
    OperationRefused,
    RunArrived,
    SlotState,
    StepState,
    moving,
)
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
from flowactor.machine.events import Failure, StepCompleted, StepEnded, TimerFired
from flowactor.machine.handoff import (
    ActivateSlots,
    ExpectSlots,
    ForgetSlots,
    FreezeSlots,
    ReleaseMove,
)
from flowactor.machine.history import (
    Arrived,
    AttemptFailed,
    AttemptStarted,
    Opened,
    OwnerAssigned,
)
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
from flowactor.machine.replies import Moved, Rejected

SECOND = 10**9
TYPE = (("T", 1),)
KEYS = [((), "s", 0), ((), "s", 1), ((0, 1), "t", 0)]
ENDS = [CompleteRun(b"done"), FailRun(Failure("E", "no")), RunEndedCancelled("enough")]
FOREVER = RetryRule(5 * SECOND, 1000, 0, 0, ("Fatal",))
"""Moves cost attempts, so nothing may depend on how many there were."""

SLOTS = (3, 7, 500, 900)
NAMES = [name for name in map(str, range(40_000)) if slot_of(name) in SLOTS]

REACHED = {
    "moved",
    "given up",
    "given up after pages",
    "run arrived",
    "fired at activation",
    "answered by another group",
    "said again",
    "stale advance",
    "page of the twin",
    "floor of another group",
}


class Whole:
    """One machine with everything, whose log is the order in which groups accepted things."""

    def __init__(self, rows):
        self.rows = rows
        self.machine = Machine((1, 2, 3), rows)
        self.index = 0

    def apply(self, *operations, at=None):
        stamp_ns = self.machine.clock_ns if at is None else at * SECOND
        self.index += 1
        batch = decode_batch(encode_batch(stamp_ns, list(map(records.encode, operations))))
        return self.machine.apply(self.index, 1, batch)


class Transfer:
    """Moves some slots, one step at a time; looks at the groups before each."""

    def __init__(self, world, number, source, target, slots):
        self.world, self.number, self.slots = world, number, slots
        self.source, self.target = source, target
        self.given_up = None  # else the groups that are yet to be told

    def step(self, random):
        """Do one thing that is next. Returns False if nothing is left to do."""
        source, target, number = self.source, self.target, self.number
        going, coming = source.machine.moves.get(number), target.machine.moves.get(number)
        active = target.machine.placement(self.slots[0])
        if self.given_up is None and (active.state, active.move) == (SlotState.SERVED, number):
            if going is None:
                self.world.reached["moved"] += 1
                return False
            return self.say(source, ForgetSlots(number))
        if self.given_up is not None or random.random() < 0.04:
            return self.give_up(random)
        if going is None and (coming is None or random.random() < 0.5):
            return self.say(source, FreezeSlots(number, self.slots, 1, 2))
        if coming is None:
            return self.say(target, ExpectSlots(number, self.slots, 1, 2))
        if coming.progress.complete:
            return self.say(target, ActivateSlots(number))
        if going is None:
            return self.say(source, FreezeSlots(number, self.slots, 1, 2))
        of_twin = random.random() < 0.5
        self.world.reached["page of the twin"] += of_twin
        exporter = source.twin if of_twin else source.machine
        return self.say(target, exporter.page(number, coming.progress))

    def give_up(self, random):
        """Decide it, if that is not done, and tell both groups, in any order."""
        coming = self.target.machine.moves.get(self.number)
        if self.given_up is None:
            self.given_up = [self.source, self.target]
            random.shuffle(self.given_up)
            pages = coming is not None and coming.progress.pages
            self.world.reached["given up after pages"] += bool(pages)
        if self.given_up:
            return self.say(self.given_up.pop(), ReleaseMove(self.number, self.slots))
        if coming is not None:
            return self.say(self.target, ForgetSlots(self.number))
        self.world.reached["given up"] += 1
        return False

    def say(self, group, operation):
        self.world.said.append((group, operation))
        applied = group.apply(operation, at=self.world.now)
        self.world.observe(group, applied, operation)
        return True


class World:
    def __init__(self, make_group, rows):
        self.now = 1
        self.reached = Counter()
        self.groups = [make_group((1, 2, 3))]
        self.groups += [make_group(voters, slots=()) for voters in ((2, 3, 4), (5,))]
        self.whole = Whole(rows)
        for one in (*self.groups, self.whole):
            voters = one.machine.voters
            announced = [AnnounceNode(node, "i", TYPE) for node in voters]
            one.apply(OpenSession("s"), OpenSession("t"), *announced, at=self.now)
        self.transfers = []
        self.moves = 0
        self.said = []
        self.proposals = []
        self.asked = {"s": {}, "t": {}}
        self.answered = {}
        self.answered_by = {}
        self.started = 0

    def happen(self, seed):
        random = Random(seed)
        self.now += random.choices([0, 1, 4], [70, 20, 10])[0]
        makers = [self.client, self.owner, self.move, self.repeat, self.cluster]
        random.choices(makers, [35, 30, 30, 6, 3])[0](random)
        for slot in SLOTS:
            states = [group.machine.placement(slot).state for group in self.groups]
            assert states.count(SlotState.SERVED) <= 1

    # -- clients ----------------------------------------------------------------------------------

    def client(self, random):
        """A new request, or one without an answer again, or one that had its answer."""
        session = random.choice("st")
        asked = self.asked[session]
        waiting = [number for number in asked if (session, number) not in self.answered]
        if asked and random.random() < 0.15:
            sequence = random.choice(sorted(asked)[-8:])
        elif waiting and (len(waiting) > 4 or random.random() < 0.4):
            sequence = waiting[0]
        else:
            sequence = len(asked) + 1
            asked[sequence] = self.body(random)
        self.deliver(random.choice(self.groups), session, sequence)

    def body(self, random):
        name = random.choice(NAMES[:12])
        self.started += 1
        fresh = NAMES[12 + self.started % (len(NAMES) - 12)]
        timeout_ns = random.choice([0, 0, 30 * SECOND])
        makers = [
            lambda: StartRun(fresh, f"r{fresh}", "T", 1, b"", random.randint(1, 4), timeout_ns),
            lambda: StartRun(name, f"r{name}", "T", 1, b"", 1),
            lambda: SignalRun(name, "", "note", b"x"),
            lambda: CancelRun(name, "", "enough"),
            lambda: TerminateRun(name, f"r{name}", "over"),
            lambda: ResumeRun("", f"r{name}"),
            lambda: WriteVariable(name, random.choice([None, b"1", b"2"])),
            lambda: CompareAndSet(name, random.randint(0, 2), b"3"),
        ]
        return random.choices(makers, [4, 8, 8, 1, 1, 1, 5, 5])[0]()

    def deliver(self, group, session, sequence):
        body, key = self.asked[session][sequence], (session, sequence)
        waiting = [
            number for number in self.asked[session] if (session, number) not in self.answered
        ]
        acknowledged = min([*waiting, len(self.asked[session])])
        operation = ClientOperation(session, sequence, acknowledged, body)
        applied = group.apply(operation, at=self.now)
        self.observe(group, applied)
        ((_, _, reply),) = applied.replies
        if isinstance(reply, Moved):
            return
        if key in self.answered:
            elsewhere = self.answered_by[key] is not group
            if reply == self.answered[key]:
                self.reached["answered by another group"] += elsewhere
            else:
                assert reply.code == "SessionExpired"
                assert sequence < acknowledged
                self.reached["floor of another group"] += elsewhere
            return
        ((_, _, expected),) = self.whole.apply(operation, at=self.now).replies
        assert reply == expected
        assert not isinstance(reply, Rejected) or reply.code != "SessionExpired"
        self.answered[key] = reply
        self.answered_by[key] = group

    # -- owners -----------------------------------------------------------------------------------

    def owner(self, random):
        """An owner decides; what it decided arrives at once, later, twice, or where it is wrong."""
        group = random.choice(self.groups)
        self.sync(group)
        runs = [group.machine.runs[run_id] for run_id in sorted(group.machine.runs)]
        if runs:
            run = random.choice(runs)
            makers = [self.advance, self.fail, self.park]
            self.proposals.append(random.choices(makers, [10, 4, 1])[0](random, group, run))
        if random.random() < 0.2:
            group = random.choice(self.groups)
        if self.proposals:
            chosen = -1 if random.random() < 0.8 else random.randrange(len(self.proposals))
            self.propose(group, self.proposals[chosen])

    def advance(self, random, group, run):
        consumed = [InboxRef(number) for number in sorted(run.inbox) if random.random() < 0.8]
        consumed += [
            StepCompleted(key, step.attempt, b"r")
            for key, step in sorted(run.steps.items())
            if step.state is StepState.RUNNING and random.random() < 0.3
        ]
        commands = [self.command(random) for _ in range(random.randint(0, 3))]
        if random.random() < 0.1:
            commands.append(random.choice(ENDS))
        now_ns = run.now_ns + random.randint(-1, 3)
        return Advance(
            run.run_id, run.epoch, run.position, now_ns, tuple(consumed), tuple(commands)
        )

    def command(self, random):
        key = random.choice(KEYS)
        due_ns = (self.now + random.randint(-1, 9)) * SECOND
        makers = [
            lambda: ScheduleStep(key, key[1], b"", FOREVER),
            lambda: CancelStep(key),
            lambda: ArmTimer(key, due_ns),
            lambda: CancelTimer(key),
            lambda: SetVariable(random.choice("xy"), random.randbytes(1)),
        ]
        return random.choices(makers, [6, 1, 4, 1, 3])[0]()

    def fail(self, random, group, run):
        running = [key for key, step in sorted(run.steps.items())]
        if not running:
            return self.advance(random, group, run)
        key = random.choice(running)
        failure = Failure(random.choice(["E", "E", "x.Fatal"]), "no")
        return FailAttempt(run.run_id, run.epoch, key, run.steps[key].attempt, failure)

    def park(self, random, group, run):
        return ParkRun(run.run_id, run.epoch, "look")

    def propose(self, group, operation):
        """What the group accepts, the whole must accept: so nothing counts twice."""
        applied = group.apply(operation, at=self.now)
        self.observe(group, applied)
        if any(isinstance(notice, OperationRefused) for notice in applied.notices):
            self.reached["stale advance"] += isinstance(operation, Advance)
            return
        mirrored = self.whole.apply(self.of_whole(operation), at=self.now)
        assert not any(isinstance(notice, OperationRefused) for notice in mirrored.notices)
        events = [
            [list(map(plain, notice.events)) for notice in each.notices if type(notice) is Advanced]
            for each in (applied, mirrored)
        ]
        assert events[0] == events[1]

    def of_whole(self, operation):
        run = self.whole.machine.runs[operation.run_id]
        operation = attrs.evolve(operation, epoch=run.epoch)
        if isinstance(operation, FailAttempt):
            return attrs.evolve(operation, attempt=run.steps[operation.step].attempt)
        if isinstance(operation, Advance):
            consumed = [
                attrs.evolve(item, attempt=run.steps[item.step].attempt)
                if isinstance(item, StepCompleted)
                else item
                for item in operation.consumed
            ]
            return attrs.evolve(operation, consumed=tuple(consumed))
        return operation

    # -- moves and the rest -----------------------------------------------------------------------

    def move(self, random):
        if len(self.transfers) < 2 and random.random() < 0.3:
            self.begin(random)
        if self.transfers:
            transfer = random.choice(self.transfers)
            if not transfer.step(random):
                self.transfers.remove(transfer)

    def begin(self, random):
        source, target = random.sample(self.groups, 2)
        busy = {slot for transfer in self.transfers for slot in transfer.slots}
        free = [
            slot
            for slot in SLOTS
            if slot not in busy and source.machine.placement(slot).state is SlotState.SERVED
        ]
        if free:
            slots = tuple(random.sample(free, random.randint(1, len(free))))
            self.moves += 1
            self.transfers.append(Transfer(self, self.moves, source, target, slots))

    def repeat(self, random):
        """Something about a move is heard again."""
        if self.said:
            group, operation = random.choice(self.said[-12:])
            self.observe(group, group.apply(operation, at=self.now), operation)
            self.reached["said again"] += 1

    def cluster(self, random):
        """Nodes are lost and come back."""
        group = random.choice(self.groups)
        node = random.choice(group.machine.voters)
        back = AnnounceNode(node, random.choice("ij"), TYPE)
        lost = [ReassignRuns(node, 1)] if len(group.machine.voters) > 1 else []
        self.observe(group, group.apply(*lost, back, at=self.now))

    def sync(self, group):
        self.observe(group, group.apply(at=self.now))
        self.whole.apply(at=self.now)

    def observe(self, group, applied, operation=None):
        for notice in applied.notices:
            if isinstance(notice, RunArrived):
                self.reached["run arrived"] += 1
            if isinstance(notice, InboxGrew):
                inbox = group.run(notice.run_id).inbox.values()
                fired = [event for event in inbox if isinstance(event, TimerFired)]
                assert all(event.due_ns <= group.machine.clock_ns for event in fired)
                self.reached["fired at activation"] += type(operation) is ActivateSlots

    # -- the end ----------------------------------------------------------------------------------

    def settle(self):
        """Let every move come to its end, and every client get its answer."""
        random = Random(0)
        for _ in range(2000):
            self.transfers = [transfer for transfer in self.transfers if transfer.step(random)]
        assert not self.transfers
        for group in self.groups:
            self.sync(group)
            assert not group.machine.moves
        for session, asked in self.asked.items():
            for sequence in asked:
                for group in self.groups:
                    self.deliver(group, session, sequence)
                body = asked[sequence]
                nameless = isinstance(body, ResumeRun) and not body.workflow_id
                assert nameless or (session, sequence) in self.answered

    def compare(self):
        """Nothing is lost, nothing is there twice, and all of it is as if it had never moved."""
        whole = self.whole
        whole.rows.write(whole.machine.take_writes())
        for slot in SLOTS:
            served = [g.machine.placement(slot).state is SlotState.SERVED for g in self.groups]
            assert served.count(True) == 1
        for group in self.groups:
            group.check()
        for table, width in (("runs", 1), ("run_variables", 2), ("history", 2), ("variables", 2)):
            keys = sorted(row[:width] for row in whole.rows.scan(table))
            rows = [row for group in self.groups for row in group.rows.scan(table)]
            if table == "history":
                keys = sorted({key[:1] for key in keys})
                assert sorted({row[:1] for row in rows}) == keys
            else:
                assert sorted(row[:width] for row in rows) == keys
        for run_id, *_ in whole.rows.scan("runs"):
            self.compare_run(run_id)
        for _, name, *held in whole.rows.scan("variables"):
            assert attrs.astuple(self.home_of(name).machine.variable(name)) == tuple(held)

    def home_of(self, name):
        (home,) = [group for group in self.groups if group.machine.elsewhere(name) is None]
        return home

    def compare_run(self, run_id):
        whole = self.whole.machine
        expected = whole.find("", run_id)
        home = self.home_of(expected.workflow_id)
        assert unowned(home.machine.find("", run_id)) == unowned(expected)
        assert home.machine.run_variables(run_id) == whole.run_variables(run_id)
        rows = self.whole.rows.scan("history", (run_id,))
        facts = [records.decode(row[-1]) for row in rows]
        assert list(plain_history(home.history(run_id))) == list(plain_history(facts))
        numbers = [row[1] for row in home.rows.scan("history", (run_id,))]
        assert numbers == list(range(1, len(numbers) + 1))
        if run_id in whole.runs:
            assert plain_run(home.run(run_id)) == plain_run(whole.runs[run_id])


def unowned(summary):
    return attrs.evolve(summary, owner=0, epoch=0)


def plain(event):
    match event:
        case StepCompleted():
            return attrs.evolve(event, attempt=0)
        case StepEnded():
            return attrs.evolve(event, attempts=0)
    return event


def plain_run(run):
    steps = {key: (step.state, step.due_ns, step.last_failure) for key, step in run.steps.items()}
    inbox = {number: plain(event) for number, event in run.inbox.items()}
    now = (run.position, run.now_ns, run.parking, run.deadline_ns, run.cancel_requested)
    return now, inbox, steps, run.timers, run.variables, run.inbox_last


def plain_history(facts):
    """What a history says about the run, not about who performed it, or how often."""
    for fact in facts:
        match fact:
            case OwnerAssigned() | AttemptStarted():
                pass
            case Opened():
                yield attrs.evolve(fact, owner=0)
            case Arrived():
                yield attrs.evolve(fact, event=plain(fact.event))
            case AttemptFailed():
                yield attrs.evolve(fact, attempt=0)
            case Advance():
                consumed = tuple(map(plain, fact.consumed))
                yield attrs.evolve(fact, epoch=0, consumed=consumed)
            case _:
                yield fact


def live(make_group, make_rows, seeds):
    """A world of small pages. Returns what was reached."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moving, "MOVE_PAGE_ROWS_MAX", 5)
        world = World(make_group, make_rows())
        for seed in seeds:
            world.happen(seed)
        world.settle()
        world.compare()
    return world.reached


@settings(max_examples=25)
@given(
    st.integers(0, 150).flatmap(
        lambda size: st.lists(st.integers(0, 2**32), min_size=size, max_size=size)
    )
)
def test_moving_makes_no_difference(make_group, make_rows, seeds):
    """Replies, ends, histories and variables are those of one machine that never moved anything."""
    live(make_group, make_rows, seeds)


def test_a_campaign_of_moves_reaches_what_it_is_for(make_group, make_rows):
    """Fixed seeds lead through hand-offs in flight, refusals, repetitions: no idle comparison."""
    reached = Counter()
    for seed in range(6):
        random = Random(seed)
        reached += live(make_group, make_rows, [random.getrandbits(32) for _ in range(300)])
    assert reached.keys() >= REACHED
