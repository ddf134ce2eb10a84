"""``members``: the nodes of the cluster, and what each is to be."""

from collections.abc import Callable
from functools import partial
from typing import Final, Literal

import click
import trio

from flowactor.cli import cluster_views
from flowactor.cli.options import client_command
from flowactor.cli.output import Output
from flowactor.client import Client
from flowactor.cluster.protocol.views import ClusterView
from flowactor.errors import DeadlineExceeded, InvalidInput
from flowactor.management import MANAGEMENT_GROUP, NodeState

__all__ = ["members", "timeout_option", "until", "wait_option"]

POLL_SECONDS: Final = 0.1

node_argument = partial(click.argument, "node", metavar="NODE", type=click.IntRange(min=1))
wait_option = click.option("--wait", is_flag=True, help="Return when it is done, not decided.")
timeout_option = click.option(
    "--timeout", type=click.FloatRange(min=0), help="With --wait: seconds to wait; else for ever."
)


@click.group()
def members() -> None:
    """Show the nodes of the cluster, take one out, or say what one is to be."""


@members.command("list")
@client_command
async def list_members(client: Client, output: Output) -> None:
    """Show the nodes and what they do, as the asked one and others tell."""
    view = await client.cluster.view(everywhere=True)
    if output.as_json:
        output.document(cluster_views.members(view))
    else:
        cluster_views.print_members(output, view)


def need_group(_: click.Context, __: click.Parameter, value: int | None) -> int:
    """Without one, somebody looks for the way to add a node."""
    if value is None:
        raise click.UsageError(
            "a new node adds itself to the cluster: start it with `node --join HOST:PORT`, the"
            " address of one that is there; to give it a place in a group as well, name that with"
            " --group"
        )
    return value


@members.command()
@node_argument()
@click.option(
    "--group",
    type=click.IntRange(min=1),
    callback=need_group,
    help="The execution group in which it gets a place.",
)
@client_command
async def add(client: Client, output: Output, node: int, group: int) -> None:
    """Give a NODE of the cluster a place in an execution group.

    The cluster itself is joined by the new node: node --join HOST:PORT.
    """
    changed = await client.cluster.add_to_group(group, node)
    said = f"node {node} is to be in group {group}"
    tell(output, node, changed, said, f"{said} already")


@members.command()
@node_argument()
@click.option(
    "--group", type=click.IntRange(min=1), help="Out of this execution group only, not the cluster."
)
@wait_option
@timeout_option
@client_command
async def remove(
    client: Client,
    output: Output,
    node: int,
    group: int | None,
    wait: bool,
    timeout: float | None,
) -> None:
    """Take NODE out of the cluster for good.

    One that is alive hands over all it has, and ends; one that is not is gone at once.
    """
    if group is not None:
        changed = await client.cluster.remove_from_group(group, node)
        gone = partial(is_out_of_group, node=node, group=group)
        what = f"group {group}"
    else:
        changed = await client.cluster.remove(node)
        gone = partial(is_out, node=node)
        what = "the cluster"
    if wait:
        await until(client, gone, timeout, f"node {node} has not left {what} yet; it goes on")
        tell(output, node, changed, f"node {node} has left {what}")
    elif group is None and is_gone(await client.status(), node=node):
        tell(output, node, changed, f"node {node} is out of the cluster, for good")
    else:
        said = f"node {node} is leaving {what}, or has left it"
        tell(output, node, changed, f"node {node} is to leave {what}", said)


def is_gone(view: ClusterView, *, node: int) -> bool:
    """Whether the node is not of the cluster any more, though a group may still have to notice."""
    gone = {state.value for state in NodeState if state.is_gone}
    return all(each.node != node or each.state in gone for each in view.nodes)


def is_out(view: ClusterView, *, node: int) -> bool:
    """Whether the node is in no group, and not of the cluster any more."""
    inside = {member for group in view.groups for member in (*group.voters, *group.learners)}
    return node not in inside.union(each.node for each in view.nodes)


def is_out_of_group(view: ClusterView, *, node: int, group: int) -> bool:
    """Whether the node is not in the group any more."""
    return all(
        node not in (*each.members, *each.voters, *each.learners)
        for each in view.placements
        if each.group == group
    )


async def until(
    client: Client, done: Callable[[ClusterView], bool], timeout: float | None, late: str
) -> None:
    """Look again and again until the cluster is like that.

    Raises:
        DeadlineExceeded: it is not after ``timeout`` seconds; says ``late``.
    """
    with trio.move_on_after(float("inf") if timeout is None else timeout):
        while True:
            if done(await client.status()):
                return
            await trio.sleep(POLL_SECONDS)
    raise DeadlineExceeded(late)


def tell(output: Output, node: int, changed: bool, done: str, was: str | None = None) -> None:
    """What became of a command about a node; ``was`` if nothing had to change."""
    if output.as_json:
        output.document({"node": node, "changed": changed})
    else:
        output.text(done if changed or was is None else was)


# -- roles ----------------------------------------------------------------------------------------


async def pin(
    client: Client, output: Output, node: int, role: Literal["voter", "learner", "none"]
) -> None:
    changed = await client.cluster.pin(node, role)
    said = {
        "voter": f"node {node} is to vote in the management group",
        "learner": f"node {node} is not to vote in the management group",
        "none": f"whether node {node} votes in the management group is left to the engine",
    }
    tell(output, node, changed, said[role])


@members.command()
@node_argument()
@client_command
async def promote(client: Client, output: Output, node: int) -> None:
    """Have NODE vote in the management group, for good."""
    await pin(client, output, node, "voter")


@members.command()
@node_argument()
@client_command
async def demote(client: Client, output: Output, node: int) -> None:
    """Let NODE follow the management group without a vote, for good."""
    await pin(client, output, node, "learner")


@members.command()
@node_argument()
@client_command
async def unpin(client: Client, output: Output, node: int) -> None:
    """Leave it to the engine again whether NODE votes in the management group."""
    await pin(client, output, node, "none")


@members.command()
@node_argument()
@click.option(
    "--group",
    type=click.IntRange(min=0),
    help="Of this group only (0: the management group), not of all in which it votes.",
)
@client_command
async def transfer(client: Client, output: Output, node: int, group: int | None) -> None:
    """Hand the lead to NODE; it has to be a voter. Returns when it leads."""
    chosen = voted_in(await client.status(), node) if group is None else [group]
    if not chosen:
        raise InvalidInput(
            f"node {node} votes in no group, so it can lead none: `members list` shows who is"
            " there, `groups list` who votes where"
        )
    changed = [number for number in chosen if await client.cluster.transfer(number, node)]
    if output.as_json:
        output.document({"node": node, "groups": chosen, "changed": bool(changed)})
    else:
        for number in chosen:
            already = "" if number in changed else ", as before"
            output.text(f"node {node} leads group {number}{already}")


def voted_in(view: ClusterView, node: int) -> list[int]:
    """The groups that the node can lead."""
    voters = {each.group: each.voters for each in view.placements}
    voters |= {each.group: each.voters for each in view.groups if each.group == MANAGEMENT_GROUP}
    return sorted(group for group, nodes in voters.items() if node in nodes)
