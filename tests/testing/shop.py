"""A small shop, for the tests of what users test with."""

import time

import trio

import flowactor as fa
from flowactor.testing import World, current_world

PATIENT = fa.RetryPolicy(initial_interval=0.2, maximum_attempts=100)


@fa.step(retry=PATIENT)
async def charge(order: str, *, keyed: bool) -> int:
    """The receipt comes a second after the money went, so a crash has something to strike."""
    key = fa.step_info().idempotency_key if keyed else ""
    number = await current_world().ledger("payments").record(order, key=key)
    await trio.sleep(1)
    return number


@fa.step(retry=PATIENT)
async def remind(order: str) -> None:
    await current_world().ledger("reminders").record(order)


@fa.step
async def look_at_the_clock() -> float:
    await trio.lowlevel.checkpoint()
    return time.time()


@fa.step
async def hang() -> None:
    await trio.sleep_forever()


@fa.workflow(version=1)
class Careful:
    async def run(self, order: str) -> int:
        return await charge(order, keyed=True)


@fa.workflow(version=1)
class Careless:
    """Charges without an idempotency key."""

    async def run(self, order: str) -> int:
        return await charge(order, keyed=False)


@fa.workflow(version=1)
class Reminders:
    """One each day."""

    async def run(self, days: int) -> int:
        for number in range(days):
            await fa.sleep(86_400)
            await remind(f"day {number + 1}")
        return days


@fa.workflow(version=1)
class Approval:
    """Waits for a signal."""

    def __init__(self) -> None:
        self.by = ""

    async def run(self) -> str:
        await fa.wait_condition(lambda: bool(self.by))
        return self.by

    @fa.signal
    def approve(self, by: str) -> None:
        self.by = by


@fa.workflow(version=1)
class Escaping:
    async def run(self) -> float:
        return await look_at_the_clock()


@fa.workflow(version=1)
class Hanging:
    async def run(self) -> None:
        await hang()


app = fa.App([Approval, Careful, Careless, Escaping, Hanging, Reminders])


def each_order_charged_once(world: World) -> None:
    world.ledger("payments").check_each_value_once()
