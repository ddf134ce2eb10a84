"""The options that every client command has, and the one way such a command is run."""

import functools
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import click
import trio

from flowactor.cli.exits import Exit, exit_of
from flowactor.cli.output import Output
from flowactor.client import connect
from flowactor.client.connect import parse_addresses
from flowactor.errors import ConfigurationError, FlowactorError

__all__ = [
    "ADDRESSES_METAVAR",
    "call_to_exit",
    "check_addresses",
    "check_json",
    "client_command",
    "json_option",
    "only_error",
    "run_option",
    "run_to_exit",
]

ADDRESSES_METAVAR: Final = "HOST:PORT[,HOST:PORT]"
DEFAULT_ADDRESS: Final = "127.0.0.1:7400"
CONNECT_SECONDS: Final = 3.0
"""A person waits at the terminal: tell them soon that no node is there."""


def check_addresses(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """A list of addresses, checked before anything is tried."""
    try:
        return None if value is None else ",".join(parse_addresses(value))
    except ConfigurationError as error:
        raise click.BadParameter(str(error)) from error


def check_json(_: click.Context, __: click.Parameter, value: str) -> str:
    """A JSON text, checked here so that a typing error is a usage error; ``-`` reads stdin."""
    text = sys.stdin.read() if value == "-" else value
    try:
        json.loads(text)
    except ValueError as error:
        hint = "" if value == "-" else " (a text needs its quotes: '\"text\"')"
        raise click.BadParameter(f"{text!r:.80} is not JSON: {error}{hint}") from error
    return text


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
run_option = click.option(
    "--run",
    "run_id",
    default="",
    metavar="RUN_ID",
    help="A certain run of the id, not the current.",
)
connect_option = click.option(
    "--connect",
    "addresses",
    callback=check_addresses,
    metavar=ADDRESSES_METAVAR,
    envvar="FLOWACTOR_CONNECT",
    default=DEFAULT_ADDRESS,
    show_default=True,
    show_envvar=True,
    help="Nodes to ask; the next one is tried when one is lost.",
)


def client_command(function: Callable[..., Awaitable[Exit | None]]) -> Callable[..., None]:
    """A command ``async (client, output, **its own options)`` with ``--connect`` and ``--json``."""

    @connect_option
    @json_option
    @functools.wraps(function)
    def command(addresses: str, as_json: bool, **options: Any) -> None:
        output = Output(as_json)

        async def body() -> Exit:
            async with connect(addresses, connect_timeout=CONNECT_SECONDS) as client:
                return await function(client, output, **options) or Exit.OK
            raise AssertionError("connect swallows no error")

        run_to_exit(body, output)

    return command


def run_to_exit(body: Callable[[], Awaitable[Exit]], output: Output) -> None:
    """Run ``body`` under Trio and leave the process with its exit code, or with its error's."""
    call_to_exit(lambda: trio.run(body), output)


def call_to_exit(body: Callable[[], Exit], output: Output) -> None:
    """Call ``body`` and leave the process with its exit code, or with its error's."""
    try:
        code = body()
    except FlowactorError as error:
        output.error(error)
        code = exit_of(error)
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except BrokenPipeError:
        code = Exit.OK  # who read our output has seen enough
    except BaseExceptionGroup as group:
        ours = only_error(group)
        if ours is not None:
            output.error(ours)
            code = exit_of(ours)
        elif group.subgroup(KeyboardInterrupt):
            code = Exit.INTERRUPTED
        else:
            raise
    click.get_current_context().exit(code)


def only_error(group: BaseExceptionGroup[BaseException]) -> FlowactorError | None:
    """The first of the errors in a group, if flowactor raised all of them on purpose."""
    ours, others = group.split(FlowactorError)
    if others is not None or ours is None:
        return None
    first: BaseException = ours
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first if isinstance(first, FlowactorError) else None
