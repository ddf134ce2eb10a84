"""The execution state machine of a group: pure, synchronous, the same on every node.

Raft puts log entries in one order; ``Machine.apply`` says what each of them means. A log entry is a
``Batch``: the leader's stamp and operations. Clients' operations are answered through their
sessions; the engine's own carry what they were decided on and are refused when that is stale.

- ``events``, ``commands``: what happens to a run, and what its code asks for.
- ``operations``, ``replies``: what a log entry asks, and what it answers.
- ``state``, ``notices``, ``history``: what others read, are told, and can replay.
- ``ledger``: the one place that changes runs and marks rows; ``advance``, ``steps``, ``ownership``,
  ``lifecycle``, ``sessions``, ``variables``, ``timers`` hold the rules.
- ``slots``, ``handoff``, ``moving``, ``contents``: which slots are served, and how they move.
- ``tables``, ``ahead``: the rows, as a store keeps them and people query them.

How to drive it:

1. Build it from the rows that were stored last; it finds there whatever was open.
2. Apply committed entries in log order, each once, starting after the one the rows reflect.
3. Between two applies, hand ``take_writes`` to the store together with the applied index. From that
   moment the row reader must answer with them, whether or not they are on disk.
4. When the leader's clock passes ``next_due_ns``, it proposes a batch, an empty one if need be.
5. Notices are hints. What counts is the state, read by position.
6. Call ``configured`` with the nodes that may own runs when a configuration is applied, in its
   place in the log. In a joint one, those are the voters that are to come.
7. Before a read is answered, and after what makes it linearizable, ask ``elsewhere``: another group
   may have to answer. ``find`` and ``variable`` also show what is frozen.
8. Drive a move as ``handoff`` says: give the target ``page(move, progress)`` of its own progress
   until that is complete. Whoever decides a move decides once whether it is activated or released.
"""

from flowactor.machine.machine import Machine
from flowactor.machine.moving import Move, MovePhase
from flowactor.machine.notices import (
    Advanced,
    Applied,
    InboxGrew,
    MoveWentOn,
    NodeAnnounced,
    Notice,
    OperationRefused,
    OwnerChanged,
    RunArrived,
    RunClosed,
    RunLeft,
    RunOpened,
    RunParked,
    RunResumed,
    SlotsLeft,
    StepsDue,
    VariableChanged,
)
from flowactor.machine.slots import ALL_SLOTS, Placement, SlotState
from flowactor.machine.state import (
    NodeState,
    Parking,
    PendingStep,
    RunState,
    RunSummary,
    StepState,
    Variable,
)
from flowactor.machine.tables import TABLES

__all__ = [
    "ALL_SLOTS",
    "TABLES",
    "Advanced",
    "Applied",
    "InboxGrew",
    "Machine",
    "Move",
    "MovePhase",
    "MoveWentOn",
    "NodeAnnounced",
    "NodeState",
    "Notice",
    "OperationRefused",
    "OwnerChanged",
    "Parking",
    "PendingStep",
    "Placement",
    "RunArrived",
    "RunClosed",
    "RunLeft",
    "RunOpened",
    "RunParked",
    "RunResumed",
    "RunState",
    "RunSummary",
    "SlotState",
    "SlotsLeft",
    "StepState",
    "StepsDue",
    "Variable",
    "VariableChanged",
]
