"""Links that are cut: a minority does nothing and says nothing old; a majority goes on."""

import pytest
import trio

import flowactor as fa
from flowactor.observability.events import LeaderChanged, RunEnded
from tests.cluster.harness import OUTSIDE, cluster


@fa.step
async def count(number: int) -> int:
    OUTSIDE.bump("count")
    await trio.sleep(0.05)
    return number


@fa.workflow(version=1)
class Chain:
    async def run(self, length: int) -> int:
        total = 0
        for number in range(length):
            total += await count(number)
        return total


@fa.workflow(version=1)
class Noted:
    def __init__(self) -> None:
        self.text = ""

    async def run(self) -> None:
        await fa.sleep_forever()

    @fa.signal
    def note(self, text: str) -> None:
        self.text = text

    @fa.query
    def latest(self) -> str:
        return self.text


APP = fa.App([Chain, Noted])
silent = pytest.mark.parametrize("silent", [True, False], ids=["silent", "broken"])


async def test_what_is_late_for_want_of_a_leader_says_so(tmp_path, autojump_clock):
    """Changes, starts and reads at a node that knows no leader end with what to look at."""
    async with cluster(tmp_path, APP) as c:
        alone = next(number for number in c.running if number != c.leader())
        c.isolate(alone)
        await c.until(lambda: not c.node(alone).group.leader, "it knows no leader any more")
        client = fa.Client(c.client(alone)._caller._channel, request_timeout=5)
        others = ", ".join(str(number) for number in c.running if number != alone)
        text = (
            f"^no leader is known to node {alone}, which hears nothing of {others} among the 3"
            " members of group 1: do they run"
        )
        with pytest.raises(fa.DeadlineExceeded, match=text):
            await client.start(Noted.run)
        with pytest.raises(fa.DeadlineExceeded, match=text):
            await client.variable("limit", int).set(1)
        with pytest.raises(fa.Unavailable, match=text):
            await client.get_handle("nobody").describe()


@silent
async def test_minority_leader_serves_nothing_stale(tmp_path, autojump_clock, silent):
    """J2: a leader cut off with a client accepts nothing and answers no linearizable read, while
    the others elect another and go on; healed, all hold the same.
    """
    async with cluster(tmp_path, APP) as c:
        old = c.leader()
        variable = c.client(old).variable("limit", int)
        await variable.set(1)
        c.isolate(old, silent=silent)
        await c.until(lambda: c.leader() not in {0, old}, "another leader")
        await c.client(c.leader()).variable("limit", int).set(2)

        lonely = fa.Client(c.client(old)._caller._channel, request_timeout=5)
        with pytest.raises((fa.Unavailable, fa.DeadlineExceeded)):
            await lonely.variable("limit", int).get()
        with pytest.raises((fa.Unavailable, fa.DeadlineExceeded)) as caught:
            await lonely.variable("limit", int).set(3)
        assert not caught.value.outcome_unknown, "not even a session could be opened"
        with pytest.raises((fa.Unavailable, fa.DeadlineExceeded)):
            await lonely.list()
        assert not c.node(old).group.is_leader, "it has stepped down"

        c.heal()
        assert await variable.get() == 2
        await variable.set(4)
        assert await c.client(c.leader()).variable("limit", int).get() == 4
        await c.converge()


@silent
async def test_write_of_a_minority_has_one_outcome(tmp_path, autojump_clock, silent):
    """A write that was sent to a leader being cut off is retried across the heal and happens
    once.
    """
    async with cluster(tmp_path, APP) as c:
        old = c.leader()
        other = next(number for number in c.running if number != old)
        counter = c.client(old).variable("counter", int)
        assert await counter.set(1) == 1
        c.isolate(old, silent=silent)
        versions: list[int] = []

        async def write() -> None:
            versions.append(await counter.set(2))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await c.until(lambda: c.leader() not in {0, old}, "another leader")
            c.heal()
        held = await c.client(other).variable("counter", int).read()
        assert versions == [2]
        assert (held.value, held.version) == (2, 2)


