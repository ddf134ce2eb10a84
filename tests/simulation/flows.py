"""Workflows for the tests of whole simulated nodes."""

import logging
import time
from datetime import datetime
from os import urandom
from random import random
from time import monotonic

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
async def reach_out(way: str) -> str:
    """Gets at the real world by names that nobody can replace."""
    await trio.lowlevel.checkpoint()
    await {"child": in_a_child, "log": write_a_log_line}.get(way, trio.lowlevel.checkpoint)()
    ways = {"datetime.now": datetime.now, "time.monotonic": monotonic, "random": random}
    if way in ways:
        return str(ways[way]())
    return str(urandom(2)) if way == "posix.urandom" else ""


async def in_a_child() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)


async def child() -> None:
    await trio.lowlevel.checkpoint()
    datetime.now()  # noqa: DTZ005  # no matter which: it leads out


async def write_a_log_line() -> None:
    logging.getLogger("test").warning("at work")
    await trio.lowlevel.checkpoint()


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
class Reaching:
    async def run(self, way: str) -> str:
        return await reach_out(way)


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


@fa.workflow(version=1)
class Restless:
    async def run(self) -> None:
        while True:
            await ship(1)


RESTLESS = fa.App([Restless])
APP = fa.App([Order, Careless, Long, Escaping, Reaching, Patient, Hanging])
