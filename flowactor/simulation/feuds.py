"""Bad days of a certain kind: leaders come and go, each with entries that the others do not have.

Faults that come by chance seldom do that: in one run of thirty a follower had to cut its log, and
nobody saw what goes wrong with it. So some days are made of nothing else. There are two ways: a
*feud* strikes one node after another, the next before the last has recovered; in *handovers* two
nodes whose clocks run fast lead in turn, and whoever leads is cut off when it has a lot to write.
"""

from collections.abc import Iterator
from random import Random
from typing import Final

from flowactor.simulation.faults import (
    DOWN,
    Block,
    ClockDrift,
    Crash,
    DiskSlow,
    DiskStall,
    Fault,
    Partition,
    Pause,
    PowerCut,
    Reorder,
    SlowLink,
    kind_of,
)
from flowactor.simulation.scenario import Act, CompareAndSet, Read, Write

__all__ = ["draw_bursts", "draw_feud", "draw_handovers", "draw_traffic"]

CLIENTS: Final = (1, 2, 3, 4)
KEYS: Final = "xyz"
FIRST_VALUE: Final = 1000
"""Clients write here what they write nowhere else."""
BURST: Final = 60
FIRST_MILLISECONDS: Final = 800
ROUND_MILLISECONDS: Final = 2600
"""One who leads is cut off, another one leads, and goes when the first is back."""
LAST_SECONDS: Final = 0.1
"""Before the end of a day nothing ends any more."""

_STRIKES: Final = {
    "crash": "crash",
    "power": "power-cut",
    "pause": "pause",
    "stall": "disk-stall",
    "slow disk": "disk-slow",
    "alone": "partition",
    "deaf": "block",
    "mute": "block",
    "slow": "slow-link",
    "late": "slow-link",
    "overtaken": "reorder",
}
"""What a feud consists of -> which kind of fault that is."""
_WEIGHTS: Final = {"alone": 3}
_NEED_OTHERS: Final = tuple(_STRIKES)[4:]


# -- feuds ----------------------------------------------------------------------------------------


def draw_feud(
    chance: Random, *, nodes: int, kinds: tuple[str, ...], seconds: float
) -> tuple[Fault, ...]:
    """One node after another is struck, and the next before the last has recovered.

    Args:
        chance: decides.
        nodes: how many there are.
        kinds: of fault that may happen; with none of those that a feud is made of there is none.
        seconds: in which all of it happens.
    """
    strikes = [
        strike
        for strike, kind in _STRIKES.items()
        if kind in kinds and (nodes > 1 or strike not in _NEED_OTHERS)
        for _ in range(_WEIGHTS.get(strike, 1))
    ]
    if not strikes:
        return ()
    faults = [fault for fault in _weakness(chance, nodes) if kind_of(fault) in kinds]
    up_from = dict.fromkeys(range(1, nodes + 1), 0.0)
    at = chance.uniform(0.2, 1.5)
    while at < seconds - 0.5:
        until = at + chance.choice((chance.uniform(0.05, 0.5), chance.uniform(0.5, 2.0)))
        node, end = chance.randint(1, nodes), round(min(until, seconds - LAST_SECONDS), 3)
        struck = _strike(chance.choice(strikes), nodes, node, round(at, 3), end)
        if not isinstance(struck[0], (*DOWN, Pause)) or up_from[node] < at:
            if isinstance(struck[0], (*DOWN, Pause)):
                up_from[node] = until
            faults += struck
        at += chance.uniform(0.1, 1.2 * (until - at))
    return tuple(sorted(faults, key=lambda fault: fault.at))


def _weakness(chance: Random, nodes: int) -> Iterator[Fault]:
    """What is bad about a cluster all the time: a slow disk, or one node that answers late."""
    if nodes < 2:
        return
    weak = chance.randint(1, nodes)
    match chance.choice(("none", "disk", "disk", "links")):
        case "disk":
            yield DiskSlow(weak, 0.4, 0.0)
        case "links":
            late = chance.choice((0.3, 2.0))
            for other in range(1, nodes + 1):
                if other != weak:
                    yield SlowLink(weak, other, late, 0.0)
        case _:
            pass


def _strike(strike: str, nodes: int, node: int, at: float, until: float) -> list[Fault]:
    """One spell of one kind, on one node."""
    others = [other for other in range(1, nodes + 1) if other != node]
    match strike:
        case "crash":
            return [Crash(node, at, until)]
        case "power":
            return [PowerCut((node,), at, until)]
        case "pause":
            return [Pause(node, at, until)]
        case "stall":
            return [DiskStall(node, at, until)]
        case "slow disk":
            return [DiskSlow(node, 0.5, at, until)]
        case "alone":
            return [Partition(((node,), tuple(others)), at, until)]
        case "deaf":
            return [Block(other, node, at, until) for other in others]
        case "mute":
            return [Block(node, other, at, until) for other in others]
        case "slow":
            return [SlowLink(node, other, 1.0, at, until) for other in others]
        case "late":
            pairs = [(a, b) for a in range(1, nodes + 1) for b in others if a != b]
            pairs += [(other, node) for other in others]
            return [SlowLink(*pair, 1.2, at, until + 1.0) for pair in pairs]
        case _:
            pairs = [pair for other in others for pair in ((node, other), (other, node))]
            return [Reorder(*pair, at, until) for pair in pairs]


