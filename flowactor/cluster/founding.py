"""Who this node is, and whom it knows: decided once, kept in the data directory.

The nodes that found a cluster are named by each of them: their ids follow from the sorted list of
addresses and the cluster's id from the same list, so that nodes given equal lists agree without
talking. Who founds one alone has to agree with nobody: the id of its cluster follows from its data
directory, so that the same command line on an empty one founds another cluster, not a twin of the
first. Who joins later is given its id by the management group.
"""

import hashlib
import ipaddress
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from attrs import Factory, frozen

from flowactor.actors import Promise
from flowactor.errors import ConfigurationError, StorageRefused
from flowactor.identity import ClusterId, NodeId
from flowactor.storage import Identity
from flowactor.transport import Hello, parse_address

__all__ = [
    "Founding",
    "Membership",
    "check_peers",
    "found",
    "is_loopback",
    "kept_membership",
    "membership_facts",
]

_SEPARATOR: Final = ","


@frozen
class Membership:
    """A node's place in its cluster.

    Attributes:
        disk: the id of its data directory, from which the others know it.
        founders: the nodes that found the cluster; none on a node that joined it.
        addresses: ``HOST:PORT`` of every node that this one knows, itself included.
        disks: the data directories of those; of the founders, once the cluster is founded.
    """

    cluster: ClusterId
    node: NodeId
    disk: str
    addresses: Mapping[NodeId, str]
    founders: tuple[NodeId, ...] = ()
    disks: Mapping[NodeId, str] = Factory(dict)


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

    Args:
        own_address: ``HOST:PORT`` of this node.
        peers: the addresses of all founders.
        disk: the random id of this node's data directory.

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
    cluster = ClusterId(_digest(members if len(members) > 1 else [*members, disk]))
    addresses = {NodeId(number): address for number, address in enumerate(members, start=1)}
    own = next(node for node, address in addresses.items() if address == own_address)
    return Membership(cluster, own, disk, addresses, tuple(addresses))


def _digest(texts: Iterable[str]) -> str:
    return hashlib.blake2b(_SEPARATOR.join(texts).encode(), digest_size=8).hexdigest()


def membership_facts(membership: Membership) -> dict[str, str]:
    """What the data directory keeps of a membership beside the ids."""
    nodes = [
        (node, address, membership.disks.get(node, ""))
        for node, address in sorted(membership.addresses.items())
    ]
    return {
        "disk": membership.disk,
        "founders": json.dumps(membership.founders),
        "nodes": json.dumps(nodes),
    }


def kept_membership(identity: Identity, where: str) -> Membership:
    """The membership that the directory ``where`` has.

    Raises:
        StorageRefused: the directory holds an identity without nodes.
    """
    try:
        facts = identity.facts
        nodes = [(NodeId(node), str(a), str(d)) for node, a, d in json.loads(facts["nodes"])]
        founders = tuple(NodeId(node) for node in json.loads(facts["founders"]))
        disk = facts["disk"]
    except (KeyError, ValueError, TypeError) as error:
        raise StorageRefused(
            f"{where} does not say which nodes its node {identity.node} knows ({error!r}): use"
            " another directory"
        ) from error
    return Membership(
        identity.cluster,
        identity.node,
        disk,
        {node: address for node, address, _ in nodes},
        founders,
        {node: disk for node, _, disk in nodes if disk},
    )


def check_peers(membership: Membership, peers: tuple[str, ...], where: str) -> None:
    """Of a directory that has founded a cluster: whether these may still be given as its founders.

    Raises:
        ConfigurationError: they are others.
    """
    known = membership.addresses
    founders = [known[node] for node in membership.founders if node in known]
    left = len(membership.founders) - len(founders)  # their addresses are known no more
    given = set(peers)
    if given and not (given.issuperset(founders) and len(given) == left + len(founders)):
        raise ConfigurationError(
            f"{where} was founded with the peers {', '.join(founders) or '(none)'}, but those"
            f" given are {', '.join(peers)}: leave peers away or name the same; nodes join a"
            " cluster with join"
        )


