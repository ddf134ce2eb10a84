"""What clusters do while mutants are hunted: a workflow in which every rule of the engine matters.

Each part of ``Errand`` is there for some mutant: payments with keys, a step that fails before it
works, one that never works, one that hangs, timers that fire and timers that are taken back,
signals, a variable, a query, and branches at once.
"""

from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import Any, Final

from attrs import evolve, frozen

import flowactor as fa
from flowactor.simulation.draw import draw_scenario
from flowactor.simulation.failure import CheckFailed
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
)
from flowactor.simulation.scenario import Act, CompareAndSet, Read, Scenario, Write
from flowactor.simulation.world import World, current_world

__all__ = ["APP", "Errand", "Receipt", "draw"]

SECONDS: Final = 6.0
HANDOVERS: Final = (0.8, 3.4)
PARTS: Final = 2
PAUSE_SECONDS: Final = 0.3
ATTEMPTS_MAX: Final = 3
SIZES: Final = (3, 3, 3, 3, 3, 5, 4, 2, 1)
"""Clusters of these sizes, as often as they are named: even ones and the smallest have bugs of
their own.
"""

STUBBORN: Final = fa.RetryPolicy(
    initial_interval=0.05, backoff_coefficient=10, maximum_interval=0.5
)
WAITS_NS: Final = (50_000_000, 500_000_000)
PATIENT: Final = fa.RetryPolicy(
    initial_interval=0.05, maximum_attempts=ATTEMPTS_MAX, non_retryable_error_types=[KeyError]
)


class Declined(fa.NonRetryableError):
    """No further attempt can help."""


@fa.step(retry=STUBBORN)
async def pay(part: int) -> int:
    """Returns the number of the payment."""
    key = fa.step_info().idempotency_key
    return await current_world().ledger("payments").record(part, key=key, seconds=0.02)


@fa.step(retry=STUBBORN)
async def knock() -> int:
    """Works at the third attempt; returns which one it was."""
    attempt = fa.step_info().attempt
    await current_world().ledger("knocks").record(attempt)
    if attempt < ATTEMPTS_MAX:
        raise ConnectionError("nobody at home")
    return attempt


@fa.step(retry=STUBBORN)
async def linger() -> None:
    """Takes its time."""
    await current_world().ledger("rests").record(None, seconds=0.1)


@fa.step(retry=PATIENT)
async def hope() -> None:
    """Fails however often it is tried."""
    await current_world().ledger("hopes").record(fa.step_info().attempt, seconds=0.3)
    raise ConnectionError("no answer")


@fa.step(retry=PATIENT)
async def beg(politely: bool) -> None:
    """Is told at once that no other attempt can help."""
    await current_world().ledger("refusals").record(politely)
    if politely:
        raise Declined("certainly not")
    raise KeyError("no")


@fa.step(retry=PATIENT, start_to_close=0.4)
async def wait_for_ever() -> None:
    """Runs out of time."""
    await current_world().ledger("waits").record(fa.step_info().attempt, seconds=3600)


@frozen
class Receipt:
    """What a run of ``Errand`` comes to.

    Attributes:
        paid: numbers of the payments.
        knocks: at which attempt somebody opened.
        failures: the types of the errors of the steps that cannot work, in their order.
        rested_ns: how long a pause took, in the run's own time.
        notes: what signals brought while the run waited for one.
    """

    paid: list[int]
    knocks: int
    failures: list[str]
    rested_ns: int
    notes: list[int]


