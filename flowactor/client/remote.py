"""A channel over the network: many requests on one connection, and another node when one is lost.

::

    request() --> link.outbox --> writer --> connection --> reader --> the waiting request()
                       ^                         |
                       `------ unanswered <------'  when it breaks: next address, back-off, again

A node that cannot help with a request, for it has lost its cluster, is left without hurry: what
comes from then on goes to another node as soon as one is connected, what is under way is waited for
where it is. Sending again is harmless: changes carry session and sequence, reads change nothing.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import attrs
import trio

from flowactor.actors.promise import Promise
from flowactor.client.channel import Channel
from flowactor.cluster.protocol.requests import Answer, Request, Response
from flowactor.codec import records
from flowactor.errors import (
    CallerError,
    DeadlineExceeded,
    InvalidInput,
    Refused,
    Unavailable,
    WorldError,
)
from flowactor.limits import CONNECT_TIMEOUT_SECONDS, OPERATION_BYTES_MAX
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
    """A request whose answer is awaited on ``link``, if there is one; ``sent`` counts how often a
    node may have received it.
    """

    data: bytes
    answer: Promise[Answer]
    link: "_Link | None" = None
    sent: int = 0


class _Link:
    """One connection: ``outbox`` waits to be written, ``carried`` (what waits there, too) for
    answers. It is ``over`` when another should follow: it broke, or its node cannot help.
    """

    def __init__(self, address: str, connection: Connection) -> None:
        self.address: Final = address
        self.connection: Final = connection
        self.outbox: list[_Pending] = []
        self.carried: dict[_Pending, None] = {}
        self.filled: Final = trio.lowlevel.ParkingLot()
        self.scope: Final = trio.CancelScope()
        self.over: Final = trio.Event()
        self.answered = False
        self._followed = False

    def carry(self, pending: _Pending) -> None:
        pending.link = self
        self.carried[pending] = None
        self.outbox.append(pending)
        self.filled.unpark_all()

    def release(self, pending: _Pending) -> None:
        """The request is answered, or given up."""
        self.carried.pop(pending, None)
        self._close_if_done()

    def followed(self) -> None:
        """Another link takes what comes from now on; this one ends with its last answer."""
        self._followed = True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._followed and not self.carried:
            self.scope.cancel()


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
        self._link: _Link | None = None
        self._closed = False
        self._trouble: dict[str, WorldError] = {}

    async def request(self, request: Request) -> Answer:
        if self._closed:
            raise CallerError("this client is closed: the block of its connect() has been left")
        number = self._number = self._number + 1
        data = records.encode(attrs.evolve(request, number=number))
        if len(data) > OPERATION_BYTES_MAX:
            raise InvalidInput(
                f"{type(request.body).__name__}: {len(data)} bytes, "
                f"a message carries {OPERATION_BYTES_MAX}"
            )
        pending = self._pending[number] = _Pending(data, Promise())
        if self._link is not None:
            self._link.carry(pending)
        try:
            with trio.move_on_after(request.timeout_ms / 1000 + LATE_SECONDS):
                return await pending.answer.wait()
            raise self._overdue(request, pending)
        finally:
            del self._pending[number]
            if pending.link is not None:
                pending.link.release(pending)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Stay connected until cancelled; started once the first connection stands.

        Raises:
            Refused: before any connection stood, every node refused this client.
        """
        try:
            async with trio.open_nursery() as nursery:
                refused = await self._stay_connected(nursery, task_status)
            raise refused
        finally:
            self._closed = True

    def describe_trouble(self) -> str:
        """Why there is no connection, one clause per address, for an error's text."""
        return "; ".join(str(error) for error in self._trouble.values()) or "not connected yet"

    # -- staying connected ------------------------------------------------------------------------

    async def _stay_connected(
        self, nursery: trio.Nursery, task_status: trio.TaskStatus[None]
    ) -> Refused:
        """Returns only if nobody will ever have this client."""
        turn = failures = 0
        started = False
        while True:
            address = self._addresses[turn % len(self._addresses)]
            turn += 1
            # A frozen node must not use up the time in which another would have answered.
            first_round = failures < len(self._addresses)
            share = len(self._addresses) if first_round else 1
            connection = await self._connect(address, CONNECT_TIMEOUT_SECONDS / share)
            if connection is not None:
                link = self._adopt(_Link(address, connection))
                nursery.start_soon(self._use, link)
                if not started:
                    task_status.started()
                    started = True
                await link.over.wait()
                if link.answered:
                    self._backoff.reset()
                    failures = 0
                    continue
            failures += 1
            refused = self._refused()
            if refused is not None and not started:
                return refused
            if failures % len(self._addresses) == 0:
                await trio.sleep(self._backoff.next_seconds())

    async def _connect(self, address: str, seconds: float) -> Connection | None:
        try:
            with trio.fail_after(seconds):
                return await self._dial(address)
        except trio.TooSlowError:
            self._trouble[address] = Unavailable(f"{address}: no connection in time")
        except WorldError as error:
            self._trouble[address] = error
        return None

    def _adopt(self, link: _Link) -> _Link:
        """From now on this is the link to use, also for what has none."""
        self._trouble.pop(link.address, None)
        before, self._link = self._link, link
        self._carry_all(link)
        if before is not None:
            before.followed()
        return link

    async def _use(self, link: _Link) -> None:
        """Work through one connection until it breaks, or is not needed any more."""
        trouble: WorldError = Unavailable(f"{link.address}: given up for another node")
        try:
            with link.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, link)
                    while True:
                        frame = await link.connection.receive()
                        for response in frames.unpack(frame, Response):
                            self._resolve(link, response)
        except* (WorldError, ConnectionError) as group:
            trouble = Unavailable(f"{link.address}: {group.exceptions[0]}")
        finally:
            self._lose(link, trouble)
            with trio.move_on_after(LATE_SECONDS, shield=True):
                await link.connection.aclose()

    async def _write(self, link: _Link) -> None:
        while True:
            while not link.outbox:
                await link.filled.park()
            batch, link.outbox = link.outbox, []
            for pending in batch:
                pending.sent += 1
            for frame in frames.pack([pending.data for pending in batch]):
                await link.connection.send(frame)

    def _lose(self, link: _Link, trouble: WorldError) -> None:
        """What this link leaves unanswered goes to the one that followed, or waits for the next."""
        self._trouble[link.address] = trouble
        if self._link is link:
            self._link = None
        for pending in link.carried:
            pending.link = None
        if self._link is not None:
            self._carry_all(self._link)
        link.over.set()

    def _carry_all(self, link: _Link) -> None:
        """Send over ``link`` whatever is unanswered and on no other."""
        for pending in self._pending.values():
            if pending.link is None and not pending.answer.done:
                link.carry(pending)

    # -- answers ----------------------------------------------------------------------------------

    def _resolve(self, link: _Link, response: Response) -> None:
        link.answered = True
        pending = self._pending.get(response.number)
        if pending is None:
            return  # its caller has gone
        answer = response.answer
        if isinstance(answer, Rejected):
            if pending.sent > 1:  # this node did not do it; what an earlier one did is not known
                answer = attrs.evolve(answer, outcome_unknown=True)
            if answer.code in CUT_OFF and len(self._addresses) > 1:
                link.over.set()
        pending.answer.set(answer)

    def _overdue(self, request: Request, pending: _Pending) -> WorldError:
        what = type(request.body).__name__
        if not pending.sent:
            return Unavailable(f"{what}: no node can be reached ({self.describe_trouble()})")
        if pending.link is not None:
            pending.link.scope.cancel()  # frozen: even a refusal would have come by now
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