def draw_traffic(chance: Random, faults: tuple[Fault, ...], seconds: float) -> Iterator[Act]:
    """Clients who ask and tell, so that there is something to lose: all the time, or just when
    something goes wrong, so that one who is cut off has more in its log than those who go on.
    """
    begins = sorted({fault.at for fault in faults if fault.at})
    moments: list[float] = []
    if begins and chance.random() < 0.5:
        for begin in begins:
            moments += [begin + chance.uniform(0, 0.5) for _ in range(BURST // 2)]
    else:
        at = 0.1
        while at < seconds:
            moments.append(at)
            at += chance.expovariate(15)
    for value, moment in enumerate(moments, FIRST_VALUE):
        at, name = min(round(moment, 3), seconds), chance.choice(KEYS)
        client = chance.choice(CLIENTS)
        match chance.choice(("read", "read", "write", "write", "compare")):
            case "read":
                yield Read(at, name, client)
            case "write":
                yield Write(at, name, value, client)
            case _:
                yield CompareAndSet(at, name, value, client)


# -- handovers ------------------------------------------------------------------------------------


def draw_handovers(
    chance: Random, *, nodes: int, kinds: tuple[str, ...], seconds: float
) -> tuple[Fault, ...]:
    """One who leads is cut off with a lot to write, and comes back when the next one goes: of those
    who may lead now some have much that is old, and some have little that is new.

    Who leads nobody can say beforehand; but clocks that run fast make it likely. Arguments are
    those of ``draw_feud``; less than three nodes, or too little time, have nobody to hand over to.
    """
    if nodes < 3 or not {"clock-drift", "partition"} <= set(kinds):
        return ()
    first, second, *others = chance.sample(range(1, nodes + 1), nodes)
    faults: list[Fault] = [ClockDrift(first, 2.0, 0.0), ClockDrift(second, 1.4, 0.0)]
    begins = _rounds(seconds)
    is_late = {"disk-stall", "disk-slow"} <= set(kinds) and chance.random() < 1 / 4
    for place, begin in enumerate(begins):
        if is_late:
            away, gone = ((first, second), (second, first))[place % 2]
            faults += _late_writes(chance, away, tuple(sorted((gone, *others))), begin)
            continue
        away, gone = chance.choice(((first, second), (first, second), (second, first)))
        back = round(begin + chance.uniform(1.0, 1.8), 3)
        rest = tuple(sorted((gone, *others)))
        faults.append(Partition(((away,), rest), begin, back))
        if chance.random() < 0.6 and "disk-stall" in kinds:
            faults.append(DiskStall(away, begin, round(back + 0.3, 3)))
        if chance.random() < 0.7 and "crash" in kinds:
            faults.append(Crash(gone, round(back - 0.1, 3), round(begin + 2.5, 3)))
    return tuple(sorted(faults, key=lambda fault: fault.at)) if begins else ()


def _late_writes(
    chance: Random, away: int, rest: tuple[int, ...], begin: float
) -> tuple[Fault, ...]:
    """Who leads has a lot to write, and its disk stands still. It is back in time to be asked for
    its vote, and hears the first entry of whom the others elect while its own are being written.
    """
    back, writes = begin + chance.uniform(0.4, 0.8), begin + chance.uniform(0.6, 1.2)
    return (
        Partition(((away,), rest), begin, round(back, 3)),
        DiskStall(away, begin, round(writes, 3)),
        DiskSlow(away, 0.5, begin, round(begin + 2.0, 3)),
    )


def draw_bursts(chance: Random, seconds: float) -> Iterator[Act]:
    """Writes at the very moments at which a leader is cut off."""
    for client in CLIENTS:
        yield Write(0.6, "x", FIRST_VALUE - client, client)
    for place, begin in enumerate(_rounds(seconds)):
        for number in range(BURST):
            at, client = round(begin + 0.001 + 0.005 * number, 3), chance.choice(CLIENTS)
            yield Write(at, chance.choice(KEYS), FIRST_VALUE + place * BURST + number, client)


def _rounds(seconds: float) -> list[float]:
    """When each begins: so that it has ended before the day has."""
    last = round(seconds * 1000) - ROUND_MILLISECONDS
    return [begin / 1000 for begin in range(FIRST_MILLISECONDS, last + 1, ROUND_MILLISECONDS)]
