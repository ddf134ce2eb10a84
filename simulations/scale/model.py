"""The cost model of ``docs/scalability.md``, as formulas: what a cluster of a given shape ought to
cost, and by how much the model may be off.
"""

from typing import Final

import attrs
from attrs import frozen

from flowactor.limits import BEAT_SECONDS, HEARTBEAT_TICKS, TICK_SECONDS

__all__ = ["Costs", "Shape", "costs_of", "deviations"]

BEATS_PER_SECOND: Final = 1 / (HEARTBEAT_TICKS * TICK_SECONDS)

APPEND_BYTES: Final = 25
"""Of a message beside the entry that it carries."""
STATE_BYTES: Final = 280
"""Of the management state, whatever the cluster has: its settings and clock."""
NODE_BYTES: Final = 76
GROUP_BYTES: Final = 38
PLACE_BYTES: Final = 9
"""Of one node's place in a group: among those that are to be in it, founded it, and vote in it."""


@frozen
class Shape:
    """So many nodes, execution groups, and replicas of each group."""

    nodes: int
    groups: int
    replicas: int


@frozen
class Costs:
    """What a cluster costs.

    Attributes:
        command_messages, command_bytes, command_syncs: of one command to a group that does nothing
            else, until all of its replicas have it; bytes without those of the entry itself.
        management_messages, management_syncs: of one change of the cluster.
        awake_messages: a second, while no group is quiet.
        lead_messages: a second, that the leader of the management group sends of it meanwhile.
        rest_frames: a second, when all groups are quiet, for each two nodes of which one leads
            a group that the other belongs to.
        state_bytes: of the management group's state.
    """

    command_messages: float
    command_bytes: float
    command_syncs: float
    management_messages: float
    management_syncs: float
    awake_messages: float
    lead_messages: float
    rest_frames: float
    state_bytes: float


TOLERANCES: Final = Costs(
    command_messages=0.02,
    command_bytes=0.1,
    command_syncs=0.02,
    management_messages=0.02,
    management_syncs=0.02,
    awake_messages=0.1,
    lead_messages=0.1,
    rest_frames=0.02,
    state_bytes=0.1,
)
"""By what share of the prediction each may differ from it. What a command costs follows from the
protocol. Of what happens all the time, a window may catch a beat more or less; and bytes depend on
how large numbers and names happen to be.
"""


def costs_of(shape: Shape) -> Costs:
    """What the model predicts."""
    nodes, groups, followers = shape.nodes, shape.groups, shape.replicas - 1
    round_trips = (nodes - 1) + groups * followers
    places = groups * shape.replicas
    return Costs(
        command_messages=2 * followers,
        command_bytes=followers * APPEND_BYTES,
        command_syncs=shape.replicas,
        management_messages=2 * (nodes - 1),
        management_syncs=nodes,
        awake_messages=2 * round_trips * BEATS_PER_SECOND,
        lead_messages=(nodes - 1) * BEATS_PER_SECOND,
        rest_frames=2 / BEAT_SECONDS,
        state_bytes=STATE_BYTES + nodes * NODE_BYTES + groups * GROUP_BYTES + places * PLACE_BYTES,
    )


def deviations(predicted: Costs, measured: Costs) -> dict[str, float]:
    """By what share each cost is off that is further off than the model allows."""
    pairs = {
        field.name: (getattr(predicted, field.name), getattr(measured, field.name))
        for field in attrs.fields(Costs)
    }
    shares = {name: (found - expected) / expected for name, (expected, found) in pairs.items()}
    return {name: off for name, off in shares.items() if abs(off) > getattr(TOLERANCES, name)}
