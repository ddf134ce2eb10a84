"""Workflows as users write them, and what must come of each, whatever breaks meanwhile.

A *chore* is one of these workflows with its arguments, its exact result, and everything that it may
have done to the world by then. ``INVARIANTS`` hold a run of the simulation against that: they know
a run by its workflow id, which is ``chore/number``.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from random import Random
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
from flowactor.simulation.world import Effect, World, current_world

__all__ = [
    "CHORES",
    "FEW",
    "INVARIANTS",
    "MONTH_SECONDS",
    "Chore",
    "app",
    "check_attempts",
    "check_bookings",
    "check_deeds",
    "check_one_effect_a_step",
    "check_results",
    "chore",
    "chores",
    "registers",
]

PATIENT: Final = fa.RetryPolicy(initial_interval=0.05, backoff_coefficient=1.5, maximum_interval=1)
BACK_OFF: Final = fa.RetryPolicy(initial_interval=1, backoff_coefficient=2, maximum_interval=5)
MONTH_SECONDS: Final = 30 * 86_400


class Refused(Exception):
    """What is outside says no, for now."""


class Declined(Exception):
    """What is outside says no, for good."""


# -- the world outside --------------------------------------------------------------------------


async def do(ledger: str, whose: str, what: Any, *, seconds: float = 0.0) -> None:
    """Do ``what`` for a run, once, however often it is asked for."""
    key = fa.step_info().idempotency_key
    await current_world().ledger(ledger).record((whose, what), key=key, seconds=seconds)


async def call(whose: str, what: str) -> int:
    """Count a call that takes no key: which one it is for this run, from 1."""
    calls = current_world().ledger("calls")
    await calls.record((whose, what))
    return calls.values.count((whose, what))


def me() -> str:
    """The workflow id of the run that asks."""
    return fa.workflow_info().workflow_id


# -- calculations -------------------------------------------------------------------------------


@frozen
class Computed:
    """The last value, and all on the way there."""

    value: int
    steps: list[int]


def multiply(value: int, multiplier: int) -> int:
    """What a computation repeats."""
    return value * multiplier


@fa.workflow(version=1)
class Computation:
    """Multiplies step by step; each product is recorded before the next is begun."""

    async def run(self, base: int, multiplier: int, iterations: int) -> Computed:
        value, steps = base, []
        for number in range(iterations):
            value = await fa.compute(f"step_{number}", multiply, value, multiplier)
            steps.append(value)
        return Computed(value, steps)


@fa.step
async def add(left: int, right: int) -> int:
    """One addition, somewhere."""
    return left + right


@fa.workflow(version=1)
class Fibonacci:
    """As many additions, one after the other."""

    async def run(self, number: int) -> int:
        low, high = 0, 1
        for _ in range(number):
            low, high = high, await add(low, high)
        return low


@fa.workflow(version=1)
class Checkpoints:
    """A loop that adds 10, 20, 30 and so on to a replicated variable."""

    async def run(self, iterations: int) -> int:
        total = await fa.variable("total", 0)
        for number in range(iterations):
            await total.set(await add(total.value, 10 * number))
        return total.value


# -- payments and orders ------------------------------------------------------------------------


@fa.step(retry=PATIENT)
async def charge(whose: str, cents: int, card: str) -> str:
    """Take money, once."""
    await call(whose, "charge")
    if card == "expired":
        raise fa.NonRetryableError(f"the card of {whose} is expired")
    await do("payments", whose, cents, seconds=0.05)
    return f"pay_{whose}"


@fa.workflow(version=1)
class Payment:
    """Takes money and says by which payment."""

    async def run(self, cents: int) -> str:
        return await charge(me(), cents, "valid")


@frozen
class Basket:
    """What somebody orders."""

    items: list[str]
    express: bool = False
    card: str = "valid"


@frozen
class Receipt:
    """What became of an order."""

    order: str
    status: str
    shipped_by: str = ""
    told: list[str] = field(factory=list)


@fa.step(retry=PATIENT)
async def reserve(whose: str, item: str) -> bool:
    """Put an item aside; there are no unicorns."""
    if item == "unicorn":
        return False
    await do("stock", whose, f"reserve {item}")
    return True


@fa.step(retry=PATIENT)
async def release(whose: str, item: str) -> None:
    """Put an item back."""
    await do("stock", whose, f"release {item}")


@fa.step(retry=PATIENT)
async def ship(whose: str, how: str) -> str:
    """Hand over to the carrier."""
    await do("shipments", whose, how, seconds=0.02)
    return how


@fa.step(retry=PATIENT)
async def notify(whose: str, channel: str) -> str:
    """Tell the customer."""
    await do("messages", whose, channel)
    return channel


@fa.workflow(version=1)
class Order:
    """Reserve everything at once, charge, ship, tell by two channels; undo what was in vain."""

    async def run(self, basket: Basket) -> Receipt:
        status = await fa.variable("status", "processing")
        available = await fa.gather(*(reserve(me(), item) for item in basket.items))
        held = [item for item, there in zip(basket.items, available, strict=True) if there]
        if not all(available):
            return await self.undo(status, held, "out_of_stock")
        try:
            await charge(me(), 100 * len(held), basket.card)
        except fa.NonRetryableError:
            return await self.undo(status, held, "declined")
        shipped = await ship(me(), "express" if basket.express else "standard")
        told = await fa.gather(notify(me(), "email"), notify(me(), "sms"))
        await status.set("confirmed")
        return Receipt(me(), status.value, shipped, list(told))

    async def undo(self, status: fa.Variable[str], held: list[str], why: str) -> Receipt:
        """Release what is held, the last first."""
        for item in reversed(held):
            await release(me(), item)
        await status.set(why)
        return Receipt(me(), status.value)


@fa.step(retry=PATIENT)
async def book(whose: str, what: str) -> None:
    """One leg of a trip; nobody has a room on the moon."""
    if what == "moon":
        raise fa.NonRetryableError("no room on the moon")
    await do("trips", whose, f"book {what}")


@fa.step(retry=PATIENT)
async def unbook(whose: str, what: str) -> None:
    """Take a leg back; hotels say so only when asked for the third time."""
    if what == "hotel" and await call(whose, "unbook") <= 2:
        raise Refused("ask again")
    await do("trips", whose, f"unbook {what}")


@fa.workflow(version=1)
class Trip:
    """A saga: what was booked is taken back in reverse, and the error goes on."""

    async def run(self, legs: list[str]) -> str:
        booked: list[str] = []
        try:
            for leg in legs:
                await book(me(), leg)
                booked.append(leg)
        except fa.NonRetryableError:
            for leg in reversed(booked):
                await unbook(me(), leg)
            raise
        return "bon voyage"


# -- fan-out ------------------------------------------------------------------------------------


@frozen
class Tally:
    """A counter and what was said on the way."""

    counter: int
    logs: list[str]


@fa.workflow(version=1)
class Branches:
    """One, two branches at once, one: their contributions meet in the declared order."""

    async def run(self) -> Tally:
        counter = await add(0, 1)
        counter = await add(counter, 1)
        left, right = await fa.gather(add(0, 10), add(0, 15))
        logs = ["initial", "split", f"a +{left}", f"b +{right}"]
        return Tally(counter + left + right, logs)


@fa.step(retry=PATIENT)
async def tenfold(number: int) -> int:
    """Ten times as much, unless it fails: so do three in ten calls, known by their attempt."""
    if Random(f"{number} {fa.step_info().attempt}").random() < 0.3:
        raise Refused(f"{number} is unlucky")
    return 10 * number


@fa.workflow(version=1)
class Tens:
    """Splits and merges: results in the order of the input."""

    async def run(self, count: int) -> list[int]:
        return await fa.gather(*(tenfold(number) for number in range(count)))


# -- failures -----------------------------------------------------------------------------------


@fa.step(retry=BACK_OFF)
async def fifth_time_lucky(whose: str) -> None:
    """Fails the first four times that it is called at all."""
    if await call(whose, "knock") <= 4:
        raise Refused("not yet")


@fa.step(retry=fa.RetryPolicy(initial_interval=0.1, maximum_attempts=3))
async def never(whose: str) -> None:
    """Fails however often it is called."""
    await call(whose, "never")
    raise Refused("never")


@fa.workflow(version=1)
class Stubborn:
    """A step that succeeds when it was called often enough."""

    async def run(self) -> str:
        await fifth_time_lucky(me())
        return "let in"


@fa.workflow(version=1)
class GivesUp:
    """A step whose attempts are used up: its last error arrives in the workflow."""

    async def run(self) -> str:
        try:
            await never(me())
        except Refused as error:
            return f"gave up: {error}"
        return "let in"


@fa.workflow(version=1)
class PingPong:
    """Fails, as a run, for any other input than ``ping``."""

    async def run(self, text: str) -> str:
        if text != "ping":
            raise Declined(f"Expected 'ping', got {text!r}")
        return "pong"


# -- time ---------------------------------------------------------------------------------------


@fa.workflow(version=1)
class Timers:
    """Many timers at once; who woke, in the order of waking."""

    async def run(self, delays: list[float]) -> list[int]:
        woken: list[int] = []

        async def wait(number: int, delay: float) -> None:
            await fa.sleep(delay)
            woken.append(number)

        async with fa.open_nursery() as nursery:
            for number, delay in enumerate(delays):
                nursery.start_soon(wait, number, delay)
        return woken


@fa.workflow(version=1)
class Month:
    """Sleeps for thirty days. Says how many milliseconds it overslept."""

    async def run(self, seconds: float) -> int:
        begun_ns = fa.time_ns()
        await fa.sleep(seconds)
        await wake_up(me())
        return (fa.time_ns() - begun_ns) // 1_000_000 - round(seconds * 1000)


@fa.step(retry=PATIENT)
async def wake_up(whose: str) -> None:
    """Leaves a trace of having woken."""
    await do("alarms", whose, "woke")


@fa.workflow(version=1)
class Patience:
    """A minute of patience for an answer from outside: whichever is first."""

    def __init__(self) -> None:
        self.answer = ""

    async def run(self) -> str:
        if await fa.wait_condition(lambda: self.answer, timeout=60):
            return self.answer
        return "nobody answered"

    @fa.signal
    def reply(self, text: str) -> None:
        """Answer."""
        self.answer = text


# -- signals and cancellation -------------------------------------------------------------------


@fa.step(retry=PATIENT)
async def see(whose: str, number: int) -> None:
    """Leaves a trace of a signal."""
    seen = current_world().ledger("seen")
    await seen.record((whose, number), key=f"{whose} {number}")


@fa.workflow(version=1)
class Collect:
    """Takes so many signals and leaves a trace of each, in the order in which they came."""

    def __init__(self) -> None:
        self.given: list[int] = []

    async def run(self, count: int) -> list[int]:
        taken: list[int] = []
        while len(taken) < count:
            await fa.wait_condition(lambda: len(self.given) > len(taken))
            number = self.given[len(taken)]
            await see(me(), number)
            taken.append(number)
        return sorted(taken)

    @fa.signal
    def give(self, number: int) -> None:
        """One more."""
        self.given.append(number)

    @fa.query
    def count(self) -> int:
        """How many there are so far."""
        return len(self.given)


@fa.step(retry=PATIENT)
async def hold(whose: str, what: str) -> None:
    """Take or return a table, in books of their own."""
    await do("tables", whose, what, seconds=0.2)


@fa.workflow(version=1)
class Table:
    """Holds a table until it is cancelled, and then gives it back whatever happens."""

    async def run(self) -> None:
        try:
            await hold(me(), "take")
            await fa.sleep_forever()
        finally:
            with fa.CancelScope(shield=True):
                await hold(me(), "give back")


app: Final = fa.App(
    [
        Branches,
        Checkpoints,
        Collect,
        Computation,
        Fibonacci,
        GivesUp,
        Month,
        Order,
        Patience,
        Payment,
        PingPong,
        Stubborn,
        Table,
        Tens,
        Timers,
        Trip,
    ],
    name="chaos",
)


# -- chores -------------------------------------------------------------------------------------

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
    """Who was cancelled gave the table back, once, and after taking it."""
    for workflow_id in world.results:
        did = [what for whose, what in world.ledger("tables").values if whose == workflow_id]
        if did not in ([], ["give back"], ["take", "give back"]):
            raise CheckFailed("clean-up", f"{workflow_id} ended, and did {did}")


INVARIANTS: Final[tuple[Invariant, ...]] = (
    check_results,
    check_deeds,
    check_one_effect_a_step,
    check_attempts,
    check_bookings,
)
