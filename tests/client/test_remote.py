"""The network channel: one connection for all requests, another node when it is lost."""

from functools import partial

import pytest
import trio

from flowactor.client.connect import connect, parse_addresses
from flowactor.client.remote import RemoteChannel
from flowactor.cluster.protocol.requests import Answer, Opened, ReadVariable, Request, VariableView
from flowactor.errors import (
    CallerError,
    ConfigurationError,
    DeadlineExceeded,
    InvalidInput,
    Refused,
    Unavailable,
)
from flowactor.limits import OPERATION_BYTES_MAX
from flowactor.machine.operations import OpenSession
from flowactor.machine.replies import Done, Rejected
from flowactor.transport import Hello, MemoryTransport, dial_and_greet, greet


def ask(name: str, timeout_ms: int = 10_000) -> Request:
    return Request(0, timeout_ms, "", 0, 0, ReadVariable(name))


def tell(request: Request) -> VariableView:
    """The answer of a sound node: it names what was asked, so that mix-ups show."""
    return VariableView(request.body.name, None, 0)


def channel_to(network, *addresses: str) -> RemoteChannel:
    return RemoteChannel(addresses, MemoryTransport(network).dial, seed=1)


@pytest.fixture
def dialled(network, nursery):
    """A channel that runs in the test's nursery, with greetings."""

    async def dial(*addresses: str) -> RemoteChannel:
        wire = MemoryTransport(network)

        async def greeted(to):
            connection, _ = await dial_and_greet(wire, to, Hello())
            return connection

        channel = RemoteChannel(addresses, greeted, seed=1)
        await nursery.start(channel.run)
        return channel

    return dial


async def test_concurrent_requests_share_one_connection(make_node, dialled, nursery):
    """Each of a hundred requests gets its own answer, in whatever order they come."""

    async def slow_if_even(request):
        number = int(request.body.name)
        for _ in range(5 if number % 2 else 50):
            await trio.lowlevel.checkpoint()
        return tell(request)

    node = make_node("a:1", slow_if_even)
    await nursery.start(node.run)
    channel = await dialled("a:1")
    answers = {}

    async def one(name: str) -> None:
        answers[name] = (await channel.request(ask(name))).name

    async with trio.open_nursery() as asking:
        for number in range(100):
            asking.start_soon(one, str(number))
    assert answers == {str(n): str(n) for n in range(100)}
    assert node.connections == 1


async def test_outstanding_requests_go_to_the_next_node(
    make_node, dialled, nursery, autojump_clock
):
    """What a dying connection left unanswered is sent again, unchanged, to the next address."""
    silent = make_node("a:1", lambda _: None)
    sound = make_node("b:1", tell)
    await nursery.start(silent.run)
    await nursery.start(sound.run)
    channel = await dialled("a:1", "b:1")
    answers = []

    async def one(name: str) -> None:
        answers.append((await channel.request(ask(name))).name)

    async with trio.open_nursery() as asking:
        for name in "xyz":
            asking.start_soon(one, name)
        await trio.testing.wait_all_tasks_blocked()
        await silent.drop()
    assert sorted(answers) == ["x", "y", "z"]
    assert sound.requests == silent.requests


async def test_same_node_is_tried_again_after_a_pause(make_node, dialled, nursery, autojump_clock):
    """With one address only, a lost connection is opened again; the back-off bounds how often."""
    node = make_node("a:1", tell)
    node.answer = lambda _: None
    await nursery.start(node.run)
    channel = await dialled("a:1")
    async with trio.open_nursery() as asking:
        asking.start_soon(channel.request, ask("x"))
        await trio.testing.wait_all_tasks_blocked()
        node.answer = tell
        await node.drop()
    assert node.connections == 2


async def test_frozen_node_is_left(make_node, dialled, nursery, autojump_clock):
    """A node that says nothing, not even that it cannot, costs one deadline and no more."""
    frozen = make_node("a:1", lambda _: None)
    sound = make_node("b:1", tell)
    await nursery.start(frozen.run)
    await nursery.start(sound.run)
    channel = await dialled("a:1", "b:1")
    with pytest.raises(DeadlineExceeded, match="ReadVariable"):
        await channel.request(ask("x", timeout_ms=1000))
    assert (await channel.request(ask("y"))).name == "y"


