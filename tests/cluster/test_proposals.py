"""Operations under way: proposed again when they may be lost, never when they cannot be."""

from typing import ClassVar

import attrs
import pytest
import trio

import flowactor as fa
from flowactor.cluster.group.proposals import Proposals
from flowactor.errors import Overloaded
from flowactor.limits import NANOSECONDS
from tests.cluster.harness import InlineDisk, cluster

SECOND = NANOSECONDS
KEY = ("session", 1)


def sent_at(proposals, leading_term, seconds):
    """The seconds, from 1, at which what waits is proposed again by a repair each second."""
    return [
        second
        for second in range(1, seconds + 1)
        if proposals.stale(second * SECOND, SECOND, leading_term)
    ]


def test_what_this_leader_appended_is_not_proposed_again():
    """It is in the log of the leader, which is this node: only another term can lose it."""
    proposals = Proposals()
    proposals.add(KEY, b"x", 0, 100 * SECOND, leading_term=3)
    assert sent_at(proposals, 3, 20) == []
    assert proposals.stale(21 * SECOND, 0, 5) == [b"x"], "at once in another term"
    assert sent_at(proposals, 5, 20) == []


def test_what_another_leader_was_sent_is_proposed_ever_more_rarely():
    """A slow cluster is not made slower by copies of what it is busy with."""
    proposals = Proposals()
    proposals.add(KEY, b"x", 0, 100 * SECOND, leading_term=0)
    assert sent_at(proposals, 0, 32) == [1, 3, 7, 15, 23, 31]


async def test_what_was_turned_away_is_proposed_again():
    """This node leads and did not take it into its log: it is on its way nowhere, and copies of it
    burden nobody. One that was never taken may still be refused.
    """
    proposals = Proposals()
    waiting = proposals.add(KEY, b"x", 0, 100 * SECOND, leading_term=3)
    for second in (1, 2, 3):
        proposals.turned_away({b"x"})
        assert proposals.stale(second * SECOND, SECOND, 3) == [b"x"]
    assert sent_at(proposals, 3, 20) == [], "it was taken"
    proposals.overloaded({b"x"})
    assert waiting.promise.done


async def test_only_a_first_proposal_can_be_refused():
    """One that was sent before may be in the log, so "nothing happened" would be a lie."""
    proposals = Proposals()
    first = proposals.add(("s", 1), b"first", 0, SECOND, leading_term=1)
    again = proposals.add(("s", 2), b"again", 0, SECOND, leading_term=1)
    again.times_sent = 2
    proposals.overloaded({b"first", b"again"})
    assert first.promise.done
    assert not again.promise.done
    with pytest.raises(Overloaded) as caught:
        first.promise.result()
    assert not caught.value.outcome_unknown


class SlowWorker:
    """Does nothing until ``go``."""

    def __init__(self):
        self.jobs = []
        self.stalled = True

    def submit(self, job, done):
        self.jobs.append((job, done))
        self.go()

    def go(self, *, stalled=None):
        self.stalled = self.stalled if stalled is None else stalled
        while self.jobs and not self.stalled:
            job, done = self.jobs.pop(0)
            done(job())

    def close(self):
        self.go(stalled=False)


class SlowLogs(InlineDisk):
    """Disks whose logs can be stalled together."""

    workers: ClassVar[list] = []

    def worker(self, name):
        if not name.endswith("log"):
            return super().worker(name)
        made = SlowWorker()
        made.stalled = False
        self.workers.append((int(name.split()[1]), made))
        return made


async def test_a_write_that_is_refused_did_not_happen(tmp_path, autojump_clock):
    """With a full tail and slow followers, every write that took place is acknowledged as such."""
    SlowLogs.workers.clear()
    async with cluster(tmp_path, fa.App([]), disk=SlowLogs) as c:
        leader = c.leader()
        client = c.client(leader)
        state = c.node(leader).group._ready.core._state
        state.config = attrs.evolve(state.config, uncommitted_bytes_max=20_000)
        await client.variable("opened", int).set(0)
        followers = [worker for number, worker in SlowLogs.workers if number != leader]
        for worker in followers:
            worker.stalled = True
        outcomes = {}

        async def write(number):
            try:
                outcomes[number] = await client.variable(f"v{number}", bytes).set(bytes(3000))
            except Overloaded:
                outcomes[number] = 0

        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(write, number)
                await trio.sleep(0.01)
            await trio.sleep(4)
            for worker in followers:
                worker.go(stalled=False)
        assert {0, 1} == set(outcomes.values()), "some fit, some did not"
        for number, version in outcomes.items():
            assert (await client.variable(f"v{number}", bytes).read()).version == version


async def test_a_full_mailbox_loses_nothing_of_the_nodes_own(tmp_path, autojump_clock):
    """Ticks, completions and a new leader's news have a place in a mailbox full of requests."""
    async with cluster(tmp_path, fa.App([])) as c:
        leader = c.leader()
        away = next(number for number in c.running if number != leader)
        client = c.client(away)
        await client.variable("opened", int).set(0)
        for number in c.running:
            mailbox = c.node(number).group.mailbox
            mailbox._capacity = mailbox._room = 50
        c.isolate(leader)
        await trio.sleep(0.05)
        refused = []

        async def write(number):
            try:
                await client.variable(f"v{number}", int).set(1)
            except Overloaded:
                refused.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(300):
                nursery.start_soon(write, number)
                if number % 40 == 0:
                    await trio.sleep(0.01)
        assert len(refused) < 300
        assert c.running == [1, 2, 3]
        c.heal()
        await c.settle()
        await c.converge()
