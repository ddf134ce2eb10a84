"""What stories look for in a record, where several of them look for the same."""

from flowactor.simulation.failure import CheckFailed
from simulations.record import Asked, Record
from simulations.story import Look

__all__ = ["leader_is_replaced", "signals_in_order", "term_stays"]


def term_stays(since: float, until: float = float("inf")) -> Look:
    """Nobody makes the term grow in that time: the cluster is not disturbed."""

    def look(record: Record) -> None:
        before, after = record.term_at(since), record.term_at(until)
        if before != after:
            raise CheckFailed("calm", f"the term was {before} at {since:g} s, and became {after}")

    return look


def leader_is_replaced(node: int, at: float, within: float) -> Look:
    """``node`` leads at that moment, and so many seconds later another one does."""

    def look(record: Record) -> None:
        before, after = record.leader_at(at), record.leader_at(at + within)
        if before != node or after in (0, node):
            raise CheckFailed(
                "hostage", f"node {before} leads at {at:g} s, node {after} {within:g} s later"
            )

    return look


def signals_in_order(record: Record) -> None:
    """Every acknowledged ``give`` to a ``Collect`` is seen once, and those that were sent after
    the answer to an earlier one are seen after it.
    """
    seen = [key for _, _, key in record.effects("seen")]
    for workflow_id in record.run_ids:
        sent = [asked for asked in record.asked if asked.what == f"signal {workflow_id} give"]
        places = [_place(seen, f"{workflow_id} {number}") for number in range(len(sent))]
        for number, asked in enumerate(sent):
            if asked.answer == "done" and places[number] < 0:
                raise CheckFailed("signals", f"{number} was acknowledged, {workflow_id} lost it")
            _check_after(asked, places[number], sent[:number], places, workflow_id)


def _check_after(
    asked: Asked, place: int, earlier: list[Asked], places: list[int], workflow_id: str
) -> None:
    for number, one in enumerate(earlier):
        if one.answered_at <= asked.at and 0 <= place < places[number]:
            raise CheckFailed("signals", f"{workflow_id} sees {number} after a later one")


def _place(seen: list[str], key: str) -> int:
    """Where it was seen, from 0; -1: nowhere."""
    return seen.index(key) if key in seen else -1
