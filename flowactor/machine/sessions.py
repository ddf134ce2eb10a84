"""Client sessions: every client operation is applied at most once (rule *proposal_once*).

A session remembers the reply of each sequence until the client acknowledges it; a second arrival of
the same sequence gets the same reply again. Below its ``floor`` a session remembers nothing, so it
refuses rather than applies: by the client's word (``acknowledged``), or because the client let more
than ``SESSION_REPLIES_MAX`` replies pile up. A session unused for ``SESSION_EXPIRY_SECONDS`` of log
time is forgotten.

A reply is a row of its own, and one that is acknowledged before rows are taken is never a row.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Any, Final

from attrs import Factory, define

from flowactor.codec import records
from flowactor.identity import SessionId
from flowactor.limits import NANOSECONDS, SESSION_EXPIRY_SECONDS, SESSION_REPLIES_MAX
from flowactor.machine.operations import ClientOperation, OpenSession
from flowactor.machine.replies import Done, Rejected, Reply
from flowactor.ports import RowReader, RowWrite

__all__ = ["Session", "Sessions"]

EXPIRY_NS: Final = int(SESSION_EXPIRY_SECONDS * NANOSECONDS)
SEQUENCE_MAX: Final = 2**63 - 1
"""What an SQLite integer holds; nobody counts that far."""


@define(eq=False)
class Session:
    """``stored`` are the sequences whose reply is a row, ``stale`` those that have a row of an
    expired session of the same id; ``dirty`` says that rows lag behind.
    """

    id: SessionId
    last_ns: int
    floor: int = 1
    replies: dict[int, Reply] = Factory(dict)
    in_rows: bool = False
    stored: set[int] = Factory(set)
    stale: set[int] = Factory(set)
    dirty: bool = False

    def raise_floor(self, floor: int) -> None:
        """Forget every reply below ``floor``."""
        replies = self.replies
        if floor - self.floor > len(replies):
            for sequence in [sequence for sequence in replies if sequence < floor]:
                del replies[sequence]
        else:
            for sequence in range(self.floor, floor):
                replies.pop(sequence, None)
        self.floor = floor

    def remember(self, sequence: int, reply: Reply) -> None:
        """Keep a reply. When they pile up, the oldest quarter goes at once, so that a client which
        never acknowledges costs little each time.
        """
        self.replies[sequence] = reply
        if len(self.replies) > SESSION_REPLIES_MAX:
            self.raise_floor(sorted(self.replies)[SESSION_REPLIES_MAX // 4])


class Sessions:
    """All live sessions of the group."""

    def __init__(self, rows: RowReader) -> None:
        self._live: dict[SessionId, Session] = {}
        self._dirty: list[Session] = []
        self._expired: dict[SessionId, Session] = {}
        for session_id, last_ns, floor in rows.scan("sessions"):
            self._live[session_id] = Session(session_id, last_ns, floor, in_rows=True)
        for session_id, sequence, reply in rows.scan("session_replies"):
            session = self._live[session_id]
            session.replies[sequence] = records.decode(reply)
            session.stored.add(sequence)
        self._due = [(session.last_ns + EXPIRY_NS, session.id) for session in self._live.values()]
        heapify(self._due)

    def expire(self, clock_ns: int) -> None:
        """Forget the sessions that nobody has used for long."""
        while self._due and self._due[0][0] <= clock_ns:
            session = self._live[heappop(self._due)[1]]
            due_ns = session.last_ns + EXPIRY_NS
            if due_ns > clock_ns:
                heappush(self._due, (due_ns, session.id))
            else:
                del self._live[session.id]
                if session.in_rows:
                    self._expired[session.id] = session

    def open(self, operation: OpenSession, clock_ns: int) -> Reply:
        """Begin a session, or use one that is there."""
        session_id, asked_ns = operation.session, operation.asked_ns
        session = self._live.get(session_id)
        if session is not None:
            self._touch(session, clock_ns)
            return Done(changed=False)
        if asked_ns is not None and clock_ns - asked_ns >= EXPIRY_NS:
            return Rejected("SessionExpired", f"session {session_id!r} was asked for too long ago")
        self._begin(session_id, clock_ns)
        return Done(changed=True)

    def _begin(self, session_id: SessionId, last_ns: int) -> Session:
        session = Session(session_id, last_ns)
        if earlier := self._expired.pop(session_id, None):
            session.in_rows = True
            session.stale = earlier.stored | earlier.stale
        self._live[session_id] = session
        heappush(self._due, (last_ns + EXPIRY_NS, session_id))
        self._touch(session, last_ns)
        return session

    def admit(self, operation: ClientOperation, clock_ns: int) -> Session | Reply:
        """The session to remember the reply in, if this is to be applied; else the reply."""
        session = self._live.get(operation.session)
        if session is None:
            return Rejected(
                "SessionExpired", f"session {operation.session!r} is not known (any more)"
            )
        self._touch(session, clock_ns)
        sequence = operation.sequence
        if sequence > SEQUENCE_MAX:
            return Rejected("InvalidInput", f"sequence {sequence} is too large")
        floor = min(operation.acknowledged, sequence)
        if floor > session.floor:
            session.raise_floor(floor)
        if sequence < session.floor:
            return Rejected(
                "SessionExpired", f"the reply of sequence {sequence} is not remembered any more"
            )
        reply = session.replies.get(sequence)
        return session if reply is None else reply

    # -- moving -----------------------------------------------------------------------------------

    def contents(self, as_of_ns: int, after: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        """Every session, and its replies, as (session, sequence, values); sequence 0 is the session
        itself, its values are its age and its floor. Begins after (session, sequence).
        """
        for session_id in sorted(name for name in self._live if not after or name >= after[0]):
            session = self._live[session_id]
            start = after[1] if after and after[0] == session_id else -1
            if start < 0:
                yield session_id, 0, (max(as_of_ns - session.last_ns, 0), session.floor)
            for sequence in sorted(number for number in session.replies if number > start):
                yield session_id, sequence, (records.encode(session.replies[sequence]),)

    def take_in(
        self, session_id: SessionId, sequence: int, values: tuple[Any, ...], clock_ns: int
    ) -> None:
        """What another group remembers of a client, as it stands in ``contents``: from here on this
        one knows it too, and answers as that one did. A session first.
        """
        session = self._live.get(session_id)
        if sequence == 0:
            age_ns, floor = values
            last_ns = max(clock_ns - age_ns, 0)
            if session is None:
                session = self._begin(session_id, last_ns)
            self._touch(session, max(session.last_ns, last_ns))
            session.raise_floor(max(session.floor, floor))
        elif session is not None and sequence >= session.floor:
            self._touch(session, session.last_ns)
            session.remember(sequence, records.decode(values[0]))

    def _touch(self, session: Session, clock_ns: int) -> None:
        session.last_ns = clock_ns
        if not session.dirty:
            session.dirty = True
            self._dirty.append(session)

    def take_writes(self) -> Iterator[RowWrite]:
        for session in self._expired.values():
            yield RowWrite("sessions", (session.id,), None)
            for sequence in sorted(session.stored | session.stale):
                yield RowWrite("session_replies", (session.id, sequence), None)
        for session in self._dirty:
            session.dirty = False
            if self._live.get(session.id) is session:
                yield from self._write(session)
        self._expired.clear()
        self._dirty.clear()

    def _write(self, session: Session) -> Iterator[RowWrite]:
        session.in_rows = True
        yield RowWrite("sessions", (session.id,), (session.last_ns, session.floor))
        for sequence in sorted((session.stored | session.stale) - session.replies.keys()):
            yield RowWrite("session_replies", (session.id, sequence), None)
        for sequence in sorted(session.replies.keys() - session.stored):
            encoded = records.encode(session.replies[sequence])
            yield RowWrite("session_replies", (session.id, sequence), (encoded,))
        session.stored = set(session.replies)
        session.stale.clear()

    def digestible(self) -> list[Any]:
        """Plain values that are equal exactly if the sessions are."""
        return [
            (
                session.id,
                session.last_ns,
                session.floor,
                [
                    (number, records.encode(reply))
                    for number, reply in sorted(session.replies.items())
                ],
            )
            for _, session in sorted(self._live.items())
        ]
