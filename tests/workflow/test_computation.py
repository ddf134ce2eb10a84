"""Scenarios A-R1 to A-R25: computing, recording and replicated variables."""

import pytest
from attrs import frozen

import flowactor as fa
from tests.workflow.driver import Driver


@frozen
class Computed:
    value: int
    steps: list[int]


def multiply(value: int, by: int) -> int:
    return value * by


@fa.workflow(version=1)
class Computation:
    async def run(self, base: int, multiplier: int, iterations: int) -> Computed:
        value, steps = base, []
        for number in range(iterations):
            value = await fa.compute(f"step_{number}", multiply, value, multiplier)
            steps.append(value)
        return Computed(value, steps)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param((2, 3, 4), Computed(162, [6, 18, 54, 162]), id="A-R1"),
        pytest.param((5, 2, 3), Computed(40, [10, 20, 40]), id="A-R2"),
    ],
)
def test_computation_records_each_step_once(given: tuple[int, int, int], expected: Computed):
    """A chain of computed values gives the product and one recorded step per iteration."""
    driver = Driver(Computation, *given)
    assert driver.run() == expected
    assert [name for _, name, _ in driver.recorded] == [f"step_{n}" for n in range(given[2])]


@fa.workflow(version=1)
class Doublings:
    async def run(self, start: int) -> list[int]:
        counter = await fa.variable("counter", start)
        return [await counter.update(lambda value: value * 2) for _ in range(3)]


def test_three_doublings_through_one_variable():
    """A-R3: 5 doubled three times is 40, and the variable's history is [10, 20, 40]."""
    driver = Driver(Doublings, 5)
    assert driver.run() == [10, 20, 40]
    assert driver.variables == {"counter": [5, 10, 20, 40]}
    assert len(driver.history) == 1, "updates between two waits ride in one activation"


@fa.workflow(version=1)
class Fibonacci:
    async def run(self, number: int) -> int:
        low, high = 0, 1
        for index in range(number):
            low, high = high, await fa.compute(f"fib_{index}", lambda a, b: a + b, low, high)
        return low


def test_fibonacci():
    """A-R5: fibonacci of 5 to 10."""
    assert [Driver(Fibonacci, n).run() for n in range(5, 11)] == [5, 8, 13, 21, 34, 55]


@fa.workflow(version=1)
class Variables:
    async def run(self, value: int) -> list[int]:
        first = await fa.variable("first", 42)
        await first.set(100)
        second = await fa.variable("second", 50)
        await second.update(lambda old: old + 10)
        third = await fa.variable("third", await fa.compute("make", lambda: 84))
        before = third.value
        await third.set(100)
        shared = await fa.variable("shared", 0)
        await shared.set(value)
        again = await fa.variable("shared", -1)
        return [await first.get(), second.value, before, third.value, again.value]


def test_variables_of_runs():
    """A-R7: create and set, update, computed then set; the same name in two runs is two
    variables."""
    assert Driver(Variables, 100, run_id="a").run() == [100, 60, 84, 100, 100]
    assert Driver(Variables, 200, run_id="b").run() == [100, 60, 84, 100, 200]


@fa.workflow(version=1)
class Boxes:
    async def run(self) -> list[int]:
        items = [1]
        box = await fa.variable("box", items)
        items.append(2)
        return box.value


def test_a_variable_keeps_its_own_copy():
    """Changing the object a variable was set from does not change what was recorded."""
    driver = Driver(Boxes)
    assert driver.run() == [1]
    assert driver.variables == {"box": [[1]]}


class UnexpectedInputError(Exception):
    pass


@fa.workflow(version=1)
class PingPong:
    async def run(self, said: str) -> str:
        if said != "ping":
            raise UnexpectedInputError(f"Expected 'ping', got {said!r}")
        return "pong"


def test_ping_pong():
    """A-R13: ping gives pong; anything else fails the run with the text and the type."""
    assert Driver(PingPong, "ping").run() == "pong"
    driver = Driver(PingPong, "x")
    assert driver.status == "failed"
    with pytest.raises(UnexpectedInputError, match=r"^Expected 'ping', got 'x'$"):
        driver.result()


@fa.workflow(version=1)
class Stock:
    async def run(self, available: bool) -> str:
        status = await fa.variable("status", "processing")
        if await fa.compute("inventory", lambda: available):
            await status.set("confirmed")
        else:
            await status.set("out_of_stock")
        return status.value


@pytest.mark.parametrize(("available", "status"), [(True, "confirmed"), (False, "out_of_stock")])
def test_order_by_inventory(available: bool, status: str):
    """A-R25: the inventory decides the order's status, which begins as processing."""
    driver = Driver(Stock, available)
    assert driver.run() == status
    assert driver.variables["status"] == ["processing", status]


@fa.workflow(version=1)
class ManyUpdates:
    async def run(self, count: int) -> int:
        counter = await fa.variable("counter", 0)
        for value in range(1, count + 1):
            await counter.set(value)
        return counter.value


def test_an_activation_is_cut_at_its_limit():
    """Thousands of updates are recorded in bounded activations, and the code goes on in between."""
    driver = Driver(ManyUpdates, 2500, replays=False)
    assert driver.run() == 2500
    assert [len(activated.commands) for activated in driver.history] == [1000, 1000, 502]
    assert driver.replay().closed


@fa.workflow(version=1)
class LargeValues:
    async def run(self) -> None:
        async def fill(name: str) -> None:
            box = await fa.variable(name, b"")
            for _ in range(6):
                await box.set(bytes(200_000))

        async with fa.open_nursery() as nursery:
            nursery.start_soon(fill, "a")
            nursery.start_soon(fill, "b")


def test_an_activation_is_cut_by_bytes_without_changing_the_order():
    """A full activation is cut at a checkpoint; who runs next is as if it had not been."""
    driver = Driver(LargeValues)
    driver.run()
    assert len(driver.history) > 1
    names = [c.name for a in driver.history for c in a.commands if hasattr(c, "name")]
    assert names == ["a"] * 7 + ["b"] * 7
