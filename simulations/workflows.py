"""Workflows as users write them: what the stories, the swarm and the mutants put to the test."""

from random import Random
from typing import Any, Final

from attrs import field, frozen

import flowactor as fa
from flowactor.simulation.world import current_world

__all__ = [
    "MONTH_SECONDS",
    "Basket",
    "Branches",
    "Checkpoints",
    "Collect",
    "Computation",
    "Computed",
    "Declined",
    "Fibonacci",
    "GivesUp",
    "Month",
    "Order",
    "Patience",
    "Payment",
    "PingPong",
    "Receipt",
    "Refused",
    "Stubborn",
    "Table",
    "Tally",
    "Tens",
    "Timers",
    "Trip",
    "app",
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
