"""Node depth: whole nodes, as they run in production, in one Trio run of a made-up world.

Real here is everything from ``flowactor.node.Node`` down to SQLite and the WebSocket frames, and
the clients. Made up are the ports: clocks, chance, disks, the network.

::

    simulate_nodes -- Cluster -- Machine (clock, device) -- Life (a Node, and what it may touch)
                   |- Clients (the remote client, on machines of their own)
                   `- Healing (what must have come about in the end)
"""

from flowactor.simulation.nodes.clients import Clients
from flowactor.simulation.nodes.cluster import Cluster, Machine
from flowactor.simulation.nodes.life import ProcessDied
from flowactor.simulation.nodes.run import simulate_nodes

__all__ = ["Clients", "Cluster", "Machine", "ProcessDied", "simulate_nodes"]
