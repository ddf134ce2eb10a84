"""What calls become on the way out, and what answers become on the way in."""

import attrs
import pytest
import trio
from attrs import frozen

import flowactor as fa
from flowactor.client import Client
from flowactor.cluster.protocol.requests import (
    Ended,
    EventPage,
    EventPlace,
    EventView,
    FollowedEvents,
    FollowEvents,
    GetHistory,
    GetResult,
    ReadVariable,
    RunPage,
    Value,
    VariableView,
    WatchVariable,
)
from flowactor.codec import payloads
from flowactor.machine.operations import CompareAndSet, SignalRun, StartRun, WriteVariable
from flowactor.machine.replies import Done, Rejected, RunStatus, Started, Written
from flowactor.workflow import encode_failure


@frozen
class Order:
    order_id: str
    amount: int


class OutOfStockError(Exception):
    pass


@fa.workflow(version=3)
class ProcessOrder:
    async def run(self, order: Order, rush: bool = False) -> list[Order]:
        await fa.checkpoint()
        return [order]

    @fa.signal
    def add_note(self, note: str) -> None: ...

    @fa.query
    def orders(self, least: int) -> list[Order]: ...


STARTED = Started("w", "r1", 3, True)
ORDER = Order("o-1", 5)


@pytest.fixture
def make_client(make_channel, entropy):
    """A client over a scripted channel: ``make_client(item, ...)`` gives (client, channel)."""

    def make(*script):
        channel = make_channel(*script)
        return Client(channel, entropy=entropy), channel

    return make


def ended(status: RunStatus, **more) -> Ended:
    return Ended("r1", status, **more)


def encoded(value: object) -> bytes:
    return payloads.encode_payload(value, None, "test")


# -- start -------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", [ProcessOrder.run, ProcessOrder])
async def test_start_by_reference_is_typed(make_client, reference):
    """A reference gives type name, its own version, and arguments encoded with its hints."""
    client, channel = make_client(STARTED)
    handle = await client.start(reference, ORDER, id="w", timeout=1.5)
    body = channel.requests[0].body
    assert isinstance(body, StartRun)
    assert (body.workflow_id, body.workflow_type, body.version) == ("w", "ProcessOrder", 3)
    assert body.timeout_ns == 1_500_000_000
    hints = {"order": Order}
    assert payloads.decode_arguments(body.arguments, hints, 1, "test") == (ORDER,)
    assert (handle.id, handle.run_id) == ("w", "r1")


async def test_start_by_name_leaves_version_and_types_to_the_cluster(make_client):
    """A string starts the newest version; its arguments travel without this process's types."""
    client, channel = make_client(STARTED)
    await client.start("ProcessOrder", {"order_id": "x", "amount": 1})
    assert channel.requests[0].body.version == 0
    assert len(channel.requests[0].body.workflow_id) == 32


async def test_ids_are_fresh(make_client):
    """Without an id every start makes up its own workflow id, and every start its own run id."""
    client, channel = make_client(STARTED)
    for _ in range(3):
        await client.start(ProcessOrder.run, ORDER)
    ids = [(r.body.workflow_id, r.body.run_id) for r in channel.requests]
    assert len({each for pair in ids for each in pair}) == 6


@pytest.mark.parametrize(
    ("args", "path"),
    [
        ((Order("x", "much"),), r"\$\.order\.amount"),
        (("text",), r"\$\.order"),
        ((), "order"),
        ((ORDER, True, 3), "order, rush"),
    ],
)
async def test_wrong_arguments_fail_at_the_call(make_client, args, path):
    """What does not fit is refused here, with the path of the field; nothing is sent."""
    client, channel = make_client(STARTED)
    with pytest.raises(fa.InvalidInput, match=path):
        await client.start(ProcessOrder.run, *args)
    assert channel.requests == []


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
async def test_time_out_must_be_a_span(make_client, timeout):
    """A time-out that says nothing, or ends before it begins, is refused here."""
    client, _ = make_client(STARTED)
    with pytest.raises(fa.InvalidInput, match="time-out"):
        await client.start(ProcessOrder.run, ORDER, timeout=timeout)


async def test_what_is_no_workflow_is_refused(make_client):
    """A plain class, or a handler of the other kind, is not mistaken for a reference."""
    client, _ = make_client(STARTED)
    with pytest.raises(fa.InvalidInput, match=r"@fa\.workflow"):
        await client.start(Order, 1)
    with pytest.raises(fa.InvalidInput, match=r"@fa\.signal"):
        await client.get_handle("w").signal(ProcessOrder.orders, 1)


# -- results -----------------------------------------------------------------------------------


async def test_result_is_decoded_to_the_return_type(make_client):
    """The annotation of ``run`` says what comes back, also inside containers."""
    result = payloads.encode_payload([ORDER], list[Order], "test")
    client, _ = make_client(STARTED, ended(RunStatus.COMPLETED, result=result))
    assert await client.execute(ProcessOrder.run, ORDER) == [ORDER]


