"""The group of all commands."""

from importlib import import_module
from typing import Final

import click

__all__ = ["main"]

PLACES: Final = {
    "cancel": "run_commands:cancel",
    "demo": "demo:demo",
    "events": "cluster_commands:events",
    "export": "export_command:export",
    "groups": "groups_commands:groups",
    "list": "run_commands:list_runs",
    "members": "members_commands:members",
    "node": "node_command:node",
    "query": "run_commands:query",
    "replay": "replay_command:replay",
    "result": "run_commands:result",
    "resume": "run_commands:resume",
    "show": "run_commands:show",
    "signal": "run_commands:signal",
    "simulate": "simulate_command:simulate",
    "start": "run_commands:start",
    "status": "cluster_commands:status",
    "terminate": "run_commands:terminate",
}
"""Where each command is."""

EPILOG = """\b
Exit codes:
  0    done
  1    the run failed, or was cancelled, terminated or timed out; a history does not
       replay; a simulated run failed
  2    the command line is wrong
  3    no answer in time; the outcome may be unknown, a later try may succeed
  4    refused: the same command would be refused again
  5    a node, or the demo, could not start or broke
  130  interrupted by Ctrl-C
"""


class Commands(click.Group):
    """Imports a command when it is asked for: a node need not wait for the simulator."""

    def list_commands(self, _: click.Context) -> list[str]:
        return sorted(PLACES)

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in PLACES:
            return None
        module, attribute = PLACES[cmd_name].split(":")
        command: click.Command = getattr(import_module(f"flowactor.cli.{module}"), attribute)
        return command


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flowactor", prog_name="flowactor")
def main() -> None:
    """Durable workflows with no server and no database to run."""
