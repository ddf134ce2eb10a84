"""Client operations that this node sent towards the log and that have no outcome yet.

The outcome is never sent back by the leader: it is found when this node's own machine applies the
operation. So all that can go wrong on the way is repaired by proposing the same bytes again, which
sessions make harmless (rule *proposal_once*), and the answer is read-your-writes on this node.
"""

from collections.abc import Collection, Iterable
from typing import Any, Final

from attrs import define, field

from flowactor.actors import Promise
from flowactor.errors import DeadlineExceeded, Overloaded
from flowactor.identity import SessionId
from flowactor.raft import RefusalReason

__all__ = ["Proposals", "Waiting"]

Key = tuple[SessionId, int]

DOUBLINGS_MAX: Final = 3
"""Of the time between two proposals of the same operation."""


@define(eq=False)
class Waiting:
    """One operation under way. On the monotonic clock, ``sent_ns`` is when it last left for the
    leader, ``deadline_ns`` when the last client will have stopped waiting. ``appended_term`` is the
    term in which this node led and put it into the log itself, 0 if it was sent to another.
    """

    operation: bytes
    sent_ns: int
    deadline_ns: int
    appended_term: int
    times_sent: int = 1
    promise: Promise[Any] = field(factory=Promise)
    users: int = 0


class Proposals:
    """Keyed by (session, sequence): a client that asks twice waits for one and the same outcome."""

    def __init__(self) -> None:
        self._waiting: dict[Key, Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, key: Key, deadline_ns: int) -> Waiting | None:
        """One more client waits for an operation that is under way already, if it is."""
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.users += 1
            waiting.deadline_ns = max(waiting.deadline_ns, deadline_ns)
        return waiting

    def add(
        self, key: Key, operation: bytes, now_ns: int, deadline_ns: int, leading_term: int
    ) -> Waiting:
        """A new operation, which the caller proposes now."""
        waiting = Waiting(operation, now_ns, deadline_ns, leading_term, users=1)
        self._waiting[key] = waiting
        return waiting

    def leave(self, key: Key, waiting: Waiting) -> None:
        """A client waits no longer; when nobody does, the operation is not proposed again."""
        waiting.users -= 1
        if not waiting.users and self._waiting.get(key) is waiting:
            del self._waiting[key]

    def settle(self, replies: Iterable[tuple[SessionId, int, Any]]) -> None:
        """These were applied here: wake whoever waits for one of them."""
        waiting = self._waiting
        for session, sequence, reply in replies:
            entry = waiting.pop((session, sequence), None)
            if entry is not None:
                entry.promise.set(reply)

    def refused(self, reason: RefusalReason, operations: Collection[bytes]) -> None:
        """This node, which leads or has led, took none of these into its log."""
        if reason is RefusalReason.OVERLOADED:
            self.overloaded(operations)
        else:
            self.turned_away(operations)

    def turned_away(self, operations: Collection[bytes]) -> None:
        """This node took none of these into its log, though it leads: it hands the lead over, or
        has done so. They are sent again as if they had not been.
        """
        for entry in self._waiting.values():
            if entry.operation in operations:
                entry.appended_term = 0
                entry.times_sent -= 1

    def overloaded(self, operations: Collection[bytes]) -> None:
        """The leader, this node, has no room for these. One that was sent before may be in the
        log already, so it is not refused, but sent again later.
        """
        for entry in list(self._waiting.values()):
            if entry.operation in operations:
                entry.appended_term = 0
                if entry.times_sent == 1:
                    error = Overloaded("the cluster's uncommitted log is full: retry later")
                    entry.promise.fail(error)

    def expire(self, now_ns: int) -> None:
        """Tell those whose time is up that there was no outcome; there may be one later."""
        for entry in list(self._waiting.values()):
            if entry.deadline_ns <= now_ns:
                entry.promise.fail(DeadlineExceeded("no outcome in time; it may still happen"))

    def stale(self, now_ns: int, age_ns: int, leading_term: int) -> list[bytes]:
        """Operations to send again, oldest first, and counted as sent now.

        Those last sent ``age_ns`` ago, and twice that for each time before: a slow cluster is not
        to be made slower. What this node appended in the term in which it still leads is lost only
        with its leadership.
        """
        again = [
            entry
            for entry in self._waiting.values()
            if not (leading_term and entry.appended_term == leading_term)
            and now_ns - entry.sent_ns >= age_ns * 2 ** _doublings(entry)
        ]
        for entry in again:
            entry.sent_ns = now_ns
            entry.appended_term = leading_term
            entry.times_sent += 1
        return [entry.operation for entry in again]


def _doublings(entry: Waiting) -> int:
    return max(0, min(entry.times_sent - 1, DOUBLINGS_MAX))