async def test_result_is_asked_for_in_rounds_until_it_is_there(make_client):
    """``not yet`` is no end: the same question is asked again."""
    running = ended(RunStatus.RUNNING)
    done = ended(RunStatus.COMPLETED, result=encoded(7))
    client, channel = make_client(running, ended(RunStatus.PARKED), done)
    assert await client.get_handle("w", result_type=int).result() == 7
    assert len(channel.requests) == 3
    assert all(isinstance(r.body, GetResult) for r in channel.requests)


async def test_a_r30_deadline_passes_while_the_run_goes_on(make_client, autojump_clock):
    """A-R30: waiting with a time-out raises when it is over; nothing about the run is unknown."""

    async def wait(request):
        await trio.sleep(request.body.wait_ms / 1000)
        return ended(RunStatus.RUNNING)

    client, _ = make_client(wait)
    began = trio.current_time()
    with pytest.raises(fa.DeadlineExceeded, match="goes on") as caught:
        await client.get_handle("w").result(timeout=25)
    assert trio.current_time() - began == pytest.approx(25)
    assert not caught.value.outcome_unknown


async def test_waiting_for_a_parked_run_tells_why_it_does_not_end(make_client, autojump_clock):
    """A run that will not end by itself must not read like one that is slow."""
    client, _ = make_client(ended(RunStatus.PARKED, reason="no live voter has registered T v2"))
    with pytest.raises(fa.DeadlineExceeded, match=r"1\.0 s; it is parked: no live voter has"):
        await client.get_handle("w").result(timeout=1.0)


async def test_a_r30_result_that_is_there_is_given_at_once(make_client):
    """A-R30: after the end nobody waits, not even with a time-out of 0; all get the same."""
    client, _ = make_client(ended(RunStatus.COMPLETED, result=encoded(7)))
    handle = client.get_handle("w", result_type=int)
    results = []

    async def wait() -> None:
        results.append(await handle.result(timeout=0))

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(wait)
    assert results == [7] * 100


async def test_failure_has_the_original_error_as_cause(make_client):
    """What the workflow raised is ``__cause__``: type, message, and its own causes."""
    error = OutOfStockError("no tea")
    error.__cause__ = KeyError("tea")
    failure = encode_failure(error)
    client, _ = make_client(ended(RunStatus.FAILED, failure=failure))
    with pytest.raises(fa.WorkflowFailed, match="no tea") as caught:
        await client.get_handle("w").result()
    assert isinstance(caught.value.__cause__, OutOfStockError)
    assert isinstance(caught.value.__cause__.__cause__, KeyError)


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (RunStatus.CANCELLED, fa.WorkflowCancelled),
        (RunStatus.TERMINATED, fa.WorkflowTerminated),
        (RunStatus.TIMED_OUT, fa.WorkflowTimedOut),
    ],
)
async def test_other_endings_are_errors_of_their_own(make_client, status, cls):
    """Each way to end has its class, and the reason is its text."""
    client, _ = make_client(ended(status, reason="because"))
    with pytest.raises(cls, match="because"):
        await client.get_handle("w").result()


# -- signals, queries, lists -------------------------------------------------------------------


async def test_signal_and_query_are_typed_by_reference(make_client):
    """Arguments are encoded with the handler's hints, and a query's answer decoded with them."""
    answer = payloads.encode_payload([ORDER], list[Order], "test")
    client, channel = make_client(Done(), Value(answer))
    handle = client.get_handle("w")
    await handle.signal(ProcessOrder.add_note, "soon")
    assert await handle.query(ProcessOrder.orders, 1) == [ORDER]
    assert channel.requests[0].body == SignalRun("w", "", "add_note", encoded(["soon"]))
    with pytest.raises(fa.InvalidInput, match="note"):
        await handle.signal(ProcessOrder.add_note, 5)


async def test_list_names_its_filters(make_client):
    """A workflow class and its name filter alike; the defaults filter nothing."""
    client, channel = make_client(RunPage((), 0))
    await client.list()
    await client.list(status=RunStatus.FAILED, type=ProcessOrder, limit=2, offset=1)
    bodies = [attrs.astuple(r.body) for r in channel.requests]
    assert bodies == [("", "", 0, 100), ("failed", "ProcessOrder", 1, 2)]


# -- events ------------------------------------------------------------------------------------


def event(index: int, kind: str = "step_completed", run_id: str = "r1") -> EventView:
    return EventView(1, index, 0, 0, "w", run_id, kind, "", 1)


class Log:
    """A cluster's events, as a node answers for them; ``page`` events at once."""

    def __init__(self, *events: EventView, page: int = 2) -> None:
        self.events = list(events)
        self.page = page

    async def __call__(self, request):
        body = request.body
        if isinstance(body, GetHistory):
            of_run = [e for e in self.events if e.run_id == "r1"]
            if body.newest:
                return EventPage(tuple(of_run[-body.limit :]), 0, 0)
            taken = 3 * body.after + body.offset  # each row of this history has three facts
            page = of_run[taken:][: self.page]
            if not page:
                await trio.sleep(body.wait_ms / 1000)
            return EventPage(tuple(page), *divmod(taken + len(page), 3))
        assert isinstance(body, FollowEvents)
        place = body.places[0] if body.places else EventPlace(1, 0, 0)
        page = [e for e in self.events if (e.index, e.ordinal) > (place.index, place.ordinal)]
        page = page[: self.page]
        if not page:
            await trio.sleep(body.wait_ms / 1000)
            return FollowedEvents((), (place,))
        return FollowedEvents(tuple(page), (EventPlace(1, page[-1].index, page[-1].ordinal),))


