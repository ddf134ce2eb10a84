"""Running code against a history: how a standby catches up, and how new code is tested on old
runs.
"""

from collections.abc import Iterable

from attrs import frozen

from flowactor.errors import DeterminismViolation
from flowactor.machine.commands import Command
from flowactor.machine.events import Event
from flowactor.workflow.context import Outside, directly
from flowactor.workflow.definition import WorkflowDefinition
from flowactor.workflow.determinism import compare
from flowactor.workflow.interpreter import Interpreter
from flowactor.workflow.scheduler import RunInfo

__all__ = ["Activated", "replay"]


@frozen
class Activated:
    """One committed activation: its stamp, what the code was told, and what it asked for."""

    now_ns: int
    events: tuple[Event, ...]
    commands: tuple[Command, ...]


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
    for position, activated in enumerate(history):
        activation = interpreter.activate(activated.now_ns, activated.events)
        mismatch = compare(activated.commands, activation.commands)
        if mismatch is not None:
            interpreter.close()
            who = f"{info.workflow_type} v{info.version}, run {info.run_id}"
            raise DeterminismViolation(f"{who}, activation {position}: {mismatch}")
    return interpreter
