"""A whole scenario from nothing but a seed: what a swarm of simulated runs is made of.

Even odds everywhere make all runs alike: a bit of each fault, never much of one, and so most of
what is rare stays rare. So each run first draws a *temper*, which decides how one-sided it is:
which kinds of fault there are at all (none, in some runs), how many, whether they come at any
time, huddle around one moment or chase each other, and whether they have it in for one node. And
half of the days have no temper at all, but one aim: that nobody leads for long (``feuds``).
"""

import math
from collections.abc import Callable, Iterable
from itertools import combinations
from random import Random
from typing import Any, Final

from attrs import frozen

from flowactor.simulation.chores import draw_acts
from flowactor.simulation.faults import (
    DOWN,
    KINDS,
    BitFlip,
    Block,
    ClockDrift,
    ClockJump,
    ClockOffset,
    Crash,
    DiskFull,
    DiskSlow,
    DiskStall,
    Duplicate,
    Fault,
    Loss,
    MisdirectedWrite,
    Partition,
    Pause,
    PowerCut,
    Reorder,
    Reset,
    SlowLink,
    SyncError,
    Wipe,
    end_of,
    nodes_of,
)
from flowactor.simulation.feuds import draw_bursts, draw_feud, draw_handovers, draw_traffic
from flowactor.simulation.scenario import Act, Invariant, Scenario
from flowactor.workflow import App

__all__ = [
    "BadDay",
    "draw_bad_day",
    "draw_core",
    "draw_deviations",
    "draw_faults",
    "draw_partition",
    "draw_scenario",
    "lost_nodes",
]

WAYS: Final = ("mixed", "mixed", "mixed", "feud", "feud", "handovers")
"""Of a bad day, as often as they are named."""
FEUD_SECONDS_MAX: Final = 15.0
"""Faults without end would be events without end."""
FIRST_BATCHES: Final = 20_000
"""Numbers of batches among which single deviations are drawn."""
ATTEMPTS: Final = 4
"""To find a time at which a node that is to go down is not down already."""


def draw_scenario(
    app: App,
    seed: int,
    *,
    workflow: str,
    arguments: tuple[Any, ...] = (),
    nodes: int = 3,
    kinds: tuple[str, ...] = tuple(KINDS),
    seconds: float = 10.0,
    healing_seconds: float = 60.0,
    cancels: bool = False,
    invariants: tuple[Invariant, ...] = (),
    sockets: bool = True,
) -> Scenario:
    """The scenario of this seed: the same, for the same arguments, in every process.

    After its faults have ended a majority of the nodes always is able to work: never more than a
    minority lose for good what their disks held.

    Args:
        app: the code.
        seed: decides all that the others leave open; it becomes the seed of the run as well.
        workflow: the type whose runs are started.
        arguments: of each of these runs, as JSON-like plain values.
        nodes: how many.
        kinds: of fault that may happen, of ``faults.KINDS``.
        seconds: of virtual time in which they happen.
        healing_seconds: of virtual time for everything to come to its end afterwards.
        cancels: now and then cancel or terminate a run.
        invariants: the user's own checks.
        sockets: see ``Scenario``.

    Raises:
        UnknownWorkflowType: the app has no such workflow.
    """
    # A generator for each part, so that what one draws does not move the others.
    day = draw_bad_day(seed, nodes=nodes, kinds=kinds, seconds=seconds)
    acts = draw_acts(
        Random(f"acts {seed}"), app.get(workflow), arguments, seconds=seconds, cancels=cancels
    )
    return Scenario(
        app=app,
        nodes=nodes,
        seed=seed,
        acts=day.beside(acts),
        faults=day.faults,
        seconds=seconds,
        healing_seconds=healing_seconds,
        core=day.core,
        invariants=invariants,
        sockets=sockets,
        deviations=draw_deviations(Random(f"deviations {seed}")),
    )


@frozen
class BadDay:
    """What goes wrong in a run, and what that is about.

    Attributes:
        way: ``mixed``, ``feud`` or ``handovers``.
        faults: what goes wrong.
        core: who is healed; empty: all.
        acts: what clients do, so that there is something to lose.
    """

    way: str
    faults: tuple[Fault, ...]
    core: tuple[int, ...]
    acts: tuple[Act, ...] = ()

    def beside(self, acts: Iterable[Act]) -> tuple[Act, ...]:
        """These acts and its own, in the order in which they are done."""
        return tuple(sorted((*acts, *self.acts), key=lambda act: act.at))


