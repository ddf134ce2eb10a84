"""Running code against a history: how a standby catches up, and how new code is tested on old
runs.
"""

from collections.abc import Iterable, Iterator

from attrs import frozen

from flowactor.errors import DeterminismViolation, MalformedDataError
from flowactor.machine.commands import Command
from flowactor.machine.events import Event, RunStarted
from flowactor.machine.history import Arrived, HistoryRecord
from flowactor.machine.operations import Advance, InboxRef
from flowactor.workflow.context import Outside, directly
from flowactor.workflow.definition import WorkflowDefinition
from flowactor.workflow.determinism import Mismatch, compare
from flowactor.workflow.interpreter import Interpreter
from flowactor.workflow.scheduler import RunInfo

__all__ = ["Activated", "Departure", "activations", "follow", "replay"]


@frozen
class Activated:
    """One committed activation: its stamp, what the code was told, and what it asked for."""

    now_ns: int
    events: tuple[Event, ...]
    commands: tuple[Command, ...]


@frozen
class Departure:
    """Where code leaves its history: in the activation of this number, counted from 0."""

    position: int
    mismatch: Mismatch


def activations(history: Iterable[HistoryRecord]) -> Iterator[Activated]:
    """The activations in the rows of a history, oldest first.

    Raises:
        MalformedDataError: rows are missing, or in another order: this is no history of one run.
    """
    inbox: dict[int, Event] = {}
    position = 0
    for fact in history:
        match fact:
            case Arrived(number=number, event=event):
                inbox[number] = event
            case Advance() if fact.position != position:
                raise MalformedDataError(
                    f"activation {fact.position} stands where {position} belongs"
                )
            case Advance():
                yield Activated(fact.now_ns, _events(fact, inbox), fact.commands)
                position += 1
            case _:
                continue  # what did not reach the code


def _events(advance: Advance, inbox: dict[int, Event]) -> tuple[Event, ...]:
    events: list[Event] = []
    for item in advance.consumed:
        if not isinstance(item, InboxRef):
            events.append(item)
        elif item.number in inbox:
            events.append(inbox.pop(item.number))
        else:
            raise MalformedDataError(
                f"activation {advance.position} consumes what never arrived: item {item.number}"
            )
    starts = [number for number, event in enumerate(events) if isinstance(event, RunStarted)]
    if starts != ([] if advance.position else [0]):
        raise MalformedDataError(f"activation {advance.position}: a run starts once, at first")
    return tuple(events)


def follow(interpreter: Interpreter, history: Iterable[Activated]) -> Departure | None:
    """Let a fresh interpreter live through ``history``, oldest first, until its code asks for
    something else; then it has to be closed.
    """
    for position, activated in enumerate(history):
        activation = interpreter.activate(activated.now_ns, activated.events)
        mismatch = compare(activated.commands, activation.commands)
        if mismatch is not None:
            return Departure(position, mismatch)
    return None


def replay(
    definition: WorkflowDefinition,
    info: RunInfo,
    history: Iterable[Activated],
    outside: Outside = directly,
    *,
    strict: bool = False,
) -> Interpreter:
    """An interpreter that has lived through ``history``, oldest first.

    Args:
        definition: the code.
        info: which run.
        history: what was committed.
        outside: as the interpreter takes it.
        strict: as the interpreter takes it.

    Raises:
        DeterminismViolation: the code asked for something else; shows both sides with their lines.
    """
    interpreter = Interpreter(definition, info, outside, strict=strict)
    departure = follow(interpreter, history)
    if departure is not None:
        interpreter.close()
        who = f"{info.workflow_type} v{info.version}, run {info.run_id}"
        raise DeterminismViolation(f"{who}, activation {departure.position}: {departure.mismatch}")
    return interpreter
