"""What comes in and goes out at a node's edge: queries, answers, relays, pages of events."""

import tracemalloc
from random import Random

import pytest
import trio

import flowactor as fa
from flowactor.cluster.door import serve_client
from flowactor.cluster.links import Links
from flowactor.cluster.protocol.requests import (
    DescribeCluster,
    GetHistory,
    Query,
    ReadVariable,
    Request,
    Response,
    StartJson,
    Value,
)
from flowactor.cluster.vigil import Vigil
from flowactor.codec import encode_payload
from flowactor.codec.records import encode, join
from flowactor.errors import InternalError, Unavailable
from flowactor.identity import RunId
from flowactor.limits import CLIENT_REQUESTS_MAX
from flowactor.machine.operations import SignalRun
from flowactor.machine.replies import Done, Rejected
from flowactor.observability.events import LinkDown, LinkUp, RequestFailed
from flowactor.transport import Hello, frames
from tests.cluster.harness import TrioClock, cluster


class OwnError(fa.NonRetryableError):
    """A user's own class below one of flowactor's."""


@fa.workflow(version=1)
class Asked:
    async def run(self, seconds: float) -> int:
        await fa.sleep(seconds)
        return 1

    @fa.query
    def look(self) -> int:
        return 5

    @fa.query
    def stumble(self, how: str) -> int:
        if how == "assert":
            raise AssertionError("user's own")
        if how == "own":
            raise OwnError("user's own")
        if how == "exit":
            raise SystemExit("user's own")
        raise KeyError("user's own")


@fa.workflow(version=1, standby="cold")
class Cold(Asked):
    async def run(self, seconds: float) -> int:
        await fa.sleep(seconds)
        return 1


@fa.workflow(version=1)
class Other:
    async def run(self) -> int:
        return 1


@fa.workflow(version=1)
class Counting:
    def __init__(self) -> None:
        self.count = 0

    async def run(self, times: int, each: int) -> int:
        value = await fa.variable("value", 0)
        for _ in range(times):
            for number in range(each):
                await value.set(number)
            await fa.sleep(1)
        await fa.wait_condition(lambda: self.count > 1)
        return 1

    @fa.signal
    def poke(self) -> None:
        self.count += 1


class Pipe:
    """A connection to a peer that a test plays: ``feed`` what it says, ``heard`` what it got."""

    remote = "peer"

    def __init__(self, *, reads: bool = True) -> None:
        self.heard: list[bytes] = []
        self.reads = trio.Event()
        if reads:
            self.reads.set()
        self._sender, self._receiver = trio.open_memory_channel(100)

    def feed(self, *messages: object) -> None:
        self._sender.send_nowait(join([encode(message) for message in messages]))

    def hang_up(self) -> None:
        self._sender.close()

    async def receive(self) -> bytes:
        try:
            return await self._receiver.receive()
        except trio.EndOfChannel:
            raise Unavailable("gone") from None

    async def send(self, frame: bytes) -> None:
        await self.reads.wait()
        self.heard.append(frame)

    async def aclose(self, reason: str = "") -> None:
        self.hang_up()
        await trio.lowlevel.checkpoint()


def ask(number: int, timeout_ms: int = 10_000) -> Request:
    return Request(number, timeout_ms, "", 0, 0, DescribeCluster())


# -- a bug in a query, or in the node, is the trouble of one request -----------------------------


@pytest.mark.parametrize("how", ["assert", "own", "key"])
@pytest.mark.parametrize("seconds", [0.1, 1000.0], ids=["closed", "open"])
async def test_a_query_that_raises_is_its_askers_error(tmp_path, autojump_clock, how, seconds):
    """Whatever a query method raises comes as ``QueryFailed`` with type and text: in process, over
    the wire and relayed by a node without the code; nobody else on those ways notices.
    """
    code, none = fa.App([Asked]), fa.App([Other])
    async with cluster(tmp_path, {1: code, 2: none, 3: none}) as c:
        run = await c.client(1).start(Asked.run, seconds)
        await trio.sleep(1)
        wired = fa.connect("memory:2", transport=c.wires.transport("client"))
        async with wired as client:
            for asker in (c.client(1), c.client(2), client):
                handle = asker.get_handle(run.id)
                with pytest.raises(fa.QueryFailed, match=r"query stumble: .*Error: .*user's own"):
                    await handle.query(Asked.stumble, how)
                assert await handle.query(Asked.look) == 5
        assert c.running == [1, 2, 3]
        assert not c.seen(RequestFailed)


