"""What one actor proposed for itself and has seen no outcome of, so that it can propose it again.

The engine's own operations get no reply. Whether one took effect is read from the machine's state;
one that was lost on the way to the log (a leader died, a link broke) has to be proposed again,
which their positions, epochs and attempts make harmless.
"""

from collections.abc import Callable, Hashable
from typing import Final

from attrs import define

from flowactor.limits import NANOSECONDS
from flowactor.ports import Clock

__all__ = ["Unsettled"]


@define
class _Sent:
    operation: bytes
    at_ns: int


class Unsettled:
    """Operations by key, each proposed now and again until it is settled.

    Args:
        propose: sends an encoded operation towards the log; what it loses is proposed again.
        clock: to know how long ago that was.
    """

    def __init__(self, propose: Callable[[bytes], None], clock: Clock) -> None:
        self._propose: Final = propose
        self._clock: Final = clock
        self._sent: Final[dict[Hashable, _Sent]] = {}

    def __bool__(self) -> bool:
        return bool(self._sent)

    def add(self, key: Hashable, operation: bytes) -> None:
        """Propose ``operation``; it replaces an older one of this key."""
        sent = self._sent[key] = _Sent(operation, 0)
        self._send(sent)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._sent

    def settle(self, key: Hashable) -> None:
        """There is an outcome, or the operation no longer matters."""
        self._sent.pop(key, None)

    def clear(self) -> None:
        """Nothing that was proposed matters any more."""
        self._sent.clear()

    def pending(self) -> list[Hashable]:
        """The keys of what is unsettled, oldest first."""
        return list(self._sent)

    def repeat(self, older_than_seconds: float) -> None:
        """Propose again what was last proposed that long ago: ``RESEND_SECONDS`` is longer than an
        outcome takes, and 0 is for when all of it may be lost, as another node leads.
        """
        old = self._clock.monotonic_ns() - int(older_than_seconds * NANOSECONDS)
        for sent in self._sent.values():
            if sent.at_ns <= old:
                self._send(sent)

    def _send(self, sent: _Sent) -> None:
        sent.at_ns = self._clock.monotonic_ns()
        self._propose(sent.operation)
