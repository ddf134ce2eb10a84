"""The group of all commands."""

import click

from flowactor.cli import cluster_commands, run_commands
from flowactor.cli.demo import demo
from flowactor.cli.export_command import export
from flowactor.cli.groups_commands import groups
from flowactor.cli.members_commands import members
from flowactor.cli.node_command import node
from flowactor.cli.replay_command import replay
from flowactor.cli.simulate_command import simulate

__all__ = ["main"]

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


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flowactor", prog_name="flowactor")
def main() -> None:
    """Durable workflows with no server and no database to run."""


for command in (
    demo,
    node,
    *run_commands.COMMANDS,
    export,
    replay,
    simulate,
    *cluster_commands.COMMANDS,
    members,
    groups,
):
    main.add_command(command)
