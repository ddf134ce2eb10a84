"""Workflows and steps that several tests use; at module level, as users write them."""

from attrs import define, field, frozen

import flowactor as fa


@frozen
class Order:
    order_id: str
    item: str = "tea"
    amount: int = 1


class PaymentDeclined(Exception):
    """A custom error with fields of its own."""

    def __init__(self, order_id: str, *, code: int) -> None:
        super().__init__(f"order {order_id} was declined with code {code}")
        self.order_id = order_id
        self.code = code


@define
class OutOfStock(Exception):
    item: str
    wanted: int
    left: int = field(default=0, alias="left_over")


class Fatal(fa.NonRetryableError):
    """Ends a step at once."""


ONCE = fa.RetryPolicy(maximum_attempts=1)


@fa.step(retry=ONCE)
async def echo(value: int) -> int:
    return value


@fa.step(retry=ONCE)
async def charge_card(order: Order, currency: str = "EUR", *, urgent: bool = False) -> str:
    return f"{order.order_id} {order.amount} {currency}{' urgent' if urgent else ''}"


@fa.step(retry=ONCE)
async def decline(order_id: str) -> str:
    error = PaymentDeclined(order_id, code=51)
    error.add_note("the bank was asked twice")
    raise error from ConnectionResetError(104, "reset by peer")


@fa.step(retry=ONCE)
async def refund(order_id: str) -> str:
    return f"refunded {order_id}"
