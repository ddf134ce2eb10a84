"""Who of the other nodes is alive: one sign of life per node and interval, whatever groups they
share.

Groups that are quiet count no silence, so nodes watch over nodes: who leads over the members, and
they over who leads. A node asks those that it relies on for signs of life and gives them to those
that ask; whatever else comes over a link is one as well. When a node falls silent or its link ends,
and when it is heard again, the groups that it concerns are told, wake, and see for themselves:
nothing is decided here, and to be wrong costs some wakefulness.
"""

import math
from collections.abc import Callable, Collection
from typing import Final, NoReturn

from flowactor.cluster.protocol.envelopes import Alive
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
from flowactor.raft import Role, Status

__all__ = ["Vigil", "quiet_ticks", "relied_on"]

_BEAT_NS: Final = int(BEAT_SECONDS * NANOSECONDS)
_SILENCE_NS: Final = int(SILENCE_SECONDS * NANOSECONDS)
_WANTED_NS: Final = 2 * _SILENCE_NS
"""For so long a node that asked is answered: if its asking is late, that makes no gap."""
_TICK_NS: Final = int(TICK_SECONDS * NANOSECONDS)
_ASKING: Final = Alive(asks=True)
_ANSWERING: Final = Alive(asks=False)


class Vigil:
    """One node's.

    Args:
        clock: measures silence.
        relied_on: the nodes whose silence would concern a group here, as things are now.
        changed: told of a node that is gone or is back, and for how many ticks nothing came from
            it; must not wait.
    """

    def __init__(
        self,
        clock: Clock,
        relied_on: Callable[[], Collection[NodeId]],
        changed: Callable[[NodeId, int], None],
    ) -> None:
        self._clock: Final = clock
        self._relied_on: Final = relied_on
        self._changed: Final = changed
        self._heard_ns: Final[dict[NodeId, int]] = {}  # on the clock of ``_lived_ns``
        self._asked_ns: Final[dict[NodeId, int]] = {}  # on the same
        self._watched: Collection[NodeId] = ()
        self._gone: Final[set[NodeId]] = set()
        self._looked_ns = clock.monotonic_ns()
        self._awake_ns = 0  # up to that look

    def is_alive(self, node: NodeId) -> bool:
        """Whether the node was heard of late; of one that nobody relies on, whether it had a link
        when it was last asked, or has one since.
        """
        return node in self._heard_ns and node not in self._gone

    def heard(self, node: NodeId) -> None:
        """Something came from it."""
        self._heard_ns[node] = self._lived_ns()
        if node in self._gone:
            self._gone.remove(node)
            self._changed(node, 0)

    def asked(self, node: NodeId) -> None:
        """It relies on this node, and is to hear from it for a while."""
        self._asked_ns[node] = self._lived_ns()

    def linked(self, node: NodeId) -> None:
        """There is a new link to it: perhaps it is another process, which knows nothing."""
        self._gone.add(node)
        self.heard(node)

    def unlinked(self, node: NodeId) -> None:
        """Its link has ended."""
        if self.is_alive(node):
            self._lose(node)

    async def keep(self, beat: Callable[[], None]) -> NoReturn:
        """Look, and have this node give signs of life, every ``BEAT_SECONDS``."""
        while True:
            await self._clock.sleep(BEAT_SECONDS)
            self.look()
            beat()

    def look(self) -> None:
        """See who has fallen silent; to be called every ``BEAT_SECONDS``."""
        self._awake_ns, self._looked_ns = self._lived_ns(), self._clock.monotonic_ns()
        before, self._watched = self._watched, self._relied_on()
        for node, heard_ns in list(self._heard_ns.items()):
            if node not in self._watched or node in self._gone:
                continue
            if node not in before:  # nobody asked it for anything until now
                self._heard_ns[node] = self._awake_ns
            elif self._awake_ns - heard_ns >= _SILENCE_NS:
                self._lose(node)

    def sign_for(self, node: NodeId) -> Alive | None:
        """What a node is to be told after this look, if anything. A pair in which either relies on
        the other gives each other a sign; to all others silence means nothing. Who is believed gone
        is asked until it answers, also if nobody relies on it any more.
        """
        if node in self._watched or node in self._gone:
            return _ASKING
        asked_ns = self._asked_ns.get(node)
        wants = asked_ns is not None and self._awake_ns - asked_ns < _WANTED_NS
        return _ANSWERING if wants else None

    def _lose(self, node: NodeId) -> None:
        self._gone.add(node)
        silent_ns = self._lived_ns() - self._heard_ns[node] if node in self._watched else 0
        self._changed(node, silent_ns // _TICK_NS)

    def _lived_ns(self) -> int:
        """For how long this node could have heard anybody: who overslept heard nobody, and may not
        conclude anything from that.
        """
        since_ns = self._clock.monotonic_ns() - self._looked_ns
        return self._awake_ns + min(since_ns, _BEAT_NS)


def relied_on(status: Status) -> Collection[NodeId]:
    """Whose silence concerns a replica: to a leader that of all members; to others that of who
    leads, and of those who might as long as nobody does.
    """
    if status.role is Role.LEADER:
        return status.configuration.members
    configuration = status.configuration
    return (status.leader,) if status.leader else (*configuration.voters, *configuration.outgoing)


def quiet_ticks(lease_seconds: float) -> int:
    """After how much idleness a group goes quiet whose silent members lose what they own after a
    lease: who is gone is known to be, and has lost it, before nobody counts his silence any more.
    """
    return max(QUIET_TICKS, math.ceil(lease_seconds / TICK_SECONDS) + ELECTION_TICKS_MAX)
