"""What a machine at core depth holds of a group's state, and what travels of it between machines.

Rows are never turned into bytes: a copy is known by a number in place of its digest, and whoever
has received all its chunks, which are empty, finds the rows under that number. All else is as in
``storage``: chunks take time, and are lost, doubled and resumed.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Final
from zlib import crc32

from flowactor.errors import StorageFull, WorldError
from flowactor.simulation.core.heap import Heap
from flowactor.simulation.core.storage import CoreLog, CoreState
from flowactor.storage import Chunk, Image

__all__ = ["CoreCopy", "CoreIncoming", "CoreStates", "Vault"]

ROW_BYTES: Final = 100
"""A row counts as so many bytes of a copy."""
READ_NS: Final = 100_000


class Vault:
    """The rows of all copies that were ever made, by what stands for their digest."""

    def __init__(self) -> None:
        self._copies: Final[dict[bytes, CoreState]] = {}

    def keep(self, copy: CoreState) -> bytes:
        """From now on the rows are found under what is returned."""
        digest = len(self._copies).to_bytes(32)
        self._copies[digest] = copy
        return digest

    def find(self, digest: bytes) -> CoreState:
        """The rows of a copy."""
        return self._copies[digest]


class CoreCopy:
    """``cluster.durable.Copy``."""

    def __init__(self, image: Image, after: Callable[..., None]) -> None:
        self.image: Final = image
        self._after: Final = after

    def read_chunk(
        self, offset: int, bytes_max: int, done: Callable[[Chunk | WorldError], None]
    ) -> None:
        """See ``Copy``."""
        data = bytes(min(bytes_max, self.image.size_bytes - offset))
        self._after(READ_NS, done, Chunk(offset, data, crc32(data)))


class CoreIncoming:
    """``cluster.durable.Incoming`` of one machine: what has arrived outlives the process.

    Attributes:
        image: of what is received.
        whole: all of it is here, and durable.
    """

    def __init__(self, heap: Heap, log: CoreLog, after: Callable[..., None]) -> None:
        self.image: Image | None = None
        self.whole = False
        self._heap: Final = heap
        self._log: Final = log
        self._after: Final = after
        self._offset = 0
        self._synced = 0
        self._busy_ns = 0

    def begin(self, image: Image, done: Callable[[int | WorldError], None]) -> None:
        """See ``Incoming``."""
        self._later(self._begin, image, done)

    def write_chunk(
        self, offset: int, data: bytes, checksum: int, done: Callable[[int | WorldError], None]
    ) -> None:
        """See ``Incoming``."""
        assert crc32(data) == checksum, "nothing damages messages here"
        self._later(self._write, offset, len(data), done)

    def finish(self, done: Callable[[WorldError | None], None]) -> None:
        """See ``Incoming``."""
        self._later(self._finish, done)

    def crash(self, chance: Random) -> None:
        """Of what was not synced some may be there."""
        self._offset = chance.randint(self._synced, self._offset)

    def _later(self, action: Callable[..., None], *arguments: Any) -> None:
        """One job after another, in their order."""
        now_ns = self._heap.now_ns
        self._busy_ns = max(self._busy_ns, now_ns) + self._log.pace.job_ns()
        self._after(self._busy_ns - now_ns, action, *arguments)

    def _begin(self, image: Image, done: Callable[[int | WorldError], None]) -> None:
        if self._log.full:
            done(_no_space())
            return
        if image != self.image:
            self.image, self._offset, self._synced = image, 0, 0
        self.whole = False
        done(self._offset)

    def _write(self, offset: int, size: int, done: Callable[[int | WorldError], None]) -> None:
        if self._log.full:
            done(_no_space())
            return
        if offset == self._offset:
            self._offset += size
        done(self._offset)

    def _finish(self, done: Callable[[WorldError | None], None]) -> None:
        assert self.image is not None, "begin first"
        assert self._offset == self.image.size_bytes, "finish when everything has arrived"
        self._synced, self.whole = self._offset, True
        done(None)


class CoreStates:
    """All of it, of one machine.

    Args:
        heap: when things are done.
        chance: what a crash leaves.
        log: says which state counts, and how fast the disk is.
        vault: of the run.

    Attributes:
        current: the state in use.
        incoming: what arrives to take its place.
        brought: called after the process was told something.
    """

    def __init__(self, heap: Heap, chance: Random, log: CoreLog, vault: Vault) -> None:
        self.current = CoreState(heap)
        self.incoming: CoreIncoming
        self.brought: Callable[[], None] = _nothing
        self._heap: Final = heap
        self._chance: Final = chance
        self._log: Final = log
        self._vault: Final = vault
        self._life = 0
        self._copies = 0
        self._generation = 0
        self._expect()

    def _expect(self) -> None:
        self.incoming = CoreIncoming(self._heap, self._log, self._after)

    def _after(self, nanoseconds: int, action: Callable[..., None], *arguments: Any) -> None:
        """Do it later, unless the process is dead then; a device that stands still does it when it
        moves again.
        """
        self._heap.post(self._heap.now_ns + nanoseconds, self._move, self._life, action, arguments)

    def _move(self, life: int, action: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._log.pace.when_moving(lambda: self._unless_dead(life, action, arguments))

    def _unless_dead(
        self, life: int, action: Callable[..., None], arguments: tuple[Any, ...]
    ) -> None:
        if life == self._life:
            action(*arguments)
            self.brought()

    def copy(self, done: Callable[[CoreCopy], None]) -> None:
        """See ``States``."""
        self._copies += 1
        self._after(READ_NS, self._copied, self._copies, done)

    def _copied(self, number: int, done: Callable[[CoreCopy], None]) -> None:
        if number != self._copies:
            return
        rows = self.current.copy()
        size_bytes = ROW_BYTES * max(rows.size, 1)
        image = Image(rows.applied_index, size_bytes, self._vault.keep(rows))
        done(CoreCopy(image, self._after))

    def drop_copy(self) -> None:
        """See ``States``."""
        self._copies += 1

    def replace(self) -> None:
        """See ``States``: what the log says is the state now."""
        while self._generation < self._log.generation:
            self._generation += 1
            incoming = self.incoming
            assert incoming.whole, "only what is whole is installed"
            assert incoming.image is not None, "only what is whole is installed"
            self.current = self._vault.find(incoming.image.digest).copy()
            self._expect()

    def crash(self) -> None:
        """The process is dead."""
        self._life += 1
        self.current.crash()
        self.incoming.crash(self._chance)
        self.replace()  # the next one finds what counts by then


def _nothing() -> None:
    """Nobody is there to be told."""


def _no_space() -> StorageFull:
    return StorageFull("no space for what arrives")