async def test_a_query_of_a_closed_run_may_exit(tmp_path, autojump_clock):
    """A query method that exits ends with an error, not the process."""
    async with cluster(tmp_path, fa.App([Asked]), size=1) as c:
        run = await c.client(1).start(Asked.run, 0.1)
        await run.result()
        with pytest.raises(fa.QueryFailed, match="SystemExit: user's own"):
            await run.query(Asked.stumble, "exit")


async def test_a_bug_costs_one_request(autojump_clock):
    """What raises while one request is answered, or cannot be encoded, is refused to its asker and
    observed; the connection goes on.
    """
    pipe, events = Pipe(), []

    async def serve(request: Request) -> object:
        await trio.lowlevel.checkpoint()
        if request.number == 1:
            raise KeyError("a bug")
        return Rejected("Unavailable", 5) if request.number == 2 else Done()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_client, pipe, serve, events.append)
        pipe.feed(ask(1), ask(2), ask(3))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    answers = {response.number: response.answer for response in answers_of(pipe)}
    assert answers.pop(3) == Done()
    assert [(answer.code, answer.outcome_unknown) for answer in answers.values()] == [
        (InternalError.__name__, True)
    ] * 2
    assert [event.request for event in events] == ["DescribeCluster"] * 2
    assert "KeyError: 'a bug'" in events[0].error


# -- who is asked --------------------------------------------------------------------------------


async def test_a_closed_cold_run_is_queried_wherever_its_history_is(tmp_path, autojump_clock):
    """The end of a cold run frees its queries from its owner: any node with the code replays the
    history, the owner alive or dead.
    """
    async with cluster(tmp_path, fa.App([Cold])) as c:
        owner, other = (number for number in c.running if number != c.leader())
        run = await c.client(owner).start(Cold.run, 0.1)
        await run.result()
        assert await c.client(other).get_handle(run.id).query(Cold.look) == 5
        c.kill(owner)
        with trio.fail_after(5):
            assert await c.client(other).get_handle(run.id).query(Cold.look) == 5


async def test_the_next_holder_is_asked_when_the_first_cannot_answer(tmp_path, autojump_clock):
    """A request that this node's code does not cover goes to another holder of the code when the
    link to the first breaks, or the first says that it is unavailable.
    """
    code, none = fa.App([Asked]), fa.App([Other])
    async with cluster(tmp_path, {1: code, 2: code, 3: none}) as c:
        run = await c.client(1).start(Asked.run, 1000.0)
        await c.converge()
        router = c.client(3)._caller._channel
        service = c.node(3)._services()[1]
        for trouble in (Unavailable("the link broke"), Rejected("Unavailable", "diverged")):
            service._peers = peers = Scripted(trouble)
            query = Query(run.id, "", "look", encode_payload([], None, ""))
            assert await router.request(Request(1, 5000, "", 0, 0, query)) == Value(b"\x05")
            assert peers.asked == [1, 2]


@pytest.mark.parametrize("unknown", [False, True])
async def test_nothing_proposed_is_known(tmp_path, autojump_clock, unknown):
    """The refusal of a change that reached no log says that nothing happened; if a node that broke
    off had it, even another's refusal says that it may have happened.
    """
    code, none = fa.App([Asked]), fa.App([Other])
    async with cluster(tmp_path, {1: code, 2: code, 3: none}) as c:
        broken = Unavailable("broke off")
        broken.outcome_unknown = unknown
        router = c.client(3)._caller._channel
        service = c.node(3)._services()[1]
        start = StartJson("id", RunId("run"), "Asked", 1, "[1]")
        for then in (broken, Rejected("InvalidInput", "no")):
            service._peers = Scripted(broken, then)
            answer = await router.request(Request(1, 5000, "", 0, 0, start))
            assert answer.outcome_unknown is unknown
        c.isolate(3)
        await c.until(lambda: not c.node(3).group.leader)
        signal = SignalRun("nobody", "", "x", b"")
        refused = await router.request(Request(1, 1000, "", 0, 0, signal))
        assert (refused.code, refused.outcome_unknown) == ("Unavailable", False)


