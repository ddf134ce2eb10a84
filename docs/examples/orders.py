"""An order that is confirmed if the item is in stock, with its status to be seen from outside.

``status`` is a replicated variable of the run: each change is a checkpoint. Reserving the item is a
step: an ordinary async function that is retried and whose outcome is recorded once. The query
answers at any time, also after the run has ended.

Prints::

    order-1: tea is processing
    order-1: confirmed
    order-2: out_of_stock
"""

import tempfile
from pathlib import Path

import trio
from attrs import frozen

import flowactor as fa

STOCK = {"tea": 12}


@frozen
class Order:
    order_id: str
    item: str
    amount: int


@fa.step(retry=fa.RetryPolicy(maximum_attempts=5), start_to_close=30)
async def in_stock(order: Order) -> bool:
    return STOCK.get(order.item, 0) >= order.amount


@fa.workflow(version=1)
class ProcessOrder:
    def __init__(self) -> None:
        self.approved = False
        self.progress = "new"

    async def run(self, order: Order) -> str:
        status = await fa.variable("status", "processing")
        self.progress = f"{order.item} is {status.value}"
        await fa.wait_condition(lambda: self.approved)
        await status.set("confirmed" if await in_stock(order) else "out_of_stock")
        return status.value

    @fa.signal
    def approve(self) -> None:
        self.approved = True

    @fa.query
    def describe(self) -> str:
        return self.progress


app = fa.App([ProcessOrder])


async def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        config = fa.NodeConfig(listen="127.0.0.1:0", data=Path(data), bootstrap=True)
        async with fa.Node(app, config) as node:
            client = node.client
            tea = Order("order-1", "tea", 2)
            first = await client.start(ProcessOrder.run, tea, id=tea.order_id)
            print(f"{first.id}: {await first.query(ProcessOrder.describe)}")
            await first.signal(ProcessOrder.approve)
            print(f"{first.id}: {await first.result(timeout=30)}")

            coffee = Order("order-2", "coffee", 1)
            second = await client.start(ProcessOrder.run, coffee, id=coffee.order_id)
            await second.signal(ProcessOrder.approve)
            print(f"{second.id}: {await second.result(timeout=30)}")


if __name__ == "__main__":
    trio.run(main)