@fa.workflow(version=1)
class Errand:
    """Pays, knocks, hopes, rests, and listens for a while."""

    def __init__(self) -> None:
        self.notes: list[int] = []
        self.progress = "new"

    async def run(self, parts: int) -> Receipt:
        state = await fa.variable("state", "paying")
        paid = await fa.gather(*(pay(part) for part in range(parts)))
        self.progress = "paid"
        await state.set("resting")
        begun_ns = fa.time_ns()
        await fa.sleep(PAUSE_SECONDS)
        rested_ns = fa.time_ns() - begun_ns
        knocks = await knock()
        failures = await self._fail()
        await state.set("listening")
        with fa.move_on_after(2):
            await fa.wait_condition(lambda: bool(self.notes))
        paid.append(await pay(parts))
        self.progress = "done"
        return Receipt(paid, knocks, failures, rested_ns, list(self.notes))

    async def _fail(self) -> list[str]:
        errors = await fa.gather(
            self._hope(), beg(True), beg(False), wait_for_ever(), return_exceptions=True
        )
        return [type(error).__name__ for error in errors]

    async def _hope(self) -> None:
        """A step of the first branch that begins after those of all others."""
        await linger()
        await hope()

    @fa.signal
    def note(self, number: int) -> None:
        self.notes.append(number)

    @fa.query
    def how_far(self) -> str:
        return self.progress


APP: Final = fa.App([Errand])


def check_receipts(world: World) -> None:
    """What the runs returned is what happened.

    Raises:
        CheckFailed: says what does not fit.
    """
    payments = world.ledger("payments")
    payments.check_each_step_once()
    numbers: list[int] = []
    for workflow_id, receipt in sorted(world.results.items()):
        if isinstance(receipt, Receipt):
            _check_receipt(workflow_id, receipt)
            numbers += receipt.paid
    if len(set(numbers)) != len(numbers) or len(payments.entries) < len(numbers):
        raise CheckFailed("receipts", f"payments {numbers} of {len(payments.entries)} were made")


def check_a_quiet_day(world: World) -> None:
    """Where nothing went wrong, retries come as often as policies say, and after the right waits.

    Raises:
        CheckFailed: names the run.
    """
    knocks: dict[str, list[int]] = {}
    for effect in world.ledger("knocks").entries:
        knocks.setdefault(effect.run_id, []).append(effect.at_ns)
    for run_id, times in sorted(knocks.items()):
        for number, (one, other) in enumerate(pairwise(times)):
            if other - one < WAITS_NS[number]:
                raise CheckFailed("waits", f"run {run_id}: {other - one} ns before another attempt")


def _check_receipt(workflow_id: str, receipt: Receipt) -> None:
    expected: dict[str, tuple[Any, bool]] = {
        "payments": (receipt.paid, len(receipt.paid) == PARTS + 1),
        "knocks": (receipt.knocks, receipt.knocks >= ATTEMPTS_MAX),
        "failures": (
            receipt.failures,
            receipt.failures == ["ConnectionError", "Declined", "KeyError", "StepTimedOut"],
        ),
        "nanoseconds of rest": (receipt.rested_ns, receipt.rested_ns >= PAUSE_SECONDS * 1e9),
    }
    for what, (found, fits) in expected.items():
        if not fits:
            raise CheckFailed("receipts", f"{workflow_id}: {what} are {found}")


def draw(seed: int) -> Scenario:
    """The scenario in which every mutant meets this seed: every other one is a feud."""
    nodes = Random(f"nodes {seed}").choice(SIZES)
    scenario = draw_scenario(
        APP,
        seed,
        workflow="Errand",
        arguments=(PARTS,),
        nodes=nodes,
        seconds=SECONDS,
        cancels=True,
        invariants=(check_receipts,),
    )
    if seed % 2:
        feud = Random(f"feud {seed}")
        if nodes > 2 and feud.random() < 1 / 3:
            return evolve(scenario, faults=_handovers(feud, nodes), acts=tuple(_bursts(feud)))
        faults = _feud(feud, nodes)
        acts = sorted((*scenario.acts, *_traffic(feud, faults)), key=lambda act: act.at)
        return evolve(scenario, faults=faults, acts=tuple(acts))
    if not scenario.faults:
        return evolve(scenario, invariants=(check_receipts, check_a_quiet_day))
    return scenario


# -- feuds ----------------------------------------------------------------------------------------


