"""Runs in trouble: late actors, code that exits, crashes, floods, lost proposals."""

import sys
from collections import Counter

import pytest
import trio

import flowactor as fa
from flowactor.actors import Promise
from flowactor.cluster.runs import instance
from flowactor.cluster.runs.instance import InstanceActor, QueryAsked
from flowactor.codec.records import encode
from flowactor.limits import RESEND_SECONDS
from flowactor.machine.operations import DrainNode
from flowactor.machine.replies import RunStatus
from flowactor.observability.events import ActorFailed, LeaderChanged, RunDiverged, RunParked
from tests.cluster.harness import OUTSIDE, cluster


@fa.step
async def gated(name: str) -> str:
    OUTSIDE.bump(name)
    await OUTSIDE.gate(name)
    return name


@fa.step(retry=fa.RetryPolicy(maximum_attempts=3))
async def exits() -> None:
    OUTSIDE.bump("exits")
    await trio.lowlevel.checkpoint()
    sys.exit(3)


@fa.step(start_to_close=1, retry=fa.RetryPolicy(maximum_attempts=1))
async def fails_when_cancelled() -> None:
    async def bad_clean_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("clean-up failed")

    OUTSIDE.bump("nursery")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bad_clean_up)
        nursery.start_soon(trio.sleep_forever)


@fa.workflow(version=1)
class Listens:
    """Two gated steps around a wait for a note."""

    def __init__(self) -> None:
        self.notes = []

    async def run(self) -> str:
        first = await gated("first")
        await fa.wait_condition(lambda: self.notes)
        return first + self.notes[0] + await gated("last")

    @fa.signal
    def note(self, text: str) -> None:
        self.notes.append(text)

    @fa.query
    def count(self) -> int:
        return len(self.notes)


@fa.step
async def resists() -> int:
    with trio.CancelScope(shield=True):
        OUTSIDE.bump("resists")
        await OUTSIDE.gate("resists")
    return OUTSIDE.count("resists")


@fa.workflow(version=1)
class Resists:
    async def run(self) -> int:
        return await resists()

    @fa.signal
    def poke(self) -> None: ...

    @fa.query
    def look(self) -> int:
        return 1


@fa.workflow(version=1)
class StepExits:
    async def run(self, how: str) -> str:
        try:
            await (exits() if how == "exits" else fails_when_cancelled())
        except (fa.NonRetryableError, ExceptionGroup) as error:
            return repr(error)
        return "nothing happened"


@fa.workflow(version=1)
class Exits:
    """Code that ends the process, at the place it is told."""

    def __init__(self) -> None:
        self.go = False

    async def run(self, where: str) -> None:
        async with fa.open_nursery() as nursery:
            nursery.start_soon(fa.sleep_forever)
            await fa.wait_condition(lambda: sys.exit(1) if where == "condition" else self.go)
            sys.exit(3)

    @fa.signal
    def proceed(self, now: bool) -> None:
        if now:
            sys.exit(2)
        self.go = True

    @fa.query
    def leave(self) -> None:
        sys.exit(4)


APP = fa.App([Exits, Listens, Resists, StepExits])


def roles(c) -> tuple[int, int, int]:
    """The leader, the node that is to be the owner, the one that stands by."""
    leader = c.leader()
    owner, standby = (number for number in c.running if number != leader)
    return leader, owner, standby


# -- actors that come late ------------------------------------------------------------------------


async def test_a_new_owner_acts_only_after_it_has_followed(tmp_path, autojump_clock, monkeypatch):
    """An actor whose first turn comes after its run has begun, moved, heard a signal and become
    its own, goes on where the run stands, not at its beginning.
    """
    async with cluster(tmp_path, APP) as c:
        leader, owner, standby = roles(c)
        OUTSIDE.open("first")
        turn, run_actor = trio.Event(), InstanceActor.run

        async def late(actor: InstanceActor) -> None:
            if actor._node == standby:
                await turn.wait()
            await run_actor(actor)

        await c.client(leader).start(Listens.run, id="ballast")
        await c.until(lambda: OUTSIDE.count("first") == 1)
        monkeypatch.setattr(InstanceActor, "run", late)
        run = await c.client(owner).start(Listens.run)
        again = c.client(leader).get_handle(run.id)
        machine = c.node(leader).group.machine
        await c.until(lambda: machine.runs[run.run_id].position == 2, "the first step is recorded")
        c.kill(owner)
        await again.signal(Listens.note, "-")
        await c.until(lambda: c.owner(run) == standby, "the standby owns the run")
        await c.converge()
        turn.set()
        OUTSIDE.open("last")
        assert await again.result() == "first-last"
        assert not c.seen(RunDiverged)


