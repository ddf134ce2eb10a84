"""The hand-off of slots between two groups, as each of the two applies its half of it.

```
source   SERVED --freeze--> LEAVING --forget--> AWAY        (rows are deleted in portions)
                            LEAVING --release--> SERVED     (the move was given up)
target   AWAY --expect--> ARRIVING --activate--> SERVED     (after the last page)
                          ARRIVING --release--> AWAY        (what came is deleted in portions)
```

While slots are ``LEAVING`` and ``ARRIVING`` nobody serves them; their open runs stand aside in both
groups, without owner, and nothing in them falls due. Whoever drives a move decides once between its
activation and its release, and asks for a transition only after it has seen the one before in the
state of the group it concerns. Then the number of the move does the rest: a slot remembers the last
one, and takes no lower one.
"""

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, assert_never

from attrs import evolve, frozen

from flowactor.codec import records
from flowactor.identity import GroupId, RunId, SessionId, Slot
from flowactor.limits import MOVE_PAGE_BYTES_MAX, MOVE_PAGE_ROWS_MAX, SLOTS
from flowactor.machine.ahead import Ahead
from flowactor.machine.contents import Place, copies, deletions
from flowactor.machine.handoff import (
    ActivateSlots,
    ExpectSlots,
    ForgetSlots,
    FreezeSlots,
    ImportRows,
    MoveOperation,
    Progress,
    ReleaseMove,
    page_check,
)
from flowactor.machine.ledger import Ledger
from flowactor.machine.notices import MoveWentOn, SlotsLeft
from flowactor.machine.ownership import Ownership
from flowactor.machine.sessions import Sessions
from flowactor.machine.slots import Placement, Slots, SlotState
from flowactor.machine.state import RunState
from flowactor.machine.variables import Variables
from flowactor.ports import RowWrite

__all__ = ["Move", "MovePhase", "Moving"]

NOTHING_YET: Final = Progress()
_ELSEWHERE: Final = -1
"""The log index of history that was made in another group: before any place in this one's log."""

_AT_REST: Final = (SlotState.SERVED, SlotState.AWAY)

_SESSIONS: Final = 2
"""The kind, in a place, of what comes behind all slots."""


class MovePhase(enum.Enum):
    """What of a move is not done yet in this group."""

    LEAVING = "leaving"
    ARRIVING = "arriving"
    FORGETTING = "forgetting"


@frozen
class Move:
    """A move that this group has begun and not finished. ``clock_ns`` is its log time at the
    beginning; ``progress`` is that of the pages that came, or of the deletion.
    """

    move: int
    phase: MovePhase
    source: GroupId
    target: GroupId
    slots: tuple[Slot, ...]
    clock_ns: int
    progress: Progress = NOTHING_YET


