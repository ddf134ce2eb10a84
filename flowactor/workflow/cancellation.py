"""Cancellation as a tree of statuses: Trio's rules, with a stated order of delivery.

Each task is in exactly one status: that of the innermost scope it has entered. A status counts as
cancelled if it was cancelled itself, or if its parent counts and it is not shielded. That is level
triggered: every blocking call in a cancelled status raises ``Cancelled``, until the scope is left.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowactor.workflow.scheduler import Task

__all__ = ["CancelStatus", "Cancelled"]


class Cancelled(BaseException):
    """The scope around the code was cancelled. Let it through, after any clean-up.

    Attributes:
        reason: what whoever cancelled said, or ``"deadline"``.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "cancelled")
        self.reason = reason


class CancelStatus:
    """A node of the tree. ``tasks`` and ``children`` are dicts because dicts keep their order."""

    __slots__ = ("called", "cancelled", "children", "parent", "reason", "shield", "tasks")

    def __init__(self, parent: "CancelStatus | None", *, shield: bool = False) -> None:
        self.parent = parent
        self.shield = shield
        self.called = False
        self.reason = ""
        self.tasks: dict[Task, None] = {}
        self.children: dict[CancelStatus, None] = {}
        self.cancelled: bool = parent is not None and parent.cancelled and not shield
        if parent is not None:
            parent.children[self] = None

    def close(self) -> None:
        """Leave the tree."""
        if self.parent is not None:
            del self.parent.children[self]

    def parent_is_visible(self) -> bool:
        """The parent's cancellation, if any, reaches through to here."""
        return self.parent is not None and self.parent.cancelled and not self.shield

    def why(self) -> str:
        """The reason of the innermost cancellation in force."""
        status: CancelStatus | None = self
        while status is not None and not status.called:
            status = status.parent
        return status.reason if status is not None else ""

    def recalculate(self) -> "Iterator[Task]":
        """Bring ``cancelled`` up to date in the subtree; yields the tasks it has come to hold for,
        outer ones first, then in the order their scopes were entered.
        """
        cancelled = self.called or self.parent_is_visible()
        if cancelled == self.cancelled:
            return
        self.cancelled = cancelled
        if cancelled:
            yield from list(self.tasks)
        for child in list(self.children):
            yield from child.recalculate()