async def test_a_body_that_comes_late_is_no_other_attempt(tmp_path, autojump_clock, monkeypatch):
    """A step's body whose first moment comes after its run has moved on is given up unseen: it does
    not run as the attempt that began elsewhere meanwhile.
    """
    async with cluster(tmp_path, APP) as c:
        turn, execute, late = trio.Event(), InstanceActor._execute, []

        async def delayed(actor: InstanceActor, *what: object) -> None:
            late.append(actor._node)
            await turn.wait()
            await execute(actor, *what)

        monkeypatch.setattr(InstanceActor, "_execute", delayed)
        leader, owner, _ = roles(c)
        run = await c.client(owner).start(Listens.run)
        await c.until(lambda: late == [owner], "a body is about to begin")
        group = c.node(leader).group
        incarnation = group.machine.nodes[owner].incarnation
        group.propose(encode(DrainNode(owner, incarnation, draining=True)))
        await c.until(lambda: len(late) == 2, "the next attempt is about to begin")
        await c.converge()
        turn.set()
        OUTSIDE.open("first")
        await run.signal(Listens.note, "-")
        OUTSIDE.open("last")
        assert await run.result() == "first-last"
        assert OUTSIDE.attempts("first") == [2]


async def test_a_body_does_not_begin_once_its_node_knows_that_it_must_not(
    tmp_path, autojump_clock, monkeypatch
):
    """The node has applied that a run is terminated, and the run's actor has not come to look: a
    body that has its first moment in between does nothing.
    """
    async with cluster(tmp_path, APP) as c:
        body, look = trio.Event(), trio.Event()
        turn, execute, late = InstanceActor.turn, InstanceActor._execute, []

        async def delayed(actor: InstanceActor, *what: object) -> None:
            late.append(actor)
            await body.wait()
            await execute(actor, *what)

        def blind(actor: InstanceActor, messages: object, tasks: trio.Nursery) -> bool:
            return not look.is_set() if actor in late else turn(actor, messages, tasks)

        monkeypatch.setattr(InstanceActor, "_execute", delayed)
        monkeypatch.setattr(InstanceActor, "turn", blind)
        run = await c.client(1).start(Listens.run)
        await c.until(lambda: late, "a body is about to begin")
        await run.terminate("enough")
        await c.converge()
        body.set()
        await trio.testing.wait_all_tasks_blocked()
        look.set()
        assert OUTSIDE.attempts("first") == []


# -- code that exits ------------------------------------------------------------------------------


async def test_a_step_that_exits_fails_for_good(tmp_path, autojump_clock):
    """``sys.exit()`` in a step's body ends the step, without another attempt, and no node."""
    async with cluster(tmp_path, APP) as c:
        text = await c.client(1).execute(StepExits.run, "exits")
        assert text == "NonRetryableError('step exits raised SystemExit: 3')"
        assert OUTSIDE.attempts("exits") == [1]
        assert c.running == [1, 2, 3]


async def test_a_step_that_fails_while_it_times_out(tmp_path, autojump_clock):
    """What a body raises out of its nursery when its time is up is its failure, and no crash of the
    run's actor.
    """
    async with cluster(tmp_path, APP) as c:
        assert "clean-up failed" in await c.client(1).execute(StepExits.run, "times out")
        assert not c.seen(ActorFailed)


async def test_a_step_that_fails_while_it_is_cancelled(tmp_path, autojump_clock):
    """Nor is what it raises while its run is terminated."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(StepExits.run, "is cancelled")
        await c.until(lambda: OUTSIDE.count("nursery") == 1)
        await run.terminate("enough")
        await c.converge()
        await trio.sleep(1)
        assert not c.seen(ActorFailed)


@pytest.mark.parametrize("where", ["condition", "handler", "nursery"])
async def test_a_workflow_that_exits_fails(tmp_path, autojump_clock, where):
    """``sys.exit()`` in workflow code fails the run, on all nodes alike, and ends none of them."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Exits.run, where)
        if where != "condition":
            await run.signal(Exits.proceed, where == "handler")
        with pytest.raises(fa.WorkflowFailed, match="SystemExit"):
            await run.result()
        await c.converge()
        assert c.running == [1, 2, 3]
        assert not c.seen(RunDiverged)


