"""The workflow of the demo: an order of six steps, each of which leaves a trace outside the engine.

A step's trace is one line in a file, its idempotency key, so that anybody can count afterwards how
often each body ran: the engine's own records are not asked.
"""

import os
from pathlib import Path
from typing import Final

import trio
from attrs import frozen

from flowactor.workflow import App, RetryPolicy, step, step_info, variable, workflow

__all__ = ["EFFECTS_VARIABLE", "STEPS", "DemoOrder", "Order", "app"]

EFFECTS_VARIABLE: Final = "FLOWACTOR_DEMO_EFFECTS"
"""The environment variable that names the file of traces."""
WORK_SECONDS: Final = 0.7
RETRY: Final = RetryPolicy(initial_interval=0.2, maximum_attempts=5)


@frozen
class Order:
    """What is ordered; ``amount`` in cents."""

    number: int
    item: str
    amount: int


async def work() -> None:
    """Leave the trace, then stand in for the rest of a call to another service: a kill in between
    is the case that an idempotency key is for.
    """
    leave_trace(step_info().idempotency_key)
    await trio.sleep(WORK_SECONDS)


def leave_trace(key: str) -> None:
    """Append one line, in one write: several processes share the file."""
    with Path(os.environ[EFFECTS_VARIABLE]).open("a", encoding="utf-8") as effects:
        effects.write(key + "\n")


@step(retry=RETRY, start_to_close=10)
async def reserve_stock(order: Order) -> str:
    await work()
    return f"shelf-{order.number % 7}"


@step(retry=RETRY, start_to_close=10)
async def charge_card(order: Order) -> str:
    await work()
    return f"payment-{order.number}-{order.amount}"


@step(retry=RETRY, start_to_close=10)
async def pick_items(shelf: str) -> str:
    await work()
    return f"box from {shelf}"


@step(retry=RETRY, start_to_close=10)
async def pack_parcel(box: str) -> str:
    await work()
    return f"parcel of {box}"


@step(retry=RETRY, start_to_close=10)
async def hand_to_carrier(parcel: str) -> str:
    await work()
    return f"tracking-{len(parcel)}"


@step(retry=RETRY, start_to_close=10)
async def send_mail(order: Order, tracking: str) -> str:
    await work()
    return f"order {order.number} is on its way: {tracking}"


STEPS: Final = tuple(
    step.name
    for step in (reserve_stock, charge_card, pick_items, pack_parcel, hand_to_carrier, send_mail)
)


@workflow(version=1)
class DemoOrder:
    """Six steps, one after another, and a checkpoint between the halves."""

    async def run(self, order: Order) -> str:
        status = await variable("status", "accepted")
        shelf = await reserve_stock(order)
        await charge_card(order)
        await status.set("paid")
        box = await pick_items(shelf)
        parcel = await pack_parcel(box)
        tracking = await hand_to_carrier(parcel)
        await status.set("shipped")
        return await send_mail(order, tracking)


app = App([DemoOrder])