async def test_a_r29_events_are_never_dropped(make_client, autojump_clock):
    """A-R29: a reader much slower than the events still sees each of them, once and in order."""
    log = Log(*(event(index) for index in range(1, 5001)), page=500)
    client, _ = make_client(log)
    seen = []
    async for each in client.events():
        seen.append(each.index)
        if len(seen) % 100 == 0:
            await trio.sleep(10)
        if len(seen) == 5000:
            break
    assert seen == list(range(1, 5001))


async def test_a_f15_events_of_a_run_end_with_it(make_client, autojump_clock):
    """A-F15: following a run gives its history, then what happens, and ends when it ends."""
    log = Log(event(1, "started"), event(2, "step_scheduled"), event(3, run_id="r2"))
    client, _ = make_client(log)
    seen = []

    async def watch() -> None:
        events = client.get_handle("w").events()
        seen.extend([(each.index, each.kind) async for each in events])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await trio.sleep(100)
        log.events += [event(4), event(5, "completed", "r2"), event(6, "completed"), event(7)]
    assert seen == [(1, "started"), (2, "step_scheduled"), (4, "step_completed"), (6, "completed")]


async def test_a_f15_history_gives_the_newest(make_client):
    """A-F15: a limit of 5 gives the newest 5 of 10; without one, all come in pages."""
    client, _ = make_client(Log(*(event(index) for index in range(1, 11)), page=3))
    handle = client.get_handle("w", "r1")
    assert [e.index for e in await handle.history(limit=5)] == [6, 7, 8, 9, 10]
    assert [e.index for e in await handle.history()] == list(range(1, 11))
    with pytest.raises(fa.InvalidInput):
        await handle.history(limit=0)


# -- cluster variables -------------------------------------------------------------------------


class Register:
    """One variable with its version, as the state machine keeps it. ``meddle`` runs before each
    compare-and-set.
    """

    def __init__(self, value: object = None) -> None:
        self.value = None if value is None else encoded(value)
        self.version = 0 if value is None else 1
        self.meddle = lambda: None

    def set(self, value: object) -> None:
        self.value, self.version = encoded(value), self.version + 1

    async def __call__(self, request):
        match request.body:
            case ReadVariable():
                return VariableView("v", self.value, self.version)
            case WatchVariable() as body:
                if self.version == body.version:
                    await trio.sleep(body.wait_ms / 1000)
                return VariableView("v", self.value, self.version)
            case WriteVariable(value=None):
                existed, self.value, self.version = self.version > 0, None, 0
                return Done(changed=existed)
            case WriteVariable() as body:
                self.value, self.version = body.value, self.version + 1
                return Written(self.version)
            case CompareAndSet() as body:
                self.meddle()
                if body.expected != self.version:
                    return Rejected("VersionMismatch", "changed")
                self.value, self.version = body.value, self.version + 1
                return Written(self.version)


async def test_variable_lives_through_its_operations(make_client):
    """Set, get, compare-and-set, delete: each sees what the one before it left."""
    client, _ = make_client(Register())
    counter = client.variable("v", int)
    with pytest.raises(fa.NotFound):
        await counter.get()
    assert (await counter.read()).version == 0
    assert await counter.set(42) == 1
    assert await counter.get() == 42
    assert await counter.compare_and_set(0, 1) is False
    assert await counter.compare_and_set(1, 100) is True
    assert await counter.get() == 100
    assert await counter.delete() is True
    assert await counter.delete() is False
    with pytest.raises(fa.InvalidInput, match="variable 'v'"):
        await counter.set("text")


async def test_update_loses_no_other_update(make_client):
    """When somebody else writes in between, the function is called again on what they wrote."""
    register = Register(1)
    meddling = iter([10, 20])

    def meddle() -> None:
        value = next(meddling, None)
        if value is not None:
            register.set(value)

    register.meddle = meddle
    client, _ = make_client(register)
    assert await client.variable("v", int).update(lambda value: (value or 0) + 1) == 21


async def test_watch_shows_the_latest(make_client, autojump_clock):
    """A watcher sees the value there is, then every change it can keep up with, also a deletion."""
    register = Register(1)
    client, _ = make_client(register)
    seen = []

    async def watch() -> None:
        async for held in client.variable("v", int).watch():
            seen.append((held.value, held.version))
            if held.version == 0:
                break

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await trio.sleep(30)
        register.set(2)
        register.set(3)
        await trio.sleep(30)
        register.value, register.version = None, 0
    assert seen == [(1, 1), (3, 3), (None, 0)]