class Moving:
    """Unfinished moves.

    Args:
        prepare: makes everything applied so far readable through ``rows``.
    """

    def __init__(
        self,
        rows: Ahead,
        *,
        slots: Slots,
        ledger: Ledger,
        ownership: Ownership,
        sessions: Sessions,
        variables: Variables,
        prepare: Callable[[], None],
    ) -> None:
        self._rows = rows
        self._slots = slots
        self._ledger = ledger
        self._ownership = ownership
        self._sessions = sessions
        self._variables = variables
        self._prepare = prepare
        self._moves: dict[int, Move] = {}
        self._touched: dict[int, bool] = {}
        for move, *values in rows.scan("moves"):
            self._moves[move] = _from_values(move, tuple(values))
        self.moves: Mapping[int, Move] = MappingProxyType(self._moves)

    def perform(self, operation: MoveOperation) -> None:
        """Do it, or refuse it; one that was done before changes nothing."""
        match operation:
            case FreezeSlots():
                refusal = self._freeze(operation)
            case ExpectSlots():
                refusal = self._expect(operation)
            case ImportRows():
                refusal = self._import(operation)
            case ActivateSlots(move):
                refusal = self._activate(self._moves.get(move))
            case ReleaseMove():
                refusal = self._release(operation)
            case ForgetSlots(move):
                refusal = self._forget(self._moves.get(move))
            case _:
                assert_never(operation)
        if refusal:
            name = type(operation).__name__
            self._ledger.refuse("", name, f"move {operation.move}: {refusal}")

    # -- the source -------------------------------------------------------------------------------

    def _freeze(self, operation: FreezeSlots) -> str:
        if refusal := self._unfit(operation, SlotState.SERVED):
            return refusal
        self._begin(operation, MovePhase.LEAVING, SlotState.LEAVING)
        for run in self._runs_in(self._ledger.open, operation.slots):
            self._ledger.set_aside(run)
        self._ledger.notices += [SlotsLeft(operation.slots), MoveWentOn(operation.move)]
        return ""

    def page(self, number: int, after: Progress) -> ImportRows | None:
        """What the target is to apply after ``after``: as many rows as fit. None if there is
        nothing to copy, since that was all, or the move is not leaving (any more).
        """
        move = self._moves.get(number)
        if move is None or move.phase is not MovePhase.LEAVING or after.complete:
            return None
        self._prepare()
        rows: list[bytes] = []
        place, complete, room = after.place, True, MOVE_PAGE_BYTES_MAX
        for reached, row in self._contents(move, after.place):
            encoded = records.encode_plain((row.table, row.key, row.values))
            room -= len(encoded)
            if rows and (room < 0 or len(rows) >= MOVE_PAGE_ROWS_MAX):
                complete = False
                break
            rows.append(encoded)
            place = records.encode_plain(reached)
        check = page_check(after, tuple(rows), place, complete)
        then = Progress(after.pages + 1, place, check, complete)
        return ImportRows(number, after, tuple(rows), then)

    def _contents(self, move: Move, after: bytes) -> Iterator[tuple[Place, RowWrite]]:
        """Everything that moves. What clients were answered comes last, whatever it was about: it
        goes on changing here, and must not be older than the freeze.
        """
        start: Place = records.decode_plain(after) if after else ()
        yield from copies(self._rows, move.slots, start)
        told = (start[2], start[4]) if start[:1] == (SLOTS,) else ()
        for session, sequence, values in self._sessions.contents(move.clock_ns, told):
            place = (SLOTS, _SESSIONS, session, 0, sequence)
            yield place, RowWrite("sessions", (session, sequence), values)

    # -- the target -------------------------------------------------------------------------------

    def _expect(self, operation: ExpectSlots) -> str:
        if refusal := self._unfit(operation, SlotState.AWAY):
            return refusal
        self._begin(operation, MovePhase.ARRIVING, SlotState.ARRIVING)
        self._ledger.notices.append(MoveWentOn(operation.move))
        return ""

    def _import(self, operation: ImportRows) -> str:
        move, after, then = self._moves.get(operation.move), operation.after, operation.then
        if move is None or move.phase is not MovePhase.ARRIVING:
            return "it is not arriving here"
        if after != move.progress:
            if then.pages <= move.progress.pages:
                return ""  # has come before
            return f"{after.pages} pages came before this one, here {move.progress.pages}"
        if then.check != page_check(after, operation.rows, then.place, then.complete):
            return f"page {then.pages} is damaged"
        for row in operation.rows:
            self._take_in(*records.decode_plain(row))
        self._ledger.journal.fold(then.check)
        self._put(evolve(move, progress=then))
        if then.complete:
            self._ledger.notices.append(MoveWentOn(move.move))
        return ""

    def _take_in(self, table: str, key: tuple[Any, ...], values: tuple[Any, ...]) -> None:
        if table == "sessions":
            session, sequence = key
            self._sessions.take_in(SessionId(session), sequence, values, self._ledger.clock_ns)
            return
        if table == "history":
            values = (_ELSEWHERE, 0, *values[2:])
        self._ledger.take_in(table, key, values)
        self._rows.add((RowWrite(table, key, values),))

    def _activate(self, move: Move | None) -> str:
        if move is None or move.phase is not MovePhase.ARRIVING:
            return "it is not arriving here"
        if not move.progress.complete:
            return f"it has come to page {move.progress.pages} only"
        self._variables.forget_versions()
        self._serve(move)
        return ""

    # -- the end ----------------------------------------------------------------------------------

    def _release(self, operation: ReleaseMove) -> str:
        move = self._moves.get(operation.move)
        if move is None:
            self._prevent(operation)
        elif move.phase is MovePhase.LEAVING:
            self._serve(move)
        elif move.phase is MovePhase.ARRIVING:
            self._leave(move, move.source)
        else:
            return "it has ended"
        return ""

    def _prevent(self, operation: ReleaseMove) -> None:
        """The move has not begun here, and never will."""
        for known, slots in self._placements_of(operation.slots).items():
            if known.move < operation.move and known.state in _AT_REST:
                self._slots.put(slots, evolve(known, move=operation.move))

    def _forget(self, move: Move | None) -> str:
        if move is None:
            return "there is nothing of it here"
        if move.phase is MovePhase.ARRIVING:
            return "it may yet be activated"
        if move.phase is MovePhase.LEAVING:
            move = self._leave(move, move.target)
        self._prepare()
        place = move.progress.place
        start: Place = records.decode_plain(place) if place else ()
        portion = list(islice(deletions(self._rows, move.slots, start), MOVE_PAGE_ROWS_MAX))
        self._rows.add(row for _, row in portion)
        if len(portion) < MOVE_PAGE_ROWS_MAX:
            self._end(move)
        else:
            reached = records.encode_plain(portion[-1][0])
            self._put(evolve(move, progress=Progress(move.progress.pages + 1, reached)))
        return ""

    def _serve(self, move: Move) -> None:
        """These slots are served here from now on, and what fell due meanwhile is due now."""
        self._slots.put(move.slots, Placement(SlotState.SERVED, move.move))
        for run in self._runs_in(self._ledger.aside, move.slots):
            self._ledger.bring_back(run)
            self._ownership.take_up(run)
        self._end(move)

    def _leave(self, move: Move, group: GroupId) -> Move:
        """``group`` serves these slots; what is here of them is to be deleted."""
        self._prepare()  # rows of runs that leave memory are yet to be written
        self._slots.put(move.slots, Placement(SlotState.AWAY, move.move, group))
        self._ledger.drop(frozenset(move.slots))
        forgetting = evolve(move, phase=MovePhase.FORGETTING, progress=NOTHING_YET)
        self._put(forgetting)
        return forgetting

    # -- bookkeeping ------------------------------------------------------------------------------

    def _unfit(self, operation: FreezeSlots | ExpectSlots, state: SlotState) -> str:
        """Why the move cannot begin here now, in words."""
        number = operation.move
        if not operation.slots or not all(0 <= slot < SLOTS for slot in operation.slots):
            return "it has no slots, or some that do not exist"
        for known, slots in self._placements_of(operation.slots).items():
            if known.move >= number or known.state is not state:
                return f"slot {slots[0]} is {known.state.value} since move {known.move}"
        taken = {slot for move in self._moves.values() for slot in move.slots}
        if not taken.isdisjoint(operation.slots):
            return "an earlier move is not forgotten yet"
        return ""

    def _placements_of(self, slots: Sequence[Slot]) -> dict[Placement, list[Slot]]:
        placements: dict[Placement, list[Slot]] = {}
        for slot in slots:
            if 0 <= slot < SLOTS:
                placements.setdefault(self._slots[slot], []).append(slot)
        return placements

    def _begin(
        self, operation: FreezeSlots | ExpectSlots, phase: MovePhase, state: SlotState
    ) -> None:
        slots = tuple(sorted(operation.slots))
        clock_ns = self._ledger.clock_ns
        self._slots.put(slots, Placement(state, operation.move, operation.target))
        self._put(Move(operation.move, phase, operation.source, operation.target, slots, clock_ns))

    def _runs_in(self, runs: Mapping[RunId, RunState], slots: Sequence[Slot]) -> list[RunState]:
        moving = frozenset(slots)
        found = [run for run in runs.values() if run.slot in moving]
        return sorted(found, key=attrgetter("run_id"))

    def _put(self, move: Move) -> None:
        self._touched.setdefault(move.move, move.move in self._moves)
        self._moves[move.move] = move

    def _end(self, move: Move) -> None:
        self._touched.setdefault(move.move, True)
        del self._moves[move.move]
        self._ledger.notices.append(MoveWentOn(move.move))

    # -- rows and digest --------------------------------------------------------------------------

    def take_writes(self) -> Iterator[RowWrite]:
        for number, existed in self._touched.items():
            move = self._moves.get(number)
            if move is not None or existed:
                yield RowWrite("moves", (number,), None if move is None else _values(move))
        self._touched.clear()

    def digestible(self) -> list[Any]:
        """Plain values that are equal exactly if the unfinished moves are."""
        return [(number, _values(move)) for number, move in sorted(self._moves.items())]


def _values(move: Move) -> tuple[Any, ...]:
    """The value columns of ``moves``."""
    return (
        move.phase.value,
        move.source,
        move.target,
        records.encode_plain(move.slots),
        move.clock_ns,
        records.encode(move.progress),
    )


def _from_values(move: int, values: tuple[Any, ...]) -> Move:
    phase, source, target, slots, clock_ns, progress = values
    return Move(
        move,
        MovePhase(phase),
        GroupId(source),
        GroupId(target),
        records.decode_plain(slots),
        clock_ns,
        records.decode(progress),
    )
