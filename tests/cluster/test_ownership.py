"""Owners, epochs and effects: the rules of ownership, on whole nodes killed and cut off."""

import pytest
import trio

import flowactor as fa
from flowactor.limits import OWNER_LEASE_SECONDS, TICK_SECONDS
from flowactor.machine.replies import RunStatus
from flowactor.observability.events import OwnerChanged, StepStarted
from tests.cluster.harness import OUTSIDE, cluster


@fa.step
async def gated(name: str) -> str:
    OUTSIDE.bump(name)
    await OUTSIDE.gate(name)
    return name


@fa.step
async def count(number: int) -> int:
    OUTSIDE.bump(f"count {number}")
    await trio.sleep(0.01)
    return number


@fa.step(retry=fa.RetryPolicy(maximum_attempts=1))
async def broken() -> None:
    await trio.lowlevel.checkpoint()
    raise ValueError("broken")


@fa.workflow(version=1)
class Two:
    """Two steps, one after the other; each waits until the test lets it end."""

    async def run(self) -> str:
        return await gated("first") + await gated("second")


@fa.workflow(version=1)
class Chain:
    async def run(self, length: int) -> int:
        total = await fa.variable("total", 0)
        for number in range(length):
            await total.set(total.value + await count(number))
        return total.value


@fa.workflow(version=1)
class Ends:
    def __init__(self) -> None:
        self.go = False

    async def run(self, how: str) -> str:
        await fa.wait_condition(lambda: self.go)
        match how:
            case "fails":
                raise ValueError("of no use")
            case "catches":
                try:
                    await broken()
                except ValueError as error:
                    return f"caught {error}"
            case "sleeps":
                await fa.sleep(3600)
        return how

    @fa.signal
    def proceed(self) -> None:
        self.go = True


APP = fa.App([Chain, Ends, Two])


async def test_owner_epoch_compare_and_set(tmp_path, autojump_clock):
    """An owner that was cut off and replaced records nothing: its result of the first step is
    refused, the new owner's counts, and the epoch has grown.
    """
    async with cluster(tmp_path, APP) as c:
        leader = c.leader()
        old = next(number for number in c.running if number != leader)
        run = await c.client(old).start(Two.run)
        await c.until(lambda: OUTSIDE.count("first") == 1, "the first step runs")
        assert c.owner(run) == old
        c.isolate(old)
        await c.until(lambda: c.owner(run) not in {0, old}, "another owner")
        await c.until(lambda: OUTSIDE.count("first") == 2, "the step runs again")
        # The old owner's body ends now, and it goes on for itself, as far as it gets.
        OUTSIDE.open("first")
        await trio.sleep(1)
        assert not c.seen(StepStarted, old)[1:]
        c.heal()
        OUTSIDE.open("second")
        assert await c.client(leader).get_handle(run.id).result() == "firstsecond"
        assert OUTSIDE.attempts("first") == [1, 2]
        assert len(OUTSIDE.keys("first")) == 1
        assert (await c.client(old).get_handle(run.id).describe()).epoch == 2
        await c.converge()


@pytest.mark.parametrize("moment", ["before", "during", "after"])
@pytest.mark.parametrize("step", [0, 1, 4])
async def test_new_owner_really_runs(tmp_path, autojump_clock, step, moment):
    """The owner is killed before, in the middle of, or after a step: another one goes on and ends
    the run right, every step is recorded once, and none ran more often than it had attempts.
    """
    async with cluster(tmp_path, APP) as c:

        def strike(number: int, event: object) -> None:
            names = {"before": "StepStarted", "during": "StepStarted", "after": "StepFinished"}
            matches = type(event).__name__ == names[moment] and event.step == wanted
            if matches and not killed:
                killed.append(number)
                if moment == "during":
                    soon.start_soon(kill_soon, number)
                else:
                    c.kill(number)

        async def kill_soon(number: int) -> None:
            await trio.sleep(0.005)
            c.kill(number)

        wanted = f"count#{step}" if step else "count"
        killed: list[int] = []
        async with trio.open_nursery() as soon:
            c.hooks.append(strike)
            run = await c.client(1).start(Chain.run, 5, id="chain")
            await c.until(lambda: killed or not c.owner(run), "the owner is struck")
            assert killed
            await c.dead(*killed)
            other = c.running[0]
            assert await c.client(other).get_handle(run.id, result_type=int).result() == 10
        await assert_recorded_once(c.client(other), run.id, 5)
        await c.start(*killed)
        await c.settle()
        await c.converge()
        again = c.client(killed[0]).get_handle(run.id, result_type=int)
        assert await again.result() == 10


