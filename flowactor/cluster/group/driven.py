"""What the log of a group drives, and what clients may ask of it: as far as the group's actor needs
to know.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

from flowactor.identity import NodeId, SessionId
from flowactor.machine import InboxGrew, Machine, MoveWentOn, OwnerChanged, StepsDue
from flowactor.machine.operations import Batch, ClientOperation, OpenSession
from flowactor.management import Management
from flowactor.management.notices import MovesChanged
from flowactor.management.operations import ManagementRequest
from flowactor.ports import RowWrite

__all__ = ["Asked", "M", "Outcome", "StateMachine", "concerned", "key_of"]


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


def concerned(machine: StateMachine, notices: Sequence[Any], leader: NodeId) -> Iterator[NodeId]:
    """The nodes other than the leader that have work to do after this, and need not wait for a
    heartbeat to learn of it.
    """
    if isinstance(machine, Machine):
        found = _owners(machine, notices)
    elif isinstance(machine, Management):
        found = _movers(machine, notices)
    else:
        return
    yield from (node for node in found if node not in (0, leader))


def _owners(machine: Machine, notices: Sequence[Any]) -> Iterator[NodeId]:
    """Who performs the runs concerned; of a move that goes on, whoever may have to send for it."""
    for notice in notices:
        match notice:
            case InboxGrew(run_id) | StepsDue(run_id) | OwnerChanged(run_id):
                run = machine.runs.get(run_id)
                if run is not None:
                    yield run.owner
            case MoveWentOn():
                yield from machine.voters
            case _:
                pass


def _movers(machine: Management, notices: Sequence[Any]) -> Iterator[NodeId]:
    """Who has the groups of a move that goes on."""
    topology = machine.topology
    for notice in notices:
        if isinstance(notice, MovesChanged):
            for move in filter(None, map(topology.moves.get, notice.moves)):
                for group in filter(None, map(topology.groups.get, (move.source, move.target))):
                    yield from group.members
