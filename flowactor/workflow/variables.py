"""Replicated variables of a run: each change is a checkpoint that everybody can see."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from flowactor.codec import payloads
from flowactor.machine.commands import SetVariable
from flowactor.workflow import sites
from flowactor.workflow.context import current
from flowactor.workflow.names import checked_name

__all__ = ["Variable", "variable"]

T = TypeVar("T")
_IMMUTABLE: Final = frozenset({str, int, float, bool, bytes, type(None)})


class Variable(Generic[T]):
    """A variable that belongs to this run; other runs' variables of the same name are others.

    Attributes:
        name: unique in the run.
        value: what was last set. Change it with ``set``, not in place: only that is recorded.
    """

    def __init__(self, name: str, value: T) -> None:
        self.name = name
        self.value = value

    async def get(self) -> T:
        return self.value

    async def set(self, value: T) -> None:
        """Record a new value. Many settings between two steps are recorded together.

        Raises:
            InvalidInput: the value cannot be stored.
        """
        await _record(self, value)

    async def update(self, function: Callable[[T], T]) -> T:
        """Set what ``function`` makes of the value; returns it."""
        await _record(self, function(self.value))
        return self.value


async def variable(name: str, initial: T) -> Variable[T]:
    """The run's variable of this name; made with the value ``initial`` if there is none yet.

    Raises:
        InvalidInput: the name, or the value, cannot be stored.
    """
    scheduler = current("variable")
    checked_name(name, "variable")
    known: Variable[T] | None = scheduler.variables.get(name)
    if known is not None:
        return known
    made = Variable(name, initial)
    await _record(made, initial)
    scheduler.variables[name] = made
    return made


async def _record(changed: Variable[T], value: T) -> None:
    scheduler = current("variable")
    task = scheduler.blocking_task("variable")
    where = f"value of variable {changed.name!r}"
    data = payloads.encode_payload(value, None, where)
    # What was recorded is a copy; the run must not see later changes of the object it came from.
    changed.value = (
        value if type(value) in _IMMUTABLE else payloads.decode_payload(data, None, where)
    )
    scheduler.emit(SetVariable(changed.name, data, sites.here(task.site)), len(data))
    await scheduler.flush_if_full()
