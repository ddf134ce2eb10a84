"""Comparing what code asks for with what its history recorded: every node, every activation
(D8).
"""

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from flowactor.codec import payloads
from flowactor.errors import InvalidInput
from flowactor.identity import describe_key
from flowactor.machine.commands import (
    ArmTimer,
    CancelStep,
    CancelTimer,
    Command,
    CompleteRun,
    FailRun,
    RunEndedCancelled,
    ScheduleStep,
    SetVariable,
)

__all__ = ["Mismatch", "compare"]


@frozen
class Mismatch:
    """The first command that differs. None means: nothing, the other side has one command more.

    ``str()`` shows both sides, with the lines of code that asked.
    """

    index: int
    recorded: Command | None
    produced: Command | None

    def __str__(self) -> str:
        return (
            "the workflow's code asks for something else than its history "
            f"(command {self.index + 1} of an activation):\n{self.sides}"
        )

    @property
    def sides(self) -> str:
        """Both sides, in two lines."""
        return f"  recorded: {self.recorded_text}\n  this code: {self.produced_text}"

    @property
    def recorded_text(self) -> str:
        """What the history holds, and the line that asked for it then."""
        return _described(self.recorded)

    @property
    def produced_text(self) -> str:
        """What the code asks for now, and on which line."""
        return _described(self.produced)


def compare(recorded: Sequence[Command], produced: Sequence[Command]) -> Mismatch | None:
    """The first difference between two activations' commands, or None.

    Compared is what the run's course depends on: kinds, keys, arguments, values, due times,
    outcomes. Free to change are a step's retry policy and time-outs, and the lines that things are
    on.
    """
    for index in range(max(len(recorded), len(produced))):
        left = recorded[index] if index < len(recorded) else None
        right = produced[index] if index < len(produced) else None
        if left != right and (left is None or right is None or _essence(left) != _essence(right)):
            return Mismatch(index, left, right)
    return None


def _essence(command: Command) -> tuple[Any, ...]:
    match command:
        case ScheduleStep():
            return (ScheduleStep, command.step, command.name, command.arguments, command.local)
        case FailRun():
            return (FailRun, command.failure.error_type, command.failure.message)
        case _:
            return (command,)


def _described(command: Command | None) -> str:
    if command is None:
        return "nothing more"
    module, _, rest = command.site.partition(":")
    function, _, line = rest.rpartition(":")
    place = f" at {module}, line {line}, in {function}" if line else ""
    return f"{_text(command)}{place}"


def _text(command: Command) -> str:
    match command:
        case ScheduleStep():
            kind = "compute" if command.local else "step"
            return f"{kind} {describe_key(command.step)} with arguments {_shown(command.arguments)}"
        case CancelStep():
            return f"cancel step {describe_key(command.step)}"
        case ArmTimer():
            return f"timer {describe_key(command.timer)} due at {command.due_ns} ns"
        case CancelTimer():
            return f"cancel timer {describe_key(command.timer)}"
        case SetVariable():
            return f"set variable {command.name!r} to {_shown(command.value)}"
        case CompleteRun():
            return f"complete with {_shown(command.result)}"
        case FailRun():
            return f"fail with {command.failure.error_type}: {command.failure.message:.200}"
        case RunEndedCancelled():
            return f"end cancelled ({command.reason:.200})"


def _shown(data: bytes) -> str:
    try:
        return f"{payloads.payload_to_json(data)!r:.200}"
    except InvalidInput:
        return f"{data!r:.200}"