class Founding:
    """The founding of a cluster: nobody votes before it knows with which data directory each
    founder came.

    What a node promised (its votes, its acknowledgements) is in its directory. One that comes back
    without it, and is let in by anybody, can help to elect a leader that lacks what it had helped
    to commit. So each founder learns the directories of all in their hellos, keeps them durably,
    and refuses whoever comes with another one, for ever. Who has lost its directory cannot found
    the cluster a second time either, as those who have theirs refuse it.

    A founder that comes too late to meet all, since one of them is gone for good, takes part once
    more than half of the others do so already and know it. If another directory in its place had
    ever helped to decide anything, a majority without it, but for one, would know that other one,
    and too few would be left to tell it anything.

    A node that joined later knows all directories of then from the day it was admitted, and those
    of others from the management group.

    Args:
        membership: whose founding; its ``disks`` are known if this was done in an earlier life.
        remember: keeps the founders' directories durably, before anything follows from them; False
            if it could not, and is to be asked again.

    Attributes:
        done: settled once this node may take part.
    """

    def __init__(
        self, membership: Membership, remember: Callable[[Mapping[NodeId, str]], bool]
    ) -> None:
        self.done: Final[Promise[None]] = Promise()
        self._membership: Final = membership
        self._remember: Final = remember
        self._met: Final = dict(membership.disks) or {membership.node: membership.disk}
        self._greeted: Final = {membership.node}
        self._told: Final[set[str]] = set()
        self._taking_part: Final[dict[NodeId, Mapping[NodeId, str]]] = {}
        self.digest = ""
        """Of all directories, once they are known."""
        if membership.disks:  # founded in an earlier life; of its founders some may have left since
            self._found(membership.disks)
        else:
            self.look()

    def meet(self, theirs: Hello) -> str | None:
        """A peer says hello; why it may not take part, if so."""
        known = self._met.setdefault(NodeId(theirs.node), theirs.disk)
        if known != theirs.disk:
            return (
                f"node {theirs.node} comes with another data directory than before, and has"
                " forgotten what it voted and acknowledged: start it with its own directory again,"
                " or, if that is lost, have it join as a new node"
            )
        if theirs.founding:
            self._told.add(theirs.founding)
        if self.digest and theirs.founding not in ("", self.digest):
            return (
                f"node {theirs.node} knows other data directories of the members: one of them was"
                " lost while the cluster was being founded; found it again, with empty directories"
            )
        return None

    def greeted(self, theirs: Hello) -> None:
        """Both sides have accepted each other: it knows with which directory this node came."""
        self._greeted.add(NodeId(theirs.node))
        self.look()

    def told(self, node: NodeId, disks: Mapping[NodeId, str]) -> None:
        """A node says which directories it knows durably; none before it takes part itself."""
        membership = self._membership
        own, founders = membership.node, membership.founders
        if self.done.done or node not in founders or disks.get(own) != membership.disk:
            return
        known = {founder: disks[founder] for founder in founders if founder in disks}
        self._taking_part[node] = known
        agreed = sum(each == known for each in self._taking_part.values())
        if 2 * agreed > len(founders) - 1:
            self._met.update(known)
            self._found(known)

    def learn(self, disks: Mapping[NodeId, str]) -> None:
        """The management group knows of these nodes."""
        for node, disk in disks.items():
            self._met.setdefault(node, disk)

    def look(self) -> None:
        """Found the cluster, if everybody was greeted, and nobody knows of others."""
        founders = self._membership.founders
        if self.done.done or not set(founders) <= self._greeted:
            return
        directories = {node: self._met[node] for node in founders}
        if founders and self._told - {self._digest_of(directories)}:
            return
        self._found(directories)

    def _found(self, directories: Mapping[NodeId, str]) -> None:
        if not self._membership.disks and not self._remember(directories):
            return
        self.digest = self._digest_of(directories)
        self.done.set(None)

    def _digest_of(self, directories: Mapping[NodeId, str]) -> str:
        """Empty if some are not known: of founders that have left meanwhile, or of none."""
        founders = self._membership.founders
        known = [directories[node] for node in founders if node in directories]
        return _digest(known) if known and len(known) == len(founders) else ""
