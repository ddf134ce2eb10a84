"""Workflows for the tests of whole simulated nodes."""

import time

import trio

import flowactor as fa
from flowactor.simulation.world import current_world

ALWAYS = fa.RetryPolicy(maximum_attempts=100)


@fa.step(retry=ALWAYS)
async def pay(amount: int) -> int:
    key = fa.step_info().idempotency_key
    return await current_world().ledger("payments").record(amount, key=key, seconds=0.1)


@fa.step(retry=ALWAYS)
async def ship(parcel: int) -> int:
    return await current_world().ledger("parcels").record(parcel, seconds=0.1)


@fa.step
async def look_at_the_clock() -> float:
    await trio.lowlevel.checkpoint()
    return time.time()


@fa.step
async def hang() -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


@fa.workflow(version=1)
class Order:
    """Pays in parts, a moment apart."""

    async def run(self, parts: int) -> int:
        for part in range(parts):
            await pay(part)
            await fa.sleep(0.3)
        return parts


@fa.workflow(version=1)
class Careless:
    """Ships without an idempotency key."""

    async def run(self) -> int:
        return await ship(1)


@fa.workflow(version=1)
class Long:
    async def run(self, days: int) -> str:
        await fa.sleep(days * 86_400)
        return "done"


@fa.workflow(version=1)
class Escaping:
    async def run(self) -> float:
        return await look_at_the_clock()


@fa.workflow(version=1)
class Patient:
    """Ends with its first signal."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    async def run(self) -> list[str]:
        await fa.wait_condition(lambda: bool(self.notes))
        return self.notes

    @fa.signal
    def note(self, text: str) -> None:
        self.notes.append(text)

    @fa.query
    def noted(self) -> list[str]:
        return self.notes


@fa.workflow(version=1)
class Hanging:
    async def run(self) -> None:
        await hang()


APP = fa.App([Order, Careless, Long, Escaping, Patient, Hanging])
