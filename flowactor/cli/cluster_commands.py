"""Commands about the cluster as a whole: events, status."""

import itertools
from collections.abc import AsyncGenerator
from contextlib import aclosing

import click

from flowactor.cli import views
from flowactor.cli.options import client_command
from flowactor.cli.output import Output
from flowactor.client import Client
from flowactor.cluster.requests import EventView

__all__ = ["COMMANDS"]


@click.command()
@click.argument("workflow_id", metavar="[ID]", required=False)
@click.option("--from-now", is_flag=True, help="Leave out what has happened already.")
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many events.")
@client_command
async def events(
    client: Client, output: Output, workflow_id: str | None, from_now: bool, limit: int | None
) -> None:
    """Follow what happens, of all runs or of ID until it has ended; Ctrl-C stops."""
    source = follow(client, workflow_id, from_now=from_now)
    count = itertools.count(1)
    async with aclosing(source):
        async for event in source:
            if output.as_json:
                output.json_line(views.event(event))
            else:
                output.text(views.event_line(event))
            if next(count) == limit:
                return


async def follow(
    client: Client, workflow_id: str | None, *, from_now: bool
) -> AsyncGenerator[EventView, None]:
    """The events that were asked for, from the cheapest source of them."""
    if workflow_id is not None and not from_now:
        async for event in client.get_handle(workflow_id).events():
            yield event
        return
    async for event in client.events(from_now=from_now):
        if workflow_id is None or event.workflow_id == workflow_id:
            yield event


@click.command()
@client_command
async def status(client: Client, output: Output) -> None:
    """Show nodes, groups, leaders and how far each follower lags, as the asked node sees them."""
    view = await client.status()
    if output.as_json:
        output.document(views.cluster(view))
    else:
        views.print_cluster(output, view)


COMMANDS = (events, status)
