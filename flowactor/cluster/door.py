"""The door for clients: one task per connection, one per request under way, answers batched.

A request keeps its place until its answer has left. A client that does not read is served no
further: without a free place the door stops receiving, which TCP turns into back-pressure. Its
trouble stays its own.
"""

from typing import Final

import trio

from flowactor.cluster.protocol.border import Serve, respond
from flowactor.cluster.protocol.requests import Request
from flowactor.limits import CLIENT_ANSWER_BYTES_MAX, CLIENT_REQUESTS_MAX, FRAME_BYTES_MAX
from flowactor.observability.events import Observer, ignore
from flowactor.ports import Connection
from flowactor.transport import Outbox, frames, pump

__all__ = ["serve_client"]


async def serve_client(connection: Connection, serve: Serve, observer: Observer = ignore) -> None:
    """Answer requests until the client leaves, which raises as the connection does.

    Raises:
        MalformedDataError: the client sent something that is no request.
    """
    visit = _Visit(serve, observer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump, connection, visit.outbox, visit.sent)
        while True:
            for request in frames.unpack(await connection.receive(), Request):
                await visit.places.acquire()
                nursery.start_soon(visit.answer, request)


class _Visit:
    """What one client asked and has not been sent the answer of."""

    def __init__(self, serve: Serve, observer: Observer) -> None:
        # Room is looked for before an answer is put in, so the last one may go beyond the limit.
        self.outbox: Final = Outbox(CLIENT_ANSWER_BYTES_MAX + FRAME_BYTES_MAX)
        self.places: Final = trio.Semaphore(CLIENT_REQUESTS_MAX)
        self._serve: Final = serve
        self._observer: Final = observer
        self._unsent_bytes = 0
        self._room: Final = trio.lowlevel.ParkingLot()
        self._turn: Final = trio.Lock()

    async def answer(self, request: Request) -> None:
        """Queue the answer. One that finds no room is not kept, but made again once there is, one
        after another: asking twice is harmless, a thousand answers are a burden.
        """
        answer = await respond(request, self._serve, self._observer)
        if self._is_full:
            del answer
            async with self._turn:
                await self._until_room()
                answer = await respond(request, self._serve, self._observer)
                await self._until_room()
                self._put(answer)
        else:
            self._put(answer)

    def sent(self, answers: list[bytes]) -> None:
        """These have left."""
        for answer in answers:
            self._unsent_bytes -= len(answer)
            self.places.release()
        self._room.unpark_all()

    @property
    def _is_full(self) -> bool:
        return self._unsent_bytes >= CLIENT_ANSWER_BYTES_MAX

    async def _until_room(self) -> None:
        while self._is_full:
            await self._room.park()

    def _put(self, answer: bytes) -> None:
        self._unsent_bytes += len(answer)
        self.outbox.put(answer)
