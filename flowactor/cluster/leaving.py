"""Handing over: the lead of a group, when somebody asks for that; and all that a node has, when it
is about to stop: its runs, so that no step waits for a lease, then the lead of its groups, so that
nobody waits for an election.

What cannot be handed over in time, or to nobody, is left as a crash would leave it.
"""

from collections.abc import Callable, Iterable
from typing import Final

import trio

from flowactor.cluster.group.actor import ExecutionGroup, ManagementGroup
from flowactor.codec.records import encode
from flowactor.errors import InvalidInput, Refused, Unavailable
from flowactor.identity import NodeId
from flowactor.limits import (
    ELECTION_TICKS_MAX,
    HAND_OVER_SECONDS,
    LOOK_SECONDS,
    RESEND_SECONDS,
    TICK_SECONDS,
)
from flowactor.machine.operations import DrainNode
from flowactor.machine.replies import Done

__all__ = ["hand_over", "transfer"]

_TRY_SECONDS: Final = 2 * ELECTION_TICKS_MAX * TICK_SECONDS
"""Raft gives up after half of it, and the rest is for whoever was told to campaign."""


async def transfer(
    group: ExecutionGroup | ManagementGroup,
    node: NodeId,
    to: NodeId,
    hears: Callable[[NodeId], bool],
) -> Done:
    """Hand the lead of a group to a voter, and return once another leads. That is tried once, for
    nothing can be written meanwhile: for as long as an election would take.

    Args:
        group: that this node leads.
        node: this one.
        to: the voter; 0 is the one that is best prepared.
        hears: whether anything came from a node of late.

    Returns:
        Whether that changed anything.

    Raises:
        InvalidInput: ``to`` does not vote in this group, or there is nobody else.
        Refused: it does not answer, or lacks too much, or did not take the lead.
        Unavailable: somebody else was faster than ``to``.
    """
    voters = sorted(group.progress().configuration.voters)
    if to == node:
        return Done(changed=False)
    if to not in voters and (to or voters == [node]):
        who = f"node {to}" if to else "nobody else"
        raise InvalidInput(
            f"{who} votes in group {group.group}, and only a voter can lead; its voters are: "
            + ", ".join(map(str, voters))
        )
    heirs = [to] if to else [voter for voter in voters if voter != node]
    with trio.move_on_after(_TRY_SECONDS):
        while reason := _why_not(group, heirs, hears):
            if not any(map(hears, heirs)):
                break
            await trio.sleep(LOOK_SECONDS)
    if reason:
        raise Refused(f"{reason}: `status` shows who leads, and who lags")
    group.transfer(to)
    if not await _is_led_by_another(group, node):
        raise Refused(
            f"node {' or '.join(map(str, heirs))} did not take the lead of group {group.group} in"
            " time: does it run, and does it keep up? `status` shows who leads, and who lags"
        )
    if to not in (NodeId(0), group.leader):
        raise Unavailable(f"node {group.leader} leads group {group.group} now, not yet node {to}")
    return Done()


async def _is_led_by_another(group: ExecutionGroup | ManagementGroup, node: NodeId) -> bool:
    """Whether another node leads in time."""
    for _ in range(round(_TRY_SECONDS / LOOK_SECONDS)):
        if group.leader not in (node, NodeId(0)):
            return True
        await trio.sleep(LOOK_SECONDS)
    return False


def _why_not(
    group: ExecutionGroup | ManagementGroup,
    heirs: Iterable[NodeId],
    hears: Callable[[NodeId], bool],
) -> str:
    """Why none of these could take the lead now; empty if one could, or this node does not lead."""
    status = group.progress()
    if not group.is_leader:
        return ""
    peers = dict(status.peers)
    near = [heir for heir in heirs if hears(heir)]
    names = " or ".join(map(str, near or heirs))
    if not near:
        return f"node {names} does not answer, so it cannot take the lead of group {group.group}"
    if not any(heir in peers and peers[heir].heard and peers[heir].caught_up for heir in near):
        return f"node {names} lacks too much of the log of group {group.group} to take its lead"
    return ""


async def hand_over(
    node: NodeId,
    runs: Iterable[tuple[ExecutionGroup, str]],
    management: ManagementGroup,
    connected: Callable[[NodeId], bool],
) -> None:
    """Return once another node has all that can be handed over, after ``HAND_OVER_SECONDS`` at
    most.

    Args:
        node: this one.
        runs: the execution groups that have a replica here, each with the replica's incarnation,
            for which alone the node is drained.
        management: the management group's replica.
        connected: whether there is a link to a node now.
    """
    replicas = list(runs)
    with trio.move_on_after(HAND_OVER_SECONDS):
        async with trio.open_nursery() as nursery:
            for group, incarnation in replicas:
                nursery.start_soon(_drain, group, node, incarnation, connected)
        async with trio.open_nursery() as nursery:
            groups: list[ExecutionGroup | ManagementGroup] = [group for group, _ in replicas]
            for led in [*groups, management]:
                nursery.start_soon(_give_up_lead, led, node, connected)


async def _drain(
    group: ExecutionGroup, node: NodeId, incarnation: str, connected: Callable[[NodeId], bool]
) -> None:
    """Have the group give this node's runs to others, and no more to it."""
    operation = encode(DrainNode(node, incarnation))
    said = -RESEND_SECONDS
    while _has_heirs(group, node, connected):
        known = group.machine.nodes.get(node)
        if known is None or known.draining or known.incarnation != incarnation:
            return
        if trio.current_time() - said >= RESEND_SECONDS:
            said = trio.current_time()
            group.propose(operation)
        await trio.sleep(LOOK_SECONDS)


async def _give_up_lead(
    group: ExecutionGroup | ManagementGroup, node: NodeId, connected: Callable[[NodeId], bool]
) -> None:
    while group.is_leader and _has_heirs(group, node, connected):
        if not group.progress().transferring:
            group.transfer(NodeId(0))
        await trio.sleep(LOOK_SECONDS)


def _has_heirs(
    group: ExecutionGroup | ManagementGroup, node: NodeId, connected: Callable[[NodeId], bool]
) -> bool:
    """Whether there are others to take over, and a leader to arrange it."""
    voters = group.status.configuration.voters
    return bool(group.leader) and any(connected(voter) for voter in voters if voter != node)
