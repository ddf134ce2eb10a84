"""``replay``: exported histories against the code as it is now."""

import os
from pathlib import Path
from typing import Any

import click

from flowactor.cli.exits import Exit
from flowactor.cli.node_command import fix_hash_seed, load_app
from flowactor.cli.options import call_to_exit, json_option
from flowactor.cli.output import Output
from flowactor.errors import ConfigurationError
from flowactor.testing.replay import Replayed, Report, replay_histories

__all__ = ["replay"]

COLUMNS = ("id", "type", "status", "activations", "replay")


@click.command(
    epilog="""\b
Example:
  python -m flowactor export --all --folder histories
  python -m flowactor replay histories --app orders:app
"""
)
@click.argument(
    "paths",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True),
)
@click.option(
    "--app", "app_path", required=True, metavar="MODULE:ATTR", help="The workflows to replay with."
)
@click.option(
    "--lenient", is_flag=True, help="Let the code read clocks, chance and files of this process."
)
@json_option
def replay(paths: tuple[Path, ...], app_path: str, lenient: bool, as_json: bool) -> None:
    """Replay exported histories with the code as it is now; a folder stands for its files.

    Shows each that the code does not agree with, what was recorded and what the code asks for. No
    step is executed, no node is asked. Code 1 if not all agree.
    """
    fix_hash_seed(os.environ, os.execve)
    output = Output(as_json)

    def body() -> Exit:
        try:
            report = replay_histories(load_app(app_path), paths, strict=not lenient)
        except OSError as error:
            raise ConfigurationError(
                f"{error.filename} cannot be read: {error.strerror}"
            ) from error
        show(output, report)
        return Exit.OK if report.agrees else Exit.RUN_ENDED_BADLY

    call_to_exit(body, output)


def show(output: Output, report: Report) -> None:
    """All results, then what is wrong."""
    if output.as_json:
        output.document(
            {
                "agrees": report.agrees,
                "histories": len(report.results),
                "failed": len(report.failed),
                "results": list(map(document, report.results)),
            }
        )
        return
    output.table("", COLUMNS, map(row, report.results))
    output.text("")
    output.text(str(report))


def row(result: Replayed) -> tuple[object, ...]:
    info = result.info
    kind = f"{info.workflow_type} v{info.version}" if info else "-"
    return result.name, kind, result.status or "-", result.activations, result.verdict.value


def document(result: Replayed) -> dict[str, Any]:
    info, mismatch = result.info, result.mismatch
    return {
        "file": result.source,
        "id": info and info.workflow_id,
        "run_id": info and info.run_id,
        "type": info and info.workflow_type,
        "version": info and info.version,
        "status": result.status or None,
        "activations": result.activations,
        "replay": result.verdict.value,
        "position": result.position,
        "recorded": mismatch and mismatch.recorded_text,
        "produced": mismatch and mismatch.produced_text,
        "problem": result.problem or None,
    }
