"""Steps of real runs: attempts, time-outs, fan-out, and the effects they leave outside."""

import pytest
import trio
from attrs import frozen

import flowactor as fa
from flowactor.observability.events import StepFinished
from tests.cluster.harness import OUTSIDE, cluster

POLICY = fa.RetryPolicy(
    initial_interval=1, backoff_coefficient=2, maximum_interval=5, maximum_attempts=5
)


class DeclinedError(Exception):
    """The card is not good: no use in trying again."""


@frozen
class Charged:
    payment_id: str
    total: float


@fa.step
async def charge(order: str, total: float) -> Charged:
    OUTSIDE.bump("charge")
    await trio.lowlevel.checkpoint()
    return Charged(f"pay_{order}", total)


@fa.step(retry=POLICY)
async def flaky(good_at: int) -> int:
    OUTSIDE.bump("flaky")
    if fa.step_info().attempt < good_at:
        raise ConnectionError(f"attempt {fa.step_info().attempt}")
    return fa.step_info().attempt


@fa.step(retry=fa.RetryPolicy(initial_interval=0.1, maximum_attempts=3))
async def hopeless() -> None:
    raise ConnectionError(f"no luck in attempt {OUTSIDE.bump('hopeless')}")


@fa.step(retry=fa.RetryPolicy(non_retryable_error_types=[DeclinedError]))
async def decline() -> None:
    OUTSIDE.bump("decline")
    raise DeclinedError("card declined")


@fa.step(retry=fa.RetryPolicy(maximum_attempts=2, initial_interval=1), start_to_close=2)
async def slow() -> str:
    OUTSIDE.bump("slow")
    try:
        await trio.sleep(10)
    except trio.Cancelled:
        OUTSIDE.bump("slow cancelled")
        raise
    return "late"


@fa.step(retry=fa.RetryPolicy(maximum_attempts=1), start_to_close=60)
async def impatient() -> str:
    with trio.fail_after(1):
        await trio.sleep(10)
    return "never"


@fa.step(retry=fa.RetryPolicy(maximum_attempts=1))
async def item(number: int, broken: int) -> int:
    OUTSIDE.bump("item")
    await trio.sleep(0.1 * (number % 7))
    if number < broken:
        raise ValueError(f"item {number}")
    return number * number


class OutOfStockError(Exception):
    """An error with fields of its own."""

    def __init__(self, name: str, left: int) -> None:
        super().__init__(f"only {left} of {name}")
        self.name = name
        self.left = left


@fa.step(retry=fa.RetryPolicy(maximum_attempts=1))
async def reserve() -> None:
    OUTSIDE.bump("reserve")
    await trio.lowlevel.checkpoint()
    error = OutOfStockError("tea", 3)
    error.add_note("asked on a Sunday")
    raise error from ConnectionError("the other store is closed")


@fa.step
async def unstorable() -> object:
    OUTSIDE.bump("unstorable")
    await trio.lowlevel.checkpoint()
    return object()


@fa.step
async def gated() -> None:
    OUTSIDE.bump("gated")
    await OUTSIDE.gate("gated")


def own_key() -> str:
    return fa.step_info().idempotency_key


@fa.workflow(version=1)
class Payment:
    async def run(self, order: str) -> Charged:
        return await charge(order, 99.99)


@fa.workflow(version=1)
class Flaky:
    async def run(self, good_at: int) -> int:
        return await flaky(good_at)


@fa.workflow(version=1)
class Catches:
    async def run(self, which: str) -> str:
        try:
            match which:
                case "hopeless":
                    await hopeless()
                case "decline":
                    await decline()
                case "slow":
                    await slow()
                case "impatient":
                    await impatient()
        except fa.StepTimedOut as error:
            return f"StepTimedOut {error.kind}: {error}"
        except (ConnectionError, DeclinedError, trio.TooSlowError) as error:
            return f"{type(error).__name__}: {error}"
        return "nothing"