def _feud(chance: Random, nodes: int) -> tuple[Fault, ...]:
    """One node after another is struck, and the next before the last has recovered: leaders come
    and go, each with entries that the others do not have.
    """
    faults = list(_weakness(chance, nodes)) if nodes > 1 else []
    up_from = dict.fromkeys(range(1, nodes + 1), 0.0)
    at = chance.uniform(0.2, 1.5)
    while at < SECONDS - 0.5:
        until = at + chance.choice((chance.uniform(0.05, 0.5), chance.uniform(0.5, 2.0)))
        node = chance.randint(1, nodes)
        struck = _strike(chance, nodes, node, round(at, 3), round(min(until, SECONDS - 0.1), 3))
        if not isinstance(struck[0], (*DOWN, Pause)) or up_from[node] < at:
            if isinstance(struck[0], (*DOWN, Pause)):
                up_from[node] = until
            faults += struck
        at += chance.uniform(0.1, 1.2 * (until - at))
    return tuple(faults)


def _handovers(chance: Random, nodes: int) -> tuple[Fault, ...]:
    """One who leads is cut off with a lot to write, and comes back when the next one goes: of those
    who may lead now some have much that is old, and some have little that is new.

    Who leads nobody can say beforehand; but clocks that run fast make it likely.
    """
    first, second, *others = chance.sample(range(1, nodes + 1), nodes)
    faults: list[Fault] = [ClockDrift(first, 2.0, 0.0), ClockDrift(second, 1.4, 0.0)]
    for begin in HANDOVERS:
        away, gone = chance.choice(((first, second), (first, second), (second, first)))
        back = round(begin + chance.uniform(1.0, 1.8), 3)
        rest = tuple(sorted((gone, *others)))
        faults.append(Partition(((away,), rest), begin, back))
        if chance.random() < 0.6:
            faults.append(DiskStall(away, begin, back + 0.3))
        if chance.random() < 0.7:
            faults.append(Crash(gone, back - 0.1, begin + 2.5))
    return tuple(sorted(faults, key=lambda fault: fault.at))


def _bursts(chance: Random) -> Iterator[Act]:
    """Next to nothing but writes at the very moment at which a leader is cut off."""
    for client in range(1, 5):
        yield Write(0.6, "x", client, client)
    for begin in HANDOVERS:
        for number in range(60):
            at, client = round(begin + 0.001 + 0.005 * number, 3), chance.randint(1, 4)
            yield Write(at, chance.choice("xyz"), round(begin * 1000) + number, client)


def _weakness(chance: Random, nodes: int) -> Iterator[Fault]:
    """What is bad about a cluster all the time: a slow disk, or one node that answers late."""
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


def _strike(chance: Random, nodes: int, node: int, at: float, until: float) -> list[Fault]:
    """One spell of one kind, on one node."""
    others = [other for other in range(1, nodes + 1) if other != node]
    kinds = ["crash", "power", "pause", "stall"]
    if others:
        kinds += [
            "slow disk",
            "alone",
            "alone",
            "alone",
            "deaf",
            "mute",
            "slow",
            "overtaken",
            "late",
        ]
    match chance.choice(kinds):
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
            return [SlowLink(*pair, 1.2, at, min(at + 3, SECONDS - 0.1)) for pair in pairs]
        case _:
            pairs = [pair for other in others for pair in ((node, other), (other, node))]
            return [Reorder(*pair, at, until) for pair in pairs]


def _traffic(chance: Random, faults: tuple[Fault, ...]) -> Iterator[Act]:
    """Clients who ask and tell, so that there is something to lose: all the time, or just when
    something goes wrong, so that one who is cut off has more in its log than those who go on.
    """
    begins = sorted({fault.at for fault in faults if fault.at})
    moments: list[float] = []
    if begins and chance.random() < 0.5:
        for begin in begins:
            moments += [begin + chance.uniform(0, 0.5) for _ in range(30)]
    else:
        at = 0.1
        while at < SECONDS:
            moments.append(at)
            at += chance.expovariate(15)
    for value, moment in enumerate(moments, 1000):
        at, name, client = round(moment, 3), chance.choice("xyz"), chance.randint(1, 4)
        match chance.choice(("read", "read", "write", "write", "compare")):
            case "read":
                yield Read(at, name, client)
            case "write":
                yield Write(at, name, value, client)
            case _:
                yield CompareAndSet(at, name, value, client)
