"""Signals and queries of runs on whole nodes."""

import logging

import pytest
import trio

import flowactor as fa
from flowactor.machine.replies import RunStatus
from tests.cluster.harness import OUTSIDE, cluster


@fa.step
async def gated(name: str) -> str:
    OUTSIDE.bump(name)
    await OUTSIDE.gate(name)
    return name


@fa.workflow(version=1)
class Collect:
    """Takes numbers until it has so many."""

    def __init__(self) -> None:
        self.got: list[int] = []
        self.first = "nothing"

    async def run(self, count: int) -> list[int]:
        self.first = "slept"
        await fa.sleep(0.2)
        await fa.wait_condition(lambda: len(self.got) >= count)
        return self.got

    @fa.signal
    def give(self, number: int) -> None:
        self.got.append(number)

    @fa.query
    def total(self) -> int:
        return sum(self.got)

    @fa.query
    def above(self, limit: int) -> list[int]:
        return [number for number in self.got if number > limit]

    @fa.query
    def spoil(self) -> int:
        self.got.append(-1)
        return len(self.got)

    @fa.query
    def stumble(self) -> int:
        raise ValueError("over nothing")

    @fa.query
    def rename(self) -> int:
        self.first = "spoiled"
        return 1

    @fa.query
    def act(self) -> int:
        gated("from a query").send(None)
        return 1


@fa.workflow(version=1)
class Late:
    """Looks for its signal only after a step."""

    def __init__(self) -> None:
        self.word = ""

    async def run(self) -> str:
        await gated("before")
        await fa.wait_condition(lambda: self.word)
        return self.word

    @fa.signal
    def say(self, word: str) -> None:
        self.word = word


@fa.workflow(version=1, standby="cold")
class Cold(Collect):
    async def run(self, count: int) -> list[int]:
        await fa.wait_condition(lambda: len(self.got) >= count)
        return self.got


@fa.workflow(version=1)
class Talks:
    async def run(self, words: list[str]) -> str:
        fa.logger.info("begins")
        for word in words:
            fa.logger.info("says %s", await gated(word))
        fa.logger.info("ends")
        return words[-1]


APP = fa.App([Cold, Collect, Late, Talks])


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.long)])
async def test_signals_in_order(tmp_path, autojump_clock, count):
    """C1: a thousand signals from one client (a hundred by default), the leader killed twice, are
    handled once each and in order.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Collect.run, count, id="ordered")
        async with fa.connect(
            "memory:1,memory:2,memory:3", transport=c.wires.transport("memory:9")
        ) as client:
            mine = client.get_handle("ordered", result_type=list[int])
            for number in range(count):
                if number in {3 * count // 10, 7 * count // 10}:
                    leader = await c.settle()
                    c.kill(leader)
                    await c.dead(leader)
                    await c.start(leader)
                await mine.signal(Collect.give, number)
            assert await mine.result() == list(range(count))
        assert run.run_id


@pytest.mark.parametrize("size", [1, 3])
async def test_signal_before_wait(tmp_path, autojump_clock, size):
    """C2: a signal that comes before the code waits for it, even before the run first ran, is
    kept and delivered.
    """
    async with cluster(tmp_path, APP, size) as c:
        run = await c.client(1).start(Late.run)
        await run.signal(Late.say, "early")
        await c.until(lambda: OUTSIDE.count("before"), "the step runs")
        OUTSIDE.open("before")
        assert await run.result() == "early"


async def test_signal_to_a_parked_run_is_kept(tmp_path, autojump_clock):
    """C2: a run without code takes signals by name for later... once somebody can check them."""
    async with cluster(tmp_path, {1: APP, 2: fa.App([Collect]), 3: fa.App([Collect])}) as c:
        run = await c.client(1).start(Late.run)
        await c.until(lambda: OUTSIDE.count("before"), "the step runs")
        c.kill(1)
        await c.dead(1)
        await c.until(lambda: c.owner(run) == 0, "nobody can own it")
        seen = c.client(2).get_handle(run.id, result_type=str)
        assert (await seen.describe()).status is RunStatus.PARKED
        with pytest.raises(fa.FlowactorError):
            await (
                fa.Client(c.client(2)._caller._channel, request_timeout=3)
                .get_handle(run.id)
                .signal("say", "unchecked")
            )
        OUTSIDE.open("before")
        await c.start(1)
        await c.settle()
        await seen.signal("say", "checked")
        assert await seen.result() == "checked"


async def test_signal_to_closed(tmp_path, autojump_clock):
    """C5: a signal to a run that has ended, or never was, is a typed error and changes nothing."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Collect.run, 0)
        assert await run.result() == []
        before = await run.history()
        for number in c.running:
            with pytest.raises(fa.AlreadyClosed, match="completed"):
                await c.client(number).get_handle(run.id).signal(Collect.give, 1)
            with pytest.raises(fa.NotFound, match="nowhere"):
                await c.client(number).get_handle("nowhere").signal(Collect.give, 1)
        assert await run.history() == before


