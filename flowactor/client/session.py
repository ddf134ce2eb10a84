"""A client session: what makes a change happen at most once, however often it is sent.

Every change carries (session, sequence); the cluster keeps its reply until the client has said, by
``acknowledged``, that it will not ask for it again. A sequence that was given up counts as
acknowledged too: it is never sent again, and a late copy of it is refused by the cluster.
"""

import trio

from flowactor.identity import SessionId
from flowactor.limits import SESSION_REPLIES_MAX

__all__ = ["Session"]


class Session:
    """The bookkeeping of one open session.

    Attributes:
        acknowledged: the lowest sequence whose reply may still be asked for; all below are settled.
        used_at: Trio time of its latest change, kept by its user.
        opened_ns: the cluster's log time when it was opened, kept likewise.
    """

    def __init__(
        self, session_id: SessionId, used_at: float, window: int = SESSION_REPLIES_MAX
    ) -> None:
        self.id = session_id
        self.acknowledged = 1
        self.used_at = used_at
        self.opened_ns = 0
        self._window = window
        self._next = 1
        self._settled: set[int] = set()  # above ``acknowledged``, which waits for older ones
        self._room = trio.lowlevel.ParkingLot()

    async def begin(self) -> int:
        """The next sequence, outstanding until ``end``.

        Waits while the window is full: the cluster keeps a bounded number of replies per session.
        """
        while self._next >= self.acknowledged + self._window:
            await self._room.park()
        sequence, self._next = self._next, self._next + 1
        return sequence

    def end(self, sequence: int) -> None:
        """The sequence has its answer, or was given up."""
        self._settled.add(sequence)
        while self.acknowledged in self._settled:
            self._settled.remove(self.acknowledged)
            self.acknowledged += 1
        if self._room:
            self._room.unpark_all()
