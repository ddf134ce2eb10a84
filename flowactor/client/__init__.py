"""The client: the same in process (``node.client``) and over the wire (``connect``).

What changes something goes through a session (``session.py``) and so happens at most once, however
often it is sent; ``caller.py`` keeps one deadline per call and ends it definitely: done, refused
with a typed error, or outcome unknown. ``channel.py`` is the door to a node: the node itself in
process, ``remote.py`` over the network. ``docs/design/client.md`` tells the rest.
"""

from flowactor.client.channel import Channel
from flowactor.client.client import Client
from flowactor.client.cluster import Cluster
from flowactor.client.connect import connect
from flowactor.client.exports import ExportedHistory
from flowactor.client.handle import WorkflowHandle
from flowactor.client.streams import Versioned
from flowactor.client.variables import ClusterVariable

__all__ = [
    "Channel",
    "Client",
    "Cluster",
    "ClusterVariable",
    "ExportedHistory",
    "Versioned",
    "WorkflowHandle",
    "connect",
]
