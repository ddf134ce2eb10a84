"""The judge of windows: how much a leader may send before it hears back.

A second count, from what went in and out of each core, of the rule *inflight_bounded_in_bytes*:
who breaks it does nothing wrong until memory is full.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from attrs import Factory, define, frozen

from flowactor import limits
from flowactor.codec.records import decode
from flowactor.raft import Append, AppendReply, Effects, EntryKind, Event, Receive
from flowactor.raft.log import size_bytes
from flowactor.simulation.failure import CheckFailed

__all__ = ["USUAL", "WindowChecker", "Windows"]


@frozen(kw_only=True)
class Windows:
    """The limits in bytes and counts of all cores of a run; see ``RaftConfig``."""

    append_bytes_max: int = limits.APPEND_BYTES_MAX
    inflight_appends_max: int = limits.INFLIGHT_APPENDS_MAX
    inflight_bytes_max: int = limits.INFLIGHT_BYTES_MAX
    uncommitted_bytes_max: int = limits.UNCOMMITTED_BYTES_MAX
    cache_bytes_max: int = limits.LOG_CACHE_BYTES_MAX


USUAL: Final = Windows()
"""As in production."""


@define(eq=False)
class _Sent:
    """What a leader has sent to one peer and not heard of: (last index, bytes), oldest first."""

    appends: deque[tuple[int, int]] = Factory(deque)
    bytes: int = 0

    def heard(self, index: int) -> None:
        """The peer has everything up to ``index``."""
        while self.appends and self.appends[0][0] <= index:
            self.bytes -= self.appends.popleft()[1]

    def goes_back_to(self, index: int) -> None:
        """What comes after ``index`` is sent again: what was sent before is lost."""
        while self.appends and self.appends[-1][0] > index:
            self.bytes -= self.appends.pop()[1]


class WindowChecker:
    """Counts what is under way from each leader to each of its peers.

    Args:
        windows: what all cores were told.
    """

    def __init__(self, windows: Windows) -> None:
        self._windows: Final = windows
        self._sent: Final[dict[tuple[int, int], dict[int, _Sent]]] = {}
        self._members: Final[dict[int, tuple[int, ...]]] = {}

    def recovered(self, node: int) -> None:
        """A node begins a life: what it had sent in the last, it knows no more."""
        for place in [place for place in self._sent if place[0] == node]:
            del self._sent[place]
        self._members.pop(node, None)

    def stepped(self, node: int, events: Sequence[Event], effects: Effects) -> None:
        """Check one step of a core, before anything comes of it.

        Raises:
            CheckFailed: more is sent than a window takes.
        """
        for event in events:
            if isinstance(event, Receive) and isinstance(event.message, AppendReply):
                reply = event.message
                peers = self._sent.get((node, reply.term))
                if peers is not None and reply.success and event.sender in peers:
                    peers[event.sender].heard(reply.index)
        for entry in () if effects.write is None else effects.write.entries:
            if entry.kind is EntryKind.CONFIGURATION:
                self._members[node] = decode(entry.data).members
        if node in self._members:
            self._forget_strangers(node, set(self._members[node]))
        for peer, message in effects.messages:
            if isinstance(message, Append) and message.entries:
                self._send(node, peer, message)

    def _forget_strangers(self, node: int, members: set[int]) -> None:
        """Who is taken out may come back with nothing; a leader begins with it again."""
        for (leader, _), peers in self._sent.items():
            if leader == node:
                for peer in peers.keys() - members:
                    del peers[peer]

    def _send(self, node: int, peer: int, append: Append) -> None:
        peers = self._sent.get((node, append.term))
        if peers is None:
            self.recovered(node)  # of what it sent in earlier terms, nothing counts any more
            peers = self._sent[node, append.term] = {}
        sent = peers.setdefault(peer, _Sent())
        sent.goes_back_to(append.previous_index)
        windows, size = self._windows, sum(map(size_bytes, append.entries))
        if len(append.entries) > 1 and size > windows.append_bytes_max:
            raise CheckFailed("windows", f"node {node} sends an append of {size} bytes to {peer}")
        # The one that asks where logs meet goes beside the window, which is what waited before.
        if len(sent.appends) > windows.inflight_appends_max:
            raise CheckFailed(
                "windows",
                f"node {node} sends node {peer} more, and {len(sent.appends)} appends that wait for"
                " an answer",
            )
        if sent.bytes - (sent.appends[-1][1] if sent.appends else 0) >= windows.inflight_bytes_max:
            raise CheckFailed(
                "windows", f"node {node} sends node {peer} more, and {sent.bytes} bytes are unheard"
            )
        sent.appends.append((append.entries[-1].index, size))
        sent.bytes += size
