"""Who of the other nodes is alive: one sign of life per node and interval, whatever groups they
share.

Groups that are quiet count no silence, so nodes watch over nodes. Whatever comes over a link is a
sign of life; if there is nothing else to say, a beat is. When a node falls silent or its link ends,
and when it is heard again, the groups that it concerns are told, wake, and see for themselves:
nothing is decided here, and to be wrong costs some wakefulness.
"""

import math
from collections.abc import Callable
from typing import Final, NoReturn

from flowactor.identity import NodeId
from flowactor.limits import (
    BEAT_SECONDS,
    ELECTION_TICKS_MAX,
    NANOSECONDS,
    QUIET_TICKS,
    SILENCE_SECONDS,
    TICK_SECONDS,
)
from flowactor.ports import Clock

__all__ = ["Vigil", "quiet_ticks"]

_BEAT_NS: Final = int(BEAT_SECONDS * NANOSECONDS)
_SILENCE_NS: Final = int(SILENCE_SECONDS * NANOSECONDS)
_TICK_NS: Final = int(TICK_SECONDS * NANOSECONDS)


class Vigil:
    """One node's.

    Args:
        clock: measures silence.
        changed: told of a node that is gone or is back, and for how many ticks nothing came from
            it; must not wait.
    """

    def __init__(self, clock: Clock, changed: Callable[[NodeId, int], None]) -> None:
        self._clock: Final = clock
        self._changed: Final = changed
        self._heard_ns: Final[dict[NodeId, int]] = {}  # on the clock of ``_lived_ns``
        self._gone: Final[set[NodeId]] = set()
        self._looked_ns = clock.monotonic_ns()
        self._awake_ns = 0  # up to that look

    def is_alive(self, node: NodeId) -> bool:
        """Whether the node was heard of late."""
        return node in self._heard_ns and node not in self._gone

    def heard(self, node: NodeId) -> None:
        """Something came from it."""
        self._heard_ns[node] = self._lived_ns()
        if node in self._gone:
            self._gone.remove(node)
            self._changed(node, 0)

    def linked(self, node: NodeId) -> None:
        """There is a new link to it: perhaps it is another process, which knows nothing."""
        self._gone.add(node)
        self.heard(node)

    def unlinked(self, node: NodeId) -> None:
        """Its link has ended."""
        if self.is_alive(node):
            self._lose(node)

    async def keep(self, beat: Callable[[], None]) -> NoReturn:
        """Look, and have this node give a sign of life, every ``BEAT_SECONDS``."""
        while True:
            await self._clock.sleep(BEAT_SECONDS)
            self.look()
            beat()

    def look(self) -> None:
        """See who has fallen silent; to be called every ``BEAT_SECONDS``."""
        self._awake_ns, self._looked_ns = self._lived_ns(), self._clock.monotonic_ns()
        for node, heard_ns in list(self._heard_ns.items()):
            if node not in self._gone and self._awake_ns - heard_ns >= _SILENCE_NS:
                self._lose(node)

    def _lose(self, node: NodeId) -> None:
        self._gone.add(node)
        self._changed(node, (self._lived_ns() - self._heard_ns[node]) // _TICK_NS)

    def _lived_ns(self) -> int:
        """For how long this node could have heard anybody: who overslept heard nobody, and may not
        conclude anything from that.
        """
        since_ns = self._clock.monotonic_ns() - self._looked_ns
        return self._awake_ns + min(since_ns, _BEAT_NS)


def quiet_ticks(lease_seconds: float) -> int:
    """After how much idleness a group goes quiet whose silent members lose what they own after a
    lease: who is gone is known to be, and has lost it, before nobody counts his silence any more.
    """
    return max(QUIET_TICKS, math.ceil(lease_seconds / TICK_SECONDS) + ELECTION_TICKS_MAX)
