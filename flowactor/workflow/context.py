"""Which scheduler is at work: the way from ``fa.sleep(1)`` in user code to the run it belongs to.

Set for the length of one activation (or query) and never across an ``await`` of the node's own
event loop: the interpreter is synchronous, so one slot serves all runs of a process.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, TypeVarTuple

from flowactor.errors import WorkflowMisuse

if TYPE_CHECKING:
    from flowactor.workflow.scheduler import Scheduler

__all__ = ["ACTIVE", "Outside", "current", "directly", "inside"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Outside(Protocol):
    """How a driver lets user code be called: it calls ``function`` and returns what that returns.

    One that runs in an event loop itself hides the loop meanwhile, so that the code can neither
    use it nor leave anything open in it.
    """

    def __call__(self, function: Callable[[*Ts], T], /, *args: *Ts) -> T: ...


def directly(function: Callable[[*Ts], T], /, *args: *Ts) -> T:
    """The ``Outside`` of a driver that has no event loop."""
    return function(*args)


class _Active:
    __slots__ = ("scheduler",)

    def __init__(self) -> None:
        self.scheduler: Scheduler | None = None


ACTIVE: Final = _Active()


def inside() -> bool:
    """True while workflow code runs."""
    return ACTIVE.scheduler is not None


def current(what: str) -> "Scheduler":
    """The scheduler whose code calls.

    Raises:
        WorkflowMisuse: no workflow code is running; the message names ``what`` was called.
        GeneratorExit: the run is being taken out of memory; its suspended code must not act.
    """
    scheduler = ACTIVE.scheduler
    if scheduler is None:
        raise WorkflowMisuse(
            f"{what} works only inside a workflow's run, signal handlers and queries"
        )
    if scheduler.disposed:
        raise GeneratorExit
    return scheduler
