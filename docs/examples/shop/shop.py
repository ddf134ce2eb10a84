"""A shop: it charges, it ships, and two weeks later it asks how the goods are."""

import trio

import flowactor as fa
from flowactor.testing import World, current_world

DAY = 86_400


@fa.step
async def charge(order: str, cents: int) -> int:
    payments = current_world().ledger("payments")  # stands for the payment provider
    number = await payments.record((order, cents))
    await trio.sleep(0.5)  # the money is on its way, the answer takes its time
    return number


@fa.step
async def ship(order: str) -> None:
    key = fa.step_info().idempotency_key
    await current_world().ledger("parcels").record(order, key=key, seconds=0.2)


@fa.step
async def ask_for_review(order: str) -> None:
    key = fa.step_info().idempotency_key
    await current_world().ledger("mails").record(f"how is {order}?", key=key)


@fa.workflow(version=1)
class Order:
    def __init__(self) -> None:
        self.stars = 0

    async def run(self, order: str, cents: int) -> str:
        payment = await charge(order, cents)
        await ship(order)
        if not await fa.wait_condition(lambda: self.stars > 0, timeout=14 * DAY):
            await ask_for_review(order)
        return f"payment {payment}"

    @fa.signal
    def review(self, stars: int) -> None:
        self.stars = stars


app = fa.App([Order])


def charged_once(world: World) -> None:
    world.ledger("payments").check_each_step_once()
