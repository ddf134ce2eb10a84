"""Whole nodes in one process: virtual time, links that can be cut, disks that survive a crash.

Everything is what runs in production, except for the edges: the clock is Trio's (so a mock clock
makes seconds pass in no time), links are in memory, and the jobs of a disk run at once instead of
in a thread. Files are real files of SQLite.
"""

import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import trio
from attrs import Factory, define

import flowactor as fa
from flowactor.cluster.group.compaction import Compaction
from flowactor.cluster.group.sending import Pace
from flowactor.errors import FlowactorError
from flowactor.limits import OWNER_LEASE_SECONDS
from flowactor.observability.events import ObservedEvent
from flowactor.ports import Clock, Disk, Entropy, Worker
from flowactor.storage import DirectoryDisk
from flowactor.storage.workers import InlineWorker
from tests.cluster.wires import Wires

EPOCH_NS = 1_700_000_000 * 10**9
PATIENCE_SECONDS = 120
"""Of virtual time. A cluster that has not done it by then never will."""
TEST_SECONDS = 400
"""Of virtual time, for a whole test; those about days allow themselves more."""
BUSY = ("lock", "-shm")
"""Ends of the names of files that a crash does not leave to be read."""


class TrioClock(Clock):
    """The clock of the Trio run; the wall clock of one machine may be wrong."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0

    def now_ns(self) -> int:
        return EPOCH_NS + self.monotonic_ns() + round(self.ahead_seconds * 10**9)

    def monotonic_ns(self) -> int:
        return round(trio.current_time() * 10**9)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class SeededEntropy(Entropy):
    """Chance that can be repeated."""

    def __init__(self, seed: object) -> None:
        self._random = Random(str(seed))

    def token_hex(self, size_bytes: int) -> str:
        return self._random.randbytes(size_bytes).hex()

    def seed(self) -> int:
        return self._random.getrandbits(64)


class InlineDisk(DirectoryDisk):
    """A directory whose background work is done at once: virtual time cannot overtake it."""

    def worker(self, name: str) -> Worker:
        return InlineWorker()


@define(eq=False)
class Member:
    """One place in the cluster: its address, its app, and the node that runs there, if one does."""

    number: int
    app: fa.App
    folder: Path
    clock: TrioClock = Factory(TrioClock)
    node: fa.Node | None = None
    scope: trio.CancelScope = Factory(trio.CancelScope)
    leaves: trio.Event = Factory(trio.Event)
    ended: trio.Event = Factory(trio.Event)
    failure: FlowactorError | None = None
    crashed: bool = False
    lives: int = 0
    seed: str = ""

    @property
    def address(self) -> str:
        return f"memory:{self.number}"

    @property
    def data(self) -> Path:
        return self.folder / f"node-{self.number}-life-{self.lives}"


Hook = Callable[[int, ObservedEvent], None]


class Cluster:
    """``size`` members, numbered from 1 as their node ids are."""

    def __init__(
        self,
        nursery: trio.Nursery,
        folder: Path,
        apps: fa.App | Mapping[int, fa.App],
        size: int,
        *,
        lease_seconds: float = OWNER_LEASE_SECONDS,
        disk: Callable[[Path], Disk] = InlineDisk,
        seed: int = 1,
        compaction: Compaction | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.wires = Wires()
        self.members = {
            number: Member(number, apps if isinstance(apps, fa.App) else apps[number], folder)
            for number in range(1, size + 1)
        }
        self.events: list[tuple[int, ObservedEvent]] = []
        self.hooks: list[Hook] = []
        self.disk = disk
        self.compaction = compaction or Compaction()
        self.pace = pace or Pace()
        self._folder = folder
        self._founders = tuple(member.address for member in self.members.values())
        self._nursery = nursery
        self._lease_seconds = lease_seconds
        self._entropy = SeededEntropy(seed)

    # -- looking ----------------------------------------------------------------------------------

    def node(self, number: int) -> fa.Node:
        node = self.members[number].node
        assert node is not None, f"node {number} is not running"
        return node

    def client(self, number: int) -> fa.Client:
        return self.node(number).client

    @property
    def running(self) -> list[int]:
        return [number for number, member in self.members.items() if member.node is not None]

    def seen(self, kind: type, *numbers: int) -> list[ObservedEvent]:
        """Events of one kind, of these nodes (or of all), in the order they happened."""
        return [
            event
            for number, event in self.events
            if isinstance(event, kind) and (not numbers or number in numbers)
        ]

    def leader(self) -> int:
        """The running node that leads in the highest term, 0 if none does."""
        leading = [
            (node.group.status.term, number)
            for number in self.running
            for node in (self.node(number),)
            if node.group.is_leader
        ]
        return max(leading, default=(0, 0))[1]

    def owner(self, run: fa.WorkflowHandle) -> int:
        """The owner of an open run, as the most advanced running node knows it."""
        group = max((self.node(n).group for n in self.running), key=lambda g: g.applied)
        state = group.machine.runs.get(run.run_id)
        return state.owner if state is not None else 0

    def digests(self) -> set[tuple[int, bytes]]:
        """(applied index, digest of the state) of all running nodes."""
        groups = [self.node(number).group for number in self.running]
        return {(group.applied, group.machine.digest()) for group in groups}

    # -- waiting ----------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Return once ``condition()`` is true, which is looked at every virtual centisecond."""
        with trio.move_on_after(PATIENCE_SECONDS):
            while not condition():  # noqa: ASYNC110  # any condition, and time costs nothing
                await trio.sleep(0.01)
            return
        raise AssertionError(f"never happened: {what or condition}")

    async def settle(self) -> int:
        """Wait for a leader that all running nodes follow and have announced themselves to."""

        def settled() -> bool:
            leader, nodes = self.leader(), [self.node(number) for number in self.running]
            return bool(leader) and all(
                node.group.leader == leader
                and node.steward.topology.groups
                and all(
                    number in node.group.machine.nodes and node.group.machine.nodes[number].alive
                    for number in self.running
                )
                for node in nodes
            )

        await self.until(settled, "a leader known to all")
        return self.leader()

    async def converge(self) -> None:
        """Wait until all running nodes have applied the same and hold the same state."""
        await self.until(
            lambda: len({self.node(n).group.applied for n in self.running}) == 1,
            "all have applied the same",
        )
        assert len(self.digests()) == 1, "equal index, equal state"

    # -- acting -----------------------------------------------------------------------------------

    async def start(self, *numbers: int, app: fa.App | None = None) -> None:
        """Start these nodes (or all that are down), on what their last life left on disk. One that
        does not start has a ``failure``.
        """
        for number in numbers or [n for n in self.members if n not in self.running]:
            member = self.members[number]
            member.app = app or member.app
            member.failure = None
            await self._nursery.start(self._live, member)

    async def join(self, app: fa.App) -> int:
        """Start one more node, which joins through the lowest that runs. Returns its number, which
        is its node id, too.
        """
        number = max(self.members) + 1
        seed = self.members[self.running[0]].address
        self.members[number] = Member(number, app, self._folder, seed=seed)
        await self.start(number)
        return number

    async def stop(self, *numbers: int) -> None:
        """Stop these nodes (or all) in good order."""
        chosen = [self.members[number] for number in numbers or self.running]
        for member in chosen:
            member.leaves.set()
        for member in chosen:
            await member.ended.wait()

    def kill(self, *numbers: int) -> None:
        """Kill -9, from one instant to the next: nothing these nodes do from here on is seen by
        anybody or reaches the disk they will start from. May be called from a hook.
        """
        for number in numbers:
            member = self.members[number]
            if member.crashed or member.node is None:
                continue
            member.crashed = True
            everybody = [other.address for other in self.members.values()]
            self.wires.cut([member.address], everybody, silent=False)
            left = member.data
            member.lives += 1
            shutil.copytree(left, member.data, ignore=lambda _, names: _busy(names))
            member.scope.cancel()

    async def dead(self, *numbers: int) -> None:
        """Wait until killed nodes are gone."""
        for number in numbers:
            await self.members[number].ended.wait()

    def isolate(self, *numbers: int, silent: bool = True) -> None:
        """Part these nodes from all others."""
        inside = [self.members[number].address for number in numbers]
        outside = [m.address for number, m in self.members.items() if number not in numbers]
        self.wires.cut(inside, outside, silent=silent)

    def silence(self, sources: Iterable[int], destinations: Iterable[int]) -> None:
        """Nothing that the ones send reaches the others, who are heard as before."""
        self.wires.silence(
            [self.members[number].address for number in sources],
            [self.members[number].address for number in destinations],
        )

    def heal(self) -> None:
        self.wires.heal()

    async def _live(
        self, member: Member, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        if member.crashed:
            self.wires.reconnect(member.address)
        member.ended, member.leaves = trio.Event(), trio.Event()
        member.scope, member.crashed = trio.CancelScope(), False
        config = fa.NodeConfig(
            data=member.data,
            listen=member.address,
            peers=() if member.seed else self._founders,
            join=(member.seed,) if member.seed else (),
            insecure=True,
            owner_lease_seconds=self._lease_seconds,
            on_event=lambda event: self._observe(member, event),
        )
        world = fa.World(
            clock=member.clock,
            entropy=self._entropy,
            transport=self.wires.transport(member.address),
            disk=self.disk,
            compaction=self.compaction,
            pace=lambda: self.pace,
        )
        try:
            with member.scope:
                async with fa.Node(member.app, config, world) as node:
                    member.node = node
                    task_status.started()
                    await member.leaves.wait()
        except FlowactorError as error:
            if member.node is None:
                task_status.started()  # it did not; whoever started it looks at the failure
            member.failure = error
        finally:
            member.node = None
            member.ended.set()

    def _observe(self, member: Member, event: ObservedEvent) -> None:
        if member.crashed:
            return
        self.events.append((member.number, event))
        for hook in list(self.hooks):
            hook(member.number, event)


def _busy(names: list[str]) -> set[str]:
    return {name for name in names if name.endswith(BUSY)}


@asynccontextmanager
async def cluster(
    folder: Path,
    apps: fa.App | Mapping[int, fa.App],
    size: int = 3,
    *,
    seconds: float = TEST_SECONDS,
    **options: object,
) -> AsyncIterator[Cluster]:
    """A running cluster that has settled; all of it is stopped at the end."""
    # Virtual time never ends by itself: what hangs has to end the test.
    with trio.fail_after(seconds):
        async with _cluster(folder, apps, size, **options) as made:
            yield made


@asynccontextmanager
async def _cluster(
    folder: Path, apps: fa.App | Mapping[int, fa.App], size: int, **options: object
) -> AsyncIterator[Cluster]:
    async with trio.open_nursery() as nursery:
        made = Cluster(nursery, folder, apps, size, **options)
        await made.start()
        await made.settle()
        yield made
        await made.stop()


class Outside:
    """The world outside: what step bodies did to it, and what they wait for there.

    It outlives every node. Reset for each test.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.done: list[tuple[str, int, str]] = []
        self.times: list[float] = []
        self._gates: dict[str, trio.Event] = {}

    def bump(self, name: str) -> int:
        """An execution of the step ``name``, by its attempt and idempotency key. Returns which."""
        info = fa.step_info()
        self.done.append((name, info.attempt, info.idempotency_key))
        self.times.append(trio.current_time())
        return self.count(name)

    def count(self, name: str) -> int:
        return sum(1 for done, _, _ in self.done if done == name)

    def attempts(self, name: str) -> list[int]:
        return [attempt for done, attempt, _ in self.done if done == name]

    def keys(self, name: str) -> set[str]:
        return {key for done, _, key in self.done if done == name}

    async def gate(self, name: str) -> None:
        """Wait until the test opens it."""
        await self._gates.setdefault(name, trio.Event()).wait()

    def open(self, name: str) -> None:
        self._gates.setdefault(name, trio.Event()).set()

    def close(self, name: str) -> None:
        self._gates.pop(name, None)


OUTSIDE = Outside()
