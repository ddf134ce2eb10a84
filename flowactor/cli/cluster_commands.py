"""Commands about the cluster as a whole: events, status."""

from collections.abc import AsyncIterator

import click

from flowactor.cli import cluster_views, views
from flowactor.cli.options import client_command
from flowactor.cli.output import Output
from flowactor.client import Client
from flowactor.cluster.protocol.requests import EventView

__all__ = ["events", "status"]


@click.command()
@click.argument("workflow_id", metavar="[ID]", required=False)
@click.option("--from-now", is_flag=True, help="Leave out what has happened already.")
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many events.")
@client_command
async def events(
    client: Client, output: Output, workflow_id: str | None, from_now: bool, limit: int | None
) -> None:
    """Follow what happens, of all runs or of ID until it has ended; Ctrl-C stops."""
    source: AsyncIterator[EventView] = client.events(from_now=from_now)
    if workflow_id is not None and not from_now:
        source = client.get_handle(workflow_id).events()
    count = 0
    async for event in source:
        if workflow_id in (None, event.workflow_id):
            show_event(output, event)
            count += 1
        if count == limit:
            return


def show_event(output: Output, event: EventView) -> None:
    """One line."""
    if output.as_json:
        output.json_line(views.event(event))
    else:
        output.text(views.event_line(event))


@click.command()
@client_command
async def status(client: Client, output: Output) -> None:
    """Show nodes, groups, leaders, how far each follower lags, and who owns how many runs."""
    view = await client.cluster.view(everywhere=True)
    if output.as_json:
        output.document(cluster_views.cluster(view))
    else:
        cluster_views.print_cluster(output, view)
