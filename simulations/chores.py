"""Chores: workflows with their arguments, and what must come of each, whatever breaks meanwhile.

A chore has an exact result, and does certain things to the world. ``INVARIANTS`` hold a run of the
simulation against that: they know a run by its workflow id, which is ``chore/number``.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import field, frozen

import flowactor as fa
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.scenario import (
    Act,
    Cancel,
    CompareAndSet,
    Invariant,
    Read,
    Signal,
    Start,
    Write,
)
from flowactor.simulation.world import Effect, World
from simulations.workflows import Computed, Declined, Receipt, Tally

__all__ = [
    "CHORES",
    "FEW",
    "INVARIANTS",
    "Chore",
    "check_attempts",
    "check_bookings",
    "check_deeds",
    "check_one_effect_a_step",
    "check_results",
    "chore",
    "chores",
    "registers",
]

Deeds = Mapping[str, tuple[Any, ...]]
"""ledger -> what one run does there."""


@frozen(kw_only=True)
class Chore:
    """A workflow, what it is given, and what must come of it.

    Attributes:
        workflow, arguments: to start it with.
        result: what it returns, or the error that it fails with, or ``RunStatus.CANCELLED``.
        deeds: all that it does to the world, in this order in each ledger.
        at_once: deeds of one ledger come in any order.
        signals: sent one after the other.
        cancelled: in the end it is cancelled.
    """

    workflow: str
    arguments: tuple[Any, ...] = ()
    result: Any = None
    deeds: Deeds = field(factory=dict)
    at_once: bool = False
    signals: tuple[tuple[str, Any], ...] = ()
    cancelled: bool = False


def _order(basket: dict[str, Any], result: Receipt, **deeds: tuple[Any, ...]) -> Chore:
    return Chore(workflow="Order", arguments=(basket,), result=result, deeds=deeds, at_once=True)


DELAYS: Final = tuple(number * 37 % 50 / 10 for number in range(50))
"""Of the timers: from 0 to 4.9 seconds, each once, in no order."""

CHORES: Final[Mapping[str, Chore]] = {
    "branches": Chore(
        workflow="Branches", result=Tally(27, ["initial", "split", "a +10", "b +15"])
    ),
    "checkpoints": Chore(workflow="Checkpoints", arguments=(40,), result=7800),
    "collect": Chore(
        workflow="Collect",
        arguments=(12,),
        result=list(range(12)),
        deeds={"seen": tuple(range(12))},
        at_once=True,
        signals=tuple(("give", number) for number in range(12)),
    ),
    "computation": Chore(
        workflow="Computation", arguments=(2, 3, 4), result=Computed(162, [6, 18, 54, 162])
    ),
    "computation-short": Chore(
        workflow="Computation", arguments=(5, 2, 3), result=Computed(40, [10, 20, 40])
    ),
    "fibonacci": Chore(workflow="Fibonacci", arguments=(10,), result=55),
    "gives-up": Chore(workflow="GivesUp", result="gave up: never"),
    "order-declined": _order(
        {"items": ["tea", "cup"], "card": "expired"},
        Receipt("order-declined", "declined"),
        stock=("reserve tea", "reserve cup", "release cup", "release tea"),
    ),
    "order-express": _order(
        {"items": ["tea", "cup"], "express": True},
        Receipt("order-express", "confirmed", "express", ["email", "sms"]),
        stock=("reserve tea", "reserve cup"),
        payments=(200,),
        shipments=("express",),
        messages=("email", "sms"),
    ),
    "order-impossible": _order(
        {"items": ["tea", "unicorn"]},
        Receipt("order-impossible", "out_of_stock"),
        stock=("reserve tea", "release tea"),
    ),
    "order-standard": _order(
        {"items": ["tea"]},
        Receipt("order-standard", "confirmed", "standard", ["email", "sms"]),
        stock=("reserve tea",),
        payments=(100,),
        shipments=("standard",),
        messages=("email", "sms"),
    ),
    "payment": Chore(
        workflow="Payment", arguments=(4200,), result="pay_payment", deeds={"payments": (4200,)}
    ),
    "ping": Chore(workflow="PingPong", arguments=("ping",), result="pong"),
    "ping-wrong": Chore(
        workflow="PingPong", arguments=("x",), result=Declined("Expected 'ping', got 'x'")
    ),
    "stubborn": Chore(workflow="Stubborn", result="let in"),
    "table": Chore(workflow="Table", result=fa.RunStatus.CANCELLED, cancelled=True),
    "tens": Chore(workflow="Tens", arguments=(10,), result=list(range(0, 100, 10))),
    "timers": Chore(
        workflow="Timers",
        arguments=(list(DELAYS),),
        result=sorted(range(50), key=DELAYS.__getitem__),
    ),
    "trip": Chore(
        workflow="Trip",
        arguments=(["flight", "hotel", "car", "moon"],),
        result=fa.NonRetryableError("no room on the moon"),
        deeds={
            "trips": (
                *(f"book {leg}" for leg in ("flight", "hotel", "car")),
                *(f"unbook {leg}" for leg in ("car", "hotel", "flight")),
            )
        },
    ),
}
"""The workflow id of a run is the name of its chore, a slash and a number."""

FEW: Final = ("order-express", "collect", "trip", "payment", "checkpoints", "tens", "stubborn")
"""One of each sort."""


def chore(name: str, at: float = 0.0, *, number: int = 1, client: int = 1) -> tuple[Act, ...]:
    """What a client does to have a chore done: starts it, signals every quarter of a second, and
    three seconds later cancels it if that is how it ends.
    """
    what, id = CHORES[name], f"{name}/{number}"  # noqa: A001  # as everywhere: a workflow id
    acts: list[Act] = [Start(at, what.workflow, id, what.arguments, client=client)]
    for place, (signal, argument) in enumerate(what.signals, 1):
        acts.append(Signal(at + place / 4, id, signal, (argument,), client))
    if what.cancelled:
        acts.append(Cancel(at + 3, id, client))
    return tuple(acts)


def chores(
    names: Iterable[str] = FEW,
    *,
    begin: float = 1.0,
    every: float = 0.25,
    number: int = 1,
    clients: tuple[int, ...] = (1, 2, 3, 4),
) -> tuple[Act, ...]:
    """These chores, one begun every so many seconds, by the clients in turn."""
    return _in_time(
        act
        for place, name in enumerate(names)
        for act in chore(
            name,
            begin + place * every,
            number=number,
            client=clients[place % len(clients)],
        )
    )


def registers(seconds: float, *, every: float = 0.1, begin: float = 0.0) -> tuple[Act, ...]:
    """Four clients at two variables, for the checker of linearizability: no value twice."""
    acts: list[Act] = []
    for number in range(int((seconds - begin) / every)):
        at, client = round(begin + number * every, 3), number % 4 + 1
        name = "xy"[number // 4 % 2]
        match number % 3:
            case 0:
                acts.append(Write(at, name, number, client))
            case 1:
                acts.append(Read(at, name, client))
            case _:
                acts.append(CompareAndSet(at, name, number, client))
    return tuple(acts)


def _in_time(acts: Iterable[Act]) -> tuple[Act, ...]:
    return tuple(sorted(acts, key=lambda act: act.at))


# -- what must be so ----------------------------------------------------------------------------


def _chore_of(workflow_id: str) -> Chore | None:
    return CHORES.get(workflow_id.partition("/")[0])


def check_results(world: World) -> None:
    """Every chore that ended came to exactly its result."""
    for workflow_id, outcome in world.results.items():
        known = _chore_of(workflow_id)
        if known is not None and _shown(outcome) != _shown(_named(known.result, workflow_id)):
            raise CheckFailed("results", f"{workflow_id} came to {_shown(outcome)}")


def _named(result: Any, workflow_id: str) -> Any:
    """The result with the run's own name in it, where it stands in one."""
    match result:
        case Receipt():
            return Receipt(workflow_id, result.status, result.shipped_by, result.told)
        case "pay_payment":
            return f"pay_{workflow_id}"
    return result


