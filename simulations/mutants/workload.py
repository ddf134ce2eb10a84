"""What clusters do while mutants are hunted: a workflow in which every rule of the engine matters.

Each part of ``Errand`` is there for some mutant: payments with keys, a step that fails before it
works, one that never works, one that hangs, timers that fire and timers that are taken back,
signals, a variable, a query, and branches at once.
"""

from itertools import pairwise
from random import Random
from typing import Any, Final

from attrs import evolve, frozen

import flowactor as fa
from flowactor.simulation.chores import draw_acts
from flowactor.simulation.draw import draw_bad_day, draw_deviations, draw_scenario
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.faults import (
    KINDS,
    BitFlip,
    Crash,
    DiskFull,
    DiskSlow,
    Fault,
    PowerCut,
    SyncError,
    end_of,
)
from flowactor.simulation.feuds import draw_traffic
from flowactor.simulation.lineup import Lineup, draw_changes, draw_orders, draw_shapes
from flowactor.simulation.quarrels import NODES, draw_quarrel
from flowactor.simulation.scenario import Scenario
from flowactor.simulation.world import World, current_world

__all__ = [
    "APP",
    "Errand",
    "Receipt",
    "draw",
    "draw_changing",
    "draw_on_disks",
    "draw_quarreling",
    "draw_reshaping",
]

SECONDS: Final = 6.0
PARTS: Final = 2
PAUSE_SECONDS: Final = 0.3
ATTEMPTS_MAX: Final = 3
LINEUPS: Final = ((1, 2), (3, 0), (3, 0), (3, 1), (3, 2), (4, 1))
"""How many found a cluster that changes, and how many join it."""
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


def draw_changing(seed: int) -> Scenario:
    """The same for mutants of whole nodes: they come and go, groups are made, and slots move."""
    chance = Random(f"changing {seed}")
    lineup = Lineup(*chance.choice(LINEUPS))
    kinds = tuple(KINDS) if chance.random() < 0.7 else ()
    day = draw_bad_day(seed, nodes=lineup.machines, kinds=kinds, seconds=SECONDS)
    definition = APP.get("Errand")
    acts = draw_acts(Random(f"acts {seed}"), definition, (PARTS,), seconds=SECONDS)
    changes = draw_changes(chance, lineup, day.faults, SECONDS)
    return Scenario(
        app=APP,
        nodes=lineup.nodes,
        seed=seed,
        acts=day.beside(acts),
        faults=day.faults,
        changes=(*changes, *draw_orders(chance, lineup, SECONDS)),
        seconds=SECONDS,
        sockets=False,
        deviations=draw_deviations(Random(f"deviations {seed}")),
        invariants=(check_receipts,),
    )


def draw_reshaping(seed: int) -> Scenario:
    """The same for mutants that are about who votes: half of the time of four nodes."""
    chance = Random(f"shapes {seed}")
    nodes = chance.choice((3, 4, 4, 5))
    scenario = draw_scenario(
        APP,
        seed,
        workflow="Errand",
        arguments=(PARTS,),
        nodes=nodes,
        seconds=SECONDS,
        invariants=(check_receipts,),
    )
    return evolve(scenario, changes=draw_shapes(chance, nodes, SECONDS))


def draw_quarreling(seed: int) -> Scenario:
    """The same for the bug of 2015."""
    quarrel = draw_quarrel(Random(f"quarrel {seed}"))
    return Scenario(
        app=APP,
        nodes=NODES,
        seed=seed,
        acts=quarrel.acts,
        faults=quarrel.faults,
        changes=quarrel.shapes,
        seconds=quarrel.seconds,
    )


def draw_on_disks(seed: int) -> Scenario:
    """The same for mutants of storage: three whole nodes, and one trouble after the other with a
    disk, of which the process or the machine is restarted soon after.
    """
    chance = Random(f"disks {seed}")
    faults: list[Fault] = []
    at, rotten = chance.uniform(0.5, 1.5), chance.randint(1, 3)
    while at < SECONDS - 1.5:
        at = round(at, 3)
        trouble = _trouble(chance, rotten, at)
        rotten = 0 if any(isinstance(fault, BitFlip) for fault in trouble) else rotten
        faults += trouble
        at = max(end_of(fault, SECONDS) for fault in trouble) + chance.uniform(0.1, 1.0)
    acts = draw_acts(Random(f"acts {seed}"), APP.get("Errand"), (PARTS,), seconds=SECONDS)
    writes = draw_traffic(chance, tuple(faults), SECONDS)
    return Scenario(
        app=APP,
        seed=seed,
        acts=tuple(sorted((*acts, *writes), key=lambda act: act.at)),
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
        seconds=max(SECONDS, *(fault.at for fault in faults)),
        sockets=False,
        deviations=draw_deviations(Random(f"deviations {seed}")),
        invariants=(check_receipts,),
    )


def _trouble(chance: Random, rotten: int, at: float) -> list[Fault]:
    """With the disk of one node; that of ``rotten``, if it is one, may lose a bit."""
    node = chance.randint(1, 3)
    soon = round(at + chance.uniform(0.1, 1.0), 3)
    struck = chance.choice(((node,), (1, 2, 3)))
    power = PowerCut(struck, soon, round(soon + 0.3, 3))
    match chance.choice(("sync", "sync", "sync", "full", "power", "rot", "rot")):
        case "sync":  # the process is started again after a second, and then the power fails
            late = round(soon + 1.0, 3)
            return [SyncError(node, at), PowerCut(struck, late, round(late + 0.3, 3))]
        case "full":
            return [DiskFull(node, at, soon), power]
        case "rot" if rotten:
            crash = Crash(rotten, soon, round(soon + 0.3, 3))
            place = chance.uniform(*chance.choice(((0, 1), (0.7, 1))))  # what is newest comes last
            return [BitFlip(rotten, round(place * 0.999, 3), at), crash]
        case _:  # more often than not in the midst of a write
            return [*(DiskSlow(one, 0.1, at, soon) for one in struck), power]


def draw(seed: int) -> Scenario:
    """The scenario in which every mutant meets this seed."""
    scenario = draw_scenario(
        APP,
        seed,
        workflow="Errand",
        arguments=(PARTS,),
        nodes=Random(f"nodes {seed}").choice(SIZES),
        seconds=SECONDS,
        cancels=True,
        invariants=(check_receipts,),
    )
    if not scenario.faults:
        return evolve(scenario, invariants=(check_receipts, check_a_quiet_day))
    return scenario
