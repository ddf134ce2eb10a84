"""A client session: what makes a change happen at most once, however often it is sent.

Every change carries (session, sequence); the cluster keeps its reply until the client has said, by
``acknowledged``, that it will not ask for it again. A sequence that was given up counts as
acknowledged too: it is never sent again, and a late copy of it is refused by the cluster.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from flowactor.identity import SessionId
from flowactor.limits import SESSION_REPLIES_MAX

__all__ = ["Session"]


class Session:
    """The bookkeeping of one open session; ``used_at`` is Trio time of its latest change."""

    def __init__(self, session_id: SessionId, window: int = SESSION_REPLIES_MAX) -> None:
        self.id = session_id
        self.used_at = trio.current_time()
        self._window = window
        self._next = 1
        self._outstanding: dict[int, None] = {}  # in ascending order: sequences only grow
        self._room = trio.lowlevel.ParkingLot()

    @property
    def acknowledged(self) -> int:
        """The lowest sequence whose reply may still be asked for; all below are settled."""
        return next(iter(self._outstanding), self._next)

    @asynccontextmanager
    async def sequence(self) -> AsyncIterator[int]:
        """The next sequence, outstanding until the block is left however it is left.

        Waits while the window is full: the cluster keeps a bounded number of replies per session.
        """
        await trio.lowlevel.checkpoint()
        while self._next >= self.acknowledged + self._window:
            await self._room.park()
        sequence, self._next = self._next, self._next + 1
        self._outstanding[sequence] = None
        self.used_at = trio.current_time()
        try:
            yield sequence
        finally:
            del self._outstanding[sequence]
            self._room.unpark_all()
