"""Values, errors and names of any size: taken, or refused with a typed error (K1)."""

from contextlib import asynccontextmanager

import attrs
import pytest
import trio

import flowactor as fa
from flowactor.cluster.protocol import requests
from flowactor.cluster.protocol.requests import Request
from flowactor.cluster.protocol.views import ClusterView
from flowactor.codec import encode_payload
from flowactor.identity import SessionId
from flowactor.limits import FRAME_BYTES_MAX, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX, TEXT_BYTES_MAX
from flowactor.machine.operations import CancelRun, OpenSession
from flowactor.machine.replies import Rejected, RunStatus
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


@fa.workflow(version=1)
class Names:
    async def run(self, kind: str, name: str) -> None:
        if kind == "variable":
            await fa.variable(name, 1)
        else:
            await fa.compute(name, int)


APP = fa.App([BreaksHeavily, Bulky, Complains, Hoards, Names, One, Takes])


@asynccontextmanager
async def remote(c, address="memory:2"):
    """A client in another process, as far as the node can tell."""
    transport = c.wires.transport("memory:9")
    async with fa.connect(address, transport=transport, request_timeout=10) as client:
        yield client


@pytest.mark.parametrize("parts", [1, 6])
async def test_large_results_together(tmp_path, autojump_clock, parts):
    """Results and arguments near the limit, several at one moment, are more than one message holds
    together, and wedge nothing.
    """
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start(Bulky.run, parts, 3 * MIB)
        assert await run.result(timeout=60) == parts * 3 * MIB
        await c.converge()


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


@pytest.mark.parametrize("inside", [False, True], ids=["step", "workflow"])
async def test_error_with_a_huge_text(tmp_path, autojump_clock, inside):
    """An error whose text is larger than any message is the outcome all the same, cut short."""
    async with cluster(tmp_path, APP) as c:
        run = await c.client(1).start("Complains", HUGE, inside=inside) if False else None
        started = await c.client(2).start_json("Complains", f"[{HUGE}, {str(inside).lower()}]")
        run = c.client(3).get_handle(started.workflow_id, result_type=str)
        if inside:
            with pytest.raises(fa.WorkflowFailed, match="ValueError: yyy"):
                await run.result(timeout=60)
        else:
            assert await run.result(timeout=60) == "x" * 10
        await c.converge()


async def test_error_with_heavy_fields(tmp_path, autojump_clock):
    """An error whose fields together cannot be stored still is the outcome of its step."""
    async with cluster(tmp_path, APP) as c:
        assert await c.client(1).execute(BreaksHeavily.run, 3 * MIB) == "heavy"


async def test_huge_names_are_refused(tmp_path, autojump_clock):
    """Ids, names and reasons that no message could carry are refused with a typed error."""
    async with cluster(tmp_path, APP) as c:
        client = c.client(1)
        run = await client.start(Takes.run, b"")
        huge = "n" * HUGE
        with pytest.raises(fa.InvalidInput):
            await client.start(Takes.run, b"", id=huge)
        with pytest.raises(fa.InvalidInput):
            await run.cancel(huge)
        with pytest.raises(fa.InvalidInput):
            await run.terminate(huge)
        with pytest.raises(fa.InvalidInput):
            await client.variable(huge, int).set(1)
        with pytest.raises(fa.InvalidInput):
            await client.get_handle(huge).describe()
        await run.signal(Takes.give, b"1")
        assert await run.result() == 1


async def test_a_run_with_much_state_can_be_looked_at(tmp_path, autojump_clock):
    """A history with more data than one message holds comes in pages; a description shows as many
    values as it can hold, and how large the others are.
    """
    async with cluster(tmp_path, APP) as c, remote(c) as client:
        run = await c.client(1).start(Hoards.run, 6, 3 * MIB)
        await c.until(lambda: len(c.node(2).group.machine.run_variables(run.run_id)) == 6)
        seen = client.get_handle(run.id)
        history = await seen.history()
        assert [e.payload for e in history if e.kind == "variable_set"] == [
            encode_payload(bytes(3 * MIB), None, "")
        ] * 6
        view = await seen.describe()
        assert view.variables == (("part 0", encode_payload(bytes(3 * MIB), None, "")),)
        assert view.large == tuple((f"part {number}", 3 * MIB + 5) for number in range(1, 6))
        assert await seen.variable("part 1", bytes) == bytes(3 * MIB)
        assert (await client.status()).runs_open == 1


