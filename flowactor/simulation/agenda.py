"""What is to happen, and when: the one list of events of a simulated world."""

from collections.abc import Callable
from typing import Protocol

__all__ = ["Agenda"]


class Agenda(Protocol):
    """Virtual time, and actions that wait for theirs."""

    @property
    def now_ns(self) -> int:
        """True virtual time, in nanoseconds since the run began. Nodes have clocks of their own."""

    def at(self, due_ns: int, action: Callable[[], None]) -> None:
        """Call ``action`` at this moment (now, if it has passed). Of those due at one moment, the
        one that was asked for first comes first.
        """
