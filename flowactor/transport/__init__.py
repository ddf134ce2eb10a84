"""Frames between processes: dialling, greeting, packing, staying connected. Knows no consensus.

The way of a message from one node to another::

    Outbox.put -> pump -> records.join -> Connection.send -> network
               -> Connection.receive -> frames.unpack -> whoever asked for them

- ``WebSocketTransport``: ``ports.Transport`` over WebSockets, on TCP or on a simulated network.
- ``MemoryTransport``: its twin inside one process; passes the same conformance suite.
- ``greet``, ``dial_and_greet``: both sides say who they are; a refusal is known to both.
- ``frames``: many encoded messages in one frame.
- ``Outbox``, ``pump``, ``keep_connected``: the outbound side of a link to a peer.
"""

from flowactor.transport import frames
from flowactor.transport.backoff import Backoff
from flowactor.transport.hello import (
    CLIENT,
    KNOCK,
    PEER,
    Hello,
    OtherCluster,
    TakenOut,
    greet,
)
from flowactor.transport.link import (
    Outbox,
    OutboxStatistics,
    dial_and_greet,
    keep_connected,
    pump,
)
from flowactor.transport.memory import MemoryNetwork, MemoryTransport
from flowactor.transport.network import StreamNetwork, format_address, parse_address
from flowactor.transport.system import TcpNetwork
from flowactor.transport.websocket import WebSocketTransport

__all__ = [
    "CLIENT",
    "KNOCK",
    "PEER",
    "Backoff",
    "Hello",
    "MemoryNetwork",
    "MemoryTransport",
    "OtherCluster",
    "Outbox",
    "OutboxStatistics",
    "StreamNetwork",
    "TakenOut",
    "TcpNetwork",
    "WebSocketTransport",
    "dial_and_greet",
    "format_address",
    "frames",
    "greet",
    "keep_connected",
    "parse_address",
    "pump",
]
