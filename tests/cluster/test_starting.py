"""Starting runs: any node, any time, each once; what cannot be started says so."""

import pytest
import trio
from attrs import frozen

import flowactor as fa
from flowactor.machine.replies import RunStatus
from tests.cluster.harness import OUTSIDE, cluster


@frozen
class Order:
    order_id: str
    item: str
    amount: int


@fa.step
async def add(left: int, right: int) -> int:
    return left + right


@fa.workflow(version=1)
class Fibonacci:
    async def run(self, number: int) -> int:
        low, high = 0, 1
        for _ in range(number):
            low, high = high, await add(low, high)
        return low


@fa.step
async def in_stock(order: Order) -> bool:
    OUTSIDE.bump("in_stock")
    return order.item == "tea"


@fa.workflow(version=1)
class ProcessOrder:
    async def run(self, order: Order) -> str:
        status = await fa.variable("status", "processing")
        await status.set("confirmed" if await in_stock(order) else "out_of_stock")
        return status.value


class UnexpectedInputError(Exception):
    pass


@fa.workflow(version=1)
class PingPong:
    async def run(self, said: str) -> str:
        if said != "ping":
            raise UnexpectedInputError(f"Expected 'ping', got {said!r}")
        return "pong"


@fa.workflow(version=1)
class Waits:
    def __init__(self) -> None:
        self.going = True

    async def run(self, label: str) -> str:
        part = await fa.variable("c", label)
        await fa.variable("b:c", f"{label}!")
        await fa.wait_condition(lambda: not self.going)
        return part.value

    @fa.signal
    def finish(self) -> None:
        self.going = False


@fa.workflow(version=2, name="Waits")
class WaitsLonger(Waits):
    async def run(self, label: str) -> str:
        await fa.wait_condition(lambda: not self.going)
        return f"{label} 2"


APP = fa.App([Fibonacci, ProcessOrder, PingPong, Waits])
LESS = fa.App([Fibonacci])


async def test_fibonacci_from_each_node(tmp_path, autojump_clock):
    """A-R4: fib(10) started at node 1, 2 and 3 is 55, and all three nodes say completed."""
    async with cluster(tmp_path, APP) as c:
        for number in (1, 2, 3):
            run = await c.client(number).start(Fibonacci.run, 10, id=f"fib-{number}")
            assert await run.result() == 55
            for other in (1, 2, 3):
                seen = c.client(other).get_handle(run.id, result_type=int)
                assert (await seen.describe()).status is RunStatus.COMPLETED
                assert await seen.result() == 55


@pytest.mark.parametrize("size", [1, 3])
async def test_order_by_inventory(tmp_path, autojump_clock, size):
    """A-R25: an order is confirmed when the item is there, out of stock when it is not."""
    async with cluster(tmp_path, APP, size) as c:
        client = c.client(size)
        tea = await client.start(ProcessOrder.run, Order("order_123", "tea", 1))
        gin = await client.start(ProcessOrder.run, Order("order_124", "gin", 1))
        assert await tea.result() == "confirmed"
        assert await gin.result() == "out_of_stock"
        assert await tea.variable("status", str) == "confirmed"
        values = [event.payload for event in await tea.history() if event.kind == "variable_set"]
        assert len(values) == 2


@pytest.mark.parametrize("size", [1, 3])
async def test_ping_pong_fails_with_its_text(tmp_path, autojump_clock, size):
    """A-R13: ping gives pong; another input fails the run with the very text, status failed."""
    async with cluster(tmp_path, APP, size) as c:
        assert await c.client(1).execute(PingPong.run, "ping") == "pong"
        run = await c.client(1).start(PingPong.run, "x")
        with pytest.raises(fa.WorkflowFailed, match="Expected 'ping', got 'x'") as caught:
            await run.result()
        assert type(caught.value.__cause__) is UnexpectedInputError
        assert str(caught.value.__cause__) == "Expected 'ping', got 'x'"
        for number in c.running:
            seen = await c.client(number).get_handle(run.id).describe()
            assert seen.status is RunStatus.FAILED


async def test_unknown_type_is_refused_with_the_known_listed(tmp_path, autojump_clock):
    """A-R15: a type that nobody has registered is refused at the start, naming those there are."""
    async with cluster(tmp_path, APP) as c:
        with pytest.raises(fa.UnknownWorkflowType, match=r"'Nothing'.*Fibonacci v1.*Waits v1"):
            await c.client(2).start("Nothing", 1)
        with pytest.raises(fa.UnknownWorkflowType, match=r"Waits v1"):
            await c.client(2).start("Waits", "x", version=7)
        assert (await c.client(1).list()).total == 0


async def test_run_without_code_is_parked_until_code_returns(tmp_path, autojump_clock):
    """A-R15: a run whose type is registered no longer is parked with the reason, and goes on by
    itself once nodes with its code are back.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Waits.run, "kept")
        await c.stop()
        await c.start(app=LESS)
        await c.settle()
        again = c.client(2).get_handle(run.id, result_type=str)
        await c.until(lambda: c.owner(run) == 0, "the run has no owner")
        seen = await again.describe()
        assert seen.status is RunStatus.PARKED
        assert "'Waits' version 1" in seen.reason
        assert (await c.client(3).list(status=RunStatus.PARKED)).total == 1
        await c.stop()
        await c.start(app=APP)
        await c.settle()
        again = c.client(2).get_handle(run.id, result_type=str)
        await again.signal(Waits.finish)
        assert await again.result() == "kept"


async def test_code_that_leaves_node_by_node_parks_at_the_last(tmp_path, autojump_clock):
    """Rolling out an app without the type moves the run from node to node, then parks it; rolling
    it back lets it go on without anybody's help.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Waits.run, "rolled")
        for number in (1, 2, 3):
            assert c.owner(run), "there is still a node that has the code"
            await c.stop(number)
            await c.start(number, app=LESS)
            await c.settle()
        await c.until(lambda: c.owner(run) == 0, "the run has no owner")
        await c.stop(2)
        await c.start(2, app=APP)
        await c.settle()
        await c.until(lambda: c.owner(run) == 2, "the node that has the code owns the run")
        again = c.client(3).get_handle(run.id, result_type=str)
        await again.signal(Waits.finish.__name__)
        assert await again.result() == "rolled"


