"""Request and reply between actors: a message that carries the promise of its answer."""

from collections.abc import Callable
from typing import TypeVar

import trio

from flowactor.actors.mailbox import Mailbox, Overflow
from flowactor.actors.promise import Promise, wait_until
from flowactor.errors import Overloaded

__all__ = ["ask"]

M = TypeVar("M")
R = TypeVar("R")


async def ask(
    mailbox: Mailbox[M], make: Callable[[Promise[R]], M], *, timeout_seconds: float, what: str
) -> R:
    """Put ``make(promise)`` into ``mailbox`` and wait for that promise.

    Args:
        mailbox: of the actor that is asked.
        make: builds the message around the promise which the actor will settle.
        timeout_seconds: for both, waiting for room and waiting for the answer.
        what: names the request in error messages, such as ``read of run order-7``.

    Raises:
        DeadlineExceeded: the message was delivered, but no answer came in time.
        Overloaded: the mailbox had no room (in time, if its rule is to wait): nothing happened.
        MailboxClosed: the actor has stopped: nothing happened.
    """
    promise: Promise[R] = Promise()
    message = make(promise)
    deadline = trio.current_time() + timeout_seconds
    if mailbox.overflow is Overflow.WAIT:
        with trio.move_on_at(deadline) as scope:
            await mailbox.put(message)
        if scope.cancelled_caught:
            raise Overloaded(f"{what}: {mailbox.name} had no room within {timeout_seconds:g} s")
    else:
        mailbox.put_nowait(message)
    return await wait_until(promise, deadline - trio.current_time(), what)
