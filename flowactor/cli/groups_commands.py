"""``groups``: the execution groups of the cluster, and which workflow ids each has."""

from collections.abc import Mapping
from functools import partial
from itertools import chain
from typing import Final

import click

from flowactor.cli import cluster_views
from flowactor.cli.members_commands import timeout_option, until, wait_option
from flowactor.cli.options import client_command
from flowactor.cli.output import Output
from flowactor.client import Client
from flowactor.cluster.protocol.views import ClusterView
from flowactor.identity import slot_of
from flowactor.limits import SLOTS

__all__ = ["groups", "parse_slots"]

MEANINGS: Final[Mapping[str, str]] = {
    "group_size_target": "nodes: a group is filled up to so many",
    "group_size_min": "nodes: a group below this takes one from a group above the target",
    "group_size_max": "nodes: a group of so many is split",
    "split_size": "nodes: so many of a group that is split found the new one",
    "drain_threshold_thousandths": (
        "groups for 1000 replicas: with more groups for their replicas than this, one is drained"
    ),
    "group_count_min": "groups: none is drained by the engine if only so many are active",
    "shared": "0 or 1: whether a node may serve in several groups",
    "automatic": "0 or 1: whether the engine places nodes, or only replaces who leaves or dies",
    "balanced": "0 or 1: whether slots are kept even over the groups",
    "slots_per_move": "slots: so many at most stand still at once for balancing and draining",
    "replace_after_seconds": "seconds: a node that was silent for so long is replaced; 0: never",
    "management_voters_max": "nodes: so many at most vote in the management group",
}
"""Of each setting: its unit, and what it does."""

group_argument = partial(click.argument, "group", metavar="GROUP", type=click.IntRange(min=1))


@click.group()
def groups() -> None:
    """Show the groups that share the runs, split or empty one, or move runs between them."""


@groups.command("list")
@client_command
async def list_groups(client: Client, output: Output) -> None:
    """Show the groups, their nodes and how much each has, as the asked node and others tell."""
    view = await client.cluster.view(everywhere=True)
    if output.as_json:
        output.document(cluster_views.groups(view))
    else:
        cluster_views.print_groups(output, view)


@groups.command()
@click.argument("nodes", metavar="NODE...", type=click.IntRange(min=1), nargs=-1, required=True)
@client_command
async def create(client: Client, output: Output, nodes: tuple[int, ...]) -> None:
    """Found a group of exactly these NODEs; runs follow by and by."""
    new = await client.cluster.create(nodes)
    if output.as_json:
        output.document({"group": new, "members": sorted(set(nodes))})
    else:
        output.text(f"group {new} is founded")


@groups.command()
@group_argument()
@client_command
async def split(client: Client, output: Output, group: int) -> None:
    """Found a group beside GROUP, on the nodes with the least to do; runs follow by and by."""
    new = await client.cluster.split(group)
    if output.as_json:
        output.document({"group": new, "from": group})
    else:
        output.text(f"group {new} is founded, beside group {group}")


@groups.command()
@group_argument()
@wait_option
@timeout_option
@client_command
async def drain(
    client: Client, output: Output, group: int, wait: bool, timeout: float | None
) -> None:
    """Move all that GROUP has to the others, then end it."""
    changed = await client.cluster.drain(group)
    if wait:
        late = f"group {group} is not empty yet; it goes on"
        await until(client, partial(has_ended, group=group), timeout, late)
    if output.as_json:
        output.document({"group": group, "changed": changed})
    else:
        output.text(f"group {group} has ended" if wait else f"group {group} is to end")


def has_ended(view: ClusterView, *, group: int) -> bool:
    return all(each.group != group for each in view.placements)


def parse_slots(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...]:
    """``0-99,512`` as numbers of slots."""
    ranges = []
    for part in (value or "").split(","):
        first, dash, last = part.partition("-")
        if not part:
            continue
        if not first.strip().isdecimal() or (dash and not last.strip().isdecimal()):
            raise click.BadParameter(f"{part!r} is no slot or range of slots: write 0-99,512")
        low, high = int(first), int(last or first)
        if not low <= high < SLOTS:
            raise click.BadParameter(f"{part!r}: slots are numbered from 0 to {SLOTS - 1}")
        ranges.append(range(low, high + 1))
    return tuple(chain.from_iterable(ranges))


def need_something(
    context: click.Context, _: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    """``--slots`` is looked at first."""
    if not value and not context.params["slots"]:
        raise click.UsageError("say what is to move: --slots, --workflow or both")
    return value


@groups.command()
@group_argument()
@click.option(
    "--slots",
    callback=parse_slots,
    is_eager=True,
    metavar="N[-N][,...]",
    help="These parts of all workflow ids.",
)
@click.option(
    "--workflow",
    "workflow_ids",
    callback=need_something,
    metavar="ID",
    multiple=True,
    help="The part that ID belongs to.",
)
@client_command
async def move(
    client: Client,
    output: Output,
    group: int,
    slots: tuple[int, ...],
    workflow_ids: tuple[str, ...],
) -> None:
    """Move parts of all workflow ids to GROUP, with their runs, from wherever they are."""
    chosen = sorted({*slots, *map(slot_of, workflow_ids)})
    changed = await client.cluster.move(chosen, group)
    if output.as_json:
        output.document({"group": group, "slots": chosen, "changed": changed})
    elif changed:
        output.text(f"slots are on their way to group {group}; `groups list` shows how far")
    else:
        output.text(f"group {group} has these slots already")


@groups.command()
@click.argument("move", metavar="MOVE", type=click.IntRange(min=1))
@client_command
async def abort(client: Client, output: Output, move: int) -> None:
    """Give up a MOVE of slots, as long as they are not served at its target."""
    changed = await client.cluster.abort(move)
    if output.as_json:
        output.document({"move": move, "changed": changed})
    else:
        output.text(f"move {move} is given up")


def parse_settings(
    _: click.Context, __: click.Parameter, values: tuple[str, ...]
) -> dict[str, int]:
    """``NAME=VALUE`` as numbers by their names."""
    parsed = {}
    for text in values:
        name, _equals, value = text.partition("=")
        if not name or not value.isdecimal():
            raise click.BadParameter(f"{text!r}: write NAME=NUMBER; 0 and 1 stand for no and yes")
        parsed[name] = int(value)
    return parsed


@groups.command()
@click.argument("changes", metavar="[NAME=VALUE]...", nargs=-1, callback=parse_settings)
@client_command
async def settings(client: Client, output: Output, changes: dict[str, int]) -> None:
    """Show by which numbers the engine makes and fills groups, or change some of them."""
    if changes:
        await client.cluster.configure(**changes)
    known = dict((await client.status()).settings)
    if output.as_json:
        output.document(known)
    else:
        rows = [(name, value, MEANINGS.get(name, "")) for name, value in known.items()]
        output.table("settings", ("name", "value", "meaning"), rows)
