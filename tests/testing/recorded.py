"""Workflows that use every feature, and histories of them from a real node.

``UNCHANGED`` recorded them; ``SAFE`` is that code after changes that are none to its runs;
``BROKEN`` asks for other things in two of its types.
"""

from hashlib import blake2b
from pathlib import Path

import trio
from trio.testing import MockClock

import flowactor as fa
from flowactor.client import ExportedHistory
from flowactor.identity import NodeId
from flowactor.machine.events import StepCompleted
from flowactor.machine.history import Arrived, Closed, HistoryRecord, Opened
from flowactor.machine.operations import Advance, Consumed, InboxRef
from flowactor.machine.replies import RunStatus
from tests.cluster.harness import cluster
from tests.workflow.driver import Driver

ORDERS = 60
BRANCHES = 20
EACH = 3
QUICK = fa.RetryPolicy(initial_interval=1, maximum_attempts=3)


class CardDeclined(Exception):
    """The bank says no."""


@fa.step(name="charge", retry=QUICK)
async def charge(amount: int) -> str:
    await trio.lowlevel.checkpoint()
    if fa.step_info().attempt < 2 and amount % 2:
        raise ConnectionResetError("the bank hung up")
    if amount % 5 == 0:
        raise CardDeclined(f"no {amount} left")
    return f"paid {amount}"


@fa.step(name="refund", retry=QUICK)
async def refund(amount: int) -> str:
    await trio.lowlevel.checkpoint()
    return f"refunded {amount}"


@fa.workflow(name="Order", version=1)
class Order:
    """Steps that fail for a time or for good, timers, variables, chance."""

    async def run(self, amount: int) -> str:
        status = await fa.variable("status", "new")
        await fa.sleep(60 + fa.random().randrange(60))
        try:
            paid = await charge(amount)
        except CardDeclined as error:
            return f"declined: {error}"
        await status.set(f"{paid} {fa.uuid4()} {fa.now():%H}")
        return paid


@fa.workflow(name="Branches", version=1)
class Branches:
    """Branches at once, of which some are cancelled, and values computed once."""

    async def run(self, amount: int) -> list[str]:
        async def patient(number: int) -> str:
            with fa.move_on_after(5):
                await fa.sleep(number * 2)
                return await refund(amount + number)
            return "too late"

        drawn = await fa.compute("draw", lambda: amount * 7)
        return [str(drawn), *await fa.gather(*map(patient, range(5)))]


@fa.workflow(name="Waiting", version=1)
class Waiting:
    """Signals, cancellation with clean-up, failure."""

    def __init__(self) -> None:
        self.words: list[str] = []

    async def run(self, goal: str) -> str:
        try:
            await fa.wait_condition(lambda: goal in self.words)
        except fa.Cancelled:
            with fa.CancelScope(shield=True):
                await refund(len(self.words))
            raise
        if goal == "boom":
            raise ValueError(goal)
        return " ".join(self.words)

    @fa.signal
    async def say(self, word: str) -> None:
        await fa.sleep(1)
        self.words.append(word)


@fa.workflow(name="Long", version=1)
class Long:
    """Activations that are cut because they ask for much, and one of more bytes than a page."""

    async def run(self, count: int, size: int) -> bytes:
        number = await fa.variable("number", 0)
        for value in range(count):
            await number.set(value)
        large = await fa.compute("large", lambda: bytes(size))
        await fa.variable("large", large)
        return large


UNCHANGED = fa.App([Order, Branches, Waiting, Long])


@fa.step(name="charge", retry=fa.RetryPolicy(maximum_attempts=9), start_to_close=60)
async def charge_differently(amount: int) -> str:
    raise AssertionError("a replay executes no step")


