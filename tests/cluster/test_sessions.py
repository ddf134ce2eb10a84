"""At most once, however often it is sent: sessions of clients, over whole nodes that die."""

import pytest
import trio

import flowactor as fa
from flowactor.actors import Promise
from flowactor.cluster.protocol.requests import Opened, Request
from flowactor.codec import encode_payload
from flowactor.codec.records import encode
from flowactor.identity import SessionId
from flowactor.machine.operations import (
    ClientOperation,
    CompareAndSet,
    OpenSession,
    SignalRun,
    WriteVariable,
)
from flowactor.machine.replies import Rejected, Written
from tests.cluster.harness import OUTSIDE, cluster

EVERYWHERE = "memory:1,memory:2,memory:3"


@fa.step
async def act() -> str:
    OUTSIDE.bump("act")
    await trio.lowlevel.checkpoint()
    return "acted"


@fa.workflow(version=1)
class Once:
    async def run(self) -> str:
        return await act()


@fa.workflow(version=1)
class Tally:
    def __init__(self) -> None:
        self.seen: list[int] = []

    async def run(self, count: int) -> list[int]:
        await fa.wait_condition(lambda: len(self.seen) >= count)
        return self.seen

    @fa.signal
    def count(self, number: int) -> None:
        self.seen.append(number)


APP = fa.App([Once, Tally])


@pytest.mark.parametrize("moment", [1, 3, 6, 8, 10, 15])
async def test_proposal_once(tmp_path, autojump_clock, moment):
    """The leader is killed while dozens of signals are on their way through it: each that a client
    sent, and sends again until it is answered, is handled once.
    """
    async with cluster(tmp_path, APP) as c:
        leader = c.leader()
        other = next(number for number in c.running if number != leader)
        run = await c.client(other).start(Tally.run, 60)

        async def signal(client: fa.Client, number: int) -> None:
            await client.get_handle(run.id).signal(Tally.count, number)

        async with (
            fa.connect(EVERYWHERE, transport=c.wires.transport("memory:9")) as remote,
            trio.open_nursery() as nursery,
        ):
            await signal(remote, 0)  # sessions are open: the first thing on its way is a signal
            await signal(c.client(other), 1)
            for number in range(2, 60):
                nursery.start_soon(signal, (remote, c.client(other))[number % 2], number)
            for _ in range(moment):
                await trio.lowlevel.checkpoint()
            c.kill(leader)
        await c.dead(leader)
        seen = c.client(other).get_handle(run.id, result_type=list[int])
        assert sorted(await seen.result()) == list(range(60))
        await c.start(leader)
        await c.settle()
        await c.converge()


async def test_start_whose_answer_is_lost(tmp_path, autojump_clock):
    """E3: a start was carried out and its answer lost; sent again to another node it finds the same
    run.
    """
    async with cluster(tmp_path, APP) as c:
        transport = c.wires.transport("memory:9")
        async with fa.connect("memory:1,memory:2", transport=transport) as client:
            assert (await client.status()).node == 1
            await client.variable("any", int).set(1)  # its session is open
            c.wires.silence(["memory:1"], ["memory:9"])
            handles: Promise[fa.WorkflowHandle] = Promise()

            async def start() -> None:
                handles.set(await client.start(Once.run, id="once"))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(start)
                await c.until(lambda: OUTSIDE.count("act"), "it was started all the same")
                assert not handles.done
            run = await handles.wait()
            assert (await client.status()).node == 2
            assert await run.result() == "acted"
            assert (await client.list()).total == 1
            assert OUTSIDE.count("act") == 1


async def test_the_same_sequence_again_gets_the_same_answer(tmp_path, autojump_clock):
    """Whatever happened since, a repeated request is not applied again but answered as before: at
    once, at another node, and after all nodes were killed. A sequence that was acknowledged, or
    that belongs to no session, is refused.
    """
    async with cluster(tmp_path, APP) as c:

        async def ask(number, sequence, body, session="mine", acknowledged=1):
            request = Request(0, 3000, SessionId(session), sequence, acknowledged, body)
            return await c.client(number)._caller._channel.request(request)

        for number in (1, 2):
            assert isinstance(await ask(number, 0, OpenSession(SessionId("mine"))), Opened)
        swap = CompareAndSet("counter", 0, b"\x01")
        for number in (1, 2, 3):
            assert await ask(number, 1, swap) == Written(1)
        assert await ask(1, 2, WriteVariable("counter", b"\x02")) == Written(2)
        c.kill(1, 2, 3)
        await c.dead(1, 2, 3)
        await c.start()
        await c.settle()
        assert await ask(3, 1, swap) == Written(1)
        assert await ask(3, 2, WriteVariable("counter", b"\x02")) == Written(2)
        assert await c.client(1).variable("counter", int).get() == 2

        assert await ask(1, 3, WriteVariable("counter", b"\x03"), acknowledged=3) == Written(3)
        for unknown in (await ask(2, 1, swap), await ask(2, 1, swap, session="nobody's")):
            assert isinstance(unknown, Rejected)
            assert unknown.code == "SessionExpired"
        assert await c.client(1).variable("counter", int).get() == 3


async def test_copies_in_the_log_change_nothing(tmp_path, autojump_clock):
    """An operation that every node proposed twice stands in the log six times and is applied
    once.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Tally.run, 3)
        session = SessionId("copied")
        arguments = encode_payload([7], None, "")
        signal = ClientOperation(session, 1, 1, SignalRun(run.id, "", "count", arguments))
        before = c.node(1).group.applied
        c.node(1).group.propose(encode(OpenSession(session)))
        await c.until(lambda: c.node(1).group.applied > before, "the session is open")
        for _ in range(2):
            for number in c.running:
                c.node(number).group.propose(encode(signal))
        await trio.sleep(1)
        await run.signal(Tally.count, 8)
        await run.signal(Tally.count, 9)
        assert await run.result() == [7, 8, 9]
        await c.converge()