@fa.workflow(version=1)
class TellsWhy:
    async def run(self) -> str:
        try:
            await reserve()
        except OutOfStockError as error:
            await gated()
            told = (error, error.name, error.left, error.__cause__, error.__notes__)
            return "; ".join(map(str, told))
        return "nothing"


@fa.workflow(version=1)
class ReturnsTheUnstorable:
    async def run(self) -> None:
        await unstorable()


@fa.workflow(version=1)
class FanOut:
    async def run(self, count: int, broken: int) -> list[int]:
        results: list[int] = [-1] * count

        async def one(number: int) -> None:
            try:
                results[number] = await item(number, broken)
            except ValueError:
                results[number] = -2

        async with fa.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(one, number)
        return results


@fa.workflow(version=1)
class Namesakes:
    async def run(self) -> list[str]:
        keys = [await fa.compute(name, own_key) for name in ("a", "a", "a#1", "a#1", "0/a")]

        async def inside() -> None:
            keys.append(await fa.compute("a", own_key))

        async with fa.open_nursery() as nursery:
            nursery.start_soon(inside)
        return keys


APP = fa.App(
    [Catches, FanOut, Flaky, Namesakes, Payment, ReturnsTheUnstorable, TellsWhy],
)


def assert_waited(planned: list[float], late_by: float) -> None:
    """The executions outside came not before their seconds, nor later than ``late_by``."""
    waited = [time - OUTSIDE.times[0] for time in OUTSIDE.times]
    assert len(waited) == len(planned)
    for real, plan in zip(waited, planned, strict=True):
        assert plan - 0.001 <= real <= plan + late_by, waited


async def test_effect_happens_once_without_failures(tmp_path, autojump_clock):
    """A-R22: the effect of a step happens exactly once on three nodes, also after a follower was
    restarted and replayed the run.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Payment.run, "order_123")
        assert await run.result() == Charged("pay_order_123", 99.99)
        follower = next(number for number in c.running if number != c.leader())
        await c.stop(follower)
        await c.start(follower)
        await c.settle()
        await c.converge()
        assert OUTSIDE.count("charge") == 1
        for number in c.running:
            again = c.client(number).get_handle(run.id, result_type=Charged)
            assert await again.result() == Charged("pay_order_123", 99.99)


async def test_idempotency_keys_never_meet(tmp_path, autojump_clock):
    """Steps whose names look like those of others have idempotency keys of their own."""
    async with cluster(tmp_path, APP, 1) as c:
        keys = await c.client(1).execute(Namesakes.run)
        assert len(keys) == len(set(keys)) == 6


async def test_retry_backoff_schedule(tmp_path, autojump_clock):
    """B4: attempts at 0, 1, 3, 7 and 12 s, success on the fifth, its number visible to the step."""
    async with cluster(tmp_path, APP) as c:
        assert await c.client(2).execute(Flaky.run, 5) == 5
        assert_waited([0, 1, 3, 7, 12], late_by=1)
        assert OUTSIDE.attempts("flaky") == [1, 2, 3, 4, 5]
        assert len(OUTSIDE.keys("flaky")) == 1


async def test_retry_backoff_survives_a_crash(tmp_path, autojump_clock):
    """B4: killing the owner between attempts 2 and 3 neither resets the count nor shortens the
    wait.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Flaky.run, 5)
        await c.until(lambda: OUTSIDE.count("flaky") == 2, "two attempts")
        await trio.sleep(0.1)
        c.kill(1)
        seen = c.client(2).get_handle(run.id, result_type=int)
        assert await seen.result() == 5
        assert OUTSIDE.attempts("flaky") == [1, 2, 3, 4, 5]
        assert_waited([0, 1, 3, 7, 12], late_by=5)  # an election, and a lease


async def test_retries_exhausted(tmp_path, autojump_clock):
    """B5: three attempts at most means three executions, then the last error, which can be
    caught.
    """
    async with cluster(tmp_path, APP) as c:
        caught = await c.client(1).execute(Catches.run, "hopeless")
        assert caught == "ConnectionError: no luck in attempt 3"
        assert OUTSIDE.attempts("hopeless") == [1, 2, 3]