def draw_bad_day(seed: int, *, nodes: int, kinds: tuple[str, ...], seconds: float) -> BadDay:
    """What goes wrong in the run of this seed.

    Args:
        seed: decides.
        nodes: how many there are.
        kinds: of fault that may happen, of ``KINDS``.
        seconds: of virtual time in which it happens.
    """
    chance = Random(f"faults {seed}")
    way = chance.choice(WAYS)
    faults: tuple[Fault, ...] = ()
    acts: Iterable[Act] = ()
    short = min(seconds, FEUD_SECONDS_MAX)
    if way == "handovers":
        faults = draw_handovers(chance, nodes=nodes, kinds=kinds, seconds=short)
        acts = draw_bursts(chance, short)
    elif way == "feud":
        faults = draw_feud(chance, nodes=nodes, kinds=kinds, seconds=short)
        acts = draw_traffic(chance, faults, short)
    if not faults:  # such a cluster, or such faults, have nothing of the kind
        way, acts = "mixed", ()
        faults = draw_faults(chance, nodes=nodes, kinds=kinds, seconds=seconds)
    return BadDay(way, faults, draw_core(Random(f"core {seed}"), nodes, faults), tuple(acts))


def lost_nodes(faults: Iterable[Fault]) -> tuple[int, ...]:
    """The nodes that may never come back to work, as their disks lost what they had promised."""
    lost = [
        fault.node
        for fault in faults
        if isinstance(fault, Wipe | BitFlip | MisdirectedWrite)
        or (isinstance(fault, SyncError) and fault.lasting)
    ]
    return tuple(sorted(set(lost)))