async def test_no_commit_without_quorum(tmp_path, autojump_clock):
    """A-F11: with both followers gone nothing commits; when one is back the run goes on where it
    was, and no step that was recorded runs again.
    """
    async with cluster(tmp_path, APP) as c:
        leader = c.leader()
        run = await c.client(leader).start(Chain.run, 20)
        await c.until(lambda: OUTSIDE.count("count") == 5, "five steps")
        followers = [number for number in c.running if number != leader]
        c.kill(*followers)
        await c.dead(*followers)
        group = c.node(leader).group
        before = group.progress().commit_index
        await trio.sleep(10)
        assert group.progress().commit_index <= before + 1, "at most what both had acknowledged"
        assert not c.seen(RunEnded)
        assert OUTSIDE.count("count") <= 6
        await c.start(followers[0])
        again = c.client(followers[0]).get_handle(run.id, result_type=int)
        assert await again.result() == sum(range(20))
        assert len(OUTSIDE.keys("count")) == 20
        assert OUTSIDE.count("count") <= 21
        await c.start(followers[1])
        await c.settle()
        await c.converge()


async def test_leader_stop_follower_stop(tmp_path, autojump_clock):
    """A-F11: a stopped follower changes no leader; a stopped leader is replaced, keeps nothing to
    itself, and the run goes on.
    """
    async with cluster(tmp_path, APP) as c:
        leader = c.leader()
        follower = next(number for number in c.running if number != leader)
        await c.client(follower).variable("kept", str).set("data")
        run = await c.client(leader).start(Chain.run, 30)
        await c.until(lambda: OUTSIDE.count("count") >= 3, "three steps")
        await c.stop(follower)
        await trio.sleep(3)
        assert c.leader() == leader
        await c.start(follower)
        await c.settle()
        await c.stop(leader)
        await c.until(lambda: c.leader() not in {0, leader}, "another leader")
        assert await c.client(follower).variable("kept", str).get() == "data"
        again = c.client(follower).get_handle(run.id, result_type=int)
        assert await again.result() == sum(range(30))
        assert len(OUTSIDE.keys("count")) == 30


async def test_follower_cut_off_does_not_disturb(tmp_path, autojump_clock):
    """A follower that comes back after a long cut neither ends the leader's term nor stays
    behind.
    """
    async with cluster(tmp_path, APP) as c:
        leader, changes = c.leader(), len(c.seen(LeaderChanged))
        away = next(number for number in c.running if number != leader)
        c.isolate(away)
        await trio.sleep(20)
        assert await c.client(leader).execute(Chain.run, 3) == 3
        c.heal()
        await c.settle()
        await c.converge()
        assert c.leader() == leader
        others = [
            event
            for event in c.seen(LeaderChanged)[changes:]
            if event.group == 1 and event.leader not in {0, leader}
        ]
        assert others == []


async def test_one_way_round(tmp_path, autojump_clock):
    """Two followers that cannot reach each other both follow the leader, and all goes on."""
    async with cluster(tmp_path, APP) as c:
        leader = c.leader()
        one, two = [number for number in c.running if number != leader]
        c.wires.cut([f"memory:{one}"], [f"memory:{two}"])
        for number in (one, two, leader):
            assert await c.client(number).execute(Chain.run, 3) == 3
        assert c.leader() == leader
        c.heal()


async def test_deaf_leader_is_replaced(tmp_path, autojump_clock):
    """check_quorum_steps_down: a leader that is heard and hears nobody gives up its place, and then
    keeps nobody from electing another; healed, it follows.
    """
    async with cluster(tmp_path, APP) as c:
        deaf = c.leader()
        others = [number for number in c.running if number != deaf]
        c.silence(others, [deaf])
        run = await c.client(others[0]).start(Chain.run, 10)
        assert await run.result() == 45
        assert c.leader() != deaf
        assert not c.node(deaf).group.is_leader
        terms = c.node(others[0]).group.status.term
        await trio.sleep(20)
        assert c.node(others[0]).group.status.term == terms, "its campaigns move nobody"
        c.heal()
        await c.converge()
        assert await c.client(deaf).get_handle(run.id).result() == 45