async def test_start_finds_a_node_that_has_the_code(tmp_path, autojump_clock):
    """Nodes with different apps: a start at one without the code is owned by one that has it."""
    async with cluster(tmp_path, {1: LESS, 2: LESS, 3: APP}) as c:
        for number in (1, 2, 3):
            run = await c.client(number).start(Waits.run, f"from {number}", id=f"run-{number}")
            assert c.owner(run) == 3
            await run.signal(Waits.finish)
            assert await run.result() == f"from {number}"


async def test_start_right_after_the_cluster_is_up(tmp_path, autojump_clock):
    """A start at a node without the code is not refused just because news of the others travel."""
    async with cluster(tmp_path, {1: LESS, 2: LESS, 3: APP}) as c:
        await c.stop()
        await c.start()
        run = await c.client(1).start(Waits.run, "early")
        await run.signal(Waits.finish)
        assert await run.result() == "early"


async def test_two_versions_side_by_side(tmp_path, autojump_clock):
    """F5: runs of version 1 go to nodes that have it, those of version 2 to the others."""
    both = {1: APP, 2: fa.App([WaitsLonger]), 3: fa.App([WaitsLonger])}
    async with cluster(tmp_path, both) as c:
        old = await c.client(2).start("Waits", "a", version=1)
        new = await c.client(1).start("Waits", "b", version=2)
        assert c.owner(old) == 1
        assert c.owner(new) in {2, 3}
        newest = await c.client(1).start("Waits", "c")
        assert (await newest.describe()).version == 2
        for run, result in ((old, "a"), (new, "b 2"), (newest, "c 2")):
            await run.signal("finish")
            assert await run.result() == result


async def test_keys_never_run_into_each_other(tmp_path, autojump_clock):
    """A-R28: runs a and a:b with variables b:c and c stay apart; the end of a leaves a:b alone."""
    async with cluster(tmp_path, APP) as c:
        one = await c.client(1).start(Waits.run, "one", id="a")
        two = await c.client(2).start(Waits.run, "two", id="a:b")
        await one.signal(Waits.finish)
        assert await one.result() == "one"
        assert (await two.describe()).status is RunStatus.RUNNING
        assert await two.variable("c", str) == "two"
        assert await two.variable("b:c", str) == "two!"
        assert await one.variable("b:c", str) == "one!"
        await two.signal(Waits.finish)
        assert await two.result() == "two"


@pytest.mark.parametrize("size", [1, 3])
async def test_duplicate_start(tmp_path, autojump_clock, size):
    """A-R31: the same id and input gives the same run, another input is a conflict, also when the
    run has ended, and wherever it is asked.
    """
    async with cluster(tmp_path, APP, size) as c:
        first = await c.client(1).start(Fibonacci.run, 5, id="same")
        for number in c.running:
            assert (
                await c.client(number).start(Fibonacci.run, 5, id="same")
            ).run_id == first.run_id
            with pytest.raises(fa.AlreadyExists, match="'same' belongs to a run of another input"):
                await c.client(number).start(Fibonacci.run, 6, id="same")
            with pytest.raises(fa.AlreadyExists, match="another type"):
                await c.client(number).start(PingPong.run, "ping", id="same")
        assert await first.result() == 5
        again = await c.client(size).start(Fibonacci.run, 5, id="same")
        assert (again.run_id, await again.result()) == (first.run_id, 5)
        assert (await c.client(1).list()).total == 1


async def test_many_callers_start_one_run(tmp_path, autojump_clock):
    """Fifty starts of one id at once, through all nodes, make one run."""
    async with cluster(tmp_path, APP) as c:
        ids = set()

        async def start(number: int) -> None:
            ids.add((await c.client(number).start(Fibonacci.run, 3, id="only")).run_id)

        async with trio.open_nursery() as nursery:
            for index in range(50):
                nursery.start_soon(start, 1 + index % 3)
        assert len(ids) == 1
        assert (await c.client(1).list()).total == 1


async def test_same_definition_twice_is_two_runs(tmp_path, autojump_clock):
    """A-F13: starting the same workflow twice makes two runs, each with its step done once."""
    async with cluster(tmp_path, APP) as c:
        order = Order("order_1", "tea", 1)
        runs = [await c.client(n).start(ProcessOrder.run, order) for n in (1, 2)]
        assert [await run.result() for run in runs] == ["confirmed", "confirmed"]
        assert runs[0].run_id != runs[1].run_id
        assert OUTSIDE.count("in_stock") == 2
        assert len(OUTSIDE.keys("in_stock")) == 2


async def test_wrong_arguments_are_refused_at_the_border(tmp_path, autojump_clock):
    """What does not fit is refused with the path of the field, by any node, and starts nothing."""
    async with cluster(tmp_path, {1: LESS, 2: APP, 3: APP}) as c:
        for number in (1, 2, 3):
            with pytest.raises(fa.InvalidInput, match="amount"):
                await c.client(number).start_json(
                    "ProcessOrder", '[{"order_id": "1", "item": "tea", "amount": "many"}]'
                )
            with pytest.raises(fa.InvalidInput):
                await c.client(number).start("Fibonacci")
        assert (await c.client(1).list()).total == 0
