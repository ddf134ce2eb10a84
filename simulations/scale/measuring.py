"""What clusters cost, counted."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from flowactor.codec.records import encode_plain
from flowactor.identity import GroupId
from flowactor.management import MANAGEMENT_GROUP
from flowactor.management.operations import ChangeSettings
from flowactor.management.tables import rows_of
from flowactor.simulation.runtime import Runtime, simulate
from simulations.scale.counting import Count
from simulations.scale.fleet import Fleet, Waits
from simulations.scale.model import Costs, Shape

__all__ = ["measure"]

COMMANDS: Final = 20
GROUPS_MEASURED: Final = 5
OPEN_RUNS: Final = 60
"""Of which the management state is to show nothing but their number."""
MOMENT_SECONDS: Final = 0.02
"""After that a command has come to the last replica."""
REPORTED_SECONDS: Final = 5.0
"""After that the management group has heard of all runs."""
WINDOW_SECONDS: Final = 2.0
REST_SECONDS: Final = 15.0
"""After that an idle cluster is as quiet as it will ever be."""


def measure(shape: Shape, seed: int = 1) -> Costs:
    """Grow a cluster of this shape in a world of its own, and count what it costs."""
    return simulate(partial(_measure, shape), seed=seed)


async def _measure(shape: Shape, runtime: Runtime) -> Costs:
    async with trio.open_nursery() as nursery:
        fleet = Fleet(runtime, nursery, shape)
        await fleet.grow()
        costs = await _costs(fleet, runtime)
        nursery.cancel_scope.cancel()
    return costs


async def _costs(fleet: Fleet, runtime: Runtime) -> Costs:
    groups = [GroupId(number) for number in range(1, fleet.shape.groups + 1)]
    counts = [(group, await _commands(fleet, group)) for group in groups[:GROUPS_MEASURED]]
    commands = COMMANDS * len(counts)
    changed = await _each(fleet, partial(_change, fleet))
    for number in range(OPEN_RUNS):
        await fleet.client.start(Waits.run, id=fleet.name_in(groups[number % len(groups)], number))
    await trio.sleep(REPORTED_SECONDS)
    await _change(fleet)
    for group in groups:
        await _write(fleet, group)
    await trio.sleep(MOMENT_SECONDS)
    awake = await _passing(fleet, WINDOW_SECONDS)
    state = rows_of(fleet.topology, runtime.time.now_ns)
    await trio.sleep(REST_SECONDS)
    resting = await _passing(fleet, WINDOW_SECONDS)
    return Costs(
        command_messages=sum(count.replication(group) for group, count in counts) / commands,
        command_bytes=sum(count.append_bytes[group] for group, count in counts) / commands,
        command_syncs=sum(count.syncs for _, count in counts) / commands,
        management_messages=changed.replication(MANAGEMENT_GROUP) / COMMANDS,
        management_syncs=changed.syncs / COMMANDS,
        awake_messages=sum(awake.sent.values()) / WINDOW_SECONDS,
        lead_messages=awake.most(MANAGEMENT_GROUP) / WINDOW_SECONDS,
        rest_frames=resting.frames / WINDOW_SECONDS / len(fleet.pairs()),
        state_bytes=sum(len(encode_plain(row[1:])) for row in state),
    )


async def _commands(fleet: Fleet, group: GroupId) -> Count:
    """What is counted while a client at a group's leader writes a variable again and again."""
    await _write(fleet, group)  # the first opens a session
    return await _each(fleet, partial(_write, fleet, group))


async def _write(fleet: Fleet, group: GroupId) -> None:
    await fleet.leader(group).client.variable(fleet.name_in(group), int).set(1)


async def _change(fleet: Fleet) -> None:
    seconds = fleet.topology.settings.replace_after_seconds + 1
    await fleet.client.manage(ChangeSettings((("replace_after_seconds", seconds),)))


async def _each(fleet: Fleet, act: Callable[[], Awaitable[None]]) -> Count:
    """What is counted while this is done many times, one after the other."""
    await trio.sleep(MOMENT_SECONDS)
    before = fleet.census.take()
    for _ in range(COMMANDS):
        await act()
        await trio.sleep(MOMENT_SECONDS)
    return fleet.census.take().since(before)


async def _passing(fleet: Fleet, seconds: float) -> Count:
    before = fleet.census.take()
    await trio.sleep(seconds)
    return fleet.census.take().since(before)