class Scripted:
    """Peers that are all connected, and say these things, one after another; then five."""

    def __init__(self, *script: object) -> None:
        self.script = list(script)
        self.asked: list[int] = []

    def connected(self, peer: int) -> bool:
        return True

    def hears(self, peer: int) -> bool:
        return True

    async def relay(self, peer: int, request: Request) -> object:
        await trio.lowlevel.checkpoint()
        self.asked.append(peer)
        said = self.script.pop(0) if self.script else Value(b"\x05")
        if isinstance(said, Exception):
            raise said
        return said


# -- links ---------------------------------------------------------------------------------------


async def test_what_was_relayed_over_a_replaced_link_fails_at_once(autojump_clock):
    """A peer that dials anew has lost what was asked of its earlier connection: who waits is told,
    that it may have happened too, and does not wait for the deadline.
    """
    events = []
    links = Links(
        node=2,
        hello=Hello,
        transport=None,
        random=Random(1),
        receive=lambda *_: None,
        vigil=Vigil(TrioClock(), tuple, lambda *_: None),
        refusal=lambda _: None,
        greeted=lambda _: None,
        gone=lambda _: None,
        observer=events.append,
    )
    links.know({1: "a:1", 2: "b:2"})
    first, second = Pipe(), Pipe()

    async def serve(request: Request) -> object:
        raise AssertionError("neither connection delivers a request")

    async def ask_peer() -> None:
        with pytest.raises(Unavailable) as caught:
            await links.relay(1, ask(1))
        assert caught.value.outcome_unknown

    async with trio.open_nursery() as nursery:
        nursery.start_soon(links.adopt, 1, first, serve)
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as asking:
            asking.start_soon(ask_peer)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(links.adopt, 1, second, serve)
            asking.cancel_scope.deadline = trio.current_time() + 1
        assert not asking.cancel_scope.cancelled_caught
        assert links.connected(1)
        with trio.move_on_after(1):
            await links.relay(1, ask(2))
        assert len(second.heard) == 1
        nursery.cancel_scope.cancel()
    assert [type(event) for event in events] == [LinkUp, LinkDown, LinkUp, LinkDown]


# -- pages of events -----------------------------------------------------------------------------


async def test_events_go_on_behind_rows_that_show_nothing(tmp_path, autojump_clock, monkeypatch):
    """However many facts in a row tell people nothing, a stream of events comes past them, that of
    one run too.
    """
    monkeypatch.setattr("flowactor.client.streams.PAGE_EVENTS_MAX", 10)
    async with cluster(tmp_path, fa.App([Counting]), size=1) as c:
        client = c.client(1)
        runs = [await client.start(Counting.run, 0, 0, id=f"run {n}") for n in range(60)]
        watched = runs[0].events()
        async with trio.open_nursery() as nursery:
            for run in runs:
                nursery.start_soon(run.signal, Counting.poke)
        await client.start(Counting.run, 0, 0, id="later")
        await runs[0].signal(Counting.poke)
        kinds = [event.kind async for event in watched]
        assert kinds[-1] == "completed"
        seen = []
        with trio.fail_after(5):
            async for event in client.events():
                seen.append((event.index, event.ordinal))
                if event.workflow_id == "later":
                    break
        assert seen == sorted(set(seen))


