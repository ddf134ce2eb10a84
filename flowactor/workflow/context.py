"""Which scheduler is at work: the way from ``fa.sleep(1)`` in user code to the run it belongs to.

Set for the length of one activation (or query) and never across an ``await`` of the node's own
event
loop: the interpreter is synchronous, so one slot serves all runs of a process.
"""

from typing import TYPE_CHECKING, Final

from flowactor.errors import WorkflowMisuse

if TYPE_CHECKING:
    from flowactor.workflow.scheduler import Scheduler

__all__ = ["ACTIVE", "current", "inside"]


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
