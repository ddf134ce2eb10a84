"""Both sides of a greeting, on every transport."""

import pytest
import trio
from attrs import evolve

from flowactor.codec import records
from flowactor.errors import FlowactorError, MalformedDataError, Refused, Unavailable
from flowactor.limits import CONNECT_TIMEOUT_SECONDS, HELLO_BYTES_MAX
from flowactor.ports import Connection
from flowactor.transport import KNOCK, PEER, Hello, OtherCluster, TakenOut, greet

NODE_1 = Hello(cluster="blue", node=1, role=PEER, incarnation="a1", challenge="c1")
NODE_2 = Hello(cluster="blue", node=2, role=PEER, incarnation="a2", challenge="c2")


async def introduce(world, mine: Hello, theirs: Hello, mine_options=None, their_options=None):
    """Outcomes of both sides' ``greet``."""
    outcomes: dict[str, Hello | Exception] = {}

    async def meet(side: str, connection: Connection, hello: Hello, options) -> None:
        try:
            outcomes[side] = await greet(connection, hello, **(options or {}))
        except FlowactorError as error:
            outcomes[side] = error

    met = trio.Event()

    async def answer(connection: Connection) -> None:
        await meet("theirs", connection, theirs, their_options)
        met.set()

    async with trio.open_nursery() as nursery:
        address = await world.serve(nursery, answer)
        connection = await world.transport().dial(address)
        await meet("mine", connection, mine, mine_options)
        await met.wait()
        await connection.aclose()
        nursery.cancel_scope.cancel()
    return outcomes["mine"], outcomes["theirs"]


async def test_both_sides_learn_who_the_other_is(world) -> None:
    """Equal clusters, or a client that does not say its cluster, are welcome."""
    mine, theirs = await introduce(world, NODE_1, NODE_2)
    assert (mine, theirs) == (NODE_2, NODE_1)
    mine, theirs = await introduce(world, Hello(), NODE_2)
    assert (mine, theirs) == (NODE_2, Hello())


async def test_a_shared_secret_is_proved_and_never_sent(world) -> None:
    """Equal secrets are welcome, and no frame holds the secret."""
    options = {"secret": b"open sesame"}
    mine, theirs = await introduce(world, NODE_1, NODE_2, options, options)
    assert isinstance(mine, Hello)
    assert isinstance(theirs, Hello)
    assert mine.secured
    assert "sesame" not in repr(mine)


@pytest.mark.parametrize(
    ("mine", "theirs", "my_options", "their_options", "text"),
    [
        (NODE_1, Hello(cluster="red", node=2, role=PEER), {}, {}, "clusters differ.*check the"),
        (
            NODE_1,
            Hello(protocol=2, cluster="blue", node=2, role=PEER),
            {},
            {},
            "protocol versions differ, (2 and 1|1 and 2): upgrade the older",
        ),
        (NODE_1, NODE_2, {"secret": b"one"}, {"secret": b"two"}, "another secret"),
        (NODE_1, NODE_2, {"secret": b"one"}, {}, "the other has none: give both the same"),
        (NODE_1, NODE_2, {}, {"secret": b"two"}, "the other has none: give both the same"),
        (NODE_1, NODE_1, {}, {}, "a node to itself"),
        (NODE_1, Hello(cluster="blue", node=0, role=PEER), {}, {}, "node 0 cannot be a 'peer'"),
        (NODE_1, NODE_2, {"accept": lambda hello: f"{hello.node} left"}, {}, "2 left"),
        (NODE_1, NODE_2, {}, {"accept": lambda hello: f"{hello.node} left"}, "1 left"),
    ],
)
async def test_a_refusal_is_known_to_both_sides(
    world, mine, theirs, my_options, their_options, text
) -> None:
    """Wrong cluster, protocol, secret, self or taste: both sides raise ``Refused`` and can tell
    their users why (A-F18)."""
    outcomes = await introduce(world, mine, theirs, my_options, their_options)
    for outcome in outcomes:
        assert isinstance(outcome, Refused)
        with pytest.raises(Refused, match=text):
            raise outcome


async def test_nodes_of_two_clusters_know_each_other_for_strangers(world) -> None:
    """Both sides get who the other is; a client of another cluster is no such stranger."""
    stranger = Hello(cluster="red", node=1, role=PEER)
    for hello in (NODE_2, evolve(NODE_2, role=KNOCK)):
        mine, theirs = await introduce(world, hello, stranger)
        assert isinstance(mine, OtherCluster)
        assert isinstance(theirs, OtherCluster)
        assert (mine.theirs, theirs.theirs) == (stranger, hello)
    for outcome in await introduce(world, Hello(cluster="red"), NODE_2):
        assert type(outcome) is Refused


SAID_GONE = {"gone": lambda hello: "removed" if hello.node == 2 else ""}


