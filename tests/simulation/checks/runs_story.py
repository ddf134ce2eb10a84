"""What a test of the judge of runs lets a machine apply, before the judge."""

from attrs import Factory, define, frozen

import flowactor as fa
from flowactor.codec import encode_arguments, encode_payload
from flowactor.machine import Applied
from flowactor.machine.commands import (
    CompleteRun,
    RetryRule,
    ScheduleStep,
)
from flowactor.machine.events import Failure, RunStarted
from flowactor.machine.notices import (
    Advanced,
    RunOpened,
    StepsDue,
)
from flowactor.machine.operations import Advance, InboxRef
from flowactor.raft import Configuration, Entry, EntryKind
from flowactor.raft.membership import configuration_entry
from flowactor.simulation.checks.runs import RunsChecker
from flowactor.simulation.marks import Marks

PAY = ((), "pay", 0)
TIMER = ((), "timer", 0)
BROKEN = Failure("builtins.OSError", "no answer")
FINAL = Failure("shop.CardRefused", "no money", retryable=False)
LATE = Failure("flowactor.errors.StepTimedOut", "too late")


@fa.workflow
class Answer:
    async def run(self) -> int:
        return 42


def starts(number=1):
    """The first activation consumes this item."""
    return {
        "consumed": (InboxRef(number),),
        "events": (RunStarted(encode_arguments((), {}, "a test")),),
    }


def answers(result=42):
    """The end of ``Answer``."""
    return {"commands": (CompleteRun(encode_payload(result, int, "a test")),)}


def asks(*, attempts_max=3, non_retryable=(), step=PAY):
    """A step with this policy."""
    rule = RetryRule(1, 2000, 0, attempts_max, non_retryable)
    return {"commands": (ScheduleStep(step, "pay", b"", rule),)}


@frozen
class Pending:
    """A step of a run in the machine."""

    last_failure: Failure | None


@define
class Run:
    """A run in the machine."""

    workflow_id: str
    owner: int = 1
    workflow_type: str = "Answer"
    version: int = 1
    started_ns: int = 0
    steps: dict[object, Pending] = Factory(dict)
    position: int = 0


@define
class Node:
    """A node in the machine."""

    draining: bool = False
    alive: bool = True


@define
class Machine:
    """What the judge sees of a machine. No rule is behind it: it is what a test says it is."""

    runs: dict[str, Run] = Factory(dict)
    nodes: dict[int, Node] = Factory(lambda: {node: Node() for node in (1, 2, 3)})
    voters: tuple[int, ...] = (1, 2, 3)
    clock_ns: int = 0
    state: bytes = b""

    def find(self, workflow_id, run_id):
        assert not workflow_id
        return self.runs.get(run_id)

    def digest(self):
        return self.state


class Story:
    """A machine before the judge, and what a test lets it apply."""

    def __init__(self, books=None):
        self.marks, self.told, self.given_away = Marks(), [], []
        self.checker = RunsChecker(
            fa.App([Answer]),
            self.marks,
            lambda node, kind, details: self.told.append((node, kind, *details)),
            lambda term, owner: self.given_away.append((term, owner)),
            books,
        )
        self.machine = Machine()
        self.index = 0

    def apply(self, *notices, replies=(), node=1, index=None, term=1, voters=None, outgoing=()):
        """An entry is applied, the next one if nothing else is said; with ``voters`` it is a
        configuration.
        """
        self.index = index or self.index + 1
        entry = Entry(term, self.index, EntryKind.PAYLOAD, b"")
        if voters is not None:
            entry = configuration_entry(term, self.index, Configuration(voters, (), outgoing))
        self.checker.applied(node, entry, Applied(tuple(replies), notices), self.machine)

    def open(self, run_id="r", workflow_id="w", owner=1, workflow_type="Answer"):
        """A run begins."""
        self.machine.runs[run_id] = Run(workflow_id, owner, workflow_type)
        self.apply(RunOpened(run_id))

    def advance(self, position=0, epoch=1, consumed=(), events=(), commands=(), run_id="r"):
        """An activation is committed."""
        advance = Advance(run_id, epoch, position, 0, tuple(consumed), tuple(commands))
        self.apply(Advanced(run_id, position + 1, advance, tuple(events)))

    def body(self, attempt=1, outcome=None, step="pay"):
        """The body of a step begins, and ends like this, if it does."""
        self.checker.step_started("r", step, attempt)
        if outcome:
            self.checker.step_finished("r", step, attempt, outcome)

    def due(self, failure=None):
        """A back-off is over."""
        self.machine.runs["r"].steps[PAY] = Pending(failure)
        self.apply(StepsDue("r", (PAY,)))