def draw_core(chance: Random, nodes: int, faults: tuple[Fault, ...]) -> tuple[int, ...]:
    """In some runs only a bare majority is healed, of those that can be."""
    if not faults or nodes < 3 or chance.random() > 1 / 6:
        return ()
    lost = lost_nodes(faults)
    able = [node for node in range(1, nodes + 1) if node not in lost]
    return tuple(sorted(chance.sample(able, nodes // 2 + 1)))


def draw_deviations(chance: Random) -> frozenset[int] | None:
    """All batches shuffled, none, or a few."""
    form = chance.choice(("all", "all", "none", "few"))
    if form == "all":
        return None
    few = chance.randint(1, 40) if form == "few" else 0
    return frozenset(chance.sample(range(FIRST_BATCHES), few))


# -- tempers ------------------------------------------------------------------------------------


@frozen
class Temper:
    """How one run goes about it.

    Attributes:
        kinds: of fault that happen.
        count: how many times something is struck.
        rhythm: ``anywhere``, ``huddled`` around ``moment``, or ``chasing`` what came before.
        moment: in seconds.
        longest: that a fault lasts, in seconds.
        victim: the node that most of it strikes, or 0.
        doomed: a minority of the nodes: theirs are the disks that may be spoilt.
    """

    kinds: tuple[str, ...]
    count: int
    rhythm: str
    moment: float
    longest: float
    victim: int
    doomed: tuple[int, ...]


def _temper(chance: Random, nodes: int, kinds: tuple[str, ...], seconds: float) -> Temper:
    everyone = range(1, nodes + 1)
    minority = (nodes - 1) // 2
    return Temper(
        kinds=_subset(chance, kinds),
        count=chance.randint(1, chance.choice((1, 3, 3, 8, 8, 24))),
        rhythm=chance.choice(("anywhere", "huddled", "chasing")),
        moment=chance.uniform(0, seconds),
        longest=_skewed(chance, 0.1, 2 * seconds),
        victim=chance.choice(everyone) if chance.random() < 1 / 3 else 0,
        doomed=tuple(chance.sample(everyone, chance.randint(0, minority))),
    )


def _subset(chance: Random, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """The kinds of fault of one run: all, none, one, a few, or each with even odds."""
    form = chance.choices(("none", "one", "few", "even", "all"), (1, 3, 3, 2, 1))[0]
    if form == "none" or not kinds:
        return ()
    if form == "all":
        return kinds
    if form == "even":
        return tuple(kind for kind in kinds if chance.random() < 0.5)
    most = 1 if form == "one" else 4
    return tuple(chance.sample(kinds, chance.randint(1, min(most, len(kinds)))))


def _skewed(chance: Random, low: float, high: float) -> float:
    """Any order of magnitude between two is as likely as another."""
    return low * math.pow(max(high, low) / low, chance.random())


def _round(seconds: float) -> float:
    return round(seconds, 3)


# -- faults -------------------------------------------------------------------------------------


def draw_faults(
    chance: Random, *, nodes: int, kinds: tuple[str, ...], seconds: float
) -> tuple[Fault, ...]:
    """A schedule that ``check_faults`` takes, in the order in which it strikes.

    Args:
        chance: decides.
        nodes: how many there are.
        kinds: of which some are chosen, of ``KINDS``.
        seconds: in which all of it begins.
    """
    hand = _Hand(chance, nodes, seconds, _temper(chance, nodes, kinds, seconds))
    return tuple(sorted(hand.deal(), key=lambda fault: fault.at))


class _Hand:
    """Deals the faults of one run, and remembers who is down when."""

    def __init__(self, chance: Random, nodes: int, seconds: float, temper: Temper) -> None:
        self.chance: Final = chance
        self.everyone: Final = tuple(range(1, nodes + 1))
        self.seconds: Final = seconds
        self.temper: Final = temper
        self.down: Final[dict[int, list[tuple[float, float]]]] = {n: [] for n in self.everyone}
        self.last = temper.moment

    def deal(self) -> Iterable[Fault]:
        if not self.temper.kinds:
            return
        for _ in range(self.temper.count):
            kind = self.chance.choice(self.temper.kinds)
            for _ in range(ATTEMPTS):
                drawn = self._draw(kind)
                if all(map(self._fits, drawn)):
                    break
            else:
                continue
            for fault in drawn:
                self._note(fault)
                yield fault

    def _fits(self, fault: Fault) -> bool:
        """Nobody who is down can be brought down."""
        if not isinstance(fault, (*DOWN, Pause)):
            return True
        ends = end_of(fault, float("inf"))
        return all(
            ends <= begun or over <= fault.at
            for node in nodes_of(fault)
            for begun, over in self.down[node]
        )

    def _note(self, fault: Fault) -> None:
        self.last = self.chance.choice((fault.at, min(end_of(fault, self.seconds), self.seconds)))
        if isinstance(fault, (*DOWN, Pause)):
            for node in nodes_of(fault):
                self.down[node].append((fault.at, end_of(fault, float("inf"))))

    # -- when and who

    def _at(self) -> float:
        match self.temper.rhythm:
            case "huddled":
                at = self.temper.moment + self.chance.gauss(0, 0.3)
            case "chasing":
                at = self.last + self.chance.expovariate(4)
            case _:
                at = self.chance.uniform(0, self.seconds)
        if not 0 <= at < self.seconds:
            at = self.chance.uniform(0, self.seconds)
        return min(_round(at), self.seconds)

    def _until(self, at: float) -> float | None:
        until = _round(at + _skewed(self.chance, 0.02, self.temper.longest))
        return until if at < until < self.seconds else None

    def _node(self) -> int:
        if self.temper.victim and self.chance.random() < 3 / 4:
            return self.temper.victim
        return self.chance.choice(self.everyone)

    def _machines(self) -> tuple[int, ...]:
        """Who loses power: one, some, or all of them."""
        count = self.chance.choice((1, self.chance.choice(self.everyone), len(self.everyone)))
        return tuple(sorted(self.chance.sample(self.everyone, count)))

    def _links(self) -> list[tuple[int, int]]:
        """One direction, both, all that one node sends, or all that it hears."""
        if len(self.everyone) < 2:
            return []
        one = self._node()
        others = [node for node in self.everyone if node != one]
        other = self.chance.choice(others)
        match self.chance.choice(("one way", "one way", "other way", "both", "out", "in")):
            case "one way":
                return [(one, other)]
            case "other way":
                return [(other, one)]
            case "both":
                return [(one, other), (other, one)]
            case "out":
                return [(one, node) for node in others]
            case _:
                return [(node, one) for node in others]

    # -- what

    def _draw(self, kind: str) -> list[Fault]:
        at = self._at()
        until = self._until(at)
        for draw in (self._process, self._network, self._clock, self._disk):
            drawn = draw(kind, at, until)
            if drawn is not None:
                return drawn
        raise AssertionError(f"nobody draws {kind}")

    def _process(self, kind: str, at: float, until: float | None) -> list[Fault] | None:
        match kind:
            case "crash":
                return [Crash(self._node(), at, until)]
            case "power-cut":
                return [PowerCut(self._machines(), at, until)]
            case "pause":
                return [Pause(self._node(), at, until)]
            case "wipe":
                return [Wipe(node, at, until) for node in self._doomed()]
        return None

    def _network(self, kind: str, at: float, until: float | None) -> list[Fault] | None:
        chance, links = self.chance, self._links()
        match kind:
            case "partition":
                sides = draw_partition(chance, len(self.everyone))
                return [Partition(sides, at, until)] if sides else []
            case "block":
                return [Block(*link, at, until) for link in links]
            case "slow-link":
                slow = _round(_skewed(chance, 0.01, 5))
                return [SlowLink(*link, slow, at, until) for link in links]
            case "loss":
                odds = self._odds()
                return [Loss(*link, odds, at, until) for link in links]
            case "duplicate":
                odds = self._odds()
                return [Duplicate(*link, odds, at, until) for link in links]
            case "reorder":
                return [Reorder(*link, at, until) for link in links]
            case "reset":
                return [Reset(*link, at) for link in links[:1]]
        return None

    def _clock(self, kind: str, at: float, until: float | None) -> list[Fault] | None:
        chance = self.chance
        wrong = _round(chance.choice((-1, 1)) * _skewed(chance, 0.01, 7200))
        match kind:
            case "clock-offset":
                return [ClockOffset(self._node(), wrong, at, until)]
            case "clock-jump":
                return [ClockJump(self._node(), wrong, at)]
            case "clock-drift":
                rate = 2 ** chance.choice((chance.gauss(0, 0.01), chance.uniform(-2, 2)))
                return [ClockDrift(self._node(), _round(rate), at, until)]
        return None

    def _disk(self, kind: str, at: float, until: float | None) -> list[Fault] | None:
        chance = self.chance
        match kind:
            case "disk-slow":
                slow = _round(_skewed(chance, 0.005, 3))
                return [DiskSlow(self._node(), slow, at, until)]
            case "disk-stall":
                return [DiskStall(self._node(), at, until)]
            case "disk-full":
                return [DiskFull(self._node(), at, until)]
            case "sync-error":
                lasting = self._doomed() if chance.random() < 1 / 4 else ()
                if lasting:
                    return [SyncError(node, at, until, lasting=True) for node in lasting]
                return [SyncError(self._node(), at)]
            case "bit-flip":
                return [BitFlip(node, self._place(), at) for node in self._doomed()]
            case "misdirected-write":
                return [MisdirectedWrite(node, self._place(), at) for node in self._doomed()]
        return None

    def _doomed(self) -> tuple[int, ...]:
        """One of the minority whose disks may be spoilt, if there is any."""
        return (self.chance.choice(self.temper.doomed),) if self.temper.doomed else ()

    def _odds(self) -> float:
        return self.chance.choice((1.0, _round(_skewed(self.chance, 0.01, 1))))

    def _place(self) -> float:
        return min(_round(self.chance.random()), 0.999)


# -- partitions ---------------------------------------------------------------------------------

Sides = tuple[tuple[int, ...], ...]


def draw_partition(chance: Random, nodes: int) -> Sides:
    """Sides that cut ``nodes`` nodes apart, in one of five shapes; none if nothing can be cut."""
    if nodes < 2:
        return ()
    shape: Callable[[list[int]], Sides] = chance.choice(
        (_halves, _isolated, _bridge, _ring, lambda order: _random(chance, order))
    )
    sides = shape(chance.sample(range(1, nodes + 1), nodes))
    return tuple(sorted(tuple(sorted(side)) for side in sides))


def _halves(order: list[int]) -> Sides:
    middle = len(order) // 2
    return tuple(order[:middle]), tuple(order[middle:])


def _isolated(order: list[int]) -> Sides:
    return (order[0],), tuple(order[1:])


def _bridge(order: list[int]) -> Sides:
    """Two halves that only one node can talk to."""
    if len(order) < 3:
        return _isolated(order)
    bridge, *others = order
    one, other = _halves(others)
    return (*one, bridge), (*other, bridge)


def _ring(order: list[int]) -> Sides:
    """Everybody talks to a majority, and no two to the same one."""
    reach = (len(order) // 2 + 1) // 2
    if len(order) <= 2 * reach + 1:  # all would talk to all
        return _bridge(order)
    twice = order * 2
    return tuple(tuple(twice[first : first + reach + 1]) for first in range(len(order)))


def _random(chance: Random, order: list[int]) -> Sides:
    """Each pair talks or does not."""
    pairs = [pair for pair in combinations(order, 2) if chance.random() < 0.5]
    if len(pairs) == len(order) * (len(order) - 1) // 2:
        return _isolated(order)
    alone = [(node,) for node in order if not any(node in pair for pair in pairs)]
    return (*pairs, *alone)