async def test_node_without_its_cluster_is_left(make_node, dialled, nursery, autojump_clock):
    """A refusal for want of a leader reaches the caller, whose next attempt asks another node."""
    lonely = make_node("a:1", lambda _: Rejected("Unavailable", "no leader"))
    sound = make_node("b:1", tell)
    await nursery.start(lonely.run)
    await nursery.start(sound.run)
    channel = await dialled("a:1", "b:1")
    assert isinstance(await channel.request(ask("x")), Rejected)
    await trio.sleep(1)
    assert (await channel.request(ask("y"))).name == "y"


async def test_what_is_under_way_stays_where_it_is(make_node, dialled, nursery, autojump_clock):
    """One slow request that a node gives up moves nothing but itself: what is under way there is
    answered there, what comes later goes to the next node, and then the old connection ends.
    """

    async def slow(request):
        await trio.sleep(5)
        return Rejected("DeadlineExceeded", "slow") if request.body.name == "x" else tell(request)

    async def later(request):
        await trio.sleep(1)
        return await slow(request)

    node = make_node("a:1", lambda request: (slow if request.body.name == "x" else later)(request))
    other = make_node("b:1", tell)
    await nursery.start(node.run)
    await nursery.start(other.run)
    channel = await dialled("a:1", "b:1")
    answers = []

    async def one(name: str) -> None:
        answers.append((await channel.request(ask(name))).name)

    async with trio.open_nursery() as asking:
        for name in "yz":
            asking.start_soon(one, name)
        assert (await channel.request(ask("x"))).code == "DeadlineExceeded"
        await trio.testing.wait_all_tasks_blocked()
        assert (answers, node.left) == ([], 0)
        await one("w")
    assert answers[0] == "w"
    assert sorted(answers[1:]) == ["y", "z"]
    assert [request.body.name for request in other.requests] == ["w"]
    await trio.testing.wait_all_tasks_blocked()
    assert node.left == 1


async def test_a_node_that_cannot_help_is_kept_while_there_is_no_other(
    make_node, dialled, nursery, autojump_clock
):
    """While no other node can be reached, requests still go to the one that is there."""
    node = make_node("a:1", lambda _: Rejected("Unavailable", "no leader"))
    await nursery.start(node.run)
    channel = await dialled("a:1", "b:1")
    assert isinstance(await channel.request(ask("x")), Rejected)
    node.answer = tell
    assert (await channel.request(ask("y"))).name == "y"


async def test_a_refusal_after_a_lost_connection_leaves_the_outcome_open(
    make_node, dialled, nursery, autojump_clock
):
    """What a second node refuses, a first one may have done; what was sent once is definite."""
    silent = make_node("a:1", lambda _: None)
    forgetful = make_node("b:1", lambda _: Rejected("SessionExpired", "who?"))
    await nursery.start(silent.run)
    await nursery.start(forgetful.run)
    channel = await dialled("a:1", "b:1")
    unknown = []

    async def one() -> None:
        unknown.append((await channel.request(ask("x"))).outcome_unknown)

    async with trio.open_nursery() as asking:
        asking.start_soon(one)
        await trio.testing.wait_all_tasks_blocked()
        await silent.drop()
    await one()
    assert unknown == [True, False]


async def test_request_larger_than_a_message_is_refused(
    make_node, dialled, nursery, autojump_clock
):
    """It is refused where it is made, at once; the connection and what is on it do not suffer."""
    node = make_node("a:1", tell)
    await nursery.start(node.run)
    channel = await dialled("a:1")
    with pytest.raises(InvalidInput, match="ReadVariable"):
        await channel.request(ask("x" * OPERATION_BYTES_MAX))
    assert (await channel.request(ask("y"))).name == "y"
    assert node.connections == 1


async def test_never_sent_is_told_apart_from_lost(make_node, dialled, nursery, autojump_clock):
    """Without any connection the outcome is known; after a connection that broke it is not."""
    node = make_node("a:1", lambda _: None)
    serving = await nursery.start(serve_until_cancelled, node)
    channel = await dialled("a:1")
    async with trio.open_nursery() as asking:
        asking.start_soon(expect_unavailable, channel, "sent", True)
        await trio.testing.wait_all_tasks_blocked()
        serving.cancel()
        await trio.sleep(0.1)
        asking.start_soon(expect_unavailable, channel, "unsent", False)


async def serve_until_cancelled(node, *, task_status) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run)
            task_status.started(scope)


async def expect_unavailable(channel, name: str, unknown: bool) -> None:
    with pytest.raises(Unavailable) as caught:
        await channel.request(ask(name, timeout_ms=3000))
    assert caught.value.outcome_unknown is unknown