@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_pages_of_a_history_read_what_they_show(tmp_path, autojump_clock, limit):
    """Pages of any size, also when one ends amid the commands of an activation, together are the
    whole history; a page costs what is on it, wherever it begins.
    """
    async with cluster(tmp_path, fa.App([Counting]), size=1) as c:
        run = await c.client(1).start(Counting.run, 20, 5)
        await trio.sleep(30)
        whole = await run.history()
        assert sum(event.kind == "variable_set" for event in whole) == 101
        router, events, place = c.client(1)._caller._channel, [], (0, 0)
        decoded = count_decoded_rows(c.node(1).group.state)
        while (page := await router.request(history_of(run, limit, place))).events:
            assert len(page.events) <= limit
            events += page.events
            place = page.next_after, page.next_offset
        assert tuple(events) == whole
        assert place[1] == 0
        begin = len(decoded)
        page = await router.request(history_of(run, 1000, (place[0] - 3, 0)))
        assert page.events == whole[-len(page.events) :]
        assert sum(decoded[begin:]) == 3
        assert (await run.history(limit=5)) == whole[-5:]


def history_of(run, limit: int, place: tuple[int, int]) -> Request:
    number, offset = place
    return Request(1, 5000, "", 0, 0, GetHistory(run.id, "", number, limit, offset=offset))


def count_decoded_rows(state) -> list[int]:
    """Counts, from now on, of the history rows that each query brings."""
    counts, select = [], state.select

    def counting(sql: str, parameters: tuple = ()) -> list:
        rows = select(sql, parameters)
        counts.append(len(rows))
        return rows

    state.select = counting
    return counts


# -- a client that does not read -----------------------------------------------------------------


async def test_a_client_that_does_not_read_is_not_served_further(autojump_clock):
    """A request keeps its place until its answer has left: a client that reads nothing is served so
    many requests and no more; when it reads, it gets the answers of all.
    """
    pipe, served = Pipe(reads=False), []

    async def serve(request: Request) -> object:
        await trio.lowlevel.checkpoint()
        served.append(request.number)
        return Done()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_client, pipe, serve)
        for frame in range(4):
            pipe.feed(*(ask(frame * 1000 + number) for number in range(1000)))
        await trio.testing.wait_all_tasks_blocked()
        assert len(served) == CLIENT_REQUESTS_MAX
        pipe.reads.set()
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(r.number for r in answers_of(pipe)) == list(range(4000))
        nursery.cancel_scope.cancel()


async def test_large_answers_wait_for_room(autojump_clock, monkeypatch):
    """Answers for a client that does not read take a bounded number of bytes, however many it asks
    for at once; it gets each of them, once, when it reads.
    """
    monkeypatch.setattr("flowactor.cluster.door.CLIENT_ANSWER_BYTES_MAX", 1_000_000)
    pipe, calls = Pipe(reads=False), 0

    async def serve(request: Request) -> object:
        nonlocal calls
        calls += 1
        await trio.lowlevel.checkpoint()
        return Value(bytes(100_000))

    tracemalloc.start()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_client, pipe, serve)
            pipe.feed(*map(ask, range(300)))
            await trio.testing.wait_all_tasks_blocked()
            held, peak = tracemalloc.get_traced_memory()
            assert held < peak < 5_000_000
            assert calls == 300
            pipe.reads.set()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    finally:
        tracemalloc.stop()
    assert sorted(r.number for r in answers_of(pipe)) == list(range(300))


def answers_of(pipe: Pipe) -> list[Response]:
    return [response for frame in pipe.heard for response in frames.unpack(frame, Response)]


# -- reads without a leader ----------------------------------------------------------------------


async def test_reads_are_forgotten_with_their_clients(tmp_path, autojump_clock):
    """A node that has lost its cluster keeps no read whose client has given up."""
    async with cluster(tmp_path, fa.App([Asked])) as c:
        c.isolate(3)
        await c.until(lambda: not c.node(3).group.leader)
        router = c.client(3)._caller._channel
        read = Request(1, 1000, "", 0, 0, ReadVariable("x"))
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(router.request, read)
            await trio.sleep(0.5)
            assert c.node(3).group._reads.has_new
        await trio.sleep(0.5)
        assert not c.node(3).group._reads.has_new
