"""The record of a run: everything that happened, in order, as plain tuples, and its digest.

Two runs are the same run exactly if their digests are equal. So nothing enters that could differ
between processes: no ``id``, no ``repr`` of an object, no set, no float that was computed.
"""

import marshal
from hashlib import blake2b
from typing import Final

__all__ = ["Detail", "Kind", "Line", "Trace"]

Detail = int | str | bytes | None
Line = tuple[int, int, str, tuple[Detail, ...]]
"""(virtual nanoseconds, node or 0 for the world, kind, details)."""

CHUNK_LINES: Final = 512
MARSHAL_VERSION: Final = 2
"""The last that does not mark which objects are shared, which is an accident of the process."""


class Kind:
    """The kinds of line, and what their details are."""

    FAULT = "fault"
    """of the world: (kind of fault, its source, 1 as it begins or 0 as it ends)"""
    STARTED = "started"
    """a node: (applied index, last index of its log)"""
    STOPPED = "stopped"
    """a node: (why,)"""
    SENT = "sent"
    """a node: (number of the message, receiver, what it is, its term)"""
    RECEIVED = "received"
    """a node: (number of the message, sender)"""
    ROLE = "role"
    """a node: (role, term, leader)"""
    APPENDED = "appended"
    """a node: (first index, last index, term) are durable in its log"""
    COMMITTED = "committed"
    """a node applied: (index, term, digest of the entry's data)"""
    DELETED = "deleted"
    """a node is no member any more, and is about to delete its replica: ()"""
    INSTALLED = "installed"
    """a node has the state of another in place of its own: (index, term)"""
    OPENED = "opened"
    """a run, on the first node that applied it: (run id, workflow id, type, owner, index)"""
    OWNER = "owner"
    """a run got an owner: (run id, owner, epoch, index)"""
    ADVANCED = "advanced"
    """a run: (run id, position, number of commands, index)"""
    CLOSED = "closed"
    """a run: (run id, status, index)"""
    STEP = "step"
    """a node, a body: (run id, step, attempt, what: started, completed, failed ...)"""
    EFFECT = "effect"
    """something in the world outside: (ledger, key, number of the entry)"""
    ASKED = "asked"
    """a client: (client, number, what, to which node)"""
    ANSWERED = "answered"
    """a client: (client, number, the answer)"""
    PHASE = "phase"
    """of the world: (faults, healing, done)"""
    FAILED = "failed"
    """of the world: (checker, message)"""


class Trace:
    """Takes lines; keeps them only if asked to, for they are many.

    Args:
        keep: hold the lines for a timeline.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self.lines: Final[list[Line]] = []
        self._keep: Final = keep
        self._chunk: list[Line] = []
        self._hash: Final = blake2b(digest_size=16)
        self.count = 0

    def add(self, at_ns: int, node: int, kind: str, *details: Detail) -> None:
        """One more thing happened."""
        chunk = self._chunk
        chunk.append((at_ns, node, kind, details))
        if len(chunk) >= CHUNK_LINES:
            self._fold()

    def finish(self) -> str:
        """The digest so far, 32 hexadecimal digits."""
        self._fold()
        return self._hash.hexdigest()

    def _fold(self) -> None:
        chunk, self._chunk = self._chunk, []
        if self._keep:
            self.lines.extend(chunk)
        self.count += len(chunk)
        self._hash.update(marshal.dumps(chunk, MARSHAL_VERSION))
