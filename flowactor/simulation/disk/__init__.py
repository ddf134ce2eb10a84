"""The simulated disk of a node: real SQLite on a device that a seed decides about.

``Device`` is the machine's: bytes, and what of them a power cut would take. ``SimulatedDisk`` is
``ports.Disk`` over it for one life of one process, with workers that need no thread. When that life
ends by force, ``SimulatedDisk.crash`` gives the device that the next one finds::

    device = Device(random)
    disk = SimulatedDisk(device, agenda, clock, "disk of node 1")   # a life
    device = disk.crash(power_cut=True)                             # its end
"""

from flowactor.simulation.disk.device import Device, Statistics
from flowactor.simulation.disk.disk import SimulatedDisk
from flowactor.simulation.disk.pace import Pace
from flowactor.simulation.disk.worker import SimulatedWorker

__all__ = ["Device", "Pace", "SimulatedDisk", "SimulatedWorker", "Statistics"]