async def test_mute_leader_is_replaced(tmp_path, autojump_clock):
    """A leader that hears the others and is not heard is replaced, and follows who replaced it."""
    async with cluster(tmp_path, APP) as c:
        mute = c.leader()
        others = [number for number in c.running if number != mute]
        c.silence([mute], others)
        run = await c.client(others[0]).start(Chain.run, 10)
        assert await run.result() == 45
        await c.until(lambda: c.node(mute).group.leader == c.leader(), "it hears of the new one")
        assert c.leader() in others
        c.heal()
        await c.converge()


async def test_deposed_leader_answers_no_question_about_runs(tmp_path, autojump_clock):
    """A leader that does not know yet that it was replaced describes, lists and queries no run: the
    others have moved on.
    """
    async with cluster(tmp_path, APP) as c:
        old = c.leader()
        run = await c.client(old).start(Noted.run, id="noted")
        await run.signal(Noted.note, "before")
        await c.converge()
        c.isolate(old)
        await c.until(lambda: c.leader() not in {0, old}, "another leader")
        elsewhere = c.client(c.leader()).get_handle("noted")
        await elsewhere.signal(Noted.note, "after")
        assert await elsewhere.query(Noted.latest) == "after"
        lonely = fa.Client(c.client(old)._caller._channel, request_timeout=3)
        seen = lonely.get_handle("noted")
        for ask in (
            seen.describe,
            seen.history,
            lambda: seen.query(Noted.latest),
            lambda: seen.signal(Noted.note, "lost"),
            lonely.list,
        ):
            with pytest.raises((fa.Unavailable, fa.DeadlineExceeded)):
                await ask()
        c.heal()
        assert await c.client(old).get_handle("noted").query(Noted.latest) == "after"


async def test_runs_go_on_through_flapping_links(tmp_path, autojump_clock):
    """Links come and go a dozen times while runs go on: all end right, every step is recorded
    once, and all nodes hold the same in the end.
    """
    async with cluster(tmp_path, APP) as c:
        runs = [await c.client(n).start(Chain.run, 40, id=f"run-{n}") for n in (1, 2, 3)]
        for number in range(12):
            c.isolate(1 + number % 3, silent=number % 2 == 0)
            await trio.sleep(0.3 + 0.2 * (number % 5))
            c.heal()
            await trio.sleep(0.4)
        for run in runs:
            assert await run.result() == sum(range(40))
            completed = [e.detail for e in await run.history() if e.kind == "step_completed"]
            assert len(completed) == len(set(completed)) == 40
        await c.settle()
        await c.converge()
        assert len(OUTSIDE.keys("count")) == 120
        assert all(member.failure is None for member in c.members.values())


@pytest.mark.parametrize("rounds", [6])
async def test_leader_kill_loop(tmp_path, autojump_clock, rounds):
    """J1: the leader is killed again and again under load: every acknowledged write is there, every
    run ends right, and no step was executed more often than it had attempts.
    """
    async with cluster(tmp_path, APP) as c:
        written = 0
        runs = []
        for round_ in range(rounds):
            for number in c.running:
                runs.append(await c.client(number).start(Chain.run, 8, id=f"{round_}-{number}"))
                await c.client(number).variable(f"key {written}", int).set(written)
                written += 1
            await trio.sleep(0.12 * (1 + round_ % 3))
            leader = await c.settle()
            c.kill(leader)
            await c.dead(leader)
            await c.until(c.leader, "another leader")
            await c.start(leader)
            await c.settle()
        client = c.client(1)
        for run in runs:
            assert await client.get_handle(run.id, result_type=int).result() == 28
        for number in range(written):
            assert await client.variable(f"key {number}", int).get() == number
        for key in OUTSIDE.keys("count"):
            attempts = [attempt for _, attempt, of in OUTSIDE.done if of == key]
            assert len(attempts) <= max(attempts)
        assert len(OUTSIDE.keys("count")) == 8 * len(runs)
        await c.converge()