def _shown(outcome: Any) -> str:
    return f"{type(outcome).__name__} {outcome}"


def check_deeds(world: World) -> None:
    """A chore did to the world what it is for, each deed once, and nothing else; if it has not
    ended, it may have done only a part.
    """
    done: dict[tuple[str, str], list[Any]] = {}
    for name, ledger in world.ledgers.items():
        if name not in ("calls", "tables"):
            for whose, what in ledger.values:
                done.setdefault((whose, name), []).append(what)
    for workflow_id in {whose: None for whose, _ in done} | dict.fromkeys(world.results):
        known = _chore_of(workflow_id)
        for name in {} if known is None else known.deeds:
            assert known is not None
            deeds, wanted = done.pop((workflow_id, name), []), list(known.deeds[name])
            ended = workflow_id in world.results
            if not _is_part(deeds, wanted, in_order=not known.at_once, whole=ended):
                raise CheckFailed("deeds", f"{workflow_id} did {deeds} in {name}, not {wanted}")
    for (workflow_id, name), deeds in done.items():
        if _chore_of(workflow_id) is not None:
            raise CheckFailed("deeds", f"{workflow_id} did {deeds} in {name}, and should not have")


def _is_part(deeds: list[Any], wanted: list[Any], *, in_order: bool, whole: bool) -> bool:
    if whole:
        return deeds == wanted if in_order else Counter(deeds) == Counter(wanted)
    return deeds == wanted[: len(deeds)] if in_order else Counter(deeds) <= Counter(wanted)


def check_one_effect_a_step(world: World) -> None:
    """With an idempotency key no step does anything twice."""
    for name, ledger in world.ledgers.items():
        if name != "calls":
            ledger.check_each_step_once()


def check_attempts(world: World) -> None:
    """No attempt of a step is executed twice: the number of a further one is higher."""
    calls: Counter[tuple[str, str, int]] = Counter(map(_attempt, world.ledger("calls").entries))
    for (run_id, step, attempt), times in calls.items():
        if times > 1:
            raise CheckFailed(
                "attempts", f"attempt {attempt} of step {step} of run {run_id} ran {times} times"
            )


def _attempt(effect: Effect) -> tuple[str, str, int]:
    return effect.run_id, effect.step, effect.attempt


def check_bookings(world: World) -> None:
    """Who was cancelled gave the table back, once, and after taking it. Only an owner that was cut
    off, on another node, may take it late; that it did not know yet that it was given up is for the
    engine's own checks to see (I23).
    """
    for workflow_id in world.results:
        effects = [each for each in world.ledger("tables").entries if each.value[0] == workflow_id]
        did = [effect.value[1] for effect in effects]
        late = did == ["give back", "take"] and effects[0].node != effects[1].node
        if did not in ([], ["give back"], ["take", "give back"]) and not late:
            raise CheckFailed("clean-up", f"{workflow_id} ended, and did {did}")


INVARIANTS: Final[tuple[Invariant, ...]] = (
    check_results,
    check_deeds,
    check_one_effect_a_step,
    check_attempts,
    check_bookings,
)
