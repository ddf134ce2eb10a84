"""The live state of a group: open runs and what is pending in them, nodes, views of closed runs.

Only the machine changes these; everybody else reads. Mappings of a run are filled in log order on
a machine that was there, and in key order on one restored from rows: sort before emitting.
"""

import enum

from attrs import Factory, define, field, frozen

from flowactor.identity import NodeId, RunId, Slot, StepKey, TimerKey, slot_of
from flowactor.machine.commands import RetryRule, ScheduleStep
from flowactor.machine.events import Event, Failure
from flowactor.machine.replies import RunStatus

__all__ = [
    "NodeState",
    "Parking",
    "PendingStep",
    "RunState",
    "RunSummary",
    "StepState",
    "Variable",
]


class StepState(enum.Enum):
    """``RUNNING``: the owner is to execute the attempt. ``BACKING_OFF``: a retry waits its time."""

    RUNNING = "running"
    BACKING_OFF = "backing off"


class Parking(enum.Enum):
    """Why a run is parked, and so what ends it."""

    NOT = ""
    NO_NODE = "no node"
    """No node that could own it has its code: ends by itself when one announces it."""
    BY_OWNER = "by owner"
    """Its owner could not go on: only ``ResumeRun`` ends it."""


@define
class PendingStep:
    """A step without outcome. ``attempt`` counts from 1; ``due_ns``, if not 0, is its retry."""

    command: ScheduleStep
    attempt: int
    state: StepState
    scheduled_ns: int
    due_ns: int = 0
    last_failure: Failure | None = None

    @property
    def rule(self) -> RetryRule:
        return self.command.retry

    @property
    def deadline_ns(self) -> int:
        """When ``schedule_to_close`` ends, in log time; 0 is never."""
        limit = self.command.schedule_to_close_ns
        return self.scheduled_ns + limit if limit else 0


@define
class RunState:
    """One open run, or one that closed since rows were last taken.

    ``position`` counts its advances, ``epoch`` its owners, ``inbox_last`` its inbox items and
    ``history_length`` its history rows. ``deadline_ns`` 0 is no time-out, ``owner`` 0 nobody.
    ``floor_ns`` is the log time that the run has seen in another group: time goes on from there.
    """

    workflow_id: str
    run_id: RunId
    workflow_type: str
    version: int
    input_digest: bytes
    started_ns: int
    now_ns: int
    deadline_ns: int = 0
    status: RunStatus = RunStatus.RUNNING
    parking: Parking = Parking.NOT
    owner: NodeId = NodeId(0)
    epoch: int = 1
    position: int = 0
    cancel_requested: bool = False
    reason: str = ""
    inbox_last: int = 0
    history_length: int = 0
    floor_ns: int = 0
    closed_ns: int = 0
    result: bytes | None = None
    failure: Failure | None = None
    inbox: dict[int, Event] = Factory(dict)
    steps: dict[StepKey, PendingStep] = Factory(dict)
    timers: dict[TimerKey, int] = Factory(dict)
    variables: dict[str, bytes] = Factory(dict)
    slot: Slot = field(init=False)

    @slot.default
    def _slot_of_workflow(self) -> Slot:
        return slot_of(self.workflow_id)

    def summary(self) -> "RunSummary":
        return RunSummary(
            self.workflow_id,
            self.run_id,
            self.workflow_type,
            self.version,
            self.status,
            self.owner,
            self.epoch,
            self.position,
            self.started_ns,
            self.closed_ns,
            self.reason,
            self.input_digest,
            self.result,
            self.failure,
        )


@frozen
class RunSummary:
    """How a run stands, open or closed. ``result`` is set if it completed, ``failure`` if it
    failed; ``reason`` says why it is parked, cancelled, terminated or timed out.
    """

    workflow_id: str
    run_id: RunId
    workflow_type: str
    version: int
    status: RunStatus
    owner: NodeId
    epoch: int
    position: int
    started_ns: int
    closed_ns: int
    reason: str
    input_digest: bytes
    result: bytes | None
    failure: Failure | None


@define
class NodeState:
    """What a node announced. ``alive`` is False from the moment it is declared lost until it
    announces again; ``draining`` while it is to have no more runs; ``owned`` counts its open runs.
    """

    node: NodeId
    incarnation: str
    workflows: tuple[tuple[str, int], ...]
    disk: str = ""
    alive: bool = True
    draining: bool = False
    owned: int = 0

    def has(self, workflow_type: str, version: int) -> bool:
        return (workflow_type, version) in self.workflows


@frozen
class Variable:
    """A stand-alone variable; ``value`` None and version 0 if it does not exist."""

    value: bytes | None
    version: int
