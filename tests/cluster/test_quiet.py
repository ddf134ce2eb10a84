"""Quiet groups on whole nodes: an idle cluster sleeps, and is there when it is needed."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

import flowactor as fa
from flowactor.cluster.group.actor import GroupActor
from flowactor.cluster.protocol.envelopes import Alive
from flowactor.codec.records import encode
from flowactor.identity import GroupId
from flowactor.limits import (
    BEAT_SECONDS,
    ELECTION_TICKS_MAX,
    OWNER_LEASE_SECONDS,
    SILENCE_SECONDS,
    TICK_SECONDS,
)
from flowactor.management import Topology
from flowactor.management.operations import AddMember, CreateGroup, MoveMember, RemoveNode
from flowactor.transport import Outbox
from tests.cluster.harness import OUTSIDE, Cluster, cluster

NOTICED_SECONDS = SILENCE_SECONDS + 2 * BEAT_SECONDS
"""A silence is noticed by then."""
ELECTED_SECONDS = NOTICED_SECONDS + 2 * ELECTION_TICKS_MAX * TICK_SECONDS


@fa.step
async def mark(name: str) -> str:
    OUTSIDE.bump(name)
    await trio.lowlevel.checkpoint()
    return name


@fa.workflow(version=1)
class Waits:
    """Sleeps, or waits for a word, then takes a step."""

    def __init__(self) -> None:
        self.word = ""

    async def run(self, seconds: float) -> str:
        if seconds:
            await fa.sleep(seconds)
        else:
            await fa.wait_condition(lambda: bool(self.word))
        return await mark(f"done {self.word}")

    @fa.signal
    def say(self, word: str) -> None:
        self.word = word


APP = fa.App([Waits])


def groups(nodes: Cluster) -> list[GroupActor]:
    """All replicas of all groups on the nodes that run."""
    running = [nodes.node(number) for number in nodes.running]
    return [group for node in running for group in (node.group, node._hosting.management)]


def replicas(nodes: Cluster) -> dict[tuple[int, GroupId], GroupActor]:
    """Those on the nodes that run, of all groups that there are."""
    return {
        (number, group): replica.group
        for number in nodes.running
        for group, replica in nodes.node(number)._hosting.replicas.items()
    }


async def rest(nodes: Cluster) -> None:
    """Wait until nothing but signs of life happens any more."""
    await nodes.until(
        lambda: all(group.ticking.rests for group in replicas(nodes).values()), "all rest"
    )


async def change(nodes: Cluster, operation: object, done: Callable[[Topology], object]) -> None:
    """Have the cluster changed, and wait until it is, and sleeps again."""
    await nodes.client(1).manage(operation)
    await nodes.until(
        lambda: done(nodes.node(1).steward.topology) and not nodes.node(1).steward.topology.moves
    )
    await rest(nodes)


async def lose(nodes: Cluster, gone: int) -> None:
    """Nothing comes from a node any more, and nothing reaches it: by when that has to be noticed,
    all replicas have woken that it concerns, there and elsewhere. Those of groups that it has no
    part in sleep on. Then it is back, and all sleep again.
    """
    before = replicas(nodes)
    assert all(group.status.quiet for group in before.values())
    concerned = {
        (number, group)
        for (number, group), replica in before.items()
        if replica.leader == gone != number
        or (replica.is_leader and gone in replica.status.configuration.members)
    }
    apart = {group for _, group in before} - {group for number, group in before if number == gone}
    woken = set()
    nodes.isolate(gone)
    for _ in range(round(NOTICED_SECONDS / TICK_SECONDS) + 1):
        await trio.sleep(TICK_SECONDS)
        woken |= {key for key, group in replicas(nodes).items() if not group.status.quiet}
    assert concerned
    assert concerned <= woken
    assert not apart.intersection(group for _, group in woken)
    nodes.heal()
    await trio.sleep(OWNER_LEASE_SECONDS)
    await rest(nodes)


@asynccontextmanager
async def sleeping(folder, **options) -> AsyncIterator[Cluster]:
    """Three nodes that are all asleep."""
    async with cluster(folder, APP, **options) as nodes:
        await rest(nodes)
        yield nodes


async def test_an_idle_cluster_sleeps(tmp_path, autojump_clock, monkeypatch):
    """Once nothing is left to do, no group on any node steps, ticks or sends: what is left is one
    sign of life each way and interval between who leads and who follows.
    """
    async with sleeping(tmp_path) as nodes:
        handled, sent = [], []
        process, put = GroupActor.process, Outbox.put

        def processed(group, messages):
            handled.append(group.name)
            return process(group, messages)

        def queued(outbox, message):
            sent.append(message)
            return put(outbox, message)

        monkeypatch.setattr(GroupActor, "process", processed)
        monkeypatch.setattr(Outbox, "put", queued)
        await trio.sleep(60)
        assert handled == []
        assert set(sent) <= {encode(Alive(asks)) for asks in (False, True)}
        leaders = {group.leader for group in groups(nodes)}
        pairs = {frozenset((leader, node)) for leader in leaders for node in nodes.running}
        pairs -= {frozenset((leader,)) for leader in leaders}
        assert len(sent) == pytest.approx(2 * len(pairs) * 60 / BEAT_SECONDS, abs=12)
        assert all(group.status.quiet for group in groups(nodes))


async def test_a_sleeping_cluster_serves(tmp_path, autojump_clock):
    """A write and a read wake it, at the leader or elsewhere, and it sleeps again afterwards."""
    async with sleeping(tmp_path) as nodes:
        for number in nodes.running:
            begun = trio.current_time()
            counter = nodes.client(number).variable("counter", int)
            await counter.set(number)
            assert await counter.get() == number
            assert trio.current_time() - begun < 2 * TICK_SECONDS
            await rest(nodes)


@pytest.mark.parametrize("silent", [False, True])
async def test_failure_detected_on_idle_cluster(tmp_path, autojump_clock, silent):
    """Rule *failure_detected_on_idle_cluster*: an owner that dies, or just falls silent, in a
    cluster that sleeps loses its runs after a lease like any other, not a wake and a lease; it
    makes no difference if it also led.
    """
    async with sleeping(tmp_path) as nodes:
        leader = nodes.leader()
        follower = next(number for number in nodes.running if number != leader)
        for owner in (follower, leader):
            run = await nodes.client(owner).start(Waits.run, 0.0, id=f"of {owner}")
            await rest(nodes)
            begun = trio.current_time()
            nodes.isolate(owner, silent=silent)
            await nodes.until(lambda run=run, owner=owner: nodes.owner(run) != owner)
            passed = trio.current_time() - begun
            assert passed >= OWNER_LEASE_SECONDS - BEAT_SECONDS - TICK_SECONDS
            assert passed <= max(OWNER_LEASE_SECONDS + BEAT_SECONDS, ELECTED_SECONDS)
            nodes.heal()
            await nodes.settle()
            await rest(nodes)


@pytest.mark.parametrize("silent", [False, True])
async def test_quiet_group_wakes_when_its_leader_is_gone(tmp_path, autojump_clock, silent):
    """Rule *quiet_group_wakes*: nobody asks for anything, and there is another leader all the
    same; and the one of before, which slept as well, knows.
    """
    async with sleeping(tmp_path) as nodes:
        before = nodes.leader()
        others = [number for number in nodes.running if number != before]
        begun = trio.current_time()
        nodes.isolate(before, silent=silent)
        await nodes.until(lambda: any(nodes.node(n).group.is_leader for n in others))
        assert trio.current_time() - begun <= ELECTED_SECONDS
        await nodes.until(lambda: not nodes.node(before).group.is_leader)
        assert trio.current_time() - begun <= ELECTED_SECONDS
        nodes.heal()
        await nodes.settle()
        await rest(nodes)


async def test_whoever_relies_on_a_node_wakes_when_it_is_gone(tmp_path, autojump_clock):
    """Each of five nodes, with two groups of three of them beside those that all belong to: a
    leader's silence wakes all its followers, a member's its leader, and nobody else's sleep ends.
    """
    async with sleeping(tmp_path, size=5) as nodes:
        for number, members in enumerate([(1, 2, 3), (3, 4, 5)], start=2):
            await change(nodes, CreateGroup(members), lambda t, n=number: n in t.groups)
        for gone in range(1, 6):
            await lose(nodes, gone)


async def test_who_has_joined_is_relied_on(tmp_path, autojump_clock):
    """A learner of group 0 and of an execution group, then one in the place of a voter: its leaders
    notice its silence from its first sleep on, and it theirs. Who was taken out is nobody's.
    """
    async with sleeping(tmp_path) as nodes:
        joined = await nodes.join(APP)
        await rest(nodes)
        await lose(nodes, joined)
        await change(nodes, AddMember(1, joined), lambda t: joined in t.groups[1].members)
        await lose(nodes, joined)
        await change(nodes, MoveMember(1, 1, joined), lambda t: 1 not in t.groups[1].members)
        for gone in nodes.running:
            await lose(nodes, gone)
        await change(nodes, RemoveNode(3), lambda t: t.nodes[3].state.is_gone)
        nodes.kill(*{3}.intersection(nodes.running))
        for gone in nodes.running:
            await lose(nodes, gone)


async def test_who_leads_since_a_moment_is_relied_on(tmp_path, autojump_clock):
    """The lead changes hands, and its new owner, or who had it, falls silent in that very moment,
    before any node has looked whom it relies on now: there is a leader in time all the same, and
    the silent one loses its runs.
    """
    async with sleeping(tmp_path) as nodes:
        for gone_leads in (True, False, True):
            before = nodes.leader()
            heir = before % 3 + 1
            gone = heir if gone_leads else before
            run = await nodes.client(gone).start(Waits.run, 0.0, id=f"of {gone} {gone_leads}")
            await rest(nodes)
            nodes.node(before).group.transfer(heir)
            await nodes.until(lambda heir=heir: nodes.node(heir).group.is_leader)
            nodes.isolate(gone)
            begun = trio.current_time()
            await nodes.until(lambda run=run, gone=gone: nodes.owner(run) not in (0, gone))
            assert trio.current_time() - begun <= ELECTED_SECONDS + OWNER_LEASE_SECONDS
            nodes.heal()
            await nodes.settle()
            await rest(nodes)


async def test_the_others_sleep_without_the_dead(tmp_path, autojump_clock):
    """A node that is down keeps nobody awake; when it is back, it sleeps with the others, with all
    that happened meanwhile.
    """
    async with sleeping(tmp_path) as nodes:
        nodes.kill(3)
        await nodes.dead(3)
        await rest(nodes)
        await nodes.client(1).variable("counter", int).set(7)
        await rest(nodes)
        await nodes.start(3)
        await rest(nodes)
        await nodes.converge()


async def test_a_timer_wakes_a_sleeping_group(tmp_path, autojump_clock):
    """A run that sleeps for long lets the cluster sleep, but for a look at the clock now and then;
    and goes on when its time has come, not a tick later.
    """
    async with sleeping(tmp_path) as nodes:
        run = await nodes.client(1).start(Waits.run, 30.0, id="nap")
        begun = trio.current_time()
        await trio.sleep(15)
        assert all(node.status.quiet for node in groups(nodes))
        assert await run.result() == "done "
        passed = trio.current_time() - begun
        assert 30.0 - TICK_SECONDS <= passed <= 30.0 + 2 * TICK_SECONDS


async def test_what_is_proposed_in_vain_keeps_a_group_awake(tmp_path, autojump_clock):
    """A signal is asked of a sleeping follower whose word does not reach the leader: it does not
    wait for ever in its sleep, but asks again until the link works.
    """
    async with sleeping(tmp_path) as nodes:
        leader = nodes.leader()
        asked = next(number for number in nodes.running if number != leader)
        run = await nodes.client(leader).start(Waits.run, 0.0, id="listens")
        await rest(nodes)
        nodes.silence([asked], [leader])
        async with trio.open_nursery() as nursery:
            handle = nodes.client(asked).get_handle("listens")
            nursery.start_soon(handle.signal, Waits.say, "hello")
            await trio.sleep(0.2)
            nodes.heal()
        assert await run.result() == "done hello"


async def test_a_group_that_rests_has_told_how_many_runs_it_has(tmp_path, autojump_clock):
    """Every number, also one that is close to the last: by when nothing happens any more, for as
    few entries of the management group as there were rests.
    """
    async with sleeping(tmp_path) as nodes:
        client = nodes.client(1)
        log = nodes.node(1)._hosting.management
        for number in range(10):
            await client.start(Waits.run, 0.0, id=f"w{number}")
        await rest(nodes)
        assert log.machine.topology.reports[1].runs == 10
        before = log.applied
        for number in range(5):
            await client.get_handle(f"w{number}").signal(Waits.say, "on")
            await client.get_handle(f"w{number}").result()
        await rest(nodes)
        assert log.machine.topology.reports[1].runs == 5
        assert log.applied - before <= 2
