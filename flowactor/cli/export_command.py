"""``export``: the histories of runs as files, to be replayed against other code."""

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from flowactor.cli.options import client_command, run_option
from flowactor.cli.output import Output
from flowactor.client import Client, WorkflowHandle
from flowactor.errors import ConfigurationError
from flowactor.identity import RunId
from flowactor.limits import PAGE_ITEMS_MAX
from flowactor.machine.replies import RunStatus

__all__ = ["export"]

_PART_SUFFIX: Final = ".part"
"""Of a file that is not whole yet: an export that is interrupted leaves an earlier one as it is."""


def checked(command: Callable[..., None]) -> Callable[..., None]:
    """Refuse options that do not go together before any node is asked."""

    @functools.wraps(command)
    def check(**options: Any) -> None:
        count, everything = len(options["workflow_ids"]), options["everything"]
        if bool(count) == everything:
            raise click.UsageError("name the runs by their ID, or all of them with --all")
        if (options["status"] or options["workflow_type"]) and not everything:
            raise click.UsageError("--status and --type choose among --all")
        if options["run_id"] and count != 1:
            raise click.UsageError("--run RUN_ID is for one ID")
        if options["file"] and options["folder"]:
            raise click.UsageError("one file for all with -o, or one for each with --folder")
        command(**options)

    return check


@click.command(
    epilog="""\b
Examples:
  python -m flowactor export order-1 -o order-1.history.jsonl
  python -m flowactor export --all --status running --folder histories
"""
)
@click.argument("workflow_ids", metavar="[ID]...", nargs=-1)
@run_option
@click.option("--all", "everything", is_flag=True, help="All runs there are.")
@click.option(
    "--status",
    type=click.Choice([status.value for status in RunStatus]),
    help="With --all: only runs of this status.",
)
@click.option("--type", "workflow_type", help="With --all: only runs of this type.")
@click.option(
    "-o",
    "--output",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="One file for all; else stdout.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="A file for each in this folder; made if it is not there.",
)
@checked
@client_command
async def export(
    client: Client,
    output: Output,
    workflow_ids: tuple[str, ...],
    run_id: str,
    everything: bool,
    status: str | None,
    workflow_type: str | None,
    file: Path | None,
    folder: Path | None,
) -> None:
    """Write the histories of runs, open or closed, for the command 'replay'."""
    if everything:
        runs = await all_runs(client, RunStatus(status) if status else None, workflow_type)
    else:
        runs = [client.get_handle(workflow_id, run_id) for workflow_id in workflow_ids]
    if folder is not None:
        files = await write_each(runs, folder)
    elif file is not None:
        with written(file) as stream:
            await write_all(runs, stream)
        files = [file]
    else:
        await write_all(runs, sys.stdout.buffer)
        return
    if output.as_json:
        output.document({"histories": len(runs), "files": [str(path) for path in files]})
    else:
        output.text(f"{len(runs)} histories in {file or folder}")


async def all_runs(
    client: Client, status: RunStatus | None, workflow_type: str | None
) -> list[WorkflowHandle[Any]]:
    """The runs there are, newest first. One that leaves ``status`` while they are listed may take
    another's place, so that this is left out; none is there twice.
    """
    found: dict[RunId, str] = {}
    offset = 0
    while True:
        page = await client.list(
            status=status, type=workflow_type, limit=PAGE_ITEMS_MAX, offset=offset
        )
        found.update((run.run_id, run.workflow_id) for run in page.runs)
        offset += len(page.runs)
        if len(page.runs) < PAGE_ITEMS_MAX:
            return [client.get_handle(name, run_id) for run_id, name in found.items()]


async def write_all(runs: Sequence[WorkflowHandle[Any]], stream: BinaryIO) -> None:
    """All histories, one after the other."""
    for run in runs:
        stream.writelines((await run.export()).lines())
    stream.flush()


async def write_each(runs: Sequence[WorkflowHandle[Any]], folder: Path) -> list[Path]:
    """Each history as a file of its own; returns which."""
    files = []
    for run in runs:
        history = await run.export()
        files.append(folder / history.file_name)
        with written(files[-1]) as stream:
            stream.writelines(history.lines())
    return files


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A file that is there, under its name, once all of it is written.

    Raises:
        ConfigurationError: it cannot be written; says why.
    """
    part = path.with_name(path.name + _PART_SUFFIX)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            with part.open("wb") as stream:
                stack.callback(part.unlink, missing_ok=True)
                yield stream
            part.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
