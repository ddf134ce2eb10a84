"""Everything durable: the log of all groups, the state of each, and whose directory it is.

::

    identity.db       Identity: cluster, node, facts for the next start   rollback journal
    log.db            LogStore: hard state and entries of all groups      WAL, synced every commit
    state-<group>.db  StateStore: rows, and the log index they are at     WAL, synced by checkpoint
    state-<group>-<generation>.db     the same, once it came from another node
    incoming-<group>-<generation>     IncomingSnapshot: what has arrived of that
    copy-<group>-<generation>-<n>.db  SnapshotFile: what is sent to others
    lock              held while a process has the directory open

The order of things: ``DirectoryDisk`` takes the directory, ``read_identity`` or ``open_identity``
says whose it is, ``LogStore.open`` recovers the log, ``remove_leftovers`` deletes what its
``generations`` have no use for, a ``StateStore`` per group, of its generation, says up to where it
is applied, ``LogStore.recover`` gives the group's Raft core the rest. From then on the log belongs
to one ``LogWriter``. To stop: ``LogWriter.close``, ``StateStore.cancel_snapshot``, close the
state's worker, ``IncomingSnapshot.close``, ``StateStore.close``, ``DirectoryDisk.close``.

Nothing here waits on the event loop: blocking calls run in a ``Worker``. Errors of SQLite become
``StorageError`` in ``faults.py``. See ``docs/design/storage.md`` for what is promised and why.
"""

from flowactor.storage.directory import DirectoryDisk
from flowactor.storage.file_names import remove_leftovers, state_file
from flowactor.storage.identity_file import Identity, open_identity, read_identity, remember
from flowactor.storage.incoming import IncomingSnapshot
from flowactor.storage.log_store import LogSize, LogStore
from flowactor.storage.snapshots import Chunk, Image, SnapshotFile
from flowactor.storage.state_files import StateFiles
from flowactor.storage.state_store import StateStore
from flowactor.storage.workers import InlineWorker, ThreadWorker
from flowactor.storage.writer import LogStatistics, LogWriter

__all__ = [
    "Chunk",
    "DirectoryDisk",
    "Identity",
    "Image",
    "IncomingSnapshot",
    "InlineWorker",
    "LogSize",
    "LogStatistics",
    "LogStore",
    "LogWriter",
    "SnapshotFile",
    "StateFiles",
    "StateStore",
    "ThreadWorker",
    "open_identity",
    "read_identity",
    "remember",
    "remove_leftovers",
    "state_file",
]
