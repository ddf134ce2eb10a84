"""The world, as far as flowactor touches it: clock, chance, disk, network, background work.

Nothing below takes time, entropy, files or sockets from the air; a composition root hands these in.
``system.py`` of each floor implements them for real, ``flowactor.simulation`` for a made-up world.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

__all__ = [
    "Clock",
    "Connection",
    "Disk",
    "Entropy",
    "File",
    "RowReader",
    "RowWrite",
    "Table",
    "Transport",
    "Worker",
]

import attrs

T = TypeVar("T")


class Clock(Protocol):
    """Time, in integer nanoseconds."""

    def now_ns(self) -> int:
        """Wall clock since the epoch; may jump. For stamps."""

    def monotonic_ns(self) -> int:
        """Never goes back, arbitrary zero. For measuring what passed."""

    async def sleep(self, seconds: float) -> None:
        """Wait so long. As ``trio.sleep``, and cheaper in a simulation: for what a node does again
        and again for as long as it lives.
        """


class Entropy(Protocol):
    """The one source of chance."""

    def token_hex(self, size_bytes: int) -> str:
        """A fresh identifier of twice as many hexadecimal digits."""

    def seed(self) -> int:
        """64 random bits, to seed a generator with."""


class Worker(Protocol):
    """One background thread (or, in a simulation, none): jobs run one after another, in order."""

    def submit(self, job: Callable[[], T], done: Callable[[T | BaseException], None]) -> None:
        """Run ``job`` away from the event loop, then ``done`` with its result, or with the
        exception it raised, on the event loop. Never blocks.
        """

    def close(self) -> None:
        """Finish what was submitted, then stop. Blocks until then."""


class File(Protocol):
    """The plain bytes of one file. Everything blocks."""

    def read(self, offset: int, size_bytes: int) -> bytes:
        """What is there; less at the end of the file.

        Raises:
            StorageCorrupt: it cannot be read.
        """

    def write(self, offset: int, data: bytes) -> None:
        """Replace, or append; durable after the next ``sync``, perhaps before.

        Raises:
            StorageFull: no space is left; some of it may have been written.
            StoragePoisoned: the device has failed.
        """

    def sync(self) -> None:
        """Make durable what was written, and that the file exists.

        Raises:
            StoragePoisoned: the device has failed, and no later sync makes up for it.
        """

    def size_bytes(self) -> int: ...

    def close(self) -> None: ...


class Disk(Protocol):
    """The data directory of one node."""

    def connect(self, name: str, *, readonly: bool = False) -> Any:
        """Open (or make) the SQLite file ``name`` in the directory, as an ``apsw.Connection``."""

    def open(self, name: str) -> File:
        """Open (or make) the file ``name`` for its plain bytes. Nothing else may have it open."""

    def exists(self, name: str) -> bool: ...

    def names(self) -> list[str]:
        """All files of the directory, in order."""

    def remove(self, name: str) -> None:
        """Delete the file ``name``, if it is there. After a power cut it may be there again.

        Raises:
            StorageError: it cannot be deleted.
        """

    def exclusive(self) -> bool:
        """True if a file can have only one connection (the simulator's VFS has no shared
        memory).
        """

    def worker(self, name: str) -> Worker:
        """A new worker for blocking jobs on this disk."""

    def describe(self) -> str:
        """Where it is, for error messages."""

    def close(self) -> None:
        """Let others open the directory. Nothing of it may be open any more."""


class Connection(Protocol):
    """A message pipe to one peer: whole frames, in order, or an error."""

    async def send(self, frame: bytes) -> None:
        """Send one frame.

        Raises:
            ConnectionError: the other side is gone (``WorldError`` of the transport).
        """

    async def receive(self) -> bytes:
        """Wait for the next frame. Raises as ``send`` does."""

    async def aclose(self, reason: str = "") -> None:
        """Close; ``reason`` (at most 120 bytes) is shown to the other side."""

    @property
    def remote(self) -> str:
        """The other side's address, for people."""


class Transport(Protocol):
    """How nodes reach each other."""

    async def dial(self, address: str) -> Connection:
        """Connect to ``HOST:PORT``. Raises ``Unavailable`` or ``Refused``."""

    async def serve(
        self,
        address: str,
        handler: Callable[[Connection], Awaitable[None]],
        *,
        task_status: Any,
    ) -> None:
        """Accept connections for ever, each handled in a task of its own; a handler's trouble
        stays its own.

        ``task_status.started(address)`` gives the bound address (port 0 picks a free one).
        """


@attrs.frozen
class Table:
    """A table of replicated state: the machine declares it, a store keeps it.

    ``key`` and ``columns`` map column names to SQLite types (``INTEGER``, ``TEXT``, ``BLOB``);
    ``indexes`` lists column tuples to index.
    """

    name: str
    key: tuple[tuple[str, str], ...]
    columns: tuple[tuple[str, str], ...]
    indexes: tuple[tuple[str, ...], ...] = ()


@attrs.frozen
class RowWrite:
    """One changed row of replicated state: ``values`` (the value columns) replace what the row
    held; ``None`` deletes it.
    """

    table: str
    key: tuple[Any, ...]
    values: tuple[Any, ...] | None


class RowReader(Protocol):
    """Rows of replicated state as of the last apply, whether or not they have reached the disk."""

    def get(self, table: str, key: Sequence[Any]) -> tuple[Any, ...] | None:
        """The value columns of one row."""

    def scan(self, table: str, prefix: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows (key columns, then value columns) whose key starts with ``prefix``, in key
        order.
        """
