"""Reading messages: pairs what was sent with what came, and finds what never did."""

from statistics import median_low
from typing import Final

from flowactor.simulation.timeline.facts import Arrow, Value
from flowactor.simulation.trace import Kind

__all__ = ["MessageReader"]

PATIENCE: Final = 4
"""A message that has not come at the end is lost if it left more usual delays ago than this."""

Sent = tuple[int, int, int, str, Value]
"""(sent, receiver, number, type, term)."""


class MessageReader:
    """Reads the lines of all nodes about messages, in order."""

    def __init__(self) -> None:
        self._sent: Final[dict[tuple[int, int], Sent]] = {}
        self._came: Final[set[tuple[int, int]]] = set()
        self._arrows: Final[list[Arrow]] = []

    def take(self, at_ns: int, node: int, kind: str, details: tuple[Value, ...]) -> None:
        """One more line; kinds that are not about messages are ignored."""
        if kind == Kind.SENT:
            number, receiver, what, term = (*details, "", "", "", "")[:4]
            if isinstance(number, int) and isinstance(receiver, int):
                self._sent[node, number] = (at_ns, receiver, number, str(what), term)
        elif kind == Kind.RECEIVED:
            number, sender = (*details, "", "")[:2]
            if isinstance(number, int) and isinstance(sender, int):
                self._receive(at_ns, (sender, number))

    def finish(self, end_ns: int) -> tuple[Arrow, ...]:
        """All messages in the order in which they left."""
        usual_ns = self._usual_delay_ns()
        for key, (sent_ns, receiver, number, what, term) in self._sent.items():
            if key not in self._came:
                late = sent_ns + PATIENCE * usual_ns < end_ns
                fate = "lost" if late else "under way"
                due_ns = sent_ns + usual_ns
                self._arrows.append(
                    Arrow(key[0], receiver, sent_ns, due_ns, fate, what, term, number)
                )
        return tuple(
            sorted(self._arrows, key=lambda a: (a.sent_ns, a.sender, a.number, a.received_ns))
        )

    def _receive(self, at_ns: int, key: tuple[int, int]) -> None:
        if key not in self._sent:
            return
        sent_ns, receiver, number, what, term = self._sent[key]
        fate = "again" if key in self._came else "received"
        self._came.add(key)
        self._arrows.append(Arrow(key[0], receiver, sent_ns, at_ns, fate, what, term, number))

    def _usual_delay_ns(self) -> int:
        delays = [arrow.received_ns - arrow.sent_ns for arrow in self._arrows]
        return median_low(delays) if delays else 0
