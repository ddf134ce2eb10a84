"""A made-up network: TCP between numbered machines, with everything that can go wrong on the way.

The way of some bytes from one process to another::

    SimulatedStream.send_all -> End.send -> Flow.put -> Path.wake -> Agenda.at
                             -> Path._arrive -> Flow.attempt -> End.arrive -> receive_some

- ``Network``: machines, faults, processes that come, stop, go on and are killed.
- ``Host``: what one process has of it; a ``StreamNetwork`` for the real ``WebSocketTransport``.
- ``FrameTransport``: a ``Transport`` over the same paths without WebSockets, for speed.
- ``address_of``: the address of a machine.

A *path* is one direction between two machines, and a *flow* one direction of a connection; each
connection has two *ends*. Nothing has a task, and nothing happens while nothing is under way.
"""

from flowactor.simulation.network.addresses import address_of, host_of, machine_of
from flowactor.simulation.network.ends import Told
from flowactor.simulation.network.frames import FrameConnection, FrameTransport
from flowactor.simulation.network.network import Network, NetworkFault
from flowactor.simulation.network.streams import Host, SimulatedListener, SimulatedStream

__all__ = [
    "FrameConnection",
    "FrameTransport",
    "Host",
    "Network",
    "NetworkFault",
    "SimulatedListener",
    "SimulatedStream",
    "Told",
    "address_of",
    "host_of",
    "machine_of",
]
