"""What is in a slot: every row that moves with it, or is deleted with it, in one fixed order.

A *place* names a row in that order, so that a walk can stop behind any row and go on later, on
another node too. The rows that name a run lead the others when they are copied, since the receiver
must know the run first; they come last when they are deleted, since a walk starts from them.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from flowactor.identity import RunId, Slot
from flowactor.machine.tables import history_length
from flowactor.ports import RowReader, RowWrite

__all__ = ["Place", "copies", "deletions"]

Place = tuple[Any, ...]
"""(slot, kind, name, part, number or key within the part); empty before the first row."""

_Key = tuple[Any, ...]
_Values = tuple[Any, ...] | None
"""None if they are yet to be read."""

_RUN: Final = 0
_VARIABLE: Final = 1
_HEAD_FIRST: Final = 0
_INBOX, _STEPS, _TIMERS, _VARIABLES, _HISTORY = range(1, 6)
_HEAD_LAST: Final = 6

_SCANNED: Final = (
    (_INBOX, "inbox"),
    (_STEPS, "steps"),
    (_TIMERS, "timers"),
    (_VARIABLES, "run_variables"),
)


def copies(
    rows: RowReader, slots: Sequence[Slot], after: Place
) -> Iterator[tuple[Place, RowWrite]]:
    """The rows of ``slots`` (sorted) behind the place ``after``."""
    for place, table, key, found in _walk(rows, slots, after, _HEAD_FIRST):
        values = rows.get(table, key) if found is None else found
        if values is not None:
            yield place, RowWrite(table, key, values)


def deletions(
    rows: RowReader, slots: Sequence[Slot], after: Place
) -> Iterator[tuple[Place, RowWrite]]:
    """What deletes the rows of ``slots`` (sorted) behind the place ``after``."""
    for place, table, key, _ in _walk(rows, slots, after, _HEAD_LAST):
        yield place, RowWrite(table, key, None)


def _walk(
    rows: RowReader, slots: Sequence[Slot], after: Place, head: int
) -> Iterator[tuple[Place, str, _Key, _Values]]:
    for slot in slots:
        if (slot,) < after[:1]:
            continue
        for _, workflow_id, run_id in rows.scan("workflows", (slot,)):
            name = (slot, _RUN, workflow_id)
            if name >= after[:3]:
                begun = after[3:] if name == after[:3] else ()
                for part, tail, table, key, values in _run(
                    rows, slot, workflow_id, run_id, begun, head
                ):
                    if (part, tail) > begun:
                        yield (*name, part, tail), table, key, values
        for _, variable, *held in rows.scan("variables", (slot,)):
            place = (slot, _VARIABLE, variable, 0, 0)
            if place > after:
                yield place, "variables", (slot, variable), tuple(held)


def _run(
    rows: RowReader, slot: Slot, workflow_id: str, run_id: RunId, begun: _Key, head: int
) -> Iterator[tuple[int, Any, str, _Key, _Values]]:
    """All rows of one run as (part, tail, table, key, values), at least from ``begun`` on."""
    names = (("runs", (run_id,)), ("open_runs", (slot, run_id)), ("workflows", (slot, workflow_id)))
    heads = ((head, number, table, key, None) for number, (table, key) in enumerate(names))
    if head == _HEAD_FIRST:
        yield from heads
    is_open = rows.get("open_runs", (slot, run_id)) is not None
    for part, table in _SCANNED:
        if (is_open or part == _VARIABLES) and (part,) >= begun[:1]:
            for _, tail, *values in rows.scan(table, (run_id,)):
                yield part, tail, table, (run_id, tail), tuple(values)
    if run := rows.get("runs", (run_id,)):
        first = begun[1] if begun[:1] == (_HISTORY,) else 1
        if begun[:1] <= (_HISTORY,):
            for number in range(first, history_length(run) + 1):
                yield _HISTORY, number, "history", (run_id, number), None
    if head == _HEAD_LAST:
        yield from heads
