"""Linearizable reads of one group: who waits for an index, and who waits to be applied that far.

A read passes through three places: *new* (asked, here or by a peer of ours while we lead), *asked*
(a token is with the leader's core), *indexed* (the leader named an index; this node has yet to
apply it). One token serves all that were new together (thesis 6.4). When no answer can come any
more, reads of this node are new again, and peers are told to ask elsewhere.
"""

import heapq

from attrs import Factory, define

from flowactor.actors import Promise
from flowactor.identity import NodeId

__all__ = ["Reads", "RemoteRead"]

RemoteRead = tuple[NodeId, int]
"""A peer, and the token under which it asked."""


@define
class _Round:
    """Everything that one token stands for."""

    local: list[Promise[None]] = Factory(list)
    remote: list[RemoteRead] = Factory(list)
    asked_ns: int = 0


class Reads:
    """Bookkeeping only: the group asks, this remembers. Tokens count from 1."""

    def __init__(self) -> None:
        self._new = _Round()
        self._asked: dict[int, _Round] = {}
        self._indexed: list[tuple[int, int, list[Promise[None]]]] = []
        self._tokens = 0

    @property
    def has_new(self) -> bool:
        return bool(self._new.local or self._new.remote)

    @property
    def is_waiting(self) -> bool:
        """Whether any read has not been served yet."""
        return self.has_new or bool(self._asked or self._indexed)

    def add_local(self, promise: Promise[None]) -> None:
        self._new.local.append(promise)

    def add_remote(self, peer: NodeId, token: int) -> None:
        self._new.remote.append((peer, token))

    def take_remote(self) -> list[RemoteRead]:
        """Remove what peers asked: this node does not lead, they must ask another."""
        remote, self._new.remote = self._new.remote, []
        return remote

    def take(self, now_ns: int) -> int:
        """Move all that is new under one fresh token, to be asked for now."""
        self._tokens += 1
        self._new.asked_ns = now_ns
        self._asked[self._tokens] = self._new
        self._new = _Round()
        return self._tokens

    def answer(self, token: int, index: int, applied: int) -> list[RemoteRead]:
        """The leader named an index for this token. Returns the peers to pass it on to. An answer
        to a forgotten token is ignored.
        """
        asked = self._asked.pop(token, None)
        if asked is None:
            return []
        if index <= applied:
            _release(asked.local)
        elif asked.local:
            heapq.heappush(self._indexed, (index, token, asked.local))
        return asked.remote

    def refuse(self, token: int) -> list[RemoteRead]:
        """No answer will come for this token. Returns the peers that must ask elsewhere."""
        asked = self._asked.pop(token, None)
        if asked is None:
            return []
        self._new.local.extend(promise for promise in asked.local if not promise.done)
        return asked.remote

    def refuse_older(self, before_ns: int) -> list[RemoteRead]:
        """As ``refuse`` for all tokens asked for before this moment: a message was lost, or the
        leader is another one now. Reads that nobody waits for any more are forgotten on the way,
        for without a leader nothing else comes by.
        """
        self._new.local = [promise for promise in self._new.local if not promise.done]
        old = [token for token, asked in self._asked.items() if asked.asked_ns < before_ns]
        return [remote for token in old for remote in self.refuse(token)]

    def applied(self, index: int) -> None:
        """This node has applied up to ``index``."""
        while self._indexed and self._indexed[0][0] <= index:
            _release(heapq.heappop(self._indexed)[2])


def _release(promises: list[Promise[None]]) -> None:
    for promise in promises:
        promise.set(None)