@pytest.mark.parametrize("role", [PEER, KNOCK])
@pytest.mark.parametrize("options", [{}, {"secret": b"s"}, {"accept": lambda _: "another node"}])
async def test_a_node_that_was_taken_out_is_told(world, role, options) -> None:
    """Whether it dials or knocks, with a secret or without, and also by a node that it did not
    expect at that address; it is not told that by a node that does not know it.
    """
    secret = {"secret": options["secret"]} if "secret" in options else {}
    hello = evolve(NODE_2, role=role)
    mine, theirs = await introduce(world, hello, NODE_1, options, SAID_GONE | secret)
    assert isinstance(mine, TakenOut)
    assert mine.state == "removed"
    assert "node 2 was taken out of the cluster: it is removed" in str(mine)
    assert type(theirs) is Refused
    mine, theirs = await introduce(world, hello, NODE_1, secret, {"gone": lambda _: ""} | secret)
    assert (mine.node, theirs.node) == (1, 2)


@pytest.mark.parametrize(
    ("mine", "theirs", "mine_options"),
    [
        (NODE_2, evolve(NODE_1, cluster="red"), {}),
        (evolve(NODE_2, cluster=""), NODE_1, {}),
        (NODE_2, evolve(NODE_1, cluster=""), {}),
        (NODE_2, Hello(cluster="blue"), {}),
        (NODE_2, NODE_1, {"secret": b"another"}),
    ],
)
async def test_not_everybody_can_say_that_a_node_is_gone(world, mine, theirs, mine_options) -> None:
    """Not a node of another cluster, or of none that it names, not a client, and not who does not
    know the secret: a node that is well does not end by what they say.
    """
    secret = {"secret": b"guess"} if mine_options else {}
    outcome, _ = await introduce(world, mine, theirs, mine_options, SAID_GONE | secret)
    assert isinstance(outcome, Refused)
    assert not isinstance(outcome, TakenOut)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (b"", "undecodable"),
        (b"garbage", "undecodable"),
        (bytes(HELLO_BYTES_MAX + 1), f"{HELLO_BYTES_MAX + 1} bytes, the limit is"),
        (b"\x81\x19\x01\x2d", "no hello"),
        (b"\x83\x19\x01\x2c\x01\x02", "cannot be of type"),
    ],
)
async def test_something_else_than_hello_ends_the_connection(world, words, text) -> None:
    """No CBOR, too much of it, or another record: ``MalformedDataError`` here, a reason there."""

    async def babble(connection: Connection) -> None:
        await connection.send(words)
        with pytest.raises(Unavailable, match=text):  # noqa: PT012  # our hello may come first
            while True:
                await connection.receive()

    async with trio.open_nursery() as nursery:
        connection = await world.transport().dial(await world.serve(nursery, babble))
        with pytest.raises(MalformedDataError, match=text):
            await greet(connection, NODE_1)
        nursery.cancel_scope.cancel()
    assert world.observed == []


async def test_hello_without_a_verdict_is_not_enough(timeless_world, autojump_clock) -> None:
    """A peer that says who it is, and then never whether it accepts us, is given up."""

    async def half(connection: Connection) -> None:
        await connection.send(records.encode(NODE_2))
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        connection = await timeless_world.transport().dial(
            await timeless_world.serve(nursery, half)
        )
        with pytest.raises(Unavailable, match="did not say hello"):
            await greet(connection, NODE_1)
        nursery.cancel_scope.cancel()


async def test_a_frame_before_hello_is_bounded_and_after_it_is_not(world) -> None:
    """Strangers may send little; acquaintances up to the limit."""

    async def answer(connection: Connection) -> None:
        await greet(connection, NODE_2)
        await connection.send(await connection.receive())

    async with trio.open_nursery() as nursery:
        connection = await world.transport().dial(await world.serve(nursery, answer))
        await greet(connection, NODE_1)
        await connection.send(bytes(1_000_000))
        assert len(await connection.receive()) == 1_000_000
        await connection.aclose()
        nursery.cancel_scope.cancel()


async def test_silence_instead_of_hello_times_out(timeless_world, autojump_clock) -> None:
    """A peer that connects and says nothing is dropped after the connect time-out."""
    async with trio.open_nursery() as nursery:

        async def silent(_: Connection) -> None:
            await trio.sleep_forever()

        connection = await timeless_world.transport().dial(
            await timeless_world.serve(nursery, silent)
        )
        began = trio.current_time()
        with pytest.raises(Unavailable, match="did not say hello within 5 s"):
            await greet(connection, NODE_1)
        passed = trio.current_time() - began
        assert CONNECT_TIMEOUT_SECONDS <= passed <= CONNECT_TIMEOUT_SECONDS + 1
        nursery.cancel_scope.cancel()