async def assert_recorded_once(client: fa.Client, run_id: str, steps: int) -> None:
    """Each step has one result in the history, and ran at most as often as it had attempts."""
    history = await client.get_handle(run_id).history()
    completed = [event.detail for event in history if event.kind == "step_completed"]
    assert len(completed) == len(set(completed)) == steps
    for number in range(steps):
        name = f"count {number}"
        assert 1 <= OUTSIDE.count(name) <= max(OUTSIDE.attempts(name))
        assert len(OUTSIDE.keys(name)) == 1


async def test_leader_waits_a_lease_before_reassigning(tmp_path, autojump_clock):
    """A silent owner keeps its runs for a lease, also when the leader is new and has heard nobody
    yet; soon after that somebody else has them.
    """
    async with cluster(tmp_path, APP) as c:
        leader = c.leader()
        owner = next(number for number in c.running if number != leader)
        run = await c.client(owner).start(Two.run)
        c.isolate(owner)
        cut_at = trio.current_time()
        await c.until(lambda: c.owner(run) != owner, "another owner")
        waited = trio.current_time() - cut_at
        # Up to a heartbeat before the cut is the last time the leader heard of it.
        assert OWNER_LEASE_SECONDS - 0.2 <= waited <= 1.5 * OWNER_LEASE_SECONDS
        c.heal()


async def test_leader_that_owns_is_replaced_after_a_lease(tmp_path, autojump_clock):
    """The leader owns the run and is killed: a lease after it was last heard, its successor gives
    the run to another, however soon it was elected.
    """
    async with cluster(tmp_path, APP) as c:
        leader = c.leader()
        run = await c.client(leader).start(Two.run)
        await c.until(lambda: OUTSIDE.count("first") == 1, "the first step runs")
        assert c.owner(run) == leader
        c.kill(leader)
        await c.dead(leader)
        killed_at = trio.current_time()
        await c.until(lambda: c.owner(run) != leader, "another owner")
        waited = trio.current_time() - killed_at
        assert OWNER_LEASE_SECONDS - 0.2 <= waited <= 1.5 * OWNER_LEASE_SECONDS
        OUTSIDE.open("first")
        OUTSIDE.open("second")
        other = c.running[0]
        assert await c.client(other).get_handle(run.id).result() == "firstsecond"
        assert OUTSIDE.attempts("first") == [1, 2]


async def test_new_leader_gives_everybody_a_lease(tmp_path, autojump_clock):
    """A new leader that never heard of the owner waits a lease of its own before it judges."""
    async with cluster(tmp_path, APP, 5) as c:
        leader = c.leader()
        owner = next(number for number in c.running if number != leader)
        run = await c.client(owner).start(Two.run)
        c.isolate(owner)
        c.kill(leader)
        await c.dead(leader)
        others = [number for number in c.running if number != owner]
        await c.until(lambda: c.leader() in others, "a new leader")
        elected_at = trio.current_time()
        machine = c.node(c.leader()).group.machine
        await c.until(lambda: machine.runs[run.run_id].owner in others, "another owner")
        assert trio.current_time() - elected_at >= OWNER_LEASE_SECONDS - 2 * TICK_SECONDS


async def test_failure_detected_on_idle_cluster(tmp_path, autojump_clock):
    """With nothing going on but a run that waits, a killed owner is noticed all the same."""
    async with cluster(tmp_path, APP) as c:
        owner = next(number for number in c.running if number != c.leader())
        run = await c.client(owner).start(Ends.run, "done")
        await trio.sleep(30)
        assert c.owner(run) == owner
        c.kill(owner)
        await c.until(lambda: c.owner(run) not in {0, owner}, "another owner")
        [changed, *_] = c.seen(OwnerChanged)
        assert (changed.workflow_id, changed.epoch) == (run.id, 2)


