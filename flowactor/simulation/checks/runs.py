"""The judge of runs: what the applied log says about owners, steps, timers and ends, on every node.

Every entry is looked at when the first node applies it, and compared when the others do. The names
I9 and I19 to I28 are those of the list of invariants in ``docs/design/simulation.md``.
"""

from collections import Counter
from collections.abc import Callable, Container, Mapping
from typing import Final, assert_never

from attrs import Factory, define, frozen

from flowactor.codec.records import decode
from flowactor.errors import DeterminismViolation
from flowactor.identity import NodeId, RunId, SessionId, TimerKey
from flowactor.machine import Applied, Machine, notices
from flowactor.machine.commands import ArmTimer, CancelTimer, ScheduleStep
from flowactor.machine.events import StepCompleted, StepEnded, TimerFired
from flowactor.machine.operations import Advance, InboxRef
from flowactor.machine.replies import RunStatus
from flowactor.raft import Configuration, Entry, EntryKind
from flowactor.simulation.checks.clients import RepliedOnce
from flowactor.simulation.checks.steps import StepsChecker
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.marks import Marks
from flowactor.workflow import Activated, App, RunInfo, replay

__all__ = ["RunBook", "RunBooks", "RunsChecker"]

DIGEST_ENTRIES: Final = 64
"""The whole state is compared at every index that this divides; the outcome of entries at each."""

Told = Callable[[int, str, tuple[int | str, ...]], None]


@define(eq=False)
class RunBook:
    """All that is known of one run.

    Attributes:
        past: its activations, to be replayed.
        away: it has left a group, and not arrived yet.
        left_ns: the latest log time at which it left one: what was due by then has fired there.
    """

    info: RunInfo
    epoch: int
    owner: int
    position: int = 0
    inbox: int = 0
    timers: dict[TimerKey, int] = Factory(dict)
    taken_back: dict[TimerKey, int] = Factory(dict)
    past: list[Activated] = Factory(list)
    status: RunStatus = RunStatus.RUNNING
    away: bool = False
    left_ns: int = 0


@frozen
class RunBooks:
    """What is known of all runs, whichever group has them now.

    Attributes:
        runs: every run that was ever opened.
        workflows: the run that a workflow id names.
        steps: what became of their steps.
        replied: the commands of clients that were applied, as (session, sequence).
        once: that each was so once.
    """

    runs: dict[RunId, RunBook] = Factory(dict)
    workflows: dict[str, RunId] = Factory(dict)
    steps: StepsChecker = Factory(StepsChecker)
    replied: set[tuple[SessionId, int]] = Factory(set)
    once: RepliedOnce = Factory(RepliedOnce)


