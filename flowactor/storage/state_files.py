"""The state of one group, file after file: the one in use, a copy of it, and the one to come."""

from collections.abc import Callable, Sequence
from typing import Final

from flowactor.errors import StorageError, WorldError
from flowactor.identity import GroupId
from flowactor.ports import Disk, Table, Worker
from flowactor.storage.file_names import receipt_file
from flowactor.storage.incoming import IncomingSnapshot
from flowactor.storage.jobs import ask
from flowactor.storage.snapshots import SnapshotFile
from flowactor.storage.state_store import StateStore

__all__ = ["StateFiles"]


class StateFiles:
    """``StateStore`` of a group, replaced whenever a ``Write.snapshot`` has replaced its log.

    Args:
        disk, group, tables, worker, on_failure: as of ``StateStore``.
        generation: as ``LogStore.generation`` says.

    Raises: as ``StateStore``.
    """

    def __init__(
        self,
        disk: Disk,
        group: GroupId,
        tables: Sequence[Table],
        worker: Worker,
        *,
        on_failure: Callable[[StorageError], None],
        generation: int = 0,
    ) -> None:
        self._disk: Final = disk
        self._group: Final = group
        self._tables: Final = tables
        self._worker: Final = worker
        self._on_failure: Final = on_failure
        self._generation = generation
        self._current = self._open()
        self._copy: SnapshotFile | None = None
        self._incoming: IncomingSnapshot | None = None

    def _open(self) -> StateStore:
        return StateStore(
            self._disk,
            self._group,
            self._tables,
            self._worker,
            on_failure=self._on_failure,
            generation=self._generation,
        )

    @property
    def current(self) -> StateStore:
        """The state in use."""
        return self._current

    # -- a copy -----------------------------------------------------------------------------------

    def copy(self, done: Callable[[SnapshotFile | WorldError], None]) -> None:
        """``StateStore.snapshot``, of which there is one at a time, until ``drop_copy``."""
        assert self._copy is None, "one copy at a time"

        def made(outcome: SnapshotFile | WorldError) -> None:
            if isinstance(outcome, SnapshotFile):
                self._copy = outcome
            done(outcome)

        self._current.snapshot(made)

    def drop_copy(self) -> None:
        """Delete the copy, or end the making of it: then ``done`` is not called."""
        self._current.cancel_snapshot()
        if self._copy is not None:
            self._copy.discard()
            self._copy = None

    # -- what comes -------------------------------------------------------------------------------

    def incoming(self) -> IncomingSnapshot:
        """Where the next state is received."""
        if self._incoming is None:
            self._incoming = IncomingSnapshot(
                self._disk, self._group, self._generation + 1, self._worker
            )
        return self._incoming

    def replace(self) -> StateStore:
        """Use what was received, which a durable ``Write.snapshot`` made the state. Blocks as long
        as opening a state does.

        Raises: as ``StateStore``.
        """
        self.drop_copy()
        before, self._incoming = self._current, None
        self._generation += 1
        self._current = self._open()
        before.discard(_ignore)
        receipt = receipt_file(self._group, self._generation)
        ask(self._worker, lambda: self._disk.remove(receipt), _ignore)
        return self._current

    # -- the end ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """End what takes long. Before the worker is closed."""
        self.drop_copy()

    def close(self) -> None:
        """Close all files, after the worker was closed. Raises as ``StateStore.close``."""
        if self._incoming is not None:
            self._incoming.close()
        self._current.close()


def _ignore(_outcome: object) -> None:
    """What cannot be deleted now will be at the next start."""
