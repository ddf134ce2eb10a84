"""What the log of a group drives, and what clients may ask of it: as far as the group's actor needs
to know.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

from flowactor.identity import NodeId, SessionId
from flowactor.machine import InboxGrew, Machine, OwnerChanged, StepsDue
from flowactor.machine.operations import Batch, ClientOperation, OpenSession
from flowactor.management.operations import ManagementRequest
from flowactor.ports import RowWrite

__all__ = ["Asked", "M", "Outcome", "StateMachine", "key_of", "owners"]


class Outcome(Protocol):
    """Of one log entry: replies to clients, and what changed, for those who live here."""

    @property
    def replies(self) -> Sequence[tuple[SessionId, int, Any]]: ...

    @property
    def notices(self) -> Sequence[Any]: ...


class StateMachine(Protocol):
    """What the log of a group drives: runs and variables, or the cluster itself."""

    @property
    def clock_ns(self) -> int:
        """Log time: the highest stamp applied so far."""

    @property
    def next_due_ns(self) -> int | None:
        """When a batch is to be applied, even if it is empty."""

    def apply(self, index: int, term: int, batch: Batch) -> Outcome:
        """Apply the committed log entry at ``index``, proposed in ``term``."""

    def configured(self, index: int, voters: tuple[NodeId, ...]) -> Outcome:
        """Apply the configuration at ``index``, which has these voters."""

    def take_writes(self) -> list[RowWrite]:
        """Every row that changed since the last call, once each."""


M = TypeVar("M", bound=StateMachine)

Asked = ClientOperation | ManagementRequest | OpenSession
"""What a client waits for."""


def key_of(operation: Asked) -> tuple[SessionId, int]:
    """By what its reply is known."""
    sequence = 0 if isinstance(operation, OpenSession) else operation.sequence
    return operation.session, sequence


def owners(machine: StateMachine, notices: Sequence[Any], leader: NodeId) -> Iterator[NodeId]:
    """The nodes other than the leader that perform the runs concerned. They have work to do after
    this, and need not wait for a heartbeat to learn of it.
    """
    if not isinstance(machine, Machine):
        return
    for notice in notices:
        if isinstance(notice, InboxGrew | StepsDue | OwnerChanged):
            run = machine.runs.get(notice.run_id)
            if run is not None and run.owner not in (0, leader):
                yield run.owner
