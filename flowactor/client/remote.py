"""A channel over the network: many requests on one connection, and another node when one is lost.

::

    request() --> outbox --> writer --> connection --> reader --> the waiting request()
                    ^                       |
                    `--- all unanswered <---'  when it breaks: next address, back-off, sent again

Sending again is harmless: changes carry session and sequence, reads change nothing.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import attrs
import trio

from flowactor.actors.promise import Promise
from flowactor.client.channel import Channel
from flowactor.cluster.requests import Answer, Request, Response
from flowactor.codec import records
from flowactor.errors import CallerError, DeadlineExceeded, Refused, Unavailable, WorldError
from flowactor.limits import CONNECT_TIMEOUT_SECONDS
from flowactor.machine.replies import Rejected
from flowactor.ports import Connection
from flowactor.transport import frames
from flowactor.transport.backoff import Backoff

__all__ = ["Dial", "RemoteChannel"]

Dial = Callable[[str], Awaitable[Connection]]
"""Connect to an address and greet the node there. Raises ``Unavailable`` or ``Refused``."""

LATE_SECONDS: Final = 1.0
"""An answer overdue by this much means that the node, or the way to it, is frozen."""

CUT_OFF: Final = (Unavailable.__name__, DeadlineExceeded.__name__)
"""The refusals of a node that has lost its cluster; another node may still have it."""


@attrs.define(eq=False)
class _Pending:
    """A request whose answer is awaited; ``sent`` once some node may have received it."""

    data: bytes
    answer: Promise[Answer]
    sent: bool = False


class RemoteChannel(Channel):
    """``run`` in a nursery keeps it connected; see ``connect`` for the usual way to get one.

    ``addresses`` are tried in turn, starting with the first, and without a pause until each had its
    turn; ``seed`` is for the back-off's jitter.
    """

    def __init__(self, addresses: Sequence[str], dial: Dial, seed: int) -> None:
        assert addresses, "a channel needs an address"
        self._addresses = tuple(addresses)
        self._dial = dial
        self._backoff = Backoff(random.Random(seed))
        self._number = 0
        self._pending: dict[int, _Pending] = {}
        self._outbox: list[_Pending] = []
        self._written = trio.lowlevel.ParkingLot()
        self._link: trio.CancelScope | None = None
        self._closed = False
        self._trouble: dict[str, WorldError] = {}

    async def request(self, request: Request) -> Answer:
        if self._closed:
            raise CallerError("this client is closed: the block of its connect() has been left")
        number = self._number = self._number + 1
        pending = _Pending(records.encode(attrs.evolve(request, number=number)), Promise())
        self._pending[number] = pending
        self._post(pending)
        try:
            with trio.move_on_after(request.timeout_ms / 1000 + LATE_SECONDS):
                return await pending.answer.wait()
        finally:
            del self._pending[number]
        raise self._overdue(request, pending)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Stay connected until cancelled; started once the first connection stands.

        Raises:
            Refused: before any connection stood, every node refused this client.
        """
        try:
            await self._stay_connected(task_status)
        finally:
            self._closed = True

    async def _stay_connected(self, task_status: trio.TaskStatus[None]) -> None:
        turn = failures = 0
        started = False
        while True:
            address = self._addresses[turn % len(self._addresses)]
            turn += 1
            try:
                with trio.fail_after(CONNECT_TIMEOUT_SECONDS):
                    connection = await self._dial(address)
            except trio.TooSlowError:
                self._trouble[address] = Unavailable(f"{address}: no connection in time")
            except WorldError as error:
                self._trouble[address] = error
            else:
                if not started:
                    task_status.started()
                    started = True
                if await self._use(connection, address):
                    self._backoff.reset()
                    failures = 0
                    continue
            failures += 1
            refused = self._refused()
            if refused is not None and not started:
                raise refused
            if failures % len(self._addresses) == 0:
                await trio.sleep(self._backoff.next_seconds())

    def describe_trouble(self) -> str:
        """Why there is no connection, one clause per address, for an error's text."""
        return "; ".join(str(error) for error in self._trouble.values()) or "not connected yet"

    async def _use(self, connection: Connection, address: str) -> bool:
        """Work through one connection until it breaks; returns whether it answered anything."""
        self._trouble.pop(address, None)
        self._outbox = list(self._pending.values())
        answered = False
        trouble: WorldError = Unavailable(f"{address}: given up for another node")
        try:
            with trio.CancelScope() as self._link:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, connection)
                    while True:
                        frame = await connection.receive()
                        for response in frames.unpack(frame, Response):
                            self._resolve(response)
                            answered = True
        except* (WorldError, ConnectionError) as group:
            trouble = Unavailable(f"{address}: {group.exceptions[0]}")
        finally:
            self._link = None
            with trio.move_on_after(LATE_SECONDS, shield=True):
                await connection.aclose()
        self._trouble[address] = trouble
        return answered

    async def _write(self, connection: Connection) -> None:
        while True:
            while not self._outbox:
                await self._written.park()
            batch, self._outbox = self._outbox, []
            for pending in batch:
                pending.sent = True
            for frame in frames.pack([pending.data for pending in batch]):
                await connection.send(frame)

    def _post(self, pending: _Pending) -> None:
        if self._link is not None:
            self._outbox.append(pending)
            self._written.unpark_all()

    def _resolve(self, response: Response) -> None:
        pending = self._pending.get(response.number)
        if pending is None:
            return  # its caller has gone
        pending.answer.set(response.answer)
        if isinstance(response.answer, Rejected) and response.answer.code in CUT_OFF:
            self._try_another()

    def _try_another(self) -> None:
        """Leave a node that cannot help; the unanswered requests go to the next one."""
        if self._link is not None and len(self._addresses) > 1:
            self._link.cancel()

    def _overdue(self, request: Request, pending: _Pending) -> WorldError:
        what = type(request.body).__name__
        if not pending.sent:
            return Unavailable(f"{what}: no node can be reached ({self.describe_trouble()})")
        if self._link is not None:
            self._link.cancel()  # frozen: even a refusal would have come by now
            return DeadlineExceeded(f"{what}: no answer in time")
        error = Unavailable(f"{what}: the connection was lost ({self.describe_trouble()})")
        error.outcome_unknown = True
        return error

    def _refused(self) -> Refused | None:
        """If every node refuses this client, waiting for one that does not is no use."""
        troubles = [self._trouble.get(address) for address in self._addresses]
        if not all(isinstance(trouble, Refused) for trouble in troubles):
            return None
        for pending in self._pending.values():
            pending.answer.fail(Refused(self.describe_trouble()))
        return Refused(self.describe_trouble())
