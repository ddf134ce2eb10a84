"""The door for clients: one task per connection, one per request under way, answers batched.

A client that does not read its answers is not served further requests: the door stops receiving
while too many are under way, which TCP turns into back-pressure. Its trouble stays its own.
"""

from typing import Final

import trio

from flowactor.cluster.border import Serve, respond
from flowactor.cluster.requests import Request
from flowactor.limits import CLIENT_REQUESTS_MAX, PAYLOAD_BYTES_MAX
from flowactor.observability.events import Observer, ignore
from flowactor.ports import Connection
from flowactor.transport import Outbox, frames, pump

__all__ = ["serve_client"]

_ANSWER_BYTES_MAX: Final = PAYLOAD_BYTES_MAX * CLIENT_REQUESTS_MAX
"""Answers that may wait in one connection's outbox: it never overflows before requests stop."""


async def serve_client(connection: Connection, serve: Serve, observer: Observer = ignore) -> None:
    """Answer requests until the client leaves, which raises as the connection does.

    Raises:
        MalformedDataError: the client sent something that is no request.
    """
    room = trio.Semaphore(CLIENT_REQUESTS_MAX)
    outbox = Outbox(_ANSWER_BYTES_MAX)

    async def answer(request: Request) -> None:
        try:
            outbox.put(await respond(request, serve, observer))
        finally:
            room.release()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump, connection, outbox)
        while True:
            for request in frames.unpack(await connection.receive(), Request):
                await room.acquire()
                nursery.start_soon(answer, request)
