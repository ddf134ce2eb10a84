"""Histories on their way out of a cluster, however long, and while their runs go on."""

import pytest
import trio

import flowactor as fa
from flowactor.cluster.protocol.requests import Answer, ExportHistory, HistoryPart, Request
from flowactor.cluster.runs import inspection
from flowactor.codec import records
from flowactor.errors import MalformedDataError
from flowactor.identity import RunId, SessionId
from flowactor.limits import OPERATION_BYTES_MAX, PAGE_BYTES_MAX, PAGE_ITEMS_MAX
from flowactor.machine.history import Closed
from flowactor.testing.replay import assert_replays, replay_histories
from tests.client.conftest import FakeChannel
from tests.cluster.harness import cluster
from tests.testing.recorded import UNCHANGED, Long, Waiting

MIB = 1 << 20


class Slow:
    """A channel that takes its time for every answer, and keeps the parts of histories."""

    def __init__(self, client: fa.Client, seconds: float = 0.0) -> None:
        self.channel = client._caller._channel
        self.seconds = seconds
        self.parts: list[HistoryPart] = []

    async def request(self, request: Request) -> Answer:
        await trio.sleep(self.seconds)
        answer = await self.channel.request(request)
        if isinstance(answer, HistoryPart):
            self.parts.append(answer)
        return answer


async def test_a_history_larger_than_any_message_comes_in_parts(tmp_path, autojump_clock):
    """A row of more bytes than a page has is taken apart and put together again, and no part is
    more than a message carries.
    """
    async with cluster(tmp_path, UNCHANGED, 1) as c:
        run = await c.client(1).start(Long.run, 1200, 4 * MIB - 100)
        await run.result()
        channel = Slow(c.client(1))
        history = await fa.Client(channel).get_handle(run.id).export()
    assert_replays(UNCHANGED, history)
    assert history.run_id == run.run_id
    sizes = [len(records.encode(row)) for row in history.rows]
    assert max(sizes) > PAGE_BYTES_MAX
    assert len(channel.parts) > sum(sizes) // PAGE_BYTES_MAX
    assert all(len(records.encode(part)) <= OPERATION_BYTES_MAX for part in channel.parts)
    assert any(part.next_offset for part in channel.parts)


async def test_any_node_exports_the_same_history(tmp_path, autojump_clock):
    """Leader or follower, owner or standby: what was acknowledged is in the history."""
    async with cluster(tmp_path, UNCHANGED) as c:
        run = await c.client(1).start(Waiting.run, "end", id="asked")
        await run.signal(Waiting.say, "end")
        await run.result()
        exported = [await c.client(number).get_handle("asked").export() for number in c.members]
        assert exported[1:] == exported[:-1]
        assert exported[0].status == "completed"


@pytest.mark.parametrize("limit", [1, 7, 64, 1000])
async def test_parts_of_any_size_make_the_same_history(
    tmp_path, autojump_clock, monkeypatch, limit
):
    """Wherever a page ends, in a row or between two, and however many rows it may have."""
    async with cluster(tmp_path, UNCHANGED, 1) as c:
        run = await c.client(1).start(Waiting.run, "end")
        for word in ("a", "b", "end"):
            await run.signal(Waiting.say, word)
        await run.result()
        whole = await run.export()
        for name in ("PAGE_BYTES_MAX", "PAGE_ITEMS_MAX"):
            with monkeypatch.context() as patched:
                patched.setattr(inspection, name, limit)
                assert await run.export() == whole
        assert len(whole.rows) < PAGE_ITEMS_MAX
        assert whole.status == "completed"


@fa.workflow(name="Busy", version=1)
class Busy:
    async def run(self) -> None:
        count = await fa.variable("count", 0)
        while True:
            await count.set(count.value + 1)
            await fa.sleep(0.01)


@pytest.mark.parametrize(("name", "limit"), [("PAGE_ITEMS_MAX", 10), ("PAGE_BYTES_MAX", 900)])
async def test_an_open_run_is_exported_as_it_was_when_asked(
    tmp_path, autojump_clock, monkeypatch, name, limit
):
    """A run that is faster than its reader does not hold up the export, which is a beginning of
    what the run comes to.
    """
    app = fa.App([Busy])
    async with cluster(tmp_path, app, 1) as c:
        run = await c.client(1).start(Busy.run)
        await c.until(lambda: c.node(1).group.machine.runs[run.run_id].position > 50)
        slow = fa.Client(Slow(c.client(1), 0.05)).get_handle(run.id)
        with monkeypatch.context() as patched:
            patched.setattr(inspection, name, limit)
            history = await slow.export()
        assert history.status == "open"
        assert len(history.rows) > 50
        await run.terminate()
        later = await run.export()
        assert len(later.rows) > len(history.rows) + 5
        assert later.rows[: len(history.rows)] == history.rows
        assert isinstance(later.rows[-1], Closed)
        assert replay_histories(app, [history, later]).agrees


async def test_a_run_that_is_not_there_is_said_so(tmp_path, autojump_clock):
    """Neither another id nor another run of it is exported in its place."""
    async with cluster(tmp_path, UNCHANGED, 1) as c:
        run = await c.client(1).start(Waiting.run, "end", id="known")
        with pytest.raises(fa.NotFound, match="unknown"):
            await c.client(1).get_handle("unknown").export()
        with pytest.raises(fa.NotFound, match="other"):
            await c.client(1).get_handle("known", "other").export()
        assert (await c.client(1).get_handle("known", run.run_id).export()).run_id == run.run_id


async def test_offsets_of_nobody_are_harmless(tmp_path, autojump_clock):
    """What no client of ours asks for is answered with what there is, or with nothing."""
    async with cluster(tmp_path, UNCHANGED, 1) as c:
        run = await c.client(1).start(Waiting.run, "end")
        ask = c.client(1)._caller._channel.request
        for after, offset in [(0, -1), (0, 1 << 60), (1 << 60, 0), (-1, 0)]:
            body = ExportHistory(run.id, run.run_id, after, offset)
            answer = await ask(Request(0, 1000, SessionId(""), 0, 0, body))
            assert isinstance(answer, HistoryPart)
            assert answer.rows >= 2


async def test_a_node_that_lost_rows_is_not_believed():
    """An answer that brings nothing, where there is to be more, ends the export with an error."""
    channel = FakeChannel(HistoryPart(RunId("r"), 1, 5, (), 0, 0))
    with pytest.raises(MalformedDataError, match="0 rows"):
        await fa.Client(channel).get_handle("order-1").export()
