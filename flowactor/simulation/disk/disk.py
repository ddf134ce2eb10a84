"""The data directory of a simulated process."""

from typing import Final

import apsw

from flowactor.errors import StorageRefused
from flowactor.ports import Clock, File, Worker
from flowactor.simulation.agenda import Agenda
from flowactor.simulation.disk.device import Device
from flowactor.simulation.disk.vfs import SimulatedVFS, seed_sqlite
from flowactor.simulation.disk.worker import SimulatedWorker
from flowactor.storage.faults import translated
from flowactor.storage.plain_files import VfsFile

__all__ = ["SimulatedDisk"]

STATEMENTS_CACHED: Final = 256
"""As ``DirectoryDisk`` does."""


class SimulatedDisk:
    """``ports.Disk`` on a device, for one life of one process.

    Args:
        device: what it finds; in use until ``close`` or ``crash``.
        agenda: when its workers do what.
        clock: the process's own, for SQLite.
        where: what it is called in error messages.

    Raises:
        StorageRefused: another process (or another object of this one) has the device open.
    """

    def __init__(self, device: Device, agenda: Agenda, clock: Clock, where: str) -> None:
        if device.in_use:
            raise StorageRefused(
                f"the data directory {where} is in use by another node process:"
                " stop that one first, or choose another directory"
            )
        device.in_use = True
        self._device: Final = device
        self._agenda: Final = agenda
        self._where: Final = where
        self._vfs: Final = SimulatedVFS(device, clock)
        self._workers: Final[list[SimulatedWorker]] = []

    def connect(self, name: str, *, readonly: bool = False) -> apsw.Connection:
        """See ``ports.Disk``."""
        flags = apsw.SQLITE_OPEN_READONLY
        if not readonly:
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        seed_sqlite(self._device.seed())
        with translated(f"{self._where}/{name}"):
            return apsw.Connection(name, flags, self._vfs.vfs_name, STATEMENTS_CACHED)

    def open(self, name: str) -> File:
        """See ``ports.Disk``."""
        return VfsFile(self._vfs.vfs_name, name, f"{self._where}/{name}")

    def exists(self, name: str) -> bool:
        """Whether the device holds a file of this name."""
        return name in self._device.files

    def names(self) -> list[str]:
        """See ``ports.Disk``."""
        return sorted(self._device.files)

    def remove(self, name: str) -> None:
        """See ``ports.Disk``."""
        if name in self._device.files:
            self._device.delete(name)

    def exclusive(self) -> bool:
        """There is no shared memory."""
        return True

    def worker(self, name: str) -> Worker:
        """A worker in virtual time. All workers of a disk keep its pace, each works for itself."""
        worker = SimulatedWorker(name, self._agenda, self._device.pace)
        self._workers.append(worker)
        return worker

    def describe(self) -> str:
        """What it is called."""
        return self._where

    def close(self) -> None:
        """Let the next process open the device. Twice is once."""
        self._device.in_use = False
        self._vfs.unregister()

    def crash(self, *, power_cut: bool) -> Device:
        """End this life by force: what the machine's next life finds.

        Work under way is struck in its midst. Whatever the process still does, its disk goes on
        working, and nobody ever sees it; its workers do nothing more before they are closed.

        Args:
            power_cut: what is not synced survives or not; after a kill all of it does.
        """
        survivor = self._device.after_crash(power_cut=power_cut, dying=self._run_under_way)
        for worker in self._workers:
            worker.die()
        return survivor

    def _run_under_way(self) -> None:
        for worker in self._workers:
            worker.run_under_way()
