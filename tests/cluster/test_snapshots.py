"""A follower that was away for longer than the log reaches gets the state instead."""

from functools import partial

import pytest
import trio

import flowactor as fa
from flowactor.cluster.group.compaction import Compaction
from flowactor.cluster.group.sending import Pace
from flowactor.observability.events import (
    LogCompacted,
    SnapshotInstalled,
    SnapshotReceived,
    SnapshotSent,
)
from tests.cluster.harness import OUTSIDE, cluster

EAGER = Compaction(entries_max=10, trailing_entries=2, held_times_max=1, cache_bytes_max=0)
SLOW = Pace(chunk_bytes=1000, window_bytes_max=2000, tick_bytes_max=4000)


@fa.step
async def bump(name: str) -> int:
    return OUTSIDE.bump(name)


@fa.workflow(version=1)
class Waiter:
    def __init__(self) -> None:
        self.open = False

    @fa.signal
    def go(self) -> None:
        self.open = True

    async def run(self, name: str) -> int:
        before = await bump(f"{name} before")
        await fa.wait_condition(lambda: self.open)
        return before + await bump(f"{name} after")


APP = fa.App([Waiter])


async def write(c, number, count, *, width=20, first=0):
    """``count`` entries, one after another, to a few variables; time passes between them."""
    for n in range(first, first + count):
        variable = c.client(number).variable(f"v{n % width}", int)
        await variable.set(n)
        await trio.sleep(0.01)


async def installed(c, number):
    await c.until(lambda: c.seen(SnapshotInstalled, number), "the state is installed")


async def lead(c, number):
    """Have this node lead: the others hear nobody else for a while."""
    while c.leader() != number:
        c.isolate(c.leader() or number)
        await trio.sleep(3)
        c.heal()
        await c.settle()


@pytest.mark.parametrize("missed", [300, pytest.param(3000, marks=pytest.mark.long)])
async def test_a_follower_that_was_away_for_long(tmp_path, autojump_clock, missed):
    """J6: it misses 3,000 entries (300 by default, most of them gone as well), comes back while
    more are written, has what the others have, knows the runs that were open, and leads.
    """
    OUTSIDE.reset()
    rule = Compaction(entries_max=200, trailing_entries=20, cache_bytes_max=0)
    async with cluster(tmp_path, APP, compaction=rule) as c:
        away = next(n for n in c.running if n != c.leader())
        stays = c.leader()
        await c.client(away).start(Waiter.run, "early", id="early")
        await c.until(lambda: OUTSIDE.count("early before"))
        await c.stop(away)
        await c.client(stays).start(Waiter.run, "late", id="late")
        await write(c, stays, missed)
        assert c.seen(LogCompacted, stays)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(write, c, stays, 200, first=missed))
            await c.start(away)
            await installed(c, away)
        await c.settle()
        await c.converge()
        assert len(c.seen(SnapshotSent)) == 1
        await lead(c, away)
        for run in ("early", "late"):
            handle = c.client(away).get_handle(run)
            await handle.signal(Waiter.go)
            assert await handle.result() == 2
        await c.converge()
        assert OUTSIDE.count("early after") == OUTSIDE.count("late after") == 1


async def test_keys_with_a_snapshot_every_ten_entries(tmp_path, autojump_clock):
    """A-R16: fifteen keys set, two deleted; the follower that was away holds the same thirteen."""
    async with cluster(tmp_path, APP, compaction=EAGER) as c:
        away = next(n for n in c.running if n != c.leader())
        stays = c.leader()
        await c.stop(away)
        for n in range(15):
            await c.client(stays).variable(f"key{n}", str).set(f"value{n}")
            await trio.sleep(0.1)
        for n in (5, 10):
            await c.client(stays).variable(f"key{n}", str).delete()
        await c.until(lambda: c.node(stays).group.progress().last_index > 18)
        await c.start(away)
        await installed(c, away)
        await c.settle()
        await c.converge()
        read = c.node(away).group.machine.variable
        held = [f"key{n}" for n in range(15) if read(f"key{n}").value is not None]
        assert len(held) == 13
        assert "key5" not in held
        assert "key10" not in held
        assert await c.client(away).variable("key14", str).get() == "value14"


@pytest.mark.parametrize("who", ["receiver", "sender"])
async def test_a_crash_in_the_middle(tmp_path, autojump_clock, who):
    """Whoever dies while the state is sent, the follower ends up with it; a receiver goes on where
    it was.
    """
    async with cluster(tmp_path, APP, compaction=EAGER, pace=SLOW) as c:
        leader = c.leader()
        away = next(n for n in c.running if n != leader)
        await c.stop(away)
        await write(c, leader, 100)
        await c.start(away)
        await c.until(lambda: c.seen(SnapshotReceived, away), "a transfer begins")
        await trio.sleep(0.35)
        assert not c.seen(SnapshotInstalled, away)
        struck = away if who == "receiver" else leader
        c.kill(struck)
        await c.dead(struck)
        await c.start(struck)
        await c.settle()
        await installed(c, away)
        await c.settle()
        await c.converge()
        if who == "receiver":
            offsets = [event.offset for event in c.seen(SnapshotReceived, away)]
            assert offsets[-1] > 0


async def test_the_lead_changes_in_the_middle(tmp_path, autojump_clock):
    """The old leader's transfer ends with its lead, and the new one sends its own state."""
    async with cluster(tmp_path, APP, compaction=EAGER, pace=SLOW) as c:
        leader = c.leader()
        away = next(n for n in c.running if n != leader)
        await c.stop(away)
        await write(c, leader, 100)
        await c.start(away)
        await c.until(lambda: c.seen(SnapshotReceived, away), "a transfer begins")
        c.isolate(leader)
        await c.until(lambda: c.leader() not in (0, leader), "another leads")
        c.heal()
        await installed(c, away)
        await c.settle()
        await c.converge()


async def test_whoever_waits_learns_the_outcome(tmp_path, autojump_clock):
    """A request, a watch and a result that a follower's client waits for come about, though the
    entries that would have told are in the state that it gets.
    """
    async with cluster(tmp_path, APP, compaction=EAGER) as c:
        leader = c.leader()
        away = next(n for n in c.running if n != leader)
        handle = await c.client(away).start(Waiter.run, "run", id="run")
        known = await c.client(away).variable("seen", int).set(1)
        results = []

        async def wait_for(async_fn, *args):
            results.append(await async_fn(*args))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for, c.client(away).get_handle("run").result)
            nursery.start_soon(wait_for, c.client(away).variable("asked", int).set, 7)
            c.isolate(away, silent=False)
            await c.client(leader).get_handle("run").signal(Waiter.go)
            await c.client(leader).variable("seen", int).set(2)
            await write(c, leader, 60)
            c.heal()
        assert 2 in results
        assert await handle.result() == 2
        assert known is not None
        assert c.seen(SnapshotInstalled, away)
        await c.converge()