async def test_short_silence_changes_nothing(tmp_path, autojump_clock):
    """An owner that is silent for less than a lease keeps its run and its step."""
    async with cluster(tmp_path, APP) as c:
        owner = next(number for number in c.running if number != c.leader())
        run = await c.client(owner).start(Two.run)
        await c.until(lambda: OUTSIDE.count("first") == 1, "the first step runs")
        for _ in range(5):
            c.isolate(owner)
            await trio.sleep(0.4)
            c.heal()
            await trio.sleep(1)
        OUTSIDE.open("first")
        OUTSIDE.open("second")
        assert await run.result() == "firstsecond"
        assert OUTSIDE.attempts("first") == [1]
        assert not c.seen(OwnerChanged)


async def test_effect_after_output_commit(tmp_path, autojump_clock):
    """An owner without a quorum gets the result of a step, but does not start the next one: what
    asks for it is not committed.
    """
    async with cluster(tmp_path, APP) as c:
        owner = c.leader()
        run = await c.client(owner).start(Two.run)
        await c.until(lambda: OUTSIDE.count("first") == 1, "the first step runs")
        c.isolate(owner)
        OUTSIDE.open("first")
        OUTSIDE.open("second")
        await trio.sleep(20 * TICK_SECONDS)
        assert [event.step for event in c.seen(StepStarted, owner)] == ["gated"]
        other = next(number for number in c.running if number != owner)
        assert await c.client(other).get_handle(run.id).result() == "firstsecond"
        assert len(c.seen(StepStarted, owner)) == 1
        c.heal()


async def test_effect_recorded_once(tmp_path, autojump_clock):
    """Two owners finish the same step, the old one cut off: one result is recorded, and both
    executions carried one idempotency key (A-R22).
    """
    async with cluster(tmp_path, APP) as c:
        old = next(number for number in c.running if number != c.leader())
        run = await c.client(old).start(Two.run)
        await c.until(lambda: OUTSIDE.count("first") == 1, "the first step runs")
        c.isolate(old)
        await c.until(lambda: OUTSIDE.count("first") == 2, "it runs again elsewhere")
        OUTSIDE.open("first")
        OUTSIDE.open("second")
        c.heal()
        assert await run.result() == "firstsecond"
        completed = [e.detail for e in await run.history() if e.kind == "step_completed"]
        assert len(completed) == len(set(completed)) == 2
        assert OUTSIDE.count("first") == 2
        assert len(OUTSIDE.keys("first")) == 1


async def test_terminal_is_absorbing(tmp_path, autojump_clock):
    """A run that was terminated while its owner, cut off, completed it for itself stays terminated
    on every node, also after a restart of all.
    """
    async with cluster(tmp_path, APP) as c:
        old = next(number for number in c.running if number != c.leader())
        run = await c.client(old).start(Two.run)
        OUTSIDE.open("first")
        await c.until(lambda: OUTSIDE.count("second") == 1, "the second step runs")
        c.isolate(old)
        assert await c.client(c.leader()).get_handle(run.id).terminate("enough")
        OUTSIDE.open("second")
        await trio.sleep(1)
        c.heal()
        await c.converge()
        for life in (1, 2):
            for number in c.running:
                seen = c.client(number).get_handle(run.id)
                with pytest.raises(fa.WorkflowTerminated, match="enough"):
                    await seen.result()
                with pytest.raises(fa.AlreadyClosed):
                    await seen.cancel()
                with pytest.raises(fa.AlreadyClosed):
                    await seen.terminate("more")
            if life == 1:
                c.kill(1, 2, 3)
                await c.dead(1, 2, 3)
                await c.start()
                await c.settle()


