"""A node made of two functions, and entropy that repeats itself."""

from collections.abc import Awaitable, Callable
from itertools import count

import pytest
import trio

from flowactor.client.caller import Caller
from flowactor.cluster.protocol.requests import Answer, Opened, Request, Response
from flowactor.codec import records
from flowactor.machine.operations import OpenSession
from flowactor.transport import Hello, frames, greet
from flowactor.transport.memory import MemoryNetwork, MemoryTransport


class FixedEntropy:
    """Tokens that count up."""

    def __init__(self) -> None:
        self._tokens = count(1)

    def token_hex(self, size_bytes: int) -> str:
        return f"{next(self._tokens):0{size_bytes * 2}x}"

    def seed(self) -> int:
        return 7


class FakeChannel:
    """Answers from a script: an item is an answer, an error, or a function of the request.

    ``requests`` are all that came, but for the opening of sessions, which always succeeds and is
    kept in ``opened``. The last item of the script is repeated.
    """

    def __init__(self, *script: object) -> None:
        self.script = list(script)
        self.requests: list[Request] = []
        self.opened: list[str] = []

    async def request(self, request: Request) -> Answer:
        await trio.lowlevel.checkpoint()
        if isinstance(request.body, OpenSession):
            self.opened.append(request.body.session)
            return Opened(1)
        self.requests.append(request)
        item = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(item, Exception):
            raise item
        if callable(item):
            result = item(request)
            return await result if isinstance(result, Awaitable) else result
        return item


class FakeNode:
    """Listens at an address of a memory network; ``answer`` maps a request to an answer, or to None
    for silence. ``requests`` are all that came; ``drop`` breaks all connections; ``left`` counts
    those that ended.
    """

    def __init__(
        self, network: MemoryNetwork, address: str, answer: Callable, cluster: str = ""
    ) -> None:
        self.cluster = cluster
        self.transport = MemoryTransport(network, address)
        self.address = address
        self.answer = answer
        self.accept = lambda _: None
        self.requests: list[Request] = []
        self.connections = self.left = 0
        self._open = []

    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED) -> None:
        await self.transport.serve(self.address, self._serve, task_status=task_status)

    async def drop(self) -> None:
        for connection in self._open:
            await connection.aclose("dropped")
        self._open.clear()

    async def _serve(self, connection) -> None:
        await greet(connection, Hello(cluster=self.cluster, node=1, role="peer"), self.accept)
        self.connections += 1
        self._open.append(connection)
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    for request in frames.unpack(await connection.receive(), Request):
                        self.requests.append(request)
                        nursery.start_soon(self._reply, connection, request)
        finally:
            self.left += 1

    async def _reply(self, connection, request: Request) -> None:
        answer = self.answer(request)
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer is not None:
            data = records.encode(Response(request.number, answer))
            [frame] = frames.pack([data])
            await connection.send(frame)


@pytest.fixture
def entropy():
    return FixedEntropy()


@pytest.fixture
def make_channel():
    return FakeChannel


@pytest.fixture
def make_caller(entropy):
    """A caller over a scripted channel: ``make_caller(item, ...)`` gives (caller, channel)."""

    def make(*script, timeout: float = 30.0):
        channel = FakeChannel(*script)
        return Caller(channel, entropy, timeout), channel

    return make


@pytest.fixture
def network():
    return MemoryNetwork()


@pytest.fixture
def make_node(network):
    return lambda *of: FakeNode(network, *of)