async def test_a_query_that_exits_fails(tmp_path, autojump_clock):
    """``sys.exit()`` in a query is its asker's error; the run and the nodes go on."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Exits.run, "nursery")
        with pytest.raises(fa.QueryFailed, match="SystemExit: 4"):
            await run.query(Exits.leave)
        assert (await run.describe()).status is RunStatus.RUNNING
        assert c.running == [1, 2, 3]


# -- actors that crash ----------------------------------------------------------------------------


class Faults:
    """Crashes of actors, counted by node: each time one tries to catch up, while any are left."""

    def __init__(self) -> None:
        self.left: Counter[int] = Counter()

    def strike(self, node: int) -> None:
        if self.left[node] > 0:
            self.left[node] -= 1
            raise ValueError("a fault in the interpreter")


@pytest.fixture
def faults(monkeypatch):
    made, catch_up = Faults(), InstanceActor._catch_up

    def faulty(actor: InstanceActor, run: object) -> None:
        made.strike(actor._node)
        catch_up(actor, run)

    monkeypatch.setattr(InstanceActor, "_catch_up", faulty)
    return made


async def test_a_crashed_actor_is_deaf_at_once(tmp_path, autojump_clock, faults):
    """While a body that resists keeps a crashed actor from its end, no query is left waiting."""
    async with cluster(tmp_path, APP) as c:
        _, owner, _ = roles(c)
        run = await c.client(owner).start(Resists.run)
        await c.until(lambda: OUTSIDE.count("resists") == 1)
        faults.left[owner] = 1
        await run.signal(Resists.poke)
        await c.until(lambda: not faults.left[owner], "it has crashed")
        with trio.fail_after(1), pytest.raises(fa.Unavailable):
            await c.node(owner).instances.query(run.run_id, "look", b"\x80")
        OUTSIDE.open("resists")
        assert await run.result() == 2, "the attempt of the crashed actor was not recorded"


@pytest.mark.parametrize("role", [1, 2])
async def test_a_crashed_actor_is_replaced(tmp_path, autojump_clock, faults, role):
    """What happens to a run while its actor, the owner's or another, is down after a crash harms no
    node, and its successor knows of it all. A query meanwhile is told to come again.
    """
    async with cluster(tmp_path, APP) as c:
        crashing = roles(c)[role]
        run = await c.client(roles(c)[1]).start(Listens.run)
        await c.until(lambda: OUTSIDE.count("first") == 1)
        faults.left[crashing] = 2
        OUTSIDE.open("first")
        for number in range(10):
            await c.client(roles(c)[0]).get_handle(run.id).signal(Listens.note, f"-{number}-")
        await c.until(lambda: not faults.left[crashing], "it has crashed twice")
        with pytest.raises(fa.Unavailable, match="started again"):
            await c.node(crashing).instances.query(run.run_id, "count", b"\x80")
        assert len(c.seen(ActorFailed, crashing)) == 2
        assert c.running == [1, 2, 3]
        OUTSIDE.open("last")
        assert await c.client(crashing).get_handle(run.id).result() == "first-0-last"


async def test_a_run_closes_while_its_actor_is_down(tmp_path, autojump_clock, faults):
    """An actor that crashed is not started again for a run that has ended meanwhile."""
    async with cluster(tmp_path, APP) as c:
        _, owner, standby = roles(c)
        run = await c.client(owner).start(Listens.run)
        await c.converge()
        faults.left[standby] = 3
        await run.signal(Listens.note, "-")
        await c.until(
            lambda: not faults.left[standby],
            "it has crashed three times, so the next start is a while away",
        )
        faults.left[standby] = 1
        # Asked through the standby, which therefore hears of it at once.
        await c.client(standby).get_handle(run.id).terminate("enough")
        await trio.sleep(5)
        assert faults.left[standby] == 1
        assert not len(c.node(standby).instances)


async def test_a_standby_that_gave_up_tries_again_as_owner(tmp_path, autojump_clock, faults):
    """A node that could not follow a run gives up on it alone; when the run becomes its own it
    starts afresh, and the run ends.
    """
    async with cluster(tmp_path, APP) as c:
        leader, owner, standby = roles(c)
        faults.left[standby] = 1000
        run = await c.client(owner).start(Listens.run)
        await c.client(leader).start(Listens.run, id="ballast")
        await c.until(lambda: c.node(standby).instances.diverged(run.run_id), "it gave up")
        assert (await c.client(standby).get_handle(run.id).query(Listens.count)) == 0
        faults.left.clear()
        c.kill(owner)
        await c.until(lambda: c.owner(run) == standby, "the standby owns the run")
        OUTSIDE.open("first")
        OUTSIDE.open("last")
        again = c.client(leader).get_handle(run.id)
        await again.signal(Listens.note, "-")
        assert await again.result() == "first-last"


async def test_a_run_that_was_given_up_is_forgotten_at_its_end(tmp_path, autojump_clock, faults):
    """A node that gave up on a run takes note when others end it."""
    async with cluster(tmp_path, APP) as c:
        _, owner, standby = roles(c)
        faults.left[standby] = 1000
        run = await c.client(owner).start(Listens.run)
        await c.until(lambda: c.node(standby).instances.diverged(run.run_id), "it gave up")
        await run.terminate("enough")
        await c.converge()
        assert not c.node(standby).instances.diverged(run.run_id)
        await trio.sleep(2 * RESEND_SECONDS)
        assert c.running == [1, 2, 3]


async def test_a_run_whose_owner_gave_up_is_parked(tmp_path, autojump_clock, faults):
    """An owner that cannot perform a run parks it, also if nobody led when it gave up; once it is
    mended and the run resumed, the run ends.
    """
    async with cluster(tmp_path, APP) as c:
        leader, owner, _ = roles(c)
        run = await c.client(owner).start(Listens.run)
        await c.until(lambda: OUTSIDE.count("first") == 1)
        faults.left[owner] = 1000
        c.isolate(owner, silent=False)
        OUTSIDE.open("first")
        await c.until(lambda: c.node(owner).instances.diverged(run.run_id), "it gave up")
        assert not c.seen(RunParked)
        c.heal()
        again = c.client(leader).get_handle(run.id)
        await c.until(lambda: len(c.seen(RunParked)) == 3, "all know that the run is parked")
        assert "a fault in the interpreter" in (await again.describe()).reason
        faults.left.clear()
        await again.resume()
        OUTSIDE.open("last")
        await again.signal(Listens.note, "-")
        assert await again.result() == "first-last"


# -- what gets lost -------------------------------------------------------------------------------


async def test_a_flooded_owner_loses_no_result(tmp_path, autojump_clock, monkeypatch):
    """Queries that flood the mailbox of an owner whose activation got lost are refused; the result
    that the activation carried is recorded all the same, without executing the step again.
    """
    monkeypatch.setattr(instance, "INSTANCE_MESSAGES_MAX", 50)
    async with cluster(tmp_path, APP, lease_seconds=8) as c:
        leader, owner, _ = roles(c)
        run = await c.client(owner).start(Listens.run)
        await c.until(lambda: OUTSIDE.count("first") == 1)
        c.isolate(leader)
        OUTSIDE.open("first")
        await trio.sleep(0.1)
        actor = c.node(owner).instances._actors[run.run_id]
        promises = [Promise[bytes]() for _ in range(60)]
        for promise in promises:
            actor.tell(QueryAsked("count", b"\x80", 0, promise))
        with pytest.raises(fa.Overloaded):
            await promises[-1].wait()
        await promises[0].wait()
        OUTSIDE.open("last")
        again = c.client(owner).get_handle(run.id)
        await again.signal(Listens.note, "-")
        assert await again.result() == "first-last"
        assert OUTSIDE.count("first") == 1
        c.heal()


async def test_notices_beyond_the_mailbox_are_made_good(tmp_path, autojump_clock, monkeypatch):
    """A standby that was told more than its mailbox holds reads the rest in the history."""
    monkeypatch.setattr(instance, "INSTANCE_MESSAGES_MAX", 1)
    async with cluster(tmp_path, APP) as c:
        leader, owner, standby = roles(c)
        run = await c.client(owner).start(Listens.run)
        await c.until(lambda: OUTSIDE.count("first") == 1)
        c.isolate(standby, silent=False)
        OUTSIDE.open("first")
        await c.client(leader).get_handle(run.id).signal(Listens.note, "-")
        await c.until(lambda: OUTSIDE.count("last") == 1)
        c.heal()
        await c.converge()
        c.isolate(owner)
        assert await c.client(standby).get_handle(run.id).query(Listens.count) == 1
        c.heal()
        assert not c.seen(RunDiverged)


async def test_a_new_leader_is_told_at_once(tmp_path, autojump_clock):
    """An activation that was lost with the leader is proposed again when the next one is known,
    not when its time to be repeated has come.
    """
    async with cluster(tmp_path, APP) as c:
        leader, owner, _ = roles(c)
        run = await c.client(owner).start(Listens.run)
        await c.until(lambda: OUTSIDE.count("first") == 1)
        known: list[float] = []

        def note(number: int, event: object) -> None:
            if number == owner and isinstance(event, LeaderChanged) and event.leader:
                known.append(trio.current_time())

        c.hooks.append(note)
        c.isolate(leader)
        await trio.sleep(0.35)
        OUTSIDE.open("first")
        machine = c.node(owner).group.machine
        await c.until(lambda: known and machine.runs[run.run_id].position == 2)
        assert trio.current_time() - known[0] < RESEND_SECONDS / 10
        c.heal()


# -- what is told ---------------------------------------------------------------------------------


def made(result: str) -> type:
    @fa.workflow(name="Differs", version=1)
    class Differs:
        async def run(self) -> str:
            return result

    return Differs


async def test_divergence_names_its_workflow(tmp_path, autojump_clock):
    """A node that disagrees with the activation that ended a run still says whose run it was."""
    apps = {number: fa.App([made("right" if number < 3 else "wrong")]) for number in (1, 2, 3)}
    async with cluster(tmp_path, apps) as c:
        run = await c.client(1).start("Differs", id="order-7")
        await run.result()
        await c.converge()
        await trio.sleep(0.1)
        (event,) = c.seen(RunDiverged)
        assert event.workflow_id == "order-7"
