"""The workflows that node processes run in these tests, with ``--app tests.processes.flows:app``.

Other apps in this module stand for other releases of the same service.
"""

import trio
from attrs import frozen

import flowactor as fa
from tests.processes.outside import Outside

STEPS = 20
STEP_SECONDS = 0.02
RETRY = fa.RetryPolicy(initial_interval=0.05, maximum_attempts=10)


@fa.step(retry=RETRY, start_to_close=30)
async def advance(number: int, total: int) -> int:
    Outside.of_this_process().bump()
    await trio.sleep(STEP_SECONDS)
    return total * 3 + number


def expected_total(steps: int) -> int:
    """What ``Journey`` comes to."""
    total = 0
    for number in range(1, steps + 1):
        total = total * 3 + number
    return total


def step_name(number: int) -> str:
    """How the n-th ``advance`` of a run, counted from 1, is called in histories."""
    return f"advance#{number - 1}" if number > 1 else "advance"


@fa.workflow(version=1)
class Journey:
    """Steps in a row. Before each number in ``stops`` it waits to be permitted that far."""

    def __init__(self) -> None:
        self.permitted = 0

    async def run(self, steps: int, stops: list[int]) -> int:
        reached = await fa.variable("reached", 0)
        total = 0
        for number in range(1, steps + 1):
            if number in stops:
                await fa.wait_condition(lambda upto=number: self.permitted >= upto)
            total = await advance(number, total)
            await reached.set(number)
        if steps + 1 in stops:
            await fa.wait_condition(lambda: self.permitted > steps)
        return total

    @fa.signal
    def permit(self, upto: int) -> None:
        self.permitted = upto


@fa.step(retry=RETRY)
async def gated(name: str) -> str:
    Outside.of_this_process().bump()
    await Outside.of_this_process().gate(name)
    return name


@fa.workflow(version=1)
class Gated:
    """Three steps; the second lasts until the test opens its gate, named as the run."""

    async def run(self, gate: str) -> list[str]:
        return [str(await advance(1, 0)), await gated(gate), str(await advance(2, 1))]


@fa.workflow(version=1)
class Pause:
    """One step, a durable sleep, one step; tells how long it slept by the engine's time."""

    async def run(self, seconds: float) -> float:
        await advance(1, 0)
        before = fa.now()
        await fa.sleep(seconds)
        after = fa.now()
        await advance(2, 1)
        return (after - before).total_seconds()


@fa.step
async def add(left: int, right: int) -> int:
    await trio.lowlevel.checkpoint()
    return left + right


@fa.workflow(version=1)
class Fibonacci:
    async def run(self, number: int) -> int:
        low, high = 0, 1
        for _ in range(number):
            low, high = high, await add(low, high)
        return low


@fa.workflow(version=1)
class Counting:
    """Many checkpoints: computes 10 * i for each i, one after another, and adds them up."""

    async def run(self, iterations: int) -> int:
        total = 0
        for number in range(iterations):
            total += await fa.compute("tenfold", lambda i: 10 * i, number)
        return total


@fa.step
async def concat(left: str, right: str) -> str:
    await trio.lowlevel.checkpoint()
    return left + right


@fa.workflow(version=1)
class Concat:
    async def run(self, left: str, right: str) -> str:
        return await concat(left, right)


@fa.workflow(version=1)
class PingPong:
    async def run(self, word: str) -> str:
        if word != "ping":
            raise ValueError(f"Expected 'ping', got '{word}'")
        return "pong"


class CardDeclined(fa.NonRetryableError):
    """An error with fields of its own."""

    def __init__(self, card: str, cents: int) -> None:
        super().__init__(f"card {card} declined for {cents}")
        self.card = card
        self.cents = cents


@frozen
class Bill:
    card: str
    cents: int


@fa.step(retry=RETRY)
async def charge(bill: Bill) -> str:
    Outside.of_this_process().bump()
    await trio.lowlevel.checkpoint()
    if bill.cents > 1000:
        raise CardDeclined(bill.card, bill.cents)
    return f"charged {bill.cents}"


@fa.workflow(version=1)
class Pay:
    async def run(self, bill: Bill) -> str:
        return await charge(bill)


@fa.workflow(version=1, name="Shipping")
class ShippingOne:
    """A run of the first version that is still under way when the second arrives."""

    async def run(self, gate: str) -> str:
        return f"version 1 via {await gated(gate)}"


@fa.workflow(version=2, name="Shipping")
class ShippingTwo:
    async def run(self, gate: str) -> str:
        checked = await fa.compute("fraud_check", lambda: "checked")
        return f"version 2 {checked} via {await gated(gate)}"


WORKFLOWS = [Journey, Gated, Pause, Fibonacci, Counting, Concat, PingPong, Pay, ShippingOne]
app = fa.App(WORKFLOWS)
upgraded = fa.App([*WORKFLOWS, ShippingTwo])
without_shipping = fa.App([Pay])
