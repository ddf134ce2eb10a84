"""Who this node is, and who the members of its cluster are: decided once, kept in the data
directory.

For now the members of a cluster are fixed when it is founded. Node ids follow from the sorted list
of addresses and the cluster id from the same list, so that nodes given equal lists agree without
talking; a node told to join asks a seed instead.
"""

import hashlib
import ipaddress
from collections.abc import Mapping
from typing import Final

from attrs import frozen

from flowactor.errors import ConfigurationError, StorageRefused
from flowactor.identity import ClusterId, NodeId
from flowactor.machine import NodeState
from flowactor.storage import Identity
from flowactor.transport import Hello, parse_address

__all__ = [
    "Membership",
    "found",
    "is_loopback",
    "kept_membership",
    "membership_facts",
    "strange_disk",
]

_SEPARATOR: Final = ","


@frozen
class Membership:
    """A node's place in its cluster. ``addresses`` maps every member to ``HOST:PORT``, this one
    too; ``disk`` is the id of its data directory, from which the others know it.
    """

    cluster: ClusterId
    node: NodeId
    addresses: Mapping[NodeId, str]
    disk: str

    @property
    def voters(self) -> tuple[NodeId, ...]:
        return tuple(sorted(self.addresses))


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach ``HOST:PORT``."""
    host, _ = parse_address(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def found(own_address: str, peers: tuple[str, ...], disk: str) -> Membership:
    """The membership of a new cluster of ``peers`` (empty: of this node alone).

    Raises:
        ConfigurationError: this node's address is not among them, or one is named twice.
    """
    members = sorted(peers or (own_address,))
    for address in members:
        if not parse_address(address)[0]:
            raise ConfigurationError(f"{address!r} names no host that other nodes could dial")
    if len(set(members)) != len(members):
        raise ConfigurationError(f"an address is named twice in the peers {', '.join(members)}")
    if own_address not in members:
        raise ConfigurationError(
            f"this node's address {own_address} is not among the peers {', '.join(members)}: "
            "give every node the same list, with its own --listen (or --advertise) address in it"
        )
    digest = hashlib.blake2b(_SEPARATOR.join(members).encode(), digest_size=8).hexdigest()
    addresses = {NodeId(number): address for number, address in enumerate(members, start=1)}
    own = next(node for node, address in addresses.items() if address == own_address)
    return Membership(ClusterId(digest), own, addresses, disk)


def membership_facts(membership: Membership) -> dict[str, str]:
    """What the data directory keeps of a membership beside the ids."""
    members = _SEPARATOR.join(membership.addresses[node] for node in membership.voters)
    return {"members": members, "disk": membership.disk}


def kept_membership(identity: Identity, where: str) -> Membership:
    """The membership that the directory ``where`` was founded with.

    Raises:
        StorageRefused: the directory holds an identity without members.
    """
    members = identity.facts.get("members", "")
    addresses = {
        NodeId(number): text for number, text in enumerate(members.split(_SEPARATOR), start=1)
    }
    if identity.node not in addresses:
        raise StorageRefused(
            f"{where} holds no address for its own node {identity.node}: use another directory"
        )
    return Membership(identity.cluster, identity.node, addresses, identity.facts.get("disk", ""))


def strange_disk(theirs: Hello, announced: Mapping[NodeId, NodeState]) -> str | None:
    """Why a peer may not take part, if it comes with another data directory than it announced.

    Its votes and acknowledgements are in the old one. A voter that has forgotten them can elect a
    leader without entries that were acknowledged (paper section 5.2: the log is persistent).
    """
    known = announced.get(NodeId(theirs.node))
    if known is None or known.disk == theirs.disk:
        return None
    return (
        f"node {theirs.node} comes with another data directory than before, and has forgotten what "
        "it voted and acknowledged: start it with its own directory again (members cannot be "
        "replaced yet)"
    )