async def test_non_retryable_error_ends_the_step(tmp_path, autojump_clock):
    """B6: an error type listed as not retryable means one execution."""
    async with cluster(tmp_path, APP) as c:
        assert await c.client(1).execute(Catches.run, "decline") == "DeclinedError: card declined"
        assert OUTSIDE.count("decline") == 1


@pytest.mark.parametrize("how", ["standby", "replay"])
async def test_exception_types(tmp_path, autojump_clock, how):
    """A7: an error with fields, cause and note is caught by its type and is all there, on a node
    that stood by and took over, and after all nodes replayed it from the history.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(TellsWhy.run)
        await c.until(lambda: OUTSIDE.count("gated"), "the error was caught")
        victims = [1] if how == "standby" else [1, 2, 3]
        c.kill(*victims)
        await c.dead(*victims)
        if how == "replay":
            await c.start()
            await c.settle()
        OUTSIDE.open("gated")
        told = await c.client(2).get_handle(run.id).result()
        assert told == ("only 3 of tea; tea; 3; the other store is closed; ['asked on a Sunday']")
        assert OUTSIDE.count("reserve") == 1


async def test_unserialisable_value(tmp_path, autojump_clock):
    """A8: a result that cannot be stored fails its step at once, naming type and step; no retry."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(ReturnsTheUnstorable.run)
        with pytest.raises(fa.WorkflowFailed, match=r"step unstorable.*object cannot be") as caught:
            await run.result()
        assert isinstance(caught.value.__cause__, fa.UnencodableValue)
        assert OUTSIDE.count("unstorable") == 1


async def test_start_to_close_timeout(tmp_path, autojump_clock):
    """B7: a body that takes 10 s with a limit of 2 s is cancelled at 2 s in both attempts, and the
    error names the limit that struck.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(3).start(Catches.run, "slow")
        caught = await run.result()
        assert caught.startswith("StepTimedOut start_to_close: step slow exceeded start_to_close")
        assert OUTSIDE.count("slow") == 2
        assert OUTSIDE.count("slow cancelled") == 2
        assert_waited([0, 2, 3, 5], late_by=1)
        assert [e.outcome for e in c.seen(StepFinished)] == ["timed out", "timed out"]


async def test_own_timeout_of_a_body_is_its_own_error(tmp_path, autojump_clock):
    """A ``trio.TooSlowError`` that a body raises by itself is not taken for the step's limit."""
    async with cluster(tmp_path, APP, 1) as c:
        caught = await c.client(1).execute(Catches.run, "impatient")
        assert caught.startswith("TooSlowError")


async def test_fan_out(tmp_path, autojump_clock):
    """D4: 200 branches at once, ten fail; the results come in input order, each step done once."""
    async with cluster(tmp_path, APP) as c:
        results = await c.client(2).execute(FanOut.run, 200, 10)
        assert results == [-2] * 10 + [number * number for number in range(10, 200)]
        assert OUTSIDE.count("item") == 200
        assert len(OUTSIDE.keys("item")) == 200


async def test_fan_out_survives_its_owner(tmp_path, autojump_clock):
    """D4: the owner is killed in the middle of 200 branches: none is lost, and none that was
    recorded runs again.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(FanOut.run, 200, 10)
        owner = c.owner(run)

        state = c.node(owner).group.machine.runs[run.run_id]
        await c.until(lambda: 0 < len(state.steps) < 150, "the middle")
        c.kill(owner)
        left = len(state.steps)
        other = next(number for number in c.running if number != owner)
        results = await c.client(other).get_handle(run.id, result_type=list[int]).result()
        assert results == [-2] * 10 + [number * number for number in range(10, 200)]
        assert OUTSIDE.count("item") == 200 + left
        assert len(OUTSIDE.keys("item")) == 200
        history = await c.client(other).get_handle(run.id).history()
        ended = [
            e.detail.split()[0] for e in history if e.kind in {"step_completed", "step_failed"}
        ]
        assert len(ended) == len(set(ended)) == 200
