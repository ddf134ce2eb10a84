"""Paths: what lies between two machines in one direction, how long it takes, and what ails it."""

from heapq import heappop, heappush
from random import Random
from typing import Final, Protocol

from flowactor.simulation.agenda import Agenda

__all__ = ["NEVER", "Kernel", "Path"]

NEVER: Final = 1 << 63
BUSY: Final = -1
TAIL: Final = 20
"""How many times the usual a send takes at the very worst; one in fifty takes half of that."""
REORDER_NS: Final = 50_000_000
"""How far connections drift apart while the path reorders them."""


class Kernel:
    """Of a computer, as far as paths go.

    Attributes:
        number: of the computer.
        off: it has no power: it remembers nothing, and answers nothing.
    """

    def __init__(self, number: int) -> None:
        self.number: Final = number
        self.off = False


class Sender(Protocol):
    """What travels on a path.

    Attributes:
        wake_ns: when it has something to hand over.
    """

    wake_ns: int

    def attempt(self, now_ns: int) -> None:
        """Hand over what is due."""


class Path:
    """One direction between two machines. All that arrives at one moment is one event.

    Args:
        chance: this path's alone, so that traffic elsewhere changes nothing here.
        usual_ns: what a send takes, most of the time.

    Attributes:
        back: the other direction.
        blocks, reorders: how many faults of the kind are on.
        slow_seconds, losses: one number for each fault of the kind that is on.
    """

    def __init__(
        self, agenda: Agenda, chance: Random, usual_ns: int, source: Kernel, target: Kernel
    ) -> None:
        self.agenda: Final = agenda
        self.chance: Final = chance
        self.source: Final = source
        self.target: Final = target
        self.back: Path = self
        self.blocks = self.reorders = 0
        self.slow_seconds: Final[list[float]] = []
        self.losses: Final[list[float]] = []
        self._usual_ns: Final = usual_ns
        self._arrivals: Final[list[tuple[int, int, Sender]]] = []
        self._number = 0
        self._armed_ns = NEVER

    @property
    def blocked(self) -> bool:
        """Whether nothing gets through. What has left a machine that lost its power, does."""
        return self.blocks > 0 or self.target.off

    def loses(self) -> bool:
        """Whether what would arrive now is lost; asked once for each thing, each time it tries."""
        if self.blocked:
            return True
        return any(self.chance.random() < odds for odds in self.losses)

    def delay_ns(self, lag: float) -> int:
        """How long something takes that leaves now. ``lag``, between 0 and 1, is the place of its
        connection in the order that a reordering path makes up.
        """
        draw = self.chance.random()
        square = draw * draw
        eighth = square * square * square * square
        delay_ns = int(self._usual_ns * (1.0 + draw / 2 + TAIL * (eighth * eighth) ** 2))
        for seconds in self.slow_seconds:
            delay_ns += int(seconds * self.chance.random() * 1e9)
        return delay_ns + int(lag * REORDER_NS) if self.reorders else delay_ns

    def wake(self, due_ns: int, flow: Sender) -> None:
        """Have ``flow.attempt`` called then, unless the flow has changed its mind meanwhile."""
        self._number += 1
        heappush(self._arrivals, (due_ns, self._number, flow))
        if due_ns < self._armed_ns:
            self._armed_ns = due_ns
            self.agenda.at(due_ns, self._arrive)

    def _arrive(self) -> None:
        arrivals, now_ns = self._arrivals, self.agenda.now_ns
        self._armed_ns = BUSY
        while arrivals and arrivals[0][0] <= now_ns:
            due_ns, _, flow = heappop(arrivals)
            if flow.wake_ns == due_ns:
                flow.attempt(now_ns)
        self._armed_ns = NEVER
        if arrivals:
            self._armed_ns = arrivals[0][0]
            self.agenda.at(self._armed_ns, self._arrive)