async def test_started_runs_found_by_scanning_state(tmp_path, autojump_clock):
    """After all nodes were killed, each finds the open runs in its state, without any event, and
    owners go on by themselves.
    """
    async with cluster(tmp_path, APP) as c:
        runs = [await c.client(1 + n % 3).start(Ends.run, "done", id=f"run-{n}") for n in range(6)]
        closed = await c.client(1).start(Chain.run, 1, id="closed")
        await closed.result()
        await c.converge()
        await trio.sleep(1)  # rows are written behind
        c.kill(1, 2, 3)
        await c.dead(1, 2, 3)
        await c.start()
        for number in c.running:
            machine, instances = c.node(number).group.machine, c.node(number).instances
            assert {run.run_id for run in runs} <= set(machine.runs)
            assert len(instances) == len(machine.runs), "known before anything is heard"
        await c.settle()
        for run in runs:
            again = c.client(1).get_handle(run.id)
            await again.signal(Ends.proceed)
            assert await again.result() == "done"


async def test_one_delivery_path(tmp_path, autojump_clock):
    """A node that hears nothing of what happens to a run, because all its notices are lost, still
    follows it: values come from applied state by position.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Ends.run, "done")
        await c.converge()
        deaf = next(number for number in c.running if number not in {c.owner(run), c.leader()})
        actor = c.node(deaf).instances._actors[run.run_id]
        hears, actor.tell = actor.tell, lambda message: None
        owner = c.owner(run)
        await c.client(owner).get_handle(run.id).signal(Ends.proceed)
        assert await c.client(deaf).get_handle(run.id).result() == "done"
        actor.tell = hears


async def test_waiter_registered_atomically(tmp_path, autojump_clock):
    """Whoever waits for a result before, while and after the run ends gets it: no moment between
    looking and waiting is lost.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Ends.run, "done")
        got = []

        async def wait(number: int, delay: float) -> None:
            await trio.sleep(delay)
            got.append(await c.client(number).get_handle(run.id).result(timeout=5))

        async with trio.open_nursery() as nursery:
            for index in range(90):
                nursery.start_soon(wait, 1 + index % 3, 0.001 * index)
            await trio.sleep(0.03)
            await run.signal(Ends.proceed)
        assert got == ["done"] * 90
        assert trio.current_time() < 3


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("done", RunStatus.COMPLETED),
        ("fails", RunStatus.FAILED),
        ("catches", RunStatus.COMPLETED),
        ("cancelled", RunStatus.CANCELLED),
        ("terminated", RunStatus.TERMINATED),
        ("timed out", RunStatus.TIMED_OUT),
    ],
)
async def test_errors_are_values(tmp_path, autojump_clock, how, status):
    """Success, failure, cancelled, terminated and timed out are different recorded facts, the same
    on every node and after a restart of all (A5).
    """
    async with cluster(tmp_path, APP) as c:
        client, timeout = c.client(1), 2 if how == "timed out" else None
        work = "sleeps" if status not in {RunStatus.COMPLETED, RunStatus.FAILED} else how
        run = await client.start(Ends.run, work, timeout=timeout)
        await run.signal(Ends.proceed)
        if how == "cancelled":
            await run.cancel("please")
        elif how == "terminated":
            await run.terminate("now")
        first = await run.wait(timeout=10)
        assert first.status is status
        for life in (1, 2):
            for number in c.running:
                seen = c.client(number).get_handle(run.id, result_type=str)
                assert await seen.wait() == first
                await assert_raises_alike(seen, how)
            if life == 1:
                c.kill(1, 2, 3)
                await c.dead(1, 2, 3)
                await c.start()
                await c.settle()


async def assert_raises_alike(run: fa.WorkflowHandle, how: str) -> None:
    """The result, or the very error, that a run of ``Ends`` comes to."""
    match how:
        case "done":
            assert await run.result() == "done"
        case "catches":
            assert await run.result() == "caught broken"
        case "fails":
            with pytest.raises(fa.WorkflowFailed, match="of no use") as caught:
                await run.result()
            assert type(caught.value.__cause__) is ValueError
        case "cancelled":
            with pytest.raises(fa.WorkflowCancelled, match="please"):
                await run.result()
        case "terminated":
            with pytest.raises(fa.WorkflowTerminated, match="now"):
                await run.result()
        case "timed out":
            with pytest.raises(fa.WorkflowTimedOut, match="2 s"):
                await run.result()
