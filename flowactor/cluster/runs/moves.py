"""How far an execution group is with slots that move to it or away from it."""

from flowactor.machine import Machine, MovePhase
from flowactor.machine.handoff import Progress
from flowactor.management import Move, MoveId, Stage

__all__ = ["progress_of", "stage_of"]


def stage_of(machine: Machine, move: Move) -> Stage:
    """How far a group is with a move."""
    known = machine.moves.get(move.id)
    if known is None:
        begun = machine.placement(move.slots[0]).move >= move.id
        return Stage.OVER if begun else Stage.NONE
    match known.phase:
        case MovePhase.LEAVING:
            return Stage.FROZEN
        case MovePhase.ARRIVING:
            return Stage.COMPLETE if known.progress.complete else Stage.ARRIVING
        case MovePhase.FORGETTING:
            return Stage.FORGETTING


def progress_of(machine: Machine, move: MoveId) -> Progress | None:
    """How much of a move has arrived in this group; None if it does not expect it (yet)."""
    known = machine.moves.get(move)
    return None if known is None or known.phase is not MovePhase.ARRIVING else known.progress
