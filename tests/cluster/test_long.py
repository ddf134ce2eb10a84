"""Runs that go on for long: many steps, many signals, and what a node that comes back makes of
them.
"""

import pytest
import trio

import flowactor as fa
from flowactor.machine.replies import RunStatus
from flowactor.observability.events import Recovered, RunDiverged, StepStarted
from tests.cluster.harness import OUTSIDE, cluster


@fa.step
async def count(number: int) -> int:
    OUTSIDE.done.append(("count", fa.step_info().attempt, fa.step_info().idempotency_key))
    await trio.lowlevel.checkpoint()
    return number


@fa.workflow(version=1)
class Long:
    """Some steps at once, again and again."""

    async def run(self, rounds: int, width: int) -> int:
        total = 0
        for number in range(rounds):
            total += sum(await fa.gather(*[count(number * width + i) for i in range(width)]))
        return total


@fa.workflow(version=1)
class Collects:
    def __init__(self) -> None:
        self.got: list[int] = []

    async def run(self, count: int) -> list[int]:
        await fa.wait_condition(lambda: len(self.got) >= count)
        return self.got

    @fa.signal
    def give(self, number: int) -> None:
        self.got.append(number)


APP = fa.App([Collects, Long])
LESS = fa.App([Long])


@pytest.mark.parametrize("rounds", [50, pytest.param(500, marks=pytest.mark.long)])
async def test_five_thousand_steps(tmp_path, autojump_clock, rounds):
    """A run of 5,000 steps (500 by default) whose owner is killed in the middle, and that is
    replayed by a node that comes back, ends right: each step is recorded once, and all of its
    history can be read.
    """
    width = 10
    length = rounds * width
    async with cluster(tmp_path, APP) as c:

        def strike(number: int, event: object) -> None:
            if isinstance(event, StepStarted) and len(OUTSIDE.done) >= length // 2:
                c.hooks.clear()
                c.kill(number)

        c.hooks.append(strike)
        run = await c.client(1).start(Long.run, rounds, width)
        await c.dead(1)
        await c.start(1)
        assert c.seen(Recovered, 1)
        other = c.client(2).get_handle(run.id, result_type=int)
        assert await other.result() == sum(range(length))
        history = await other.history()
        done = [event.detail for event in history if event.kind == "step_completed"]
        assert len(done) == len(set(done)) == length
        assert length <= OUTSIDE.count("count") <= length + width
        page = [event.detail for event in await other.history(limit=7)]
        assert page == [event.detail for event in history[-7:]]
        assert not c.seen(RunDiverged)
        await c.converge()


@pytest.mark.parametrize("count", [300, pytest.param(3000, marks=pytest.mark.long)])
async def test_three_thousand_signals_at_once(tmp_path, autojump_clock, count):
    """Thousands of signals (hundreds by default) that are under way together, at all nodes, are
    handled once each.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Collects.run, count)
        async with trio.open_nursery() as nursery:
            for number in range(count):
                seen = c.client(1 + number % 3).get_handle(run.id)
                nursery.start_soon(seen.signal, Collects.give, number)
        assert sorted(await run.result()) == list(range(count))
        await c.converge()


async def test_full_inbox_is_back_pressure(tmp_path, autojump_clock, monkeypatch):
    """A run that nobody performs takes a bounded number of signals; the sender of one more is told
    so, and when the run goes on it handles those it took.
    """
    monkeypatch.setattr("flowactor.machine.lifecycle.INBOX_ITEMS_MAX", 50)
    monkeypatch.setattr("flowactor.machine.ownership.Ownership.choose", _nobody)
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Collects.run, 49, id="slow")
        assert (await run.describe()).status is RunStatus.PARKED
        for number in range(49):  # with the start itself that is 50
            await run.signal(Collects.give, number)
        with pytest.raises(fa.Overloaded, match="50 items wait in the inbox of 'slow'"):
            await run.signal(Collects.give, 49)
        monkeypatch.undo()
        assert await run.resume()
        assert await run.result() == list(range(49))


def _nobody(*_: object) -> int:
    return 0
