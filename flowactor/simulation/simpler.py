"""What counts as simpler, one small step at a time: of a number, a fault, an act, a cluster.

Each function gives candidates, those that simplify most first. All of them are lower in an order
that has no infinite descent: fewer cut links before fewer names, no end before an end, fewer
decimals before smaller numbers.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Any, Final

from attrs import evolve, fields_dict

from flowactor.simulation.faults import Crash, Fault, Partition, PowerCut, SyncError, Wipe, nodes_of
from flowactor.simulation.scenario import Act, Scenario

__all__ = ["rounder", "simpler_acts", "simpler_faults", "without_later", "without_nodes"]

DECIMALS_MAX: Final = 6
SHRINKING: Final = (0.5, 0.75, 0.9)

Sides = tuple[tuple[int, ...], ...]


# -- numbers ------------------------------------------------------------------------------------


def rounder(value: float) -> Iterator[float]:
    """Numbers with fewer decimals, or with as many and nearer to 0."""
    digits = _decimals(value)
    candidates = [0.0]
    for fewer in range(digits):
        nearest, unit = round(value, fewer), 10.0**-fewer
        candidates += [nearest, round(nearest + (unit if nearest < value else -unit), fewer)]
    candidates += [round(value * share, digits) for share in SHRINKING]
    if not digits and abs(value) <= 10:
        candidates.append(value - 1 if value > 0 else value + 1)
    for candidate in dict.fromkeys(candidates):
        if (_decimals(candidate), abs(candidate)) < (digits, abs(value)):
            yield candidate


def _decimals(value: float) -> int:
    for digits in range(DECIMALS_MAX):
        if round(value, digits) == value:
            return digits
    return DECIMALS_MAX


# -- faults and acts ----------------------------------------------------------------------------


def simpler_faults(fault: Fault) -> Iterator[Fault]:
    """Faults that say nearly the same with less."""
    yield from _plainer(fault)
    until: float | None = getattr(fault, "until", None)
    if until is not None:
        yield _changed(fault, until=None)
    for at in rounder(fault.at):
        moved = {"at": at} if until is None else {"at": at, "until": _add(until, at - fault.at)}
        yield _changed(fault, **moved)
    if until is not None:
        for spell in rounder(_add(until, -fault.at)):
            yield _changed(fault, until=_add(fault.at, spell))
    for name in ("seconds", "odds", "rate", "place"):
        if name in fields_dict(type(fault)):
            for value in rounder(getattr(fault, name)):
                yield _changed(fault, **{name: value})


def _plainer(fault: Fault) -> Iterator[Fault]:
    """A plainer kind of fault, or the same with fewer targets."""
    match fault:
        case PowerCut(nodes=(node,)):
            yield Crash(node, fault.at, fault.until)
        case PowerCut(nodes=nodes):
            for node in nodes:
                yield evolve(fault, nodes=tuple(other for other in nodes if other != node))
        case Wipe(node=node):
            yield Crash(node, fault.at, fault.until)
        case SyncError(lasting=True):
            yield SyncError(fault.node, fault.at)
        case Partition(sides=sides):
            for simpler in _simpler_sides(sides):
                yield evolve(fault, sides=simpler)


def simpler_acts(act: Act) -> Iterator[Act]:
    """The same act, at a rounder or earlier time, by the first client."""
    if act.client != 1:
        yield evolve(act, client=1)
    for at in rounder(act.at):
        yield evolve(act, at=at)


def _changed(fault: Fault, **changes: Any) -> Fault:
    changed: Fault = evolve(fault, **changes)
    return changed


def _add(seconds: float, more: float) -> float:
    """Without the noise that a sum of decimal fractions has."""
    return round(seconds + more, DECIMALS_MAX)


# -- partitions ---------------------------------------------------------------------------------


def _simpler_sides(sides: Sides) -> Iterator[Sides]:
    """One node cut off, or two sides joined into one: whichever cuts fewer links, or is shorter.
    Every node still stands on a side.
    """
    everyone = tuple(sorted({node for side in sides for node in side}))
    candidates: list[Sides] = [
        ((node,), tuple(other for other in everyone if other != node)) for node in everyone
    ]
    for one, other in combinations(range(len(sides)), 2):
        rest = [side for place, side in enumerate(sides) if place not in (one, other)]
        candidates.append((*rest, tuple(sorted({*sides[one], *sides[other]}))))
    for candidate in candidates:
        if _cut_links(candidate) > 0 and _size(candidate) < _size(sides):
            yield candidate


def _size(sides: Sides) -> tuple[int, int]:
    return _cut_links(sides), sum(map(len, sides))


def _cut_links(sides: Sides) -> int:
    everyone = sorted({node for side in sides for node in side})
    return sum(
        not any(one in side and other in side for side in sides)
        for one, other in combinations(everyone, 2)
    )


# -- scenarios ----------------------------------------------------------------------------------


def without_later(scenario: Scenario, seconds: float) -> dict[str, Any]:
    """What changes in a scenario if nothing happens after this moment."""
    faults = [fault for fault in scenario.faults if fault.at <= seconds]
    over = [(getattr(fault, "until", None) or 0.0) <= seconds for fault in faults]
    return {
        "faults": tuple(
            fault if ended else _changed(fault, until=None)
            for fault, ended in zip(faults, over, strict=True)
        ),
        "acts": tuple(act for act in scenario.acts if act.at <= seconds),
    }


def without_nodes(scenario: Scenario, gone: tuple[int, ...]) -> dict[str, Any]:
    """What changes in a scenario if these nodes were not there: the others move up, and faults that
    are about nobody else go with them.
    """
    stay = [node for node in range(1, scenario.nodes + 1) if node not in gone]
    numbers = {node: number for number, node in enumerate(stay, 1)}
    faults = [_renumbered(fault, numbers) for fault in scenario.faults]
    return {
        "nodes": len(stay),
        "faults": tuple(fault for fault in faults if fault is not None),
        "core": tuple(numbers[node] for node in scenario.core if node in numbers),
    }


def _renumbered(fault: Fault, numbers: dict[int, int]) -> Fault | None:
    match fault:
        case PowerCut(nodes=nodes):
            left = tuple(numbers[node] for node in nodes if node in numbers)
            return evolve(fault, nodes=left) if left else None
        case Partition(sides=sides):
            cut = (tuple(numbers[node] for node in side if node in numbers) for side in sides)
            still = tuple(dict.fromkeys(side for side in cut if side))
            return evolve(fault, sides=still) if _cut_links(still) else None
    if any(node not in numbers for node in nodes_of(fault)):
        return None
    names = [name for name in ("node", "source", "target") if hasattr(fault, name)]
    return _changed(fault, **{name: numbers[getattr(fault, name)] for name in names})