async def test_answer_that_no_message_carries_is_refused(tmp_path, autojump_clock, monkeypatch):
    """An answer beyond the size of a message is a typed error for its asker alone."""
    async with cluster(tmp_path, APP) as c, remote(c) as client:
        run = await c.client(1).start(Hoards.run, 1, 10_000)
        await c.until(lambda: c.node(2).group.machine.run_variables(run.run_id))
        monkeypatch.setattr("flowactor.cluster.protocol.border.OPERATION_BYTES_MAX", 5000)
        seen = client.get_handle(run.id)
        with pytest.raises(fa.InvalidInput, match=r"the answer has 10.* a message carries 5000"):
            await seen.variable("part 0", bytes)
        assert (await client.status()).runs_open == 1


async def test_activation_that_no_message_carries_parks_the_run(
    tmp_path, autojump_clock, monkeypatch
):
    """A run that asks for more in one activation than can be recorded is parked with the reason;
    other runs go on, and so does it, by an operator's word, once there is room.
    """
    async with cluster(tmp_path, APP) as c:
        with monkeypatch.context() as patched:
            patched.setattr("flowactor.cluster.runs.instance.OPERATION_BYTES_MAX", 5000)
            run = await c.client(1).start(Hoards.run, 10, 1000)
            other = await c.client(1).start(Takes.run, b"")
            await c.until(lambda: c.owner(run) == 0, "it is parked")
            view = await run.describe()
            assert view.status is RunStatus.PARKED
            assert "one activation asks for 10" in view.reason
            await other.signal(Takes.give, b"1")
            assert await other.result() == 1
        assert await run.resume()
        await c.until(lambda: len(c.node(3).group.machine.run_variables(run.run_id)) == 10)
        await c.converge()


@pytest.mark.parametrize(
    "body",
    [
        requests.GetResult("", "", -1),
        requests.FollowEvents((requests.EventPlace(1, 2**70, 0),), 10, 0),
        requests.FollowEvents((requests.EventPlace(1, 0, 2**70),), 10, 0),
        requests.ListRuns("", "", -2, 10),
        requests.ListRuns("", "", 2**70, 10),
        requests.GetHistory("", "", -2, 10),
        requests.WatchVariable("x", 0, 2**70),
        requests.DescribeRun("x" * (NAME_BYTES_MAX + 1), ""),
        requests.DescribeRun("\N{SNOWMAN}" * 400, ""),
        requests.Query("", "", "", bytes(PAYLOAD_BYTES_MAX + 1)),
        CancelRun("", "", "x" * (TEXT_BYTES_MAX + 1)),
        OpenSession("x" * 2000),
    ],
    ids=lambda body: f"{body!r:.40}",
)
async def test_requests_beyond_all_bounds_are_refused(tmp_path, autojump_clock, body):
    """What no client of ours would send is refused with the field's name; the connection stays."""
    async with cluster(tmp_path, APP, 1) as c, remote(c, "memory:1") as client:
        ask = client._caller._channel.request
        answer = await ask(Request(0, 1000, SessionId("s"), 1, 1, body))
        assert isinstance(answer, Rejected)
        assert answer.code == "InvalidInput"
        assert answer.message.split()[0].rstrip(":") in {f.name for f in attrs.fields(type(body))}
        assert isinstance(
            await ask(Request(0, 1000, SessionId("s"), 1, 1, requests.DescribeCluster())),
            ClusterView,
        )


async def test_names_in_workflows_have_a_limit(tmp_path, autojump_clock):
    """A name that is no text, or too long, is an error where the workflow's code uses it."""
    async with cluster(tmp_path, APP, 1) as c:
        for name, text in [("x" * 2000, "has 2000 bytes, 1024 are allowed"), ("", "is a text")]:
            for kind in ("variable", "compute"):
                with pytest.raises(fa.WorkflowFailed, match=text) as caught:
                    await c.client(1).execute(Names.run, kind, name)
                assert isinstance(caught.value.__cause__, fa.InvalidInput)
