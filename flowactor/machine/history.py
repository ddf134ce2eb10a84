"""The history of runs: one row per fact, enough to replay a run and to follow what happens.

``Journal`` gives every row its place: a number within its run, and (log index, ordinal) within the
group. A row that holds several facts (an activation: its ``Advance``, what that consumed, then its
commands) takes that many ordinals, so that each of them has a place of its own.
"""

from hashlib import blake2b

from attrs import frozen

from flowactor.codec import records
from flowactor.codec.records import record
from flowactor.identity import NodeId, StepKey
from flowactor.machine.events import Event, Failure
from flowactor.machine.operations import Advance
from flowactor.machine.replies import RunStatus
from flowactor.machine.state import RunState
from flowactor.ports import RowWrite

__all__ = [
    "KINDS",
    "Arrived",
    "AttemptFailed",
    "AttemptStarted",
    "Closed",
    "HistoryRecord",
    "Journal",
    "Opened",
    "OwnerAssigned",
    "Parked",
    "Resumed",
]


@record(70)
@frozen
class Opened:
    """The first row of every history; ``deadline_ns`` 0 is no time-out."""

    workflow_id: str
    workflow_type: str
    version: int
    owner: NodeId
    deadline_ns: int


@record(71)
@frozen
class Arrived:
    """``event`` entered the inbox as item ``number``."""

    number: int
    event: Event


@record(73)
@frozen
class AttemptFailed:
    """An attempt failed; the next starts at ``retry_ns``, or never if that is 0."""

    step: StepKey
    attempt: int
    failure: Failure
    retry_ns: int


@record(74)
@frozen
class AttemptStarted:
    """From here ``attempt`` is to run: its back-off is over, or its owner was replaced. The first
    attempt of a step starts with the activation that scheduled it.
    """

    step: StepKey
    attempt: int


@record(75)
@frozen
class OwnerAssigned:
    owner: NodeId
    epoch: int


@record(76)
@frozen
class Parked:
    reason: str


@record(77)
@frozen
class Resumed:
    pass


@record(78)
@frozen
class Closed:
    """The last row of every history of a closed run."""

    status: RunStatus
    reason: str


HistoryRecord = (
    Opened
    | Arrived
    | Advance
    | AttemptFailed
    | AttemptStarted
    | OwnerAssigned
    | Parked
    | Resumed
    | Closed
)

KINDS: dict[type[HistoryRecord], str] = {
    Opened: "opened",
    Arrived: "arrived",
    Advance: "activated",
    AttemptFailed: "attempt_failed",
    AttemptStarted: "attempt_started",
    OwnerAssigned: "owner_assigned",
    Parked: "parked",
    Resumed: "resumed",
    Closed: "closed",
}
"""The word for each kind of row, as in the column ``kind``."""


class Journal:
    """Appends history rows, and folds them into a chain of digests: two groups with the same chain
    have the same history, though it has long left memory.
    """

    def __init__(self, chain: bytes) -> None:
        self._chain = chain
        self._index = 0
        self._ordinal = 0
        self._stamp_ns = 0
        self._rows: list[RowWrite] = []
        self._unchained: list[bytes] = []

    def begin(self, index: int, stamp_ns: int) -> None:
        """What follows happened in the log entry at ``index``, at log time ``stamp_ns``."""
        self._index = index
        self._stamp_ns = stamp_ns
        self._ordinal = 0

    def append(
        self, run: RunState, fact: HistoryRecord, ordinals: int = 1, kept: bytes | None = None
    ) -> None:
        """Add a row that takes this many ordinals; ``kept`` is ``fact`` as it was encoded
        before.
        """
        run.history_length += 1
        data = kept or records.encode(fact)
        key = (run.run_id, run.history_length)
        place = (self._index, self._ordinal, max(self._stamp_ns, run.floor_ns))
        self._rows.append(RowWrite("history", key, (*place, KINDS[type(fact)], run.owner, data)))
        self._ordinal += ordinals
        self._unchained += (run.run_id.encode(), data)

    def fold(self, check: bytes) -> None:
        """History that was written elsewhere has come, with this digest."""
        self._unchained.append(check)

    @property
    def chain(self) -> bytes:
        """The digest of every history row so far; call it between log entries only."""
        return self._chain

    def end(self) -> None:
        """The log entry is done: fold its rows into the chain."""
        if self._unchained:
            self._chain = blake2b(self._chain + b"".join(self._unchained), digest_size=16).digest()
            self._unchained.clear()

    def take_rows(self) -> list[RowWrite]:
        rows, self._rows = self._rows, []
        return rows