class RunsChecker:
    """Invariants of the execution machine of one group, over all nodes.

    Args:
        app: whose code is replayed when a run ends (I24).
        marks: counts what was ever reached.
        told: of what happened to runs, for the trace: (node, kind, details).
        given_away: told the term in which an owner lost a run without having restarted.
        books: of all groups; each run is in one of them at a time.
    """

    def __init__(
        self,
        app: App,
        marks: Marks,
        told: Told,
        given_away: Callable[[int, int], None],
        books: RunBooks | None = None,
    ) -> None:
        self.books: Final = books or RunBooks()
        self._app: Final = app
        self._marks: Final = marks
        self._told: Final = told
        self._given_away: Final = given_away
        self._outcomes: Final[list[Applied | None]] = []  # by index - 1; None: nothing to apply
        self._digests: Final[dict[int, bytes]] = {}

    @property
    def runs(self) -> Mapping[RunId, RunBook]:
        """Of all groups."""
        return self.books.runs

    @property
    def replied(self) -> Container[tuple[SessionId, int]]:
        """See ``RunBooks``."""
        return self.books.replied

    # -- entries ----------------------------------------------------------------------------------

    def applied(self, node: int, entry: Entry, outcome: Applied, machine: Machine) -> None:
        """A node applied a committed entry."""
        outcomes, index = self._outcomes, entry.index
        if index <= len(outcomes) and (first := outcomes[index - 1]) is not None:
            if first is not outcome and first != outcome:
                raise CheckFailed("I9", f"node {node} applied entry {index} with another outcome")
        else:
            outcomes.extend([None] * (index - len(outcomes) - 1))  # blanks have no outcome
            outcomes[index - 1 :] = [outcome]
            self._first(node, entry, outcome, machine)
        if index % DIGEST_ENTRIES == 0:
            self.compare_state(node, index, machine)

    def compare_state(self, node: int, index: int, machine: Machine) -> None:
        """I9: equal applied index, equal state."""
        digest = machine.digest()
        if self._digests.setdefault(index, digest) != digest:
            raise CheckFailed("I9", f"node {node} has another state at index {index}")

    def _first(self, node: int, entry: Entry, outcome: Applied, machine: Machine) -> None:
        index = entry.index
        for session, sequence, _ in outcome.replies:
            self._marks["duplicate answered"] += (session, sequence) in self.books.replied
            self.books.replied.add((session, sequence))
        self.books.once.applied(node, index, outcome.replies)
        opened: set[RunId] = set()
        restarted = any(isinstance(notice, notices.NodeAnnounced) for notice in outcome.notices)
        for notice in outcome.notices:
            match notice:
                case notices.RunOpened(run_id=run_id):
                    opened.add(run_id)  # of who had it first, if it moves on at once, nobody tells
                case notices.OwnerChanged(run_id=run_id) if not (restarted or run_id in opened):
                    self._lost(entry, self.runs[run_id].owner, machine)
                case _:
                    pass
            self._look(node, index, notice, machine)
        if entry.kind is EntryKind.CONFIGURATION:
            self._check_voters(entry, machine)
        self._check_owners(outcome, machine)

    def _lost(self, entry: Entry, owner: int, machine: Machine) -> None:
        """An owner lost a run, unless there was none: the run was parked, or is on the move. One
        that hands over gives it; so does one that votes no more, when that is committed, and at no
        other moment. Any other is given up.
        """
        leaves = entry.kind is EntryKind.CONFIGURATION and owner not in machine.voters
        self._marks["owner lost its vote"] += leaves
        if owner and not (leaves or machine.nodes[NodeId(owner)].draining):
            self._given_away(entry.term, owner)

    def _check_voters(self, entry: Entry, machine: Machine) -> None:
        """I21: who may own runs is who has a vote by the newest committed configuration, and nobody
        else has any left.
        """
        members: Configuration = decode(entry.data)
        voters = {*members.voters, *members.outgoing}
        if voters != set(machine.voters):
            raise CheckFailed("I21", f"voters {sorted(voters)} by entry {entry.index}, not so here")
        for run_id, run in machine.runs.items():
            if run.owner and run.owner not in voters:
                raise CheckFailed("I21", f"run {run_id} is owned by {run.owner}, who has no vote")

    def _check_owners(self, outcome: Applied, machine: Machine) -> None:
        """I21: whoever got a run in this entry, and has it in the end, is alive and has a vote."""
        for notice in outcome.notices:
            if isinstance(notice, notices.OwnerChanged):
                owner = self.runs[notice.run_id].owner
                able = owner in machine.voters and machine.nodes[NodeId(owner)].alive
                if owner and not able:
                    raise CheckFailed("I21", f"run {notice.run_id} is given to {owner}, who cannot")

    def _look(self, node: int, index: int, notice: notices.Notice, machine: Machine) -> None:
        match notice:
            case notices.Advanced():
                self._advanced(node, index, notice, machine)
            case notices.RunOpened(run_id=run_id):
                self._opened(node, index, run_id, machine)
            case notices.OwnerChanged(run_id=run_id, owner=owner, epoch=epoch):
                book = self.runs[run_id]
                if epoch != book.epoch + 1:
                    raise CheckFailed("I21", f"run {run_id}: epoch {epoch} after {book.epoch}")
                book.epoch, book.owner = epoch, owner
                self._told(node, "owner", (run_id, owner, epoch, index))
            case notices.RunLeft(run_id=run_id, epoch=epoch):
                self._left(run_id, epoch, machine)
            case notices.RunArrived(run_id=run_id, epoch=epoch):
                self._arrived(run_id, epoch, machine)
            case notices.RunClosed(run_id=run_id, status=status):
                self._closed(node, index, run_id, status)
            case notices.OperationRefused(stale=stale, operation=operation, reason=reason):
                self._marks["stale epoch refused"] += operation == "Advance" and stale
                if not stale and operation != "AnnounceNode":
                    raise CheckFailed("I22", f"{operation} could never have been applied: {reason}")
            case notices.RunParked(run_id=run_id):
                self.runs[run_id].status = RunStatus.PARKED
                self.runs[run_id].owner = 0
            case notices.RunResumed(run_id=run_id):
                self.runs[run_id].status = RunStatus.RUNNING
            case notices.StepsDue(run_id=run_id, steps=steps):
                pending = machine.runs[run_id].steps if run_id in machine.runs else {}
                for key in steps:
                    failure = pending[key].last_failure if key in pending else None
                    self.books.steps.due(run_id, key, failure)
            case (
                notices.InboxGrew()
                | notices.VariableChanged()
                | notices.SlotsLeft()
                | notices.MoveWentOn()
                | notices.NodeAnnounced()
            ):
                pass
            case _:
                assert_never(notice)

    def _opened(self, node: int, index: int, run_id: RunId, machine: Machine) -> None:
        run = machine.find("", run_id)
        assert run is not None, "a run that was opened is there"
        if run_id in self.runs:
            raise CheckFailed("I19", f"run {run_id} was opened twice")
        if self.books.workflows.setdefault(run.workflow_id, run_id) != run_id:
            raise CheckFailed("I19", f"workflow {run.workflow_id} has a second run {run_id}")
        info = RunInfo(run.workflow_id, run_id, run.workflow_type, run.version, run.started_ns)
        self.books.runs[run_id] = RunBook(
            info, epoch=1, owner=run.owner
        )  # more may follow in this entry
        self._told(node, "opened", (run_id, run.workflow_id, run.workflow_type, run.owner, index))

    def _left(self, run_id: RunId, epoch: int, machine: Machine) -> None:
        """Its slot is frozen: it is nobody's until it arrives, here or in another group."""
        book = self.runs[run_id]
        if book.away:
            raise CheckFailed("I21", f"run {run_id} leaves a group, and is in none")
        if epoch != book.epoch + 1:
            raise CheckFailed("I21", f"run {run_id}: epoch {epoch} after {book.epoch}")
        book.epoch, book.owner, book.away = epoch, 0, True
        book.left_ns = max(book.left_ns, machine.clock_ns)

    def _arrived(self, run_id: RunId, epoch: int, machine: Machine) -> None:
        """It goes on where it was: nothing of it is lost on the way, and no other group has it."""
        book, run = self.runs[run_id], machine.runs.get(run_id)
        if not book.away:
            raise CheckFailed("I21", f"run {run_id} arrives, and never left where it was")
        if epoch != book.epoch:
            raise CheckFailed(
                "I21", f"run {run_id} left with epoch {book.epoch}, comes with {epoch}"
            )
        if run is not None and run.position != book.position:
            raise CheckFailed(
                "I21", f"run {run_id} left at {book.position}, and comes at {run.position}"
            )
        book.away = False
        self._marks["run moved to another group"] += 1

    def _advanced(self, node: int, index: int, fact: notices.Advanced, machine: Machine) -> None:
        advance, book = fact.advance, self.runs[fact.run_id]
        if not book.status.is_open:
            raise CheckFailed("I25", f"run {fact.run_id} went on after its end")
        if (advance.epoch, advance.position) != (book.epoch, book.position):
            raise CheckFailed(
                "I22",
                f"run {fact.run_id}: an advance of epoch {advance.epoch} at {advance.position},"
                f" the run is at {book.epoch} and {book.position}",
            )
        book.position += 1
        book.past.append(Activated(advance.now_ns, fact.events, advance.commands))
        self._consumed(fact, book, machine)
        self._asked_for(fact.run_id, advance, book)
        self._told(node, "advanced", (fact.run_id, book.position, len(advance.commands), index))

    def _consumed(self, fact: notices.Advanced, book: RunBook, machine: Machine) -> None:
        for item in fact.advance.consumed:
            if isinstance(item, InboxRef):
                if item.number <= book.inbox:
                    raise CheckFailed("I27", f"run {fact.run_id} consumes item {item.number} late")
                book.inbox = item.number
        for event in fact.events:
            match event:
                case StepCompleted() | StepEnded():
                    self.books.steps.recorded(fact.run_id, event)
                case TimerFired(timer=timer, due_ns=due_ns):
                    # It may have fired when what takes it back was already decided.
                    if due_ns not in (book.timers.pop(timer, 0), book.taken_back.pop(timer, 0)):
                        raise CheckFailed("I26", f"run {fact.run_id}: no such timer is set")
                    if max(machine.clock_ns, book.left_ns) < due_ns:
                        raise CheckFailed("I26", f"run {fact.run_id}: a timer fired early")
                case _:
                    pass

    def _asked_for(self, run_id: RunId, advance: Advance, book: RunBook) -> None:
        for command in advance.commands:
            match command:
                case ScheduleStep():
                    self.books.steps.scheduled(run_id, command)
                case ArmTimer(timer=timer, due_ns=due_ns):
                    book.timers[timer] = due_ns
                case CancelTimer(timer=timer):
                    book.taken_back[timer] = book.timers.pop(timer, 0)
                case _:
                    pass

    def _closed(self, node: int, index: int, run_id: RunId, status: RunStatus) -> None:
        book = self.runs[run_id]
        if not book.status.is_open:
            raise CheckFailed("I25", f"run {run_id} ended twice: {book.status}, then {status}")
        book.status = status
        self._told(node, "closed", (run_id, status.value, index))
        self._replay(book)

    def _replay(self, book: RunBook) -> None:
        """I24: a fresh interpreter that lives through the history asks for the same."""
        definition = self._app.find(book.info.workflow_type, book.info.version)
        if definition is None:
            return
        try:
            replay(definition, book.info, book.past, strict=True).close()
        except DeterminismViolation as violation:
            raise CheckFailed("I24", str(violation)) from violation
        book.past.clear()

    def waiting(self) -> Counter[str]:
        """Where the code of runs that never ended waits, as ``file:line``: how many runs at each.
        Of code that does not go with its history the place is the name of the workflow.
        """
        places: Counter[str] = Counter()
        for book in self.open.values():
            places[self._place(book) or book.info.workflow_type] += 1
        return places

    def place(self, run_id: RunId) -> str:
        """Where the code of this run waits, as ``file:line``; empty if it has ended, or does not go
        with its history.
        """
        return self._place(self.runs[run_id])

    def _place(self, book: RunBook) -> str:
        definition = self._app.find(book.info.workflow_type, book.info.version)
        if definition is None:
            return ""
        try:
            interpreter = replay(definition, book.info, book.past, strict=True)
        except DeterminismViolation:
            return ""
        places = dict.fromkeys(interpreter.places)
        interpreter.close()
        return ", ".join(places)

    # -- bodies -----------------------------------------------------------------------------------

    def step_started(self, run_id: RunId, step: str, attempt: int) -> None:
        """A body begins."""
        self.books.steps.started(run_id, step, attempt)

    def step_finished(self, run_id: RunId, step: str, attempt: int, outcome: str) -> None:
        """A body came to its end, in these words."""
        self.books.steps.finished(run_id, step, attempt, outcome)

    @property
    def open(self) -> Mapping[RunId, RunBook]:
        """The runs that have not ended."""
        return {run_id: book for run_id, book in self.runs.items() if book.status.is_open}
