"""Values, errors and names of any size: taken, or refused with a typed error (K1)."""

import pytest
import trio

import flowactor as fa
from flowactor.limits import FRAME_BYTES_MAX, PAYLOAD_BYTES_MAX
from flowactor.machine.replies import RunStatus
from tests.cluster.harness import cluster

MIB = 1 << 20
HUGE = FRAME_BYTES_MAX + MIB


class HeavyError(Exception):
    """An error that carries data."""

    def __init__(self, left: bytes, right: bytes) -> None:
        super().__init__("heavy")
        self.left = left
        self.right = right


@fa.step
async def produce(size: int) -> bytes:
    await trio.lowlevel.checkpoint()
    return bytes(size)


@fa.step
async def weigh(data: bytes) -> int:
    await trio.lowlevel.checkpoint()
    return len(data)


@fa.step(retry=fa.RetryPolicy(maximum_attempts=2, initial_interval=0.1))
async def complain(size: int) -> None:
    await trio.lowlevel.checkpoint()
    raise ValueError("x" * size)


@fa.step(retry=fa.RetryPolicy(maximum_attempts=1))
async def break_heavily(size: int) -> None:
    await trio.lowlevel.checkpoint()
    raise HeavyError(bytes(size), bytes(size))


@fa.workflow(version=1)
class Bulky:
    """Several large results come in at one moment, several large arguments go out at another."""

    async def run(self, parts: int, size: int) -> int:
        data = await fa.gather(*[produce(size) for _ in range(parts)])
        return sum(await fa.gather(*[weigh(part) for part in data]))


@fa.workflow(version=1)
class One:
    async def run(self, size: int) -> int:
        return len(await produce(size))


@fa.workflow(version=1)
class Complains:
    async def run(self, size: int, *, inside: bool) -> str:
        if inside:
            raise ValueError("y" * size)
        try:
            await complain(size)
        except ValueError as error:
            return str(error)[:10]
        return "nothing"


@fa.workflow(version=1)
class BreaksHeavily:
    async def run(self, size: int) -> str:
        try:
            await break_heavily(size)
        except HeavyError as error:
            return str(error)
        return "nothing"


@fa.workflow(version=1)
class Takes:
    def __init__(self) -> None:
        self.given = b""

    async def run(self, data: bytes) -> int:
        kept = await fa.variable("kept", data)
        await fa.wait_condition(lambda: self.given)
        await kept.set(self.given)
        return len(kept.value)

    @fa.signal
    def give(self, data: bytes) -> None:
        self.given = data


@fa.workflow(version=1)
class Hoards:
    async def run(self, count: int, size: int) -> int:
        for number in range(count):
            await fa.variable(f"part {number}", bytes(size))
        await fa.sleep_forever()
        return count


APP = fa.App([BreaksHeavily, Bulky, Complains, Hoards, One, Takes])


async def test_oversized_result_fails_the_step(tmp_path, autojump_clock):
    """A result beyond the limit fails its step at once, with an error that names step and limit."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(One.run, 5 * MIB)
        with pytest.raises(fa.WorkflowFailed) as caught:
            await run.result(timeout=60)
        error = caught.value.__cause__
        assert isinstance(error, fa.InvalidInput)
        assert str(error).startswith("result of step produce: 52")
        assert (await run.describe()).status is RunStatus.FAILED


@pytest.mark.parametrize("size", [1024, MIB, PAYLOAD_BYTES_MAX - 16], ids=["1k", "1M", "limit"])
async def test_values_up_to_the_limit(tmp_path, autojump_clock, size):
    """Input, signal, variable and result up to the stated limit are taken, at any node."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Takes.run, bytes(size - 8))
        again = c.client(2).get_handle(run.id, result_type=int)
        await again.signal(Takes.give, bytes(size))
        assert await again.result(timeout=60) == size
        assert await c.client(3).get_handle(run.id).variable("kept", bytes) == bytes(size)
        free = c.client(3).variable("free", bytes)
        await free.set(bytes(size))
        assert await c.client(1).variable("free", bytes).get() == bytes(size)
        await c.converge()


async def test_values_beyond_the_limit(tmp_path, autojump_clock):
    """Beyond the limit each of them is refused where it is called, and nothing else suffers."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Takes.run, b"", id="small")
        with pytest.raises(fa.InvalidInput, match="allowed"):
            await c.client(1).start(Takes.run, bytes(64 * MIB), id="big")
        with pytest.raises(fa.InvalidInput, match="allowed"):
            await run.signal(Takes.give, bytes(64 * MIB))
        with pytest.raises(fa.InvalidInput, match="allowed"):
            await c.client(1).variable("free", bytes).set(bytes(64 * MIB))
        await run.signal(Takes.give, b"12345")
        assert await run.result() == 5