@fa.workflow(name="Order", version=1)
class SafeOrder:
    """Another body, policy and limit of a step, other lines, new handlers."""

    def __init__(self) -> None:
        self.hurry = False

    async def run(self, amount: int) -> str:
        status = await fa.variable("status", "new")
        seconds = 60 + fa.random().randrange(60)
        await fa.sleep(seconds)
        try:
            paid = await charge_differently(amount)
        except CardDeclined as error:
            return f"declined: {error}"

        await status.set(f"{paid} {fa.uuid4()} {fa.now():%H}")
        return paid

    @fa.signal
    def hurry_up(self) -> None:
        self.hurry = True

    @fa.query
    def is_hurried(self) -> bool:
        return self.hurry


SAFE = fa.App([SafeOrder, Branches, Waiting, Long])


@fa.workflow(name="Order", version=1)
class BrokenOrder:
    """Pays before it waits."""

    async def run(self, amount: int) -> str:
        await fa.variable("status", "new")
        return await charge(amount)


@fa.workflow(name="Waiting", version=1)
class BrokenWaiting(Waiting):
    """Forgets to clean up."""

    async def run(self, goal: str) -> str:
        await fa.wait_condition(lambda: goal in self.words)
        return " ".join(self.words)

    @fa.signal
    async def say(self, word: str) -> None:
        await fa.sleep(1)
        self.words.append(word)


BROKEN = fa.App([BrokenOrder, Branches, BrokenWaiting, Long])


def record(folder: Path) -> dict[str, ExportedHistory]:
    """Histories of all these by their workflow ids, exported from one node."""
    return trio.run(_record, folder, clock=MockClock(autojump_threshold=0))


async def _record(folder: Path) -> dict[str, ExportedHistory]:
    async with cluster(folder, UNCHANGED, 1, seconds=4000) as c:
        client = c.client(1)
        runs = [
            await client.start(Order.run, amount, id=f"order-{amount:02}")
            for amount in range(ORDERS)
        ]
        runs += [
            await client.start(Branches.run, amount, id=f"branches-{amount:02}")
            for amount in range(BRANCHES)
        ]
        for number in range(EACH):
            runs += await _others(client, number)
        for run in runs:
            if not run.id.startswith("waiting"):
                await run.wait(3000)
        return {run.id: await run.export() for run in runs}


async def _others(client: fa.Client, number: int) -> list[fa.WorkflowHandle[object]]:
    """One run of each kind that has to be pushed."""
    runs = {
        kind: await client.start(Waiting.run, "end", id=f"{kind}-{number}")
        for kind in ("signalled", "waiting", "cancelled", "terminated")
    }
    for run in runs.values():
        await run.signal(Waiting.say, f"hello {number}")
    await runs["signalled"].signal(Waiting.say, "end")
    await runs["cancelled"].cancel("enough")
    await runs["terminated"].terminate("at once")
    timed_out = await client.start(Waiting.run, "end", id=f"timed-out-{number}", timeout=30)
    failed = await client.start(Waiting.run, "boom", id=f"failed-{number}")
    await failed.signal(Waiting.say, "boom")
    long = await client.start(Long.run, 1200, number * 1_500_000, id=f"long-{number}")
    return [*runs.values(), timed_out, failed, long]


def exported(driver: Driver) -> ExportedHistory:
    """The history that a driver recorded, as a node would have kept it."""
    info = driver.info
    rows: list[HistoryRecord] = [
        Opened(info.workflow_id, info.workflow_type, info.version, NodeId(1), 0)
    ]
    arrived = 0
    for position, activated in enumerate(driver.history):
        consumed: list[Consumed] = []
        for event in activated.events:
            if isinstance(event, StepCompleted):
                consumed.append(event)
                continue
            arrived += 1
            rows.append(Arrived(arrived, event))
            consumed.append(InboxRef(arrived))
        rows.append(
            Advance(info.run_id, 1, position, activated.now_ns, tuple(consumed), activated.commands)
        )
    if driver.ended is not None:
        rows.append(Closed(RunStatus(driver.status), ""))
    return ExportedHistory(info.run_id, info.started_ns, tuple(rows))


def end_of(lines: list[bytes]) -> bytes:
    """The last line of a file with these lines."""
    return b'{"digest":"%s"}\n' % blake2b(b"".join(lines), digest_size=16).hexdigest().encode()