async def test_garbage_from_a_node_ends_the_connection_only(
    network, nursery, dialled, make_node, autojump_clock
):
    """An answer that is no answer closes that connection; the request goes to the next node."""

    async def babble(connection) -> None:
        await greet(connection, Hello(node=1, role="peer"))
        await connection.receive()
        await connection.send(b"\xff\x00 not an answer")
        await trio.sleep_forever()

    serve = partial(MemoryTransport(network).serve, "a:1", babble)
    await nursery.start(lambda task_status: serve(task_status=task_status))
    await nursery.start(make_node("b:1", tell).run)
    channel = await dialled("a:1", "b:1")
    assert (await channel.request(ask("x"))).name == "x"


async def test_connect_fails_soon_if_nobody_is_there(network, autojump_clock):
    """The error names every address and why it cannot be used."""
    with pytest.raises(Unavailable, match=r"a:1.*b:2") as caught:
        async with connect("a:1,b:2", transport=MemoryTransport(network)):
            raise AssertionError("not reached")
    assert not caught.value.outcome_unknown


async def test_connect_passes_over_a_frozen_node(network, make_node, nursery, autojump_clock):
    """A first node that accepts and then says nothing leaves the second the time to answer."""

    async def silent(_) -> None:
        await trio.sleep_forever()

    serve = partial(MemoryTransport(network).serve, "a:1", silent)
    await nursery.start(lambda task_status: serve(task_status=task_status))

    def answer(request: Request) -> Answer:
        return Opened(1) if isinstance(request.body, OpenSession) else Done()

    await nursery.start(make_node("b:1", answer).run)
    async with connect("a:1,b:1", transport=MemoryTransport(network)) as client:
        assert await client.variable("v", int).delete()


async def test_connect_says_why_it_is_refused(network, make_node, nursery):
    """A refusal by every node is final, and reaches the caller with the node's words."""
    node = make_node("a:1", tell)
    node.accept = lambda _: "not you"
    await nursery.start(node.run)
    with pytest.raises(Refused, match="not you"):
        async with connect("a:1", transport=MemoryTransport(network)):
            raise AssertionError("not reached")


async def test_a_client_stays_with_one_cluster(network, make_node, nursery, autojump_clock):
    """Once a node has answered, one of another cluster at the next address is refused, in words
    that name both.
    """

    def answer(request: Request) -> Answer:
        return Opened(1) if isinstance(request.body, OpenSession) else Done()

    ours, twin = make_node("a:1", answer, "blue"), make_node("b:1", answer, "red")
    await nursery.start(twin.run)
    serving = await nursery.start(run_until_stopped, ours)
    async with connect(
        "a:1,b:1", transport=MemoryTransport(network), request_timeout=5.0
    ) as client:
        assert await client.variable("v", int).delete()
        serving.cancel()
        with pytest.raises(Unavailable, match="'red', and this client is one of cluster 'blue'"):
            await client.variable("v", int).delete()
        await nursery.start(ours.run)
        assert await client.variable("v", int).delete()
    assert twin.requests == []


async def run_until_stopped(node, *, task_status) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run)
            task_status.started(scope)


async def test_connect_raises_what_its_block_raises(network, make_node, nursery):
    """An error of the caller's own code comes out as itself, not wrapped in a group."""
    await nursery.start(make_node("a:1", lambda _: Done()).run)
    with pytest.raises(KeyError, match="mine") as caught:
        async with connect("a:1", transport=MemoryTransport(network)):
            raise KeyError("mine")
    assert caught.value.__context__ is None


@pytest.mark.parametrize("text", ["", ",", "host", "host:", ":7400", "host:0", "a:1,b", "a:70000"])
def test_addresses_are_checked(text):
    """What cannot be connected to is refused before anything is tried."""
    with pytest.raises(ConfigurationError):
        parse_addresses(text)


def test_addresses_may_be_several():
    """Blanks around the commas do not matter."""
    assert parse_addresses("a:1, [::1]:2") == ("a:1", "[::1]:2")


async def test_closed_client_says_so(network, make_node, nursery):
    """A handle that outlives its client fails at once with the reason, without waiting."""
    await nursery.start(make_node("a:1", tell).run)
    async with connect("a:1", transport=MemoryTransport(network)) as client:
        handle = client.get_handle("w")
    with pytest.raises(CallerError, match="closed"):
        await handle.describe()
