"""How a cluster changes while it runs: who comes, who goes, who is stopped and started again, and
what becomes of its groups (``orders``).

Changes are facts with a time, as faults are, and happen at node depth only: at core depth, which
has no management group, the nodes are those of the beginning, and all that can change is who of
them votes (``Reshape``). The machines of founders are 1 to ``Scenario.nodes``; those that
join go on counting from there. A machine is not a node: the cluster numbers its nodes as it admits
them, and one that comes back with an empty disk is another node on the same machine.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import isfinite
from typing import Final

from attrs import frozen

from flowactor.errors import ConfigurationError
from flowactor.simulation.faults import DOWN, Fault, Pause, end_of, misfit, nodes_of
from flowactor.simulation.orders import Found, Order

__all__ = [
    "MACHINES_MAX",
    "Change",
    "Join",
    "Remove",
    "Replace",
    "Reshape",
    "Restart",
    "change_ends",
    "check_changes",
    "kind_of_change",
]

MACHINES_MAX: Final = 9


@frozen
class Join:
    """A new machine, ``node``, with an empty disk is started, and joins through the nodes on the
    machines ``seeds``: as soon as one of them lets it in.
    """

    node: int
    at: float
    seeds: tuple[int, ...] = (1,)


@frozen
class Remove:
    """Somebody has the cluster take out, for good, the node that is on this machine then."""

    node: int
    at: float


@frozen
class Restart:
    """The process is stopped in good order, so that it hands over first, and is started again at
    ``until``, or when it has ended if that takes longer.
    """

    node: int
    at: float
    until: float | None = None


@frozen
class Replace:
    """The machine loses its disk and its process, and at ``until`` joins with an empty one, as a
    new node at the same address.
    """

    node: int
    at: float
    until: float | None = None
    seeds: tuple[int, ...] = (1,)


@frozen
class Reshape:
    """At core depth: until then, whoever leads brings the group to these voters, as soon as it may;
    all others are learners, or if these are ``alone`` no members any more, until the next change or
    the end of all faults. One voter at a time, or ``at_once``, as a joint configuration.

    At node depth the management group says who votes, and nobody else.
    """

    voters: tuple[int, ...]
    at: float
    until: float | None = None
    at_once: bool = False
    alone: bool = False


Change = Join | Remove | Restart | Replace | Reshape | Order


def kind_of_change(change: Change) -> str:
    """The word for its kind."""
    return type(change).__name__.lower()


def change_ends(change: Change, last: float) -> float:
    """When it is over; ``last`` is when faults end. What happens at one moment ends there."""
    if not isinstance(change, Restart | Replace | Reshape):
        return change.at
    return last if change.until is None else change.until


def check_changes(changes: Sequence[Change], faults: Iterable[Fault], nodes: int) -> None:
    """Refuse changes that cannot be played on a cluster founded by ``nodes``, with these faults.

    Raises:
        ConfigurationError: names the change, and what is wrong with it.
    """
    joining = [change.node for change in changes if isinstance(change, Join)]
    machines = nodes + len(joining)
    if sorted(joining) != list(range(nodes + 1, machines + 1)) or machines > MACHINES_MAX:
        raise ConfigurationError(
            f"machines {joining} join: name each once, in all {nodes + 1} to {MACHINES_MAX} without"
            " a gap"
        )
    for change in changes:
        if wrong := _complaint(change, machines):
            raise ConfigurationError(f"{change}: {wrong}")
    end = float("inf")
    spells: list[tuple[int, float, float, Fault | Change]] = [
        (change.node, change.at, change_ends(change, end), change)
        for change in changes
        if isinstance(change, Restart | Replace)
    ]
    spells += [
        (node, fault.at, end_of(fault, end), fault)
        for fault in faults
        if isinstance(fault, (*DOWN, Pause))
        for node in nodes_of(fault)
    ]
    spells.sort(key=lambda spell: spell[:3])
    for (node, _, ends, one), (other_node, begins, _, other) in pairwise(spells):
        if node == other_node and begins < ends:
            raise ConfigurationError(
                f"{other} strikes node {node} while {one} has it down:"
                " begin it after the other ends, or drop one"
            )


def _machines_of(change: Change) -> tuple[int, ...]:
    match change:
        case Reshape(voters=machines) | Found(nodes=machines):
            return machines
        case _:
            return (getattr(change, "node", 1),)


def _complaint(change: Change, machines: int) -> str:
    if wrong := misfit(change):
        return wrong
    own = _machines_of(change)
    seeds = getattr(change, "seeds", ())
    for node in (*own, *seeds):
        if not 1 <= node <= machines:
            return f"there is no machine {node}, they are 1 to {machines}"
    if not own or len(set(own)) < len(own):
        return "it names no machine, or one twice"
    if isinstance(change, Join | Replace) and (change.node in seeds or not seeds):
        return "its seeds are other machines, at least one"
    until = getattr(change, "until", None)
    if not all(map(isfinite, (change.at, until or 0.0))):
        return "its times are no times"
    if change.at < 0:
        return "it begins before the run does"
    if until is not None and until <= change.at:
        return "it ends before it begins"
    return ""
