"""How safe a group is: which of its voters can be counted on, and what that means."""

from collections.abc import Iterable, Iterator

from attrs import frozen

from flowactor.cluster.protocol.views import ClusterView, NodeView
from flowactor.management import Liveness

__all__ = ["Standing", "standings", "warnings"]


@frozen
class Standing:
    """One group's.

    Attributes:
        voters: all that have a vote; none if nobody could say.
        removed: those that are not of the cluster any more: they never come back.
        silent: those that are not heard.
    """

    group: int
    voters: tuple[int, ...]
    removed: tuple[int, ...] = ()
    silent: tuple[int, ...] = ()

    @property
    def _spare(self) -> int:
        """How many voters can be missed; below 0 if too many are already."""
        majority = len(self.voters) // 2 + 1
        return len(self.voters) - len(self.removed) - len(self.silent) - majority

    @property
    def has_majority(self) -> bool:
        """Whether it can decide anything now."""
        return bool(self.voters) and self._spare >= 0

    @property
    def is_fault_tolerant(self) -> bool:
        """Whether any one more voter can be missed."""
        return bool(self.voters) and self._spare >= 1

    @property
    def warning(self) -> str:
        """What is wrong, and what it means; empty if nothing is."""
        name = f"group {self.group}"
        if self.is_fault_tolerant:
            return ""
        if not self.voters:
            return f"{name}: nobody could say who votes in it"
        if not self.has_majority:
            back = "it goes on when enough of them are back"
            if len(self.removed) * 2 >= len(self.voters):
                back = "it cannot go on, for those that were removed do not come back"
            return f"{name} has lost its majority: {self._missing}; {back}"
        if self.removed or self.silent:
            return f"{name} is not fault tolerant: {self._missing}; one more failure stops it"
        count = f"{len(self.voters)} voter" + ("s" if len(self.voters) != 1 else "")
        return f"{name} is not fault tolerant: it has {count}, and needs 3 to go on without one"

    @property
    def _missing(self) -> str:
        parts = [f"{named(nodes)} {verb}" for nodes, verb in self._gone() if nodes]
        return f"of its {len(self.voters)} voters {' and '.join(parts)}"

    def _gone(self) -> Iterator[tuple[tuple[int, ...], str]]:
        yield self.removed, "was removed" if len(self.removed) == 1 else "were removed"
        yield self.silent, "is silent" if len(self.silent) == 1 else "are silent"


def named(nodes: tuple[int, ...]) -> str:
    """``node 3``, or ``nodes 3, 5``."""
    return ("node " if len(nodes) == 1 else "nodes ") + ", ".join(map(str, nodes))


def standings(view: ClusterView) -> dict[int, Standing]:
    """Every group's, by its id: as the group itself says, else as its leader once reported."""
    voters = {each.group: each.voters for each in view.placements}
    voters |= {each.group: each.voters for each in view.groups if each.voters}
    nodes: dict[int, NodeView] = {each.node: each for each in view.nodes}
    return {group: _standing(group, voters[group], nodes) for group in sorted(voters)}


def _standing(group: int, voters: Iterable[int], nodes: dict[int, NodeView]) -> Standing:
    chosen = tuple(voters)
    return Standing(
        group,
        chosen,
        tuple(node for node in chosen if node not in nodes),
        tuple(node for node in chosen if node in nodes and is_silent(nodes[node])),
    )


def is_silent(view: NodeView) -> bool:
    """Whether nobody hears it: the one that was asked, or the leader of the management group."""
    return not view.reachable or view.liveness not in {"", Liveness.ALIVE.value}


def warnings(view: ClusterView) -> Iterator[str]:
    """A line for each group that stops when one more node does, or has stopped."""
    return (each.warning for each in standings(view).values() if each.warning)