async def test_query_is_readonly(tmp_path, autojump_clock):
    """C6: queries see the current state on every node, while the run waits and after its end; one
    that changes the run fails, and the history does not grow.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Collect.run, 3)
        for number in (10, 20):
            await run.signal(Collect.give, number)
        for ended in (False, True):
            if ended:
                await run.signal(Collect.give, 30)
                assert await run.result() == [10, 20, 30]
            before = await run.history()
            for number in c.running:
                seen = c.client(number).get_handle(run.id)
                assert await seen.query(Collect.total) == (60 if ended else 30)
                assert await seen.query(Collect.above, 15) == ([20, 30] if ended else [20])
                for spoiling in (Collect.spoil, Collect.rename, Collect.act):
                    with pytest.raises(fa.ReadOnlyViolation):
                        await seen.query(spoiling)
                assert await seen.query(Collect.total) == (60 if ended else 30)
            assert await run.history() == before


async def test_query_sees_own_signals(tmp_path, autojump_clock):
    """Whoever sent a signal sees it in the next query, at whichever node."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Collect.run, 1000)
        for number in range(30):
            sender, asker = c.client(1 + number % 3), c.client(1 + (number + 1) % 3)
            await sender.get_handle(run.id).signal(Collect.give, 1)
            assert await asker.get_handle(run.id).query(Collect.total) == number + 1


async def test_query_unknown(tmp_path, autojump_clock):
    """C7: an unknown query or signal lists those there are; a wrong argument is refused with its
    name; the run does not notice.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Collect.run, 1)
        for number in c.running:
            seen = c.client(number).get_handle(run.id)
            with pytest.raises(
                fa.NotFound, match=r"'nothing'.*above, act, rename, spoil, stumble, total"
            ):
                await seen.query("nothing")
            with pytest.raises(fa.NotFound, match=r"'nothing'.*give"):
                await seen.signal("nothing", 1)
            with pytest.raises(fa.InvalidInput, match="limit"):
                await seen.query_json("above", '["high"]')
            with pytest.raises(fa.InvalidInput, match="number"):
                await seen.signal_json("give", '["one"]')
            with pytest.raises(fa.InvalidInput):
                await seen.query("total", 1, 2)
        assert (await run.describe()).status is RunStatus.RUNNING
        await run.signal(Collect.give, 1)
        assert await run.result() == [1]


async def test_query_that_raises(tmp_path, autojump_clock):
    """An error of a query's own code is a typed error for who asked, here and over the wire, on a
    connection that goes on.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Collect.run, 1)
        async with fa.connect("memory:2", transport=c.wires.transport("memory:9")) as client:
            begun = trio.current_time()
            for asker in (c.client(1), client):
                seen = asker.get_handle(run.id)
                with pytest.raises(fa.QueryFailed, match="query stumble: ValueError: over nothing"):
                    await seen.query(Collect.stumble)
                assert await seen.query(Collect.total) == 0
            assert trio.current_time() - begun < 1


async def test_query_of_a_cold_run_at_any_node(tmp_path, autojump_clock):
    """A run that only its owner interprets is asked through any node, and survives its owner."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(2).start(Cold.run, 2)
        await run.signal(Cold.give, 5)
        for number in c.running:
            assert await c.client(number).get_handle(run.id).query(Cold.total) == 5
        owner = c.owner(run)
        c.kill(owner)
        await c.dead(owner)
        other = c.running[0]
        seen = c.client(other).get_handle(run.id, result_type=list[int])
        assert await seen.query(Cold.total) == 5
        await seen.signal(Cold.give, 6)
        assert await seen.result() == [5, 6]


async def test_query_while_the_run_has_no_owner(tmp_path, autojump_clock):
    """While a dead owner's lease runs out, the others answer queries from what is committed."""
    async with cluster(tmp_path, APP) as c:
        owner = next(number for number in c.running if number != c.leader())
        run = await c.client(owner).start(Collect.run, 100)
        await run.signal(Collect.give, 5)
        await c.converge()
        c.kill(owner)
        begun = trio.current_time()
        for number in c.running:
            if number != owner:
                assert await c.client(number).get_handle(run.id).query(Collect.total) == 5
        assert trio.current_time() - begun < 1
        await c.dead(owner)


async def test_logs_once(tmp_path, autojump_clock, caplog):
    """F8: lines that workflow code logs go out once, whatever stands by, replays or takes over."""
    caplog.set_level(logging.INFO, "flowactor.run")
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Talks.run, ["a", "b"])
        await c.until(lambda: OUTSIDE.count("a"), "the first word is said")
        for number in (2, 3):
            c.kill(number)
            await c.dead(number)
            await c.start(number)
            await c.settle()
        OUTSIDE.open("a")
        await c.until(lambda: OUTSIDE.count("b"), "the second word is said")
        owner = c.owner(run)
        c.kill(owner)
        await c.dead(owner)
        OUTSIDE.open("b")
        await c.start(owner)
        await c.settle()
        assert await c.client(2).get_handle(run.id).result() == "b"
        lines = [record.getMessage() for record in caplog.records if record.name == "flowactor.run"]
        assert lines == ["begins", "says a", "says b", "ends"]
        assert {
            record.workflow_id for record in caplog.records if record.name == "flowactor.run"
        } == {run.id}
