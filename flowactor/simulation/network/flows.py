"""Flows: one direction of a connection, in order, with what TCP does when a segment is lost."""

import enum
import errno
from collections import deque
from typing import Final, Protocol

from attrs import frozen

from flowactor.simulation.network.paths import NEVER, Path

__all__ = ["Farewell", "Flow", "Item", "Sign"]

RETRANSMIT_NS: Final = 200_000_000


class Sign(enum.Enum):
    """What two kernels say to each other, unseen by processes."""

    OPEN = "open"
    ACCEPT = "accept"
    PROBE = "probe"


@frozen
class Farewell:
    """Nothing comes after this."""

    reason: str


Item = bytes | Farewell | Sign


class Terminal(Protocol):
    """An end of a connection, as its flows see it."""

    @property
    def alive(self) -> bool:
        """Its kernel knows of it."""

    def arrive(self, item: Item) -> None:
        """Take what the other end sent."""

    def settle(self) -> None:
        """What was sent has been heard."""

    def break_off(self, number: int) -> None:
        """Nobody hears what is sent: it is over, for the reason ``number``."""

    def doubt(self) -> None:
        """Something may have happened that nobody can tell."""


class Flow:
    """Carries items from one end of a connection to the other.

    What is lost is sent again after 200 ms, then twice as long each time, and all behind it waits.
    What arrives but is not acknowledged, because the way back is blocked, counts as lost for the
    sender: if that lasts ``silence_ns``, its end breaks with ETIMEDOUT.

    Attributes:
        wake_ns: when ``attempt`` is due; ``NEVER`` if there is nothing to do.
    """

    def __init__(self, source: Terminal, target: Terminal, path: Path, silence_ns: int) -> None:
        self.wake_ns = NEVER
        self._source: Final = source
        self._target: Final = target
        self._path: Final = path
        self._silence_ns: Final = silence_ns
        self._lag: Final = path.chance.random()
        self._items: Final[deque[tuple[int, Item]]] = deque()
        self._last_ns = 0
        self._unheard_ns = NEVER
        """Since when nothing is heard of what was sent."""
        self._tries = 0

    @property
    def idle(self) -> bool:
        """Nothing is under way, as far as the sender knows."""
        return not self._items and self._unheard_ns == NEVER

    def put(self, item: Item) -> None:
        """Send it off."""
        path = self._path
        due_ns = path.agenda.now_ns + path.delay_ns(self._lag)
        due_ns = self._last_ns = max(due_ns, self._last_ns)
        self._items.append((due_ns, item))
        if due_ns < self.wake_ns:
            self._wake(due_ns)

    def cut(self) -> None:
        """What is under way is lost for ever."""
        self._items.clear()
        self.wake_ns = self._unheard_ns = NEVER

    def attempt(self, now_ns: int) -> None:
        """Hand over what is due; called by the path."""
        self.wake_ns = NEVER
        items, path, target = self._items, self._path, self._target
        if self._unheard_ns != NEVER and not items and not path.blocked:
            target.arrive(
                Sign.PROBE
            )  # sent again, and if the kernel there has forgotten it says so
        while items and items[0][0] <= now_ns:
            item = items[0][1]
            # Of an opening nothing is left if the answer is lost, so it is as if it never came.
            if path.loses() or (item is Sign.OPEN and path.back.blocked):
                self._missed(now_ns, item)
                return
            items.popleft()
            target.arrive(item)
        if path.back.blocked:
            self._missed(now_ns, None)
            return
        if self._unheard_ns != NEVER:
            self._unheard_ns = NEVER
            self._source.settle()
        if items:
            self._wake(items[0][0])

    def _missed(self, now_ns: int, lost: Item | None) -> None:
        """Something was lost, or (None) only its acknowledgement."""
        if not self._source.alive:  # nobody remembers what it was; the rest is on its way
            if lost is None and self._items:
                self._wake(self._items[0][0])
            else:
                self.cut()
            return
        if self._unheard_ns == NEVER:
            self._unheard_ns, self._tries = now_ns, 0
        retry_ns = now_ns + (RETRANSMIT_NS << self._tries)
        self._tries += 1
        if lost is not Sign.OPEN:
            last_ns = self._unheard_ns + self._silence_ns
            if now_ns >= last_ns:
                self._source.break_off(errno.ETIMEDOUT)
                self._target.doubt()
                return
            retry_ns = min(retry_ns, last_ns)
        if lost is not None:
            self._last_ns = max(self._last_ns, retry_ns)
        elif self._items:
            retry_ns = min(retry_ns, self._items[0][0])
        self._wake(retry_ns)

    def _wake(self, due_ns: int) -> None:
        self.wake_ns = due_ns
        self._path.wake(due_ns, self)
