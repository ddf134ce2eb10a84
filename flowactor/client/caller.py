"""Turns what a caller wants into requests, and answers into values or typed errors.

This is where a client's promises are kept: one deadline per call, the same (session, sequence) for
every attempt of a change, and an ending that is definite: done, refused, or *outcome unknown*.
"""

import math
from typing import Final, TypeVar

import attrs
import trio

from flowactor.client.channel import Channel
from flowactor.client.session import Session
from flowactor.cluster.protocol.requests import Answer, Mutation, Opened, Read, Request
from flowactor.errors import (
    DeadlineExceeded,
    FlowactorError,
    MalformedDataError,
    SessionExpired,
    Unavailable,
    by_code,
)
from flowactor.identity import SessionId
from flowactor.limits import REQUEST_TIMEOUT_SECONDS, SESSION_EXPIRY_SECONDS
from flowactor.machine.operations import OpenSession
from flowactor.machine.replies import Rejected
from flowactor.management.operations import ManagementBody
from flowactor.ports import Entropy

__all__ = ["Caller", "expect"]

A = TypeVar("A")

ATTEMPTS_PER_CALL: Final = 3
"""A node gets this fraction of the deadline: one that cannot help leaves time for another."""
PAUSE_SECONDS_MIN: Final = 0.05
PAUSE_SECONDS_MAX: Final = 1.0
SESSION_IDLE_SECONDS_MAX: Final = SESSION_EXPIRY_SECONDS / 2
"""A session unused for this long is replaced before the cluster may have forgotten it."""

NO_SESSION: Final = SessionId("")


class Caller:
    """Reads and changes through one channel; safe to use from many tasks at once."""

    def __init__(
        self,
        channel: Channel,
        entropy: Entropy,
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
    ) -> None:
        self.entropy = entropy
        self._channel = channel
        self._timeout = timeout_seconds
        self._attempt_ms = math.ceil(timeout_seconds * 1000 / ATTEMPTS_PER_CALL)
        self._session: Session | None = None
        self._management: Session | None = None
        self._opening = trio.Lock()

    async def read(self, body: Read, *, wait_seconds: float = 0.0) -> Answer:
        """Ask without changing anything; ``wait_seconds`` is how long the node itself may wait.

        Raises:
            Unavailable, DeadlineExceeded: no answer in time; nothing can have happened.
            FlowactorError: what the node refused it with.
        """
        deadline = trio.current_time() + self._timeout + wait_seconds
        attempt_ms = self._attempt_ms + math.ceil(wait_seconds * 1000)
        try:
            return await self._persist(Request(0, attempt_ms, NO_SESSION, 0, 0, body), deadline)
        except FlowactorError as error:
            error.outcome_unknown = False
            raise

    async def change(self, body: Mutation) -> Answer:
        """Ask for a change that happens at most once, however often it has to be sent.

        Raises:
            Unavailable, DeadlineExceeded: ``outcome_unknown`` tells whether it may have happened.
            SessionExpired: the cluster has forgotten this client between two attempts; whether the
                earlier one did it is unknown.
            FlowactorError: what it was refused with; it did not happen.
        """
        deadline = trio.current_time() + self._timeout
        if isinstance(body, ManagementBody):
            return await self._change_in(self._management_session(), body, deadline)
        while True:
            session = self._session
            try:
                if session is None or self._is_stale(session):
                    session = await self._open_session(deadline)
                return await self._change_in(session, body, deadline)
            except SessionExpired as error:
                if self._session is session:
                    self._session = None
                # Sent once only, it was refused. The cluster's time goes on while a machine sleeps,
                # and leaps if a clock does, so no session is known to be good before it is used.
                if error.outcome_unknown or trio.current_time() >= deadline:
                    raise

    async def _change_in(self, session: Session, body: Mutation, deadline: float) -> Answer:
        session.used_at = trio.current_time()
        sequence = await session.begin()
        request = Request(
            0,
            self._attempt_ms,
            session.id,
            sequence,
            session.acknowledged,
            body,
            opened_ns=session.opened_ns,
        )
        try:
            return await self._persist(request, deadline)
        finally:
            session.end(sequence)

    async def _open_session(self, deadline: float) -> Session:
        async with self._opening:
            session = self._session
            if session is None or self._is_stale(session):
                session = Session(SessionId(self.entropy.token_hex(16)), trio.current_time())
                body = OpenSession(session.id)
                request = Request(0, self._attempt_ms, session.id, 0, 0, body)
                try:
                    opened = await self._persist(request, deadline)
                except FlowactorError as error:
                    error.outcome_unknown = False  # the change itself was not sent yet
                    raise
                session.opened_ns = expect(opened, Opened).opened_ns
                self._session = session
            return session

    def _management_session(self) -> Session:
        """Of its own: the management group opens it when it is first used, and no other group has
        to be able to decide anything for that.
        """
        session = self._management
        if session is None or self._is_stale(session):
            session = Session(SessionId(self.entropy.token_hex(16)), trio.current_time())
            self._management = session
        return session

    def _is_stale(self, session: Session) -> bool:
        return session.used_at + SESSION_IDLE_SECONDS_MAX < trio.current_time()

    async def _persist(self, request: Request, deadline: float) -> Answer:
        """Attempts, each as long as the request says, until there is a definite answer or no time
        left; then the latest trouble, which is unknown if that of any attempt was.
        """
        unknown = False
        pause = PAUSE_SECONDS_MIN
        while True:
            try:
                answer = await self._channel.request(request)
                if not isinstance(answer, Rejected):
                    return answer
                raise _error_of(answer)
            except FlowactorError as error:
                unknown = error.outcome_unknown = unknown or error.outcome_unknown
                left = deadline - trio.current_time() - pause
                if left <= 0 or not isinstance(error, Unavailable | DeadlineExceeded):
                    raise
            await trio.sleep(pause)
            pause = min(pause * 2, PAUSE_SECONDS_MAX)
            request = attrs.evolve(
                request, timeout_ms=min(request.timeout_ms, math.ceil(left * 1000))
            )


def _error_of(answer: Rejected) -> FlowactorError:
    error = by_code(answer.code, answer.message)
    error.outcome_unknown = answer.outcome_unknown
    return error


def expect(answer: Answer, cls: type[A]) -> A:
    """``answer`` as the kind its request is always answered with.

    Raises:
        MalformedDataError: it is another kind, so the other side is no sound node.
    """
    if not isinstance(answer, cls):
        got = type(answer).__name__
        raise MalformedDataError(f"a node answered with {got} where {cls.__name__} is due")
    return answer
