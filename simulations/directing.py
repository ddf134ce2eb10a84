"""Stage directions: common turns of a story, as lists of faults.

Who leads is a matter of luck, and stories are about leaders. So the clocks of all others are slowed
down for a moment, and the node of the story is the first to lose patience.
"""

from collections.abc import Iterable
from typing import Final

from flowactor.simulation.faults import Block, ClockDrift, Crash, Fault, Partition

__all__ = ["cut_off", "deafen", "kill_in_turn", "let_lead", "mute"]

CALM: Final = 1.5
"""Seconds in which a node that loses its patience first is elected for certain."""
SLOW: Final = 0.2
"""Pace of a clock by which the shortest patience outlasts the longest of a right one."""


def let_lead(node: int, *, nodes: int = 3, at: float = 0.0) -> tuple[Fault, ...]:
    """``node`` is the first to stand for election in the second and a half after ``at``, if there
    is one; whether it is elected the others decide as ever.
    """
    others = _others(node, nodes)
    return tuple(ClockDrift(other, SLOW, at, at + CALM) for other in others)


def cut_off(*alone: int, nodes: int = 3, at: float, until: float | None = None) -> Fault:
    """These nodes can talk to each other only, and so can the rest."""
    rest = tuple(node for node in range(1, nodes + 1) if node not in alone)
    return Partition((alone, rest), at, until)


def mute(node: int, *, nodes: int = 3, at: float, until: float | None = None) -> tuple[Fault, ...]:
    """``node`` hears everybody, and nobody hears it."""
    return tuple(Block(node, other, at, until) for other in _others(node, nodes))


def deafen(
    node: int, *, nodes: int = 3, at: float, until: float | None = None
) -> tuple[Fault, ...]:
    """Everybody hears ``node``, and it hears nobody."""
    return tuple(Block(other, node, at, until) for other in _others(node, nodes))


def kill_in_turn(times: Iterable[float], *, nodes: int = 3, down: float = 2.0) -> tuple[Fault, ...]:
    """At each of these times the leader is killed, for ``down`` seconds: node 1 first, and then
    always the one that is helped to follow it. Node 1 has to lead before.
    """
    faults: list[Fault] = []
    for turn, at in enumerate(times):
        leader, next_leader = turn % nodes + 1, (turn + 1) % nodes + 1
        faults += [Crash(leader, at, at + down), *let_lead(next_leader, nodes=nodes, at=at)]
    return tuple(faults)


def _others(node: int, nodes: int) -> list[int]:
    return [other for other in range(1, nodes + 1) if other != node]
