"""Commands about runs: start, result, list, show, signal, query, cancel, terminate, resume."""

import json

import click

from flowactor.cli import views
from flowactor.cli.exits import Exit
from flowactor.cli.options import check_json, client_command, run_option
from flowactor.cli.output import Output
from flowactor.client import Client, WorkflowHandle
from flowactor.cluster.protocol.requests import Ended
from flowactor.machine.replies import RunStatus

__all__ = [
    "cancel",
    "list_runs",
    "query",
    "result",
    "resume",
    "show",
    "signal",
    "start",
    "terminate",
]

arguments = click.argument("arguments_json", metavar="[JSON]", callback=check_json, default="[]")
workflow_id = click.argument("workflow_id", metavar="ID")
reason = click.option("--reason", default="", help="Why; recorded in the run's history.")
wait_seconds = click.option(
    "--timeout", type=click.FloatRange(min=0), help="Seconds to wait for the result; else for ever."
)


@click.command()
@click.argument("workflow_type", metavar="TYPE")
@arguments
@click.option("--id", "workflow_id", help="Workflow id; starting it again gives the same run.")
@click.option("--version", type=click.IntRange(min=0), default=0, help="0: newest registered.")
@click.option(
    "--run-timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds it may run."
)
@click.option("--wait", is_flag=True, help="Wait for the result, as the command 'result' does.")
@wait_seconds
@client_command
async def start(
    client: Client,
    output: Output,
    workflow_type: str,
    arguments_json: str,
    workflow_id: str | None,
    version: int,
    run_timeout: float | None,
    wait: bool,
    timeout: float | None,
) -> Exit | None:
    """Start a run of TYPE. JSON: an array of its arguments, or the one argument; - reads stdin."""
    started = await client.start_json(
        workflow_type, arguments_json, id=workflow_id, version=version, timeout=run_timeout
    )
    if wait:
        handle = client.get_handle(started.workflow_id, started.run_id)
        return show_end(output, handle, await handle.wait(timeout))
    if output.as_json:
        output.document(views.started(started))
    else:
        word = "started" if started.created else "was started before"
        output.text(f"{started.workflow_id} {word} (run {started.run_id}, v{started.version})")
    return None


@click.command()
@workflow_id
@run_option
@wait_seconds
@client_command
async def result(
    client: Client, output: Output, workflow_id: str, run_id: str, timeout: float | None
) -> Exit | None:
    """Wait for the end of a run and print its result."""
    handle = client.get_handle(workflow_id, run_id)
    return show_end(output, handle, await handle.wait(timeout))


def show_end(output: Output, handle: WorkflowHandle[object], ended: Ended) -> Exit:
    """Print how a run ended; the exit code says whether it completed."""
    completed = ended.status is RunStatus.COMPLETED
    if output.as_json:
        output.document(views.ended(handle.id, ended))
    elif completed:
        output.text(json.dumps(views.payload(ended.result), ensure_ascii=False))
    else:
        output.complain(views.ended_text(handle.id, ended))
    return Exit.OK if completed else Exit.RUN_ENDED_BADLY


@click.command(name="list")
@click.option("--status", type=click.Choice([status.value for status in RunStatus]))
@click.option("--type", "workflow_type", help="Only runs of this type.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--offset", type=click.IntRange(min=0), default=0, show_default=True)
@client_command
async def list_runs(
    client: Client,
    output: Output,
    status: str | None,
    workflow_type: str | None,
    limit: int,
    offset: int,
) -> None:
    """List runs, newest first."""
    wanted = None if status is None else RunStatus(status)
    page = await client.list(status=wanted, type=workflow_type, limit=limit, offset=offset)
    if output.as_json:
        output.document({"total": page.total, "runs": [views.run(run) for run in page.runs]})
        return
    output.table("", views.RUN_COLUMNS, map(views.run_row, page.runs))
    output.text(f"{len(page.runs)} of {page.total} runs")


@click.command()
@workflow_id
@run_option
@click.option("--limit", type=click.IntRange(min=0), default=100, help="Newest events to show.")
@client_command
async def show(client: Client, output: Output, workflow_id: str, run_id: str, limit: int) -> None:
    """Show a run: owner, pending steps, timers, variables, and its history."""
    handle = client.get_handle(workflow_id, run_id)
    view = await handle.describe()
    history = await handle.history(limit) if limit else ()
    if output.as_json:
        document = views.run_in_full(view)
        output.document(document | {"history": [views.event(event) for event in history]})
        return
    views.print_run(output, view)
    if history:
        output.table("history", views.EVENT_COLUMNS, map(views.event_row, history))


@click.command()
@workflow_id
@click.argument("name")
@arguments
@run_option
@client_command
async def signal(
    client: Client, output: Output, workflow_id: str, name: str, arguments_json: str, run_id: str
) -> None:
    """Send the signal NAME with JSON: an array of its arguments, or the one argument."""
    await client.get_handle(workflow_id, run_id).signal_json(name, arguments_json)
    confirm(output, workflow_id, f"signal {name} is recorded", changed=True)


@click.command()
@workflow_id
@click.argument("name")
@arguments
@run_option
@client_command
async def query(
    client: Client, output: Output, workflow_id: str, name: str, arguments_json: str, run_id: str
) -> None:
    """Ask the run's code the query NAME; changes nothing."""
    value = await client.get_handle(workflow_id, run_id).query_json(name, arguments_json)
    if output.as_json:
        output.document({"id": workflow_id, "query": name, "value": value})
    else:
        output.text(json.dumps(value, ensure_ascii=False))


@click.command()
@workflow_id
@run_option
@reason
@client_command
async def cancel(
    client: Client, output: Output, workflow_id: str, run_id: str, reason: str
) -> None:
    """Ask a run to stop; its clean-up code runs."""
    changed = await client.get_handle(workflow_id, run_id).cancel(reason)
    confirm(output, workflow_id, "cancellation is requested", changed=changed)


@click.command()
@workflow_id
@run_option
@reason
@client_command
async def terminate(
    client: Client, output: Output, workflow_id: str, run_id: str, reason: str
) -> None:
    """End a run at once; none of its code runs any more."""
    changed = await client.get_handle(workflow_id, run_id).terminate(reason)
    confirm(output, workflow_id, "terminated", changed=changed)


@click.command()
@workflow_id
@run_option
@client_command
async def resume(client: Client, output: Output, workflow_id: str, run_id: str) -> None:
    """Let a parked run go on, once what parked it is mended."""
    changed = await client.get_handle(workflow_id, run_id).resume()
    otherwise = (
        "nothing to resume; a run whose code no node has registered goes on by itself"
        " once a node has it"
    )
    confirm(output, workflow_id, "goes on", changed=changed, otherwise=otherwise)


def confirm(
    output: Output,
    workflow_id: str,
    text: str,
    *,
    changed: bool,
    otherwise: str = "nothing to change",
) -> None:
    """Say that a change is recorded, or that it made no difference."""
    if output.as_json:
        output.document({"id": workflow_id, "changed": changed})
    else:
        output.text(f"{workflow_id}: {text if changed else otherwise}")
