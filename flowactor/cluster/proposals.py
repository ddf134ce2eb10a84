"""Client operations that this node sent towards the log and that have no outcome yet.

The outcome is never sent back by the leader: it is found when this node's own machine applies the
operation. So all that can go wrong on the way is repaired by proposing the same bytes again, which
sessions make harmless (rule *proposal_once*), and the answer is read-your-writes on this node.
"""

from collections.abc import Collection, Iterable

from attrs import define, field

from flowactor.actors import Promise
from flowactor.errors import DeadlineExceeded, Overloaded
from flowactor.identity import SessionId
from flowactor.machine.replies import Reply

__all__ = ["Proposals", "Waiting"]

Key = tuple[SessionId, int]


@define(eq=False)
class Waiting:
    """One operation under way. On the monotonic clock, ``sent_ns`` is when it last left for the
    leader, ``deadline_ns`` when the last client will have stopped waiting.
    """

    operation: bytes
    sent_ns: int
    deadline_ns: int
    promise: Promise[Reply] = field(factory=Promise)
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

    def add(self, key: Key, operation: bytes, now_ns: int, deadline_ns: int) -> Waiting:
        """A new operation, which the caller proposes now."""
        waiting = self._waiting[key] = Waiting(operation, now_ns, deadline_ns, users=1)
        return waiting

    def leave(self, key: Key, waiting: Waiting) -> None:
        """A client waits no longer; when nobody does, the operation is not proposed again."""
        waiting.users -= 1
        if not waiting.users and self._waiting.get(key) is waiting:
            del self._waiting[key]

    def settle(self, replies: Iterable[tuple[SessionId, int, Reply]]) -> None:
        """These were applied here: wake whoever waits for one of them."""
        waiting = self._waiting
        for session, sequence, reply in replies:
            entry = waiting.pop((session, sequence), None)
            if entry is not None:
                entry.promise.set(reply)

    def overloaded(self, operations: Collection[bytes]) -> None:
        """The leader, this node, has no room for these."""
        for entry in list(self._waiting.values()):
            if entry.operation in operations:
                entry.promise.fail(Overloaded("the cluster's uncommitted log is full: retry later"))

    def expire(self, now_ns: int) -> None:
        """Tell those whose time is up that there was no outcome; there may be one later."""
        for entry in list(self._waiting.values()):
            if entry.deadline_ns <= now_ns:
                entry.promise.fail(DeadlineExceeded("no outcome in time; it may still happen"))

    def stale(self, now_ns: int, age_ns: int) -> list[bytes]:
        """Operations last sent ``age_ns`` ago or longer, oldest first, now counted as sent
        again.
        """
        again = [entry for entry in self._waiting.values() if now_ns - entry.sent_ns >= age_ns]
        for entry in again:
            entry.sent_ns = now_ns
        return [entry.operation for entry in again]
