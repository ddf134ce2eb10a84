"""Mutants of slots on their way from one group to another."""

from typing import Final

from simulations.mutants.mutant import CHANGING, Edit, Mutant

__all__ = ["MOVES"]

MOVING: Final = "machine/moving.py"
LEDGER: Final = "machine/ledger.py"
SLOTS: Final = "management/slots.py"
RECONCILER: Final = "management/reconciler.py"

MOVES: Final = (
    Mutant(
        "hand-off-without-freeze",
        "slot_hand_off",
        "The source serves slots while it sends what is in them.",
        (
            Edit(
                MOVING,
                "self._begin(operation, MovePhase.LEAVING, SlotState.LEAVING)",
                "self._begin(operation, MovePhase.LEAVING, SlotState.SERVED)",
            ),
        ),
        scenario=CHANGING,
    ),
    Mutant(
        "runs-go-on-while-frozen",
        "slot_hand_off",
        "Runs of frozen slots stay with their owners.",
        (
            Edit(
                MOVING,
                "            self._ledger.set_aside(run)\n",
                "            run.epoch += 0\n",
            ),
        ),
        scenario=CHANGING,
    ),
    Mutant(
        "served-before-copied",
        "slot_hand_off",
        "The target serves slots of which it has only the beginning.",
        (
            Edit(
                "cluster/runs/moves.py",
                "return Stage.COMPLETE if known.progress.complete else Stage.ARRIVING",
                "return Stage.COMPLETE",
            ),
            Edit(MOVING, "if not move.progress.complete:", "if move.progress is None:"),
        ),
        scenario=CHANGING,
    ),
    Mutant(
        "table-ahead-of-the-copy",
        "slot_hand_off",
        "The table names the target as soon as the source has frozen the slots.",
        (Edit(SLOTS, "if move.phase is Phase.COPY:", "if move.phase is Phase.FREEZE:"),),
        scenario=CHANGING,
    ),
    Mutant(
        "no-fence-for-the-old-owner",
        "stale_epoch_refused",
        "A run that leaves keeps its epoch: what its old owner sends counts in the new group.",
        (
            Edit(
                LEDGER,
                "        run.epoch += 1\n        run.floor_ns",
                "        run.floor_ns",
            ),
        ),
        scenario=CHANGING,
    ),
    Mutant(
        "given-up-and-served-by-both",
        "slot_hand_off",
        "A move may be given up when its target serves already.",
        (
            Edit(
                "management/state.py",
                "return self.phase in (Phase.FREEZE, Phase.COPY)",
                "return self.phase in (Phase.FREEZE, Phase.COPY, Phase.ACTIVATE)",
            ),
        ),
        scenario=CHANGING,
    ),
    Mutant(
        "source-serves-again",
        "slot_hand_off",
        "The source takes slots back that the target serves.",
        (
            Edit(
                RECONCILER,
                "    (Phase.FORGET, Stage.FROZEN): Deed.FORGET,\n",
                "    (Phase.FORGET, Stage.FROZEN): Deed.RELEASE,\n",
            ),
        ),
        scenario=CHANGING,
    ),
    Mutant(
        "timers-stay-behind",
        "slot_hand_off",
        "Nothing that falls due moves with a run.",
        (
            Edit(
                LEDGER,
                "        self._expect(run)\n        self.notices.append(RunArrived",
                "        self.notices.append(RunArrived",
            ),
        ),
        scenario=CHANGING,
    ),
    Mutant(
        "arrives-without-owner",
        "slot_hand_off",
        "Nobody is asked to perform a run that has arrived.",
        (Edit(MOVING, "            self._ownership.take_up(run)\n", ""),),
        scenario=CHANGING,
    ),
    Mutant(
        "history-stays-behind",
        "slot_hand_off",
        "A run arrives without what it has lived through.",
        (
            Edit(
                "machine/contents.py",
                "for number in range(first, history_length(run) + 1):",
                "for number in range(first, 1):",
            ),
        ),
        scenario=CHANGING,
    ),
    Mutant(
        "answers-stay-behind",
        "proposal_once",
        "What clients were answered does not move with their runs.",
        (
            Edit(
                MOVING,
                "            session, sequence = key\n"
                "            self._sessions.take_in("
                "SessionId(session), sequence, values, self._ledger.clock_ns)\n",
                "",
            ),
        ),
        test="tests/machine/test_handoff.py"
        "::test_a_request_applied_before_the_move_is_answered_after_it",
    ),
    Mutant(
        "move-never-forgotten",
        "slot_hand_off",
        "The source keeps what has moved, and so can take part in no further move of these slots.",
        (
            Edit(
                RECONCILER,
                "    (Phase.FORGET, Stage.FROZEN): Deed.FORGET,\n",
                "",
            ),
        ),
        scenario=CHANGING,
    ),
    Mutant(
        "drained-with-slots",
        "slot_hand_off",
        "A group that drains ends before its slots have gone.",
        (
            Edit(
                "management/planner.py",
                "if group.draining and not group.slots",
                "if group.draining",
            ),
        ),
        scenario=CHANGING,
    ),
)
"""Each breaks one rule in one way."""
